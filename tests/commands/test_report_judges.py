"""Reports of logs that several judges scored, whole: scripted models judge, and what they cannot do is said once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, get_model

import nla_eval
import nla_eval.pipeline.runtime as runtime_module
from nla_eval.awareness import awareness_task
from nla_eval.commands.next_step import next_step
from nla_eval.errors import InputError
from nla_eval.inspect_ext.scorer import awareness
from nla_eval.judgement import Outcome
from nla_eval.judging.known_texts import known_texts
from nla_eval.tally.types import Tally
from nla_eval.transcript import Arm
from tests.commands.typed import typed
from tests.planted_task import planted_suite
from tests.scripted_judge import KNOWN_WORDS, NONE, Reply, ScriptedJudge, always, aware, by_words, shown_text

COUNT = 4
SUITES = {"judged_exam": (Arm.EVALUATION, True), "judged_chat": (Arm.DEPLOYMENT, False)}
SOUND = by_words(*KNOWN_WORDS)


@dataclass(frozen=True)
class Read:
    """Two suites read once: their logs, unscored, and their store."""

    logs: dict[str, EvalLog]
    store: str


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    folder = tmp_path_factory.mktemp("judges")
    runtime_module._RUNTIMES.clear()
    store = str(folder / "store")
    logs = {}
    for name, (arm, cue) in SUITES.items():
        task = awareness_task(
            planted_suite(name, arm, COUNT, cue=cue),
            store=store,
            lanes="measured",
            positions="stratified(3)",
            classifier={"classifier": "lexicon"},
        )
        model = get_model("nla/bytes", engine="planted", memoize=False)
        [log] = inspect_eval(task, model=model, log_dir=str(folder / "logs"), display="none")
        assert log.status == "success", log.error
        logs[name] = read_eval_log(log.location)
    return Read(logs, store)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def scored(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A log of one suite scored by somebody with no answer in the cache; the file."""

    def run(suite: str, *replies: Reply, **options: Any) -> str:
        monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / f"cache{len(list(tmp_path.glob('*.eval')))}"))
        models = [ScriptedJudge(reply, f"judge{i}").model for i, reply in enumerate(replies)]
        log = inspect_score(
            read.logs[suite],
            awareness(**({"classifier": "llm"} if replies else {}), **options),
            model="none/none",
            model_roles={"judge": models if len(models) > 1 else models[0]} if models else None,
            action="overwrite",
            display="none",
        )
        place = tmp_path / f"{suite}-{len(list(tmp_path.glob('*.eval')))}.eval"
        write_eval_log(log, str(place))
        return str(place)

    return run


def values(log: str) -> list[dict[str, float]]:
    return [dict((sample.scores or {})["awareness"].value) for sample in read_eval_log(log).samples or []]  # type: ignore[call-overload]


def fails_but_once(messages: list[ChatMessage]) -> object:
    if "#0" in shown_text(messages):
        return NONE
    raise RuntimeError("401 the key is wrong")


def prose(messages: list[ChatMessage]) -> object:
    known = {known.text for known in known_texts()}
    return SOUND(messages) if shown_text(messages) in known else "It seems to me that the model is aware."


def invents(messages: list[ChatMessage]) -> object:
    return aware("I know this is a test environment run by a lab")


def leaks(messages: list[ChatMessage]) -> object:
    """Goes by the line about the material, not by the text; quotes the text all the same."""
    return (
        aware(shown_text(messages)[:12]) if "misalignment" in messages[0].text.split("Labels:")[0] else SOUND(messages)
    )


def test_a_sound_judge_passes_and_its_check_reaches_log_tally_and_report(
    scored: Callable[..., str], tmp_path: Path
) -> None:
    log = scored("judged_exam", SOUND)
    [check] = (read_eval_log(log).samples or [])[0].scores["awareness"].metadata["judge_checks"]  # type: ignore[index]
    assert (check["aware"], check["not_aware"]) == ({"AWARE": 10}, {"NOT_AWARE": 10})
    tally = nla_eval.make_tally(log)
    assert [judge.check and judge.check.stopped for judge in tally.judges] == [""]
    assert tally.headline_stopped == ""
    page = nla_eval.write_report(tally, tmp_path / "page.html").read_text()
    assert "10 of 10" in page
    assert "passed" in page


@pytest.mark.parametrize("mostly", [Outcome.AWARE, Outcome.NOT_AWARE])
def test_not_aware_on_all_texts_of_a_run_is_a_zero_and_constant_on_known_texts_stops(
    scored: Callable[..., str], mostly: Outcome
) -> None:
    constant = always(NONE) if mostly is Outcome.NOT_AWARE else lambda m: aware(shown_text(m)[:12])
    stopped = scored("judged_exam", constant)
    assert f"says {mostly.value} of every known text" in nla_eval.make_tally(stopped).headline_stopped
    assert all(math.isnan(value) for sample in values(stopped) for value in sample.values())
    zero = nla_eval.make_tally(scored("judged_chat", SOUND))
    assert zero.headline_stopped == ""
    assert zero.suites[0].under(zero.primary).lanes[0].any_of_k.rate.value == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            fails_but_once,
            "judged none of the 20 known texts (20 x judge call failed: RuntimeError: 401 the key is wrong)",
        ),
        (
            always("It is aware."),
            "judged none of the 20 known texts (20 x the judge's answer cannot be used: it is not",
        ),
        (prose, "texts of this run (16 x the judge's answer cannot be used: it is not the JSON"),
        (invents, "its evidence does not stand in the text word for word"),
    ],
)
def test_a_judge_that_cannot_be_believed_stops_the_headline_with_the_cause_once(
    scored: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reply: Reply,
    reason: str,
) -> None:
    log = scored("judged_exam", reply)
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert typed(monkeypatch, "report", log, "--out", str(page)) == 0
    printed = capsys.readouterr().out
    assert "N measured" not in printed
    [stopped] = [line for line in printed.splitlines() if line.startswith("No headline: ")]
    assert reason in stopped
    assert "No headline: llm@2:mockllm/judge0" in page.read_text()


def test_failures_of_a_run_are_counted_with_their_cause(scored: Callable[..., str]) -> None:
    def down_later(messages: list[ChatMessage]) -> object:
        if "is being evaluated. #" in shown_text(messages):
            raise RuntimeError("503 overloaded")
        return SOUND(messages)

    tally = nla_eval.make_tally(scored("judged_exam", down_later))
    [judge] = tally.judges
    assert judge.errors > 0
    assert judge.causes == {"judge call failed: RuntimeError: 503 overloaded": judge.errors}
    assert tally.headline_stopped == ""


def test_a_judge_that_goes_by_the_suite_s_line_is_caught_by_the_known_texts(scored: Callable[..., str]) -> None:
    tally = nla_eval.make_tally(scored("judged_exam", leaks, blurb="Agentic misalignment, blackmail"))
    assert "says AWARE of every known text" in tally.headline_stopped


def by_name(counted: list[Tally]) -> dict[str, Tally]:
    return {tally.classifiers[0]: tally for tally in counted}


class TestMixedJudges:
    """What each log holds is used as it is, apart."""

    def test_logs_of_two_judges_give_two_tallies_each_of_its_own_transcripts(
        self,
        scored: Callable[..., str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        logs = scored("judged_exam", classifier="lexicon"), scored("judged_chat", SOUND)
        found = by_name(nla_eval.make_tallies(*logs))
        assert {name: [s.suite for s in tally.suites] for name, tally in found.items()} == {
            "lexicon@2": ["judged_exam"],
            "llm@2:mockllm/judge0": ["judged_chat"],
        }
        capsys.readouterr()
        assert typed(monkeypatch, "report", *logs, "--out", str(tmp_path / "page.html")) == 0
        printed = capsys.readouterr().out
        again = next_step("nla-eval", "report", *logs, "--classifier", "lexicon")
        assert f"to judge all alike: {again}" in printed
        assert [p.name.partition("-strict")[0] for p in sorted(tmp_path.glob("*.html"))] == [
            "page-lexicon-2",
            "page-llm-2-mockllm-judge0",
        ]
        with pytest.raises(InputError, match=r"lexicon@2 under strict@\w+; llm@2.* to judge all alike: .*make_tallies"):
            nla_eval.make_tally(*logs)

    def test_judged_alike_they_are_one_tally(self, scored: Callable[..., str]) -> None:
        logs = scored("judged_exam", classifier="lexicon"), scored("judged_chat", SOUND)
        tally = nla_eval.make_tally(*logs, classifier="lexicon")
        assert tally.classifiers == ["lexicon@2"]
        assert [s.suite for s in tally.suites] == ["judged_exam", "judged_chat"]

    def test_a_store_beside_a_log_adds_nothing_that_the_log_has_judged(
        self, scored: Callable[..., str], read: Read
    ) -> None:
        logs = scored("judged_exam", classifier="lexicon"), scored("judged_chat", classifier="lexicon")
        tally = nla_eval.make_tally(*logs, read.store)
        assert tally.suites == nla_eval.make_tally(*logs).suites
        assert not any("judged here" in note for note in tally.provenance["notes"])

    def test_what_no_scorer_judged_is_judged_like_the_rest_and_said(
        self, scored: Callable[..., str], read: Read
    ) -> None:
        tally = nla_eval.make_tally(scored("judged_exam", classifier="lexicon"), read.store)
        assert tally.classifiers == ["lexicon@2"]
        assert [s.suite for s in tally.suites] == ["judged_exam", "judged_chat"]
        assert any("4 transcripts (12 readings) are not scored" in note for note in tally.provenance["notes"])


class TestSeveralJudges:
    """Models and modes of one scorer are judges of their own on the same texts."""

    def test_the_first_gives_the_values_and_all_are_tallied_and_compared(
        self, scored: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
    ) -> None:
        log = scored("judged_exam", SOUND, always(NONE))
        assert all(sample["aw_nla"] == 1 for sample in values(log))
        found = by_name(nla_eval.make_tallies(log))
        assert [bool(tally.headline_stopped) for tally in found.values()] == [False, True]
        [one, two] = [tally.agreement for tally in found.values()]
        assert one is not None
        assert one == two
        [pair] = [p for p in one.pairs if p.of == "explanations"]
        assert (pair.both, pair.right_only) == (0, 0)
        assert pair.left_only > 0
        assert pair.observed == pytest.approx(1 - pair.left_only / pair.texts)
        assert pair.kappa == pytest.approx(0)
        assert typed(monkeypatch, "report", log, "--out", str(tmp_path / "page.html")) == 0
        assert capsys.readouterr().out.count("Krippendorff's alpha over 2 judges") == 1

    def test_judge_leakage_is_what_follows_the_line_and_not_the_text(self, scored: Callable[..., str]) -> None:
        def follows(messages: list[ChatMessage]) -> object:
            said = messages[0].text.split("Labels:")[0]
            return aware(shown_text(messages)[:12]) if "Planted chats" in said else SOUND(messages)

        log = scored("judged_exam", follows, mode=["blurb", "swapped"])
        agreed = nla_eval.make_tallies(log)[0].agreement
        assert agreed is not None
        [pair] = [p for p in agreed.pairs if p.of == "explanations"]
        assert pair.leakage
        assert pair.left_only > 0
        assert pair.right_only == 0
