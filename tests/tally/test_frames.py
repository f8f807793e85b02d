"""Logs and stores give the same frames: a log's own judgements are used as they are, or everything is judged again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalSample, read_eval_log, write_eval_log
from inspect_ai.model import get_model

import nla_eval.pipeline.runtime as runtime_module
from nla_eval.awareness import awareness_task
from nla_eval.cards.design import Design
from nla_eval.dataset.matching import Balance, MatchedArm, Measure
from nla_eval.errors import InputError
from nla_eval.judgement import text_hash
from nla_eval.judging.classify import make_classifier
from nla_eval.store.rows import Fact
from nla_eval.store.store import ReadingStore
from nla_eval.tally.gather import _designs, apart_by, as_scored, gather, gather_apart, judged
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.types import Tally
from nla_eval.transcript import Arm
from tests.planted_task import planted_suite

COUNT = 4


@dataclass(frozen=True)
class Made:
    """A log and the store its readings also went to."""

    log: str
    store: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("frames")
    runtime_module._RUNTIMES.clear()
    suite = planted_suite("planted_frames", Arm.EVALUATION, COUNT, cue=True)
    task = awareness_task(
        suite,
        store=str(folder / "store"),
        lanes="measured",
        positions="stratified(3)",
        classifier={"classifier": "lexicon"},
    )
    model = get_model("nla/bytes", engine="planted", memoize=False)
    log = inspect_eval(task, model=model, log_dir=str(folder / "logs"), display="none")[0]
    assert log.status == "success", log.error
    return Made(log.location, str(folder / "store"))


@pytest.mark.parametrize("source", ["log", "store"])
def test_judging_some_conversations_at_a_time_changes_no_judgement(
    made: Made, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered, judge = gather([getattr(made, source)]), make_classifier("lexicon")
    whole = judged(gathered, judge)
    monkeypatch.setattr("nla_eval.tally.gather._CONVERSATIONS", 3)
    assert whole.turns["transcript_digest"].n_unique() == COUNT
    assert judged(gathered, judge).turns.equals(whole.turns)


def test_a_log_is_reported_as_it_was_scored(made: Made) -> None:
    found = gather([made.log])
    frames = as_scored(found)
    assert frames.readings.height == frames.judgements.height == COUNT * 3
    assert found.scored is not None
    assert [name.partition("@")[0] for name in found.scored.classifiers] == ["lexicon"]
    assert len(found.scored.rubrics) == 1
    assert frames.turns.height == COUNT
    assert all(frames.turns["text"])


def test_judging_again_with_the_same_classifier_changes_nothing(made: Made) -> None:
    found = gather([made.log])
    again = judged(found, make_classifier("lexicon"))
    options = TallyOptions(definitions=make_classifier("lexicon").rubric.headlines)
    assert tally(again, options) == tally(as_scored(found), options)


def test_the_store_of_a_task_holds_the_log_s_readings(made: Made) -> None:
    log, store, both = gather([made.log]), gather([made.store]), gather([made.log, made.store])
    assert store.readings.equals(log.readings)
    assert both.readings.equals(log.readings)
    assert both.transcripts.height == COUNT


def test_a_store_has_no_judgements_of_its_own(made: Made) -> None:
    with pytest.raises(InputError, match="--classifier"):
        as_scored(gather([made.store]))


def test_a_folder_of_logs_is_read_and_a_log_without_readings_is_noted(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.eval").write_bytes(Path(made.log).read_bytes())
    empty = read_eval_log(made.log)
    for sample in empty.samples or []:
        sample.store = {}
    write_eval_log(empty, str(folder / "b.eval"))
    found = gather([str(folder)])
    assert found.transcripts.height == COUNT
    assert found.notes == ("log 'b.eval' holds no sample read by nla_eval",)


class TestFacts:
    """What is known of groups of transcripts travels with them to the tally."""

    DESIGN = Design({"clause": ("told", "neutral")})
    ARM = MatchedArm(
        measures=(Measure.LENGTH,), seed=3, wanted=("exam",), pool=("planted_frames",), drawn=4, donors=9,
        balance=(Balance("length", 10.0, 20.0, 11.0, 1.5, 0.1),),
    )  # fmt: skip

    def test_a_store_keeps_them_once_and_the_frames_hold_them(self, made: Made, tmp_path: Path) -> None:
        url = str(shutil.copytree(made.store, tmp_path / "store"))
        facts = [
            Fact(about="design", suite="planted_frames", fact=self.DESIGN.model_dump_json()),
            Fact(about="matched", suite="planted_frames", fact=self.ARM.model_dump_json()),
        ]
        store = ReadingStore.open(url)
        store.append_facts(facts)
        store.append_facts(facts[:1])
        assert store.facts() == facts
        frames = judged(gather([url]), make_classifier("lexicon"))
        assert frames.designs == {"planted_frames": self.DESIGN}
        assert list(frames.matched) == [self.ARM]
        assert tally(frames).matched == [self.ARM]

    def test_a_log_s_card_and_matching_are_read(self, made: Made, tmp_path: Path) -> None:
        log = read_eval_log(made.log)
        log.eval.metadata = {
            "card": {"design": self.DESIGN.model_dump(mode="json")},
            "matched": self.ARM.model_dump(mode="json"),
        }
        write_eval_log(log, str(tmp_path / "a.eval"))
        frames = as_scored(gather([str(tmp_path / "a.eval")]))
        assert (frames.designs, list(frames.matched)) == ({"planted_frames": self.DESIGN}, [self.ARM])

    def test_what_another_version_wrote_is_noted(self, made: Made, tmp_path: Path) -> None:
        log = read_eval_log(made.log)
        log.eval.metadata = {"matched": {"match": "length"}}
        write_eval_log(log, str(tmp_path / "a.eval"))
        found = gather([str(tmp_path / "a.eval")])
        assert found.matched == []
        assert "'matched' of suite 'planted_frames' is of another version" in found.notes[0]

    def test_a_store_from_before_takes_the_design_of_the_card_at_hand(self) -> None:
        assert _designs({}, ["format_context", "unheard_of", "hard_negatives"]) == {
            "format_context": Design({"format": ("exam", "chat"), "context": ("evaluation", "deployment")})
        }


STATE = "NLAState:"


def changed(log: str, path: Path, change: Callable[[EvalSample], None]) -> str:
    """A copy of a log with every sample changed."""
    copy = read_eval_log(log)
    for sample in copy.samples or []:
        change(sample)
    write_eval_log(copy, str(path))
    return str(path)


def score(sample: EvalSample) -> dict[str, Any]:
    """What the scorer kept of a sample."""
    (found,) = [s.metadata for s in (sample.scores or {}).values() if s.metadata]
    return found


def fail(sample: EvalSample) -> None:
    """The run broke down: no explanation, and nothing judged."""
    for reading in sample.store[f"{STATE}readings"]:
        reading |= {"explanation": "", "stop": "error", "error": "out of memory"}
    for row in score(sample)["judgements"]:
        row |= {"outcome": "ERROR", "labels": [], "score": None, "evidence": [], "text_hash": text_hash("")}


def flip(sample: EvalSample) -> None:
    """The judge says the opposite of the same texts."""
    for row in score(sample)["judgements"]:
        aware = row["outcome"] == "AWARE"
        row |= {"outcome": "NOT_AWARE" if aware else "AWARE", "labels": ["none" if aware else "belief"]}


def forget(sample: EvalSample) -> None:
    """As an older version wrote it: no instrument, no hash."""
    sample.metadata.pop("nla")
    for row in (*score(sample)["judgements"], *score(sample)["turns"]):
        row.pop("text_hash")


def fact(**facts: str) -> Callable[[EvalSample], None]:
    return lambda sample: sample.metadata["nla"].update(facts)


def another_draw(sample: EvalSample) -> None:
    """Each position explained once more, in other words."""
    readings, rows = sample.store[f"{STATE}readings"], score(sample)["judgements"]
    readings += [r | {"draw": 1, "explanation": f"{r['explanation']} again"} for r in readings]
    rows += [
        r | {"draw": 1, "text_hash": text_hash(f"{e['explanation']}")}
        for r, e in zip(rows, readings[len(rows) :], strict=True)
    ]


def counted(*logs: str) -> list[Tally]:
    options = TallyOptions(definitions=make_classifier("lexicon").rubric.headlines)
    return [tally(as_scored(found), options) for found in gather_apart(logs)]


class TestApart:
    """Inputs that share keys are told apart by what they were read with, and joined by text."""

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            (fact(temperature="0.5"), ["temperature 0.5", "temperature 1"]),
            (fact(target="bytes@another"), None),
            (fact(seed="7"), ["seed 0", "seed 7"]),
            (fact(window="tail"), ["window head", "window tail"]),
            (another_draw, ["draws 1", "draws 2"]),
        ],
        ids=["temperature", "target", "seed", "window", "draws"],
    )
    def test_what_was_read_differently_is_tallied_apart_and_never_refused(
        self, made: Made, tmp_path: Path, change: Callable[[EvalSample], None], names: list[str] | None
    ) -> None:
        other = changed(made.log, tmp_path / "other.eval", change)
        found = gather_apart([made.log, other])
        assert len(found) == 2
        if names is not None:
            assert sorted(apart_by(found).split("; ")) == names
            with pytest.raises(InputError, match=f"read with {names[0]}; {names[1]}; take them apart"):
                gather([made.log, other])
        assert counted(made.log, other) == counted(other, made.log)
        assert next(t.suites for t in counted(made.log)) in [t.suites for t in counted(made.log, other)]

    def test_a_failed_log_and_its_retry_are_the_retry(self, made: Made, tmp_path: Path) -> None:
        failed = changed(made.log, tmp_path / "failed.eval", fail)
        assert all(d.counts["ERROR"] for t in counted(failed) for s in t.suites for d in s.denominators[:1])
        for logs in ((made.log, failed), (failed, made.log)):
            assert [t.suites for t in counted(*logs)] == [t.suites for t in counted(made.log)]

    def test_logs_that_judge_one_text_differently_are_refused_by_name(self, made: Made, tmp_path: Path) -> None:
        other = changed(made.log, tmp_path / "other.eval", flip)
        for logs in ((made.log, other), (other, made.log)):
            with pytest.raises(InputError, match=r"conflicting judgements of one text by lexicon@\d: transcript '.*'"):
                counted(*logs)

    def test_an_older_log_reads_as_before_and_goes_with_what_it_fits(self, made: Made, tmp_path: Path) -> None:
        old = changed(made.log, tmp_path / "old.eval", forget)
        assert [t.suites for t in counted(old)] == [t.suites for t in counted(made.log)]
        assert len(counted(old, made.log)) == len(gather_apart([old, made.store])) == 1

    def test_transcripts_that_repeat_the_content_of_another_are_counted(self, made: Made, tmp_path: Path) -> None:
        def rename(sample: EvalSample) -> None:
            sample.store[f"{STATE}transcript"]["transcript_id"] += "-again"

        again = changed(made.log, tmp_path / "again.eval", rename)
        [both], [once] = counted(made.log, again), counted(made.log, made.log)
        assert [(s.transcripts, s.duplicates) for s in both.suites] == [(COUNT, COUNT)]
        assert [(s.transcripts, s.duplicates) for s in once.suites] == [(COUNT, 0)]
