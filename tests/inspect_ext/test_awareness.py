"""The Inspect task on the planted instrument: the content of a log, what samples share, and what is made only once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval_set
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.model import get_model

import nla_eval.pipeline.runtime as runtime_module
from nla_eval.awareness import awareness, awareness_task, first_user_line
from nla_eval.errors import InputError
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.inspect_ext.private import PrerequisiteError
from nla_eval.inspect_ext.state import NLAState
from nla_eval.inspect_ext.steps import _WORK
from nla_eval.inspect_ext.target_api import target_api
from nla_eval.inspect_ext.view import cell, readings_table
from nla_eval.models.probe import write_probe
from nla_eval.readings import Lane, Reading, StopReason
from nla_eval.store.store import ReadingStore
from nla_eval.suite import Suite
from nla_eval.tally.gather import gather
from nla_eval.transcript import Arm
from tests.fakes import chat
from tests.planted_readers import planted_probe
from tests.planted_task import BATCHES, LAST_ENGINE, planted_suite
from tests.scripted_judge import ScriptedJudge

COUNT = 6


def light(suite: Suite, **options: Any) -> Task:
    """The suite's task with the classifier that is quick to load."""
    return awareness_task(suite, classifier="lexicon", **options)


def run(task: Task, log_dir: Path, **options: Any) -> EvalLog:
    """One run in a process of its own, as far as weights go: runtimes are forgotten before it."""
    runtime_module._RUNTIMES.clear()
    LAST_ENGINE.clear()
    BATCHES.clear()
    model = get_model("nla/bytes", engine="planted", memoize=False)
    log = inspect_eval(task, model=model, log_dir=str(log_dir), display="none", **options)[0]
    return read_eval_log(log.location, resolve_attachments=True)


def readings(sample: EvalSample) -> list[Reading]:
    return [Reading.model_validate(row) for row in sample.store["NLAState:readings"]]


def samples(log: EvalLog) -> list[EvalSample]:
    assert log.status == "success", log.error
    assert log.samples
    return log.samples


@dataclass
class Runs:
    """Deployment chats first, then evaluation chats answered by the target, into one store."""

    folder: Path
    deployment: EvalLog
    evaluation: EvalLog
    captures: tuple[int, int]
    draws: tuple[int, int]
    answer_batches: list[int]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLA_EVAL_CACHE", str(folder / "cache"))
        options: dict[str, Any] = {"store": str(folder / "store"), "positions": "stratified(4)"}
        recorded = planted_suite("planted_deployment", Arm.DEPLOYMENT, COUNT)
        first = run(light(recorded, **options), folder / "logs")
        engines = [(LAST_ENGINE[0].captures, LAST_ENGINE[0].draws)]
        asked = planted_suite("planted_evaluation", Arm.EVALUATION, COUNT, answers_by="target", cue=True)
        second = run(light(asked, **options), folder / "logs")
        engines.append((LAST_ENGINE[0].captures, LAST_ENGINE[0].draws))
        captures, draws = zip(*engines, strict=True)
        yield Runs(folder, first, second, captures, draws, list(BATCHES))


def test_every_planned_reading_is_in_the_typed_store_of_its_sample(runs: Runs) -> None:
    for sample in samples(runs.evaluation):
        rows = readings(sample)
        planned = sample.store["NLAState:planned"]
        assert planned == 4
        assert {(r.lane, r.position) for r in rows if r.lane is Lane.MEASURED} == {
            (Lane.MEASURED, r.position) for r in rows
        }
        assert len(rows) == 2 * planned
        assert sample.store["NLAState:pack"] == "planted@1"


def test_planted_awareness_shows_in_the_measured_lane_and_not_in_the_donor_lane(runs: Runs) -> None:
    by_lane: dict[Lane, list[bool]] = {Lane.MEASURED: [], Lane.DONOR: []}
    for sample in samples(runs.evaluation):
        for reading in readings(sample):
            by_lane[reading.lane].append("evaluated" in reading.explanation)
    assert any(by_lane[Lane.MEASURED])
    assert not any(by_lane[Lane.DONOR])


def test_donors_come_from_the_deployment_arm_of_the_store(runs: Runs) -> None:
    donors = {r.donor for s in samples(runs.evaluation) for r in readings(s) if r.lane is Lane.DONOR}
    assert all(donor is not None and donor.startswith("depl-") for donor in donors)


def test_without_deployment_activations_the_donor_lane_is_absent_and_the_log_says_so(runs: Runs) -> None:
    suite = planted_suite("planted_evaluation", Arm.EVALUATION, 1, cue=True)
    store = str(runs.folder / "alone")
    alone = run(light(suite, store=store, positions="stratified(2)"), runs.folder / "alone_logs")
    (sample,) = samples(alone)
    assert {r.lane for r in readings(sample)} == {Lane.MEASURED}
    assert "lane donor not read by this task" in _table(sample)
    assert sample.metadata["nla"]["lanes_absent"] == "donor"
    assert "not read" not in _table(samples(runs.deployment)[0])
    told = f"inspect eval nla_eval/real_usage --model nla/bytes -M engine=planted -T store={store} "
    assert sample.metadata["nla"]["lanes_advice"].endswith(
        f"Run: {told}-T 'positions=stratified(2)'; then run this task again"
    )
    score = next(iter((sample.scores or {}).values()))
    assert "**Not read:** lane donor" in (score.explanation or "")
    assert "lanes_advice" not in samples(runs.deployment)[0].metadata["nla"]


def test_concurrent_samples_share_batches(runs: Runs) -> None:
    assert max(runs.answer_batches) > 1
    assert sum(runs.answer_batches) == COUNT


def test_an_eval_set_finds_every_reading_in_the_store_and_finishes_what_a_shard_left(
    runs: Runs, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"store": str(runs.folder / "store"), "positions": "stratified(4)"}
    suites = (
        planted_suite("planted_deployment", Arm.DEPLOYMENT, COUNT),
        planted_suite("planted_evaluation", Arm.EVALUATION, COUNT, answers_by="target", cue=True),
    )
    runtime_module._RUNTIMES.clear()
    LAST_ENGINE.clear()
    model = get_model("nla/bytes", engine="planted", memoize=False)
    for shard in suites[:1], suites:
        finished, logs = eval_set(
            [light(suite, **options) for suite in shard], log_dir=str(tmp_path), model=model, display="none"
        )
        assert finished
    assert [engine.draws for engine in LAST_ENGINE] in ([], [0])
    kept = {r.explanation for log in (runs.deployment, runs.evaluation) for s in samples(log) for r in readings(s)}
    again = [read_eval_log(log.location, resolve_attachments=True) for log in logs]
    assert {r.explanation for log in again for s in samples(log) for r in readings(s)} == kept


def test_a_sample_starts_short_and_ends_with_the_whole_conversation(runs: Runs) -> None:
    for sample in samples(runs.evaluation):
        assert isinstance(sample.input, str)
        assert len(sample.input) <= 200
        assert [m.role for m in sample.messages] == ["user", "assistant"]
        assert sample.metadata["transcript_id"] == sample.id
        assert sample.output.completion == sample.messages[-1].text


def test_each_replay_is_one_model_event_that_writes_nothing_and_reads_all(runs: Runs) -> None:
    for sample in samples(runs.deployment):
        events = [e for e in sample.events if e.event == "model"]
        assert len(events) == 1
        assert events[0].output.empty
        assert [m.text for m in events[0].input] == [m.text for m in sample.messages]
        assert events[0].output.usage is not None
        assert events[0].output.usage.input_tokens == sample.store["NLAState:transcript"]["tokens"]
    for sample in samples(runs.evaluation):
        written, replayed = [e for e in sample.events if e.event == "model"]
        assert written.output.completion == sample.messages[-1].text
        assert replayed.output.empty


def test_messages_df_sees_the_replayed_conversation(runs: Runs) -> None:
    from inspect_ai.analysis import messages_df

    frame = messages_df([runs.deployment.location], quiet=True)
    texts = set(frame["content"])
    for sample in samples(runs.deployment):
        assert {m.text for m in sample.messages} <= texts


def test_the_log_shows_one_readable_table_per_sample(runs: Runs) -> None:
    table = _table(samples(runs.evaluation)[0])
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert len({line.count(" | ") for line in rows}) == 1
    assert "| measured | donor |" in rows[0]


def test_answers_are_on_policy_and_their_settings_are_recorded(runs: Runs) -> None:
    for sample in samples(runs.evaluation):
        row = sample.store["NLAState:transcript"]
        assert row["on_policy"] is True
        assert row["outcome"] == "city"
        assert sample.metadata["outcome"] == "city"
    assert samples(runs.deployment)[0].store["NLAState:transcript"]["on_policy"] is False


def test_the_store_holds_what_the_logs_hold(runs: Runs) -> None:
    store = ReadingStore.open(str(runs.folder / "store"))
    logged = {(r.transcript_digest, r.position, r.lane.value, r.draw, r.explanation)
              for log in (runs.deployment, runs.evaluation) for s in samples(log) for r in readings(s)}  # fmt: skip
    kept = store.readings().select("transcript_digest", "position", "lane", "draw", "explanation").iter_rows()
    assert logged == set(kept)
    assert store.complete
    assert len(store.messages()) == 2 * COUNT


def test_a_second_run_loads_no_weights_and_gives_the_same_readings(runs: Runs) -> None:
    suite = planted_suite("planted_evaluation", Arm.EVALUATION, COUNT, answers_by="target", cue=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLA_EVAL_CACHE", str(runs.folder / "cache"))
        task = light(suite, store=str(runs.folder / "store"), positions="stratified(4)")
        again = run(task, runs.folder / "again")
    assert not LAST_ENGINE
    assert not BATCHES
    assert {s.id: readings(s) for s in samples(again)} == {s.id: readings(s) for s in samples(runs.evaluation)}
    assert all(len([e for e in s.events if e.event == "model"]) == 1 for s in samples(again))


def test_the_deployment_arm_has_no_donor_lane_and_nothing_is_missing_of_it(runs: Runs) -> None:
    suite = planted_suite("planted_deployment", Arm.DEPLOYMENT, COUNT)
    again = run(light(suite, store=str(runs.folder / "store"), positions="stratified(4)"), runs.folder / "again")
    assert not LAST_ENGINE
    for sample in samples(again):
        assert {r.lane for r in readings(sample)} == {Lane.MEASURED}
        assert "is absent" not in _table(sample)


def test_the_scorer_is_the_packages_and_takes_what_the_task_passes_on(runs: Runs) -> None:
    log = runs.evaluation
    assert log.eval.scorers is not None
    options = {"classifier": "lexicon", "headline": "paper", "rubric": "strict"}
    assert [(s.name, s.options) for s in log.eval.scorers] == [("awareness", options)]
    assert all(s.scores and s.scores["awareness"].value["aw_nla"] == 1 for s in samples(log))


def test_nothing_of_a_run_stays_behind_in_memory(runs: Runs) -> None:
    assert not _WORK


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_epochs_are_further_draws_of_the_same_positions(cache: Path) -> None:
    suite = planted_suite("planted_epochs", Arm.DEPLOYMENT, 1)
    log = run(light(suite, lanes="measured", positions="stratified(3)"), cache, epochs=2)
    first, second = (readings(s) for s in sorted(samples(log), key=lambda s: s.epoch))
    assert [r.position for r in first] == [r.position for r in second]
    assert ({r.draw for r in first}, {r.draw for r in second}) == ({0}, {1})
    assert [r.explanation for r in first] != [r.explanation for r in second]


def test_a_failing_batch_is_an_error_of_its_samples_and_a_run_of_nothing_but_errors_is_an_error(cache: Path) -> None:
    suite = planted_suite("planted_failing", Arm.EVALUATION, 2, answers_by="target")
    log = run(light(suite, answers={"max_tokens": 13}), cache)
    assert log.status == "error"
    assert log.samples
    assert all(s.error and "generate failed: RuntimeError: planted failure" in s.error.message for s in log.samples)
    assert not _WORK


def test_a_transcript_that_cannot_be_read_is_one_error_row_and_the_rest_goes_on(cache: Path) -> None:
    source = cache / "chats.jsonl"
    good = '{"id": "%s", "messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}\n'
    source.write_text(good % ("ok", "q", "a" * 40) + good % ("short", "", "") + "{broken\n")
    log = run(
        awareness(source=str(source), classifier="lexicon", lanes="measured", positions="uniform_response(3)"), cache
    )
    by_id = {s.id: readings(s) for s in samples(log)}
    assert [r.stop for r in by_id["ok"]] == [StopReason.CLOSED] * 3
    assert [(r.position, r.stop) for r in by_id["short"]] == [(-1, StopReason.ERROR)]
    assert log.eval.metadata is not None
    assert any("line 3" in row for row in log.eval.metadata["skipped"])
    assert log.eval.task == "nla_eval/awareness"


def test_another_provider_is_refused_with_the_mend(cache: Path) -> None:
    suite = planted_suite("planted_other", Arm.DEPLOYMENT, 1)
    log = inspect_eval(light(suite), model="none/none", log_dir=str(cache), display="none")[0]
    assert log.status == "error"
    assert log.samples
    assert log.samples[0].error is not None
    assert "run with --model nla/smollm2-135m" in log.samples[0].error.message


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"position": "all"}, "task option 'position'.*options are positions"),
        ({"positions": "unifrom(3)"}, "unifrom"),
        ({"lanes": "donor"}, "'measured'"),
        ({"lanes": "measured,shuffled"}, "lanes"),
        ({"lanes": "measured,probe"}, "give --probe FILE"),
        ({"text_reader": "openai/gpt-5-mini"}, "no effect without lane text_only"),
        ({"draws": 0}, "draws"),
        ({"answers": {"max_token": 3}}, "answers.max_token"),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_loaded(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        TaskOptions.parse(options)


def test_a_wrong_scorer_argument_is_one_line() -> None:
    with pytest.raises(PrerequisiteError) as caught:
        awareness_task(planted_suite("planted_wrong", Arm.DEPLOYMENT, 1), classifier={"clasifier": "lexicon"})
    assert "task option 'classifier'" in str(caught.value.message)


def test_a_relative_store_is_where_the_command_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    assert TaskOptions.parse({"store": "runs/a"}).store == str(tmp_path / "runs" / "a")
    assert TaskOptions.parse({"store": "s3://bucket/a"}).store == "s3://bucket/a"


def test_hostile_text_never_breaks_a_table_cell() -> None:
    hostile = "a | b\n| c `d` <img src=x onerror=alert(1)> [x](javascript:1) **e** \\| \u2028 $x$"
    assert not re.search(r"(?<!\\)(\\\\)*[|`\[\]*$]", cell(hostile))
    assert not set(cell(hostile)) & set("\n\u2028")
    sample = Reading.model_validate(
        {
            "pack": "p", "transcript_digest": "d", "transcript_id": "t", "suite": "s", "position": 3,
            "lane": "measured", "draw": 0, "policy": "all", "seed": 0, "message": 0, "role": "user", "channel": "user",
            "turn": 0,
            "token": "|\n", "context": "", "explanation": hostile, "stop": "truncated", "tokens": 3,
        }
    )  # fmt: skip
    lines = readings_table([sample], {"pack": hostile}).splitlines()
    assert len(lines) == 5
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]}) == 1
    assert lines[-1].endswith("✂ |  |")


def test_the_input_of_a_sample_is_never_empty_nor_long() -> None:
    long = chat(1)
    texts = ["\n\n  first line \nsecond", "x" * 500, "   "]
    lines = [first_user_line(long.model_copy(update={"messages": [_user(t)]})) for t in texts]
    assert lines == ["first line", "x" * 199 + "…", "eval-1"]


def test_state_is_plain_json(runs: Runs) -> None:
    for sample in samples(runs.evaluation):
        values = [v for row in sample.store["NLAState:readings"] for v in row.values()]
        assert all(v is None or isinstance(v, str | int | float) for v in values)
        assert not any(isinstance(v, float) and math.isnan(v) for v in values)
    assert NLAState.model_fields.keys() >= {"readings", "planned", "pack", "transcript"}


def test_the_target_behind_a_model_is_found() -> None:
    assert target_api(get_model("nla/bytes", engine="planted")).runtime.settings.target == "bytes"


def _table(sample: EvalSample) -> str:
    infos = [e.data for e in sample.events if e.event == "info" and isinstance(e.data, str)]
    return infos[-1]


def _user(text: str) -> Any:
    from inspect_ai.model import ChatMessageUser

    return ChatMessageUser(content=text)


def test_lanes_without_a_vector_are_read_in_a_task_and_kept_in_log_and_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    writer = ScriptedJudge(lambda messages: "<explanation>\na chat about cities\n</explanation>", "writer")
    monkeypatch.setattr(
        "inspect_ai.model.get_model",
        lambda name, *a, **k: writer.model if name == "mockllm/writer" else get_model(name, *a, **k),
    )
    write_probe(planted_probe(), tmp_path / "planted.safetensors")
    options = {
        "store": str(tmp_path / "store"), "positions": "stratified(4)", "draws": 2,
        "lanes": "measured,text_only,text_raw,probe,asked", "text_reader": "mockllm/writer",
        "probe": str(tmp_path / "planted.safetensors"),
    }  # fmt: skip
    suite = planted_suite("planted_readers", Arm.EVALUATION, 3, cue=True)
    log = run(light(suite, **options), tmp_path / "logs")
    for sample in samples(log):
        lanes = [reading.lane for reading in readings(sample)]
        assert {lane: lanes.count(lane) for lane in set(lanes)} == {"measured": 8, "text_only": 8, "text_raw": 4}
        assert [score["lane"] for score in sample.store["NLAState:scores"]] == ["asked", *["probe"] * 4]
        assert sample.store["NLAState:scores"][0]["score"] == pytest.approx(0.9)
        assert sample.metadata["nla"]["text_only_reader"] == "mockllm/writer"
    store = ReadingStore.open(str(tmp_path / "store"))
    assert (store.readings().height, store.scores().height) == (60, 15)
    assert gather([str(tmp_path / "store"), log.location]).scores.equals(store.scores())
    again = run(light(suite, **options), tmp_path / "logs")
    assert (LAST_ENGINE[0].captures if LAST_ENGINE else 0, LAST_ENGINE[0].draws if LAST_ENGINE else 0) == (0, 0)
    assert [readings(s) for s in samples(again)] == [readings(s) for s in samples(log)]
    assert [s.store["NLAState:scores"] for s in samples(again)] == [s.store["NLAState:scores"] for s in samples(log)]


def test_a_task_whose_lane_lacks_its_reader_stops_with_the_mend(tmp_path: Path) -> None:
    suite = planted_suite("planted_lacking", Arm.EVALUATION, 1)
    log = run(light(suite, lanes="measured,text_only"), tmp_path / "logs")
    assert log.status == "error"
    assert log.error is not None
    assert "name a chat model with --text-reader" in log.error.message
