"""The pipeline makes every planned reading once, with the same result however it is batched or interrupted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from polars.testing import assert_frame_equal

from nla_eval.errors import InputError, PackError, StoreError
from nla_eval.pipeline.lanes import ControlLanes
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run, prepare, transcript_fault
from nla_eval.pipeline.reading import ReadResult, Workbench, read_in_process
from nla_eval.pipeline.stages import Scoring, capture_stage, draft_of, failed_readings, score_stage, verbalize_stage
from nla_eval.pipeline.stored import store_controls
from nla_eval.progress import Event
from nla_eval.readings import Lane, StopReason
from nla_eval.store.conversations import kept, kept_messages
from nla_eval.store.store import ReadingStore
from nla_eval.transcript import Arm, Transcript, content_digest
from tests.fakes import AWARE, ByteTarget, PlantedEngine, TinyPack, both_arms, chat, plain_scores

TARGET = ByteTarget()
INSTRUMENT = Instrument(TARGET, TinyPack())
LANES = (Lane.MEASURED, Lane.DONOR, Lane.GAUSSIAN, Lane.NO_INJECTION)
PLAN = ReadingPlan(positions="uniform_response(5)", seed=3, draws=2, lanes=LANES)


def run(
    where: Path | str,
    engine: PlantedEngine | None = None,
    *,
    transcripts: list[Transcript] | None = None,
    plan: ReadingPlan = PLAN,
    instrument: Instrument = INSTRUMENT,
    retry_errors: bool = False,
    flush_seconds: float = 1e9,
) -> tuple[ReadingStore, ReadResult]:
    planned = plan_run(both_arms() if transcripts is None else transcripts, instrument, plan)
    store = ReadingStore.create(str(where), planned.identity)
    bench = Workbench(lambda: engine or PlantedEngine(TARGET), store, plain_scores, flush_seconds=flush_seconds)
    return store, read_in_process(planned, bench, retry_errors=retry_errors)


def same(one: ReadingStore, two: ReadingStore) -> None:
    """Equal readings: texts exactly, scores within 1e-9, whatever the batches."""
    assert_frame_equal(one.readings(), two.readings(), abs_tol=1e-9, rel_tol=0)


def test_every_planned_reading_is_made_once(tmp_path: Path) -> None:
    store, result = run(tmp_path)
    frame = store.readings()
    counts = dict(frame["lane"].value_counts().iter_rows())
    assert counts == {"measured": 120, "donor": 60, "gaussian": 120, "no_injection": 120}
    assert result.made == frame.height == sum(counts.values())
    assert set(frame["stop"]) == {"closed"}
    assert store.complete


def test_the_planted_truth_comes_out_by_arm_and_lane(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    frame = store.readings().join(store.transcripts().select("transcript_digest", "arm"), on="transcript_digest")
    rate = frame.group_by("arm", "lane").agg(pl.col("explanation").str.starts_with(AWARE).mean().alias("aware"))
    rates = {(arm, lane): aware for arm, lane, aware in rate.iter_rows()}
    assert rates["evaluation", "measured"] == 1.0
    assert rates["deployment", "measured"] == 0.0
    assert rates["evaluation", "donor"] == 0.0
    assert rates["evaluation", "no_injection"] == 0.0


def test_rows_say_where_they_come_from(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    row = store.readings().filter(pl.col("lane") == "measured").row(0, named=True)
    assert row["role"] == "assistant"
    assert row["channel"] == "response"
    assert row["context"].endswith(row["token"])
    assert row["policy"] == "uniform_response(5)"
    assert row["activation_norm"] > 0


def test_transcript_rows_hold_what_tallies_need(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    row = store.transcripts().row(0, named=True)
    assert row["planned_positions"] == 5
    assert row["turns"] == 1
    assert row["tool_calls"] == 0
    assert row["lost_tokens"] == 0
    assert row["tokens"] > 50


def test_the_sizes_of_strata_are_kept_under_a_stratified_policy_alone(tmp_path: Path) -> None:
    uniform, _ = run(tmp_path / "uniform")
    assert uniform.transcripts()["channel_tokens"].null_count() == uniform.transcripts().height
    store, _ = run(tmp_path / "stratified", plan=replace(PLAN, positions="stratified(5)"))
    for sizes, tokens in store.transcripts().select("channel_tokens", "tokens").iter_rows():
        by_channel = {one["channel"]: one["tokens"] for one in sizes}
        assert {"user", "response"} <= by_channel.keys()
        assert sum(by_channel.values()) < tokens


def test_scores_are_against_what_was_injected(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    frame = store.readings()
    injected = frame.filter(pl.col("lane") != "no_injection")
    assert injected["cos"].min() > 0.99
    assert injected.filter(pl.col("lane") != "gaussian")["matched_minus_shuffled"].null_count() == 0
    assert frame.filter(pl.col("lane") == "no_injection")["cos"].null_count() == 120


def test_the_deployment_arm_gets_no_donors(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    assert set(store.readings().filter(pl.col("lane") == "donor")["suite"]) == {"evaluation_suite"}


def test_donors_come_from_other_families_of_the_deployment_arm(tmp_path: Path) -> None:
    store, result = run(tmp_path)
    families = dict(store.transcripts().select("transcript_id", "family").iter_rows())
    donated = store.readings().filter(pl.col("lane") == "donor")
    for donor, receiver in donated.select("donor", "transcript_id").iter_rows():
        lender = donor.rsplit(":", 1)[0]
        assert lender.startswith("depl-")
        assert families[lender] != families[receiver]
    assert sum(result.donor_levels.values()) == 30


def test_batches_do_not_change_readings(tmp_path: Path) -> None:
    stores = [run(tmp_path / str(size), PlantedEngine(TARGET, batch=size))[0] for size in (1, 7, 1000)]
    same(stores[0], stores[1])
    same(stores[0], stores[2])


def test_transcript_order_does_not_change_readings(tmp_path: Path) -> None:
    forward, _ = run(tmp_path / "a")
    backward, _ = run(tmp_path / "b", transcripts=both_arms()[::-1])
    same(forward, backward)


def test_stages_on_lists_give_the_readings_of_a_run(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    engine, identity = PlantedEngine(TARGET), store.identity
    prepared = [prepare(t, INSTRUMENT, PLAN) for t in both_arms()]
    activations = {}
    for p in prepared:  # one transcript at a time, as concurrent samples may arrive
        (captured,) = capture_stage(engine, [p])
        activations.update({s.key: row for s, row in zip(p.sites, captured.activations, strict=True)})
    controls = ControlLanes([s for p in prepared for s in p.sites], activations, PLAN.seed)
    by_hand = []
    for p in prepared:
        lanes, draws = PLAN.lanes_of(p.row.arm), range(PLAN.draws)
        drafts = [draft_of(site, lane, draw, controls) for site in p.sites for lane in lanes for draw in draws]
        drawn = verbalize_stage(engine, drafts, identity)
        by_hand += score_stage(engine, drawn, identity, Scoring(plain_scores))
    made = {(r["transcript_digest"], r["position"], r["lane"], r["draw"]): r for r in store.readings().to_dicts()}
    assert len(made) == len(by_hand)
    for r in by_hand:
        row = made[r.transcript_digest, r.position, r.lane.value, r.draw]
        assert row["explanation"] == r.explanation
        assert row["donor"] == r.donor
        assert row["cos"] == pytest.approx(r.cos, abs=1e-12) if r.cos is not None else row["cos"] is None


def test_controls_from_a_store_are_those_of_the_run(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    controls = store_controls(store)
    donors = {
        (d, p): n
        for d, p, n in store.readings()
        .filter(pl.col("lane") == "donor")
        .select("transcript_digest", "position", "donor")
        .iter_rows()
    }
    for prepared in (prepare(t, INSTRUMENT, PLAN) for t in both_arms()):
        for site in prepared.sites if prepared.row.arm == Arm.EVALUATION else ():
            assert controls.stand_in(site, Lane.DONOR).donor == donors[site.key]


@pytest.mark.parametrize("activations", ["float32", "float16", "none"])
@pytest.mark.parametrize("stop_after", [0, 1, 130])
def test_an_interrupted_run_resumes_to_the_same_store(tmp_path: Path, stop_after: int, activations: str) -> None:
    plan = replace(PLAN, activations=activations)
    whole, _ = run(tmp_path / "whole", plan=plan)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", PlantedEngine(TARGET, stop_after=stop_after), plan=plan, flush_seconds=0.0)
    cut = ReadingStore.open(str(tmp_path / "cut"))
    assert cut.readings().height == stop_after
    assert not cut.complete
    engine = PlantedEngine(TARGET)
    resumed, result = run(tmp_path / "cut", engine, plan=plan)
    same(resumed, whole)
    assert result.present == stop_after
    assert engine.draws == 420 - stop_after
    assert engine.captures == (12 if activations == "none" else 0)


def test_a_finished_run_does_nothing_when_started_again(tmp_path: Path) -> None:
    run(tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*.*"))
    engine = PlantedEngine(TARGET)
    _, result = run(tmp_path, engine)
    assert (engine.captures, engine.draws, result.made) == (0, 0, 0)
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == before


def test_a_lane_added_later_needs_no_target(tmp_path: Path) -> None:
    run(tmp_path, plan=replace(PLAN, lanes=(Lane.MEASURED,)))
    engine = PlantedEngine(TARGET)
    store, result = run(tmp_path, engine, plan=replace(PLAN, lanes=(Lane.MEASURED, Lane.MEAN)))
    assert engine.captures == 0
    assert result.stops == {"closed": 120}
    assert set(store.readings()["lane"]) == {"measured", "mean"}


def test_another_plan_does_not_mix_into_a_store(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(StoreError, match="temperature"):
        run(tmp_path, plan=replace(PLAN, temperature=0.0))


BAD = {
    "no assistant turn": [ChatMessageUser(content="hello")],
    "an empty answer": [ChatMessageUser(content="hello"), ChatMessageAssistant(content="")],
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_transcript_is_one_error_row_and_the_run_goes_on(tmp_path: Path, what: str) -> None:
    store, result = run(tmp_path, transcripts=[*both_arms(), chat(999, messages=BAD[what])])
    errors = store.readings().filter(pl.col("stop") == "error")
    assert errors.select("transcript_id", "position", "lane").rows() == [("eval-999", -1, "measured")]
    assert "\n" not in errors["error"].item()
    assert result.stops == {"error": 1, "closed": 420}
    assert store.transcripts().filter(pl.col("transcript_id") == "eval-999")["planned_positions"].item() == 0


def test_a_failed_capture_is_one_error_row_and_can_be_retried(tmp_path: Path) -> None:
    bad = both_arms()[0]
    store, _ = run(tmp_path, PlantedEngine(TARGET, fails_on=frozenset({bad.digest})))
    failed = store.readings().filter(pl.col("transcript_digest") == bad.digest)
    assert failed.select("position", "error").rows() == [(-1, "planted failure")]
    engine = PlantedEngine(TARGET)
    run(tmp_path, engine)
    assert engine.draws == 0
    run(tmp_path, engine, retry_errors=True)
    mended = store.readings().filter(pl.col("transcript_digest") == bad.digest)
    assert mended.height == 40
    assert set(mended["stop"]) == {"closed"}


def test_an_activation_that_is_not_finite_is_an_error_row_in_its_lane_only(tmp_path: Path) -> None:
    bad = both_arms()[0]
    store, _ = run(tmp_path, PlantedEngine(TARGET, nan_on=frozenset({bad.digest})))
    errors = store.readings().filter(pl.col("stop") == "error")
    assert set(errors["transcript_digest"]) == {bad.digest}
    assert set(errors["lane"]) == {"measured"}
    assert errors["position"].n_unique() == 1
    assert "not finite" in errors["error"][0]


def test_truncated_draws_stay_in_the_store_unscored(tmp_path: Path) -> None:
    store, result = run(tmp_path, PlantedEngine(TARGET, truncated=0.3))
    truncated = store.readings().filter(pl.col("stop") == "truncated")
    assert truncated.height == result.stops["truncated"] > 50
    assert truncated["cos"].null_count() == truncated.height
    assert store.readings().height == 420


def test_what_lies_beyond_the_context_is_counted(tmp_path: Path) -> None:
    long = chat(7, messages=[ChatMessageUser(content="hi"), ChatMessageAssistant(content="word " * 400)])
    short = Instrument(ByteTarget(max_context=300), TinyPack())
    store, _ = run(tmp_path, transcripts=[*both_arms(), long], instrument=short)
    lost = store.readings().filter(pl.col("stop") == "out_of_context")
    assert lost.select("transcript_id", "position").rows() == [("eval-7", 300)]
    row = store.transcripts().filter(pl.col("transcript_id") == "eval-7").row(0, named=True)
    assert row["tokens"] == 300
    assert row["lost_tokens"] > 1500
    measured = store.readings().filter((pl.col("transcript_id") == "eval-7") & (pl.col("stop") == "closed"))
    assert measured["position"].max() < 300


def test_under_the_tail_window_the_last_turns_are_read_and_the_middle_is_counted(tmp_path: Path) -> None:
    said = ((ChatMessageUser(content=f"ask {n}"), ChatMessageAssistant(content=f"{n} word " * 20)) for n in range(9))
    turns = [message for turn in said for message in turn]
    short = Instrument(ByteTarget(max_context=600), TinyPack())
    plan = replace(PLAN, window="tail")
    store, _ = run(tmp_path, transcripts=[*both_arms(), chat(7, messages=turns)], plan=plan, instrument=short)
    row = store.transcripts().filter(pl.col("transcript_id") == "eval-7").row(0, named=True)
    assert row["replay_notes"] == ["cut_to_tail"]
    assert row["tokens"] <= 600
    readings = store.readings().filter(pl.col("transcript_id") == "eval-7")
    assert set(readings.filter(pl.col("stop") == "closed")["turn"]) <= {6, 7, 8}
    (lost,) = readings.filter(pl.col("stop") == "out_of_context")["error"]
    assert lost == f"{row['lost_tokens']} tokens beyond the target's context, left out of its middle"
    with pytest.raises(StoreError, match="window"):
        run(tmp_path, instrument=short)


def test_under_the_skip_window_a_longer_transcript_is_one_error(tmp_path: Path) -> None:
    long = chat(7, messages=[ChatMessageUser(content="hi"), ChatMessageAssistant(content="word " * 400)])
    short = Instrument(ByteTarget(max_context=300), TinyPack())
    plan = replace(PLAN, window="skip")
    store, _ = run(tmp_path, transcripts=[*both_arms(), long], plan=plan, instrument=short)
    (row,) = store.readings().filter(pl.col("transcript_id") == "eval-7").to_dicts()
    assert (row["position"], row["stop"]) == (-1, "error")
    assert "the target reads 300" in row["error"]


def test_an_unknown_window_is_refused() -> None:
    with pytest.raises(InputError, match="unknown window 'middle'; known: head, tail, skip"):
        ReadingPlan(window="middle")


def test_the_same_content_twice_is_read_once_and_said(tmp_path: Path) -> None:
    twin = both_arms()[0].model_copy(update={"id": "twin"})
    planned = plan_run([*both_arms(), twin], INSTRUMENT, PLAN)
    assert planned.duplicates == ("twin",)
    assert len(planned.prepared) == 12
    assert "1 duplicates left out" in planned.describe()


def test_the_cost_is_known_before_any_weights(tmp_path: Path) -> None:
    said = "60 positions x 2 draws: 120 measured + 60 donor + 120 gaussian + 120 no_injection = 420 readings"
    assert said in plan_run(both_arms(), INSTRUMENT, PLAN).describe()


def test_tokens_after_the_last_position_are_not_captured() -> None:
    for prepared in plan_run(both_arms(), INSTRUMENT, PLAN).prepared:
        assert len(prepared.token_ids) == prepared.positions[-1] + 1


def test_without_a_deployment_arm_the_other_lanes_are_read_and_the_absent_one_is_named() -> None:
    alone = plan_run([chat(1)], INSTRUMENT, PLAN)
    assert alone.absent == (Lane.DONOR,)
    assert alone.plan == replace(PLAN, lanes=tuple(lane for lane in PLAN.lanes if lane is not Lane.DONOR))
    assert plan_run(both_arms(), INSTRUMENT, PLAN).absent == ()


def test_a_slot_whose_family_holds_every_donor_gets_an_error_row(tmp_path: Path) -> None:
    asked = [chat(1, cue=True), chat(2, cue=True)]
    lender = chat(100, Arm.DEPLOYMENT).model_copy(update={"family": asked[0].family})
    store, _ = run(tmp_path, transcripts=[*asked, lender])
    donated = store.readings().filter(pl.col("lane") == "donor").select("transcript_id", "stop").unique().rows()
    assert sorted(donated) == [(asked[0].id, "error"), (asked[1].id, "closed")]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"draws": 0}, "draws"),
        ({"lanes": (Lane.DONOR,)}, "measured"),
        ({"positions": "every_third(2)"}, "every_third"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        replace(PLAN, **changes)


def test_what_was_said_comes_back_from_the_store(tmp_path: Path) -> None:
    said = [*both_arms(), chat(5, messages=[ChatMessageUser(content="a\ud800b"), ChatMessageAssistant(content="c")])]
    store = ReadingStore.create(str(tmp_path), INSTRUMENT.identity(PLAN))
    assert list(kept(said, store)) == said
    back = kept_messages(store)
    assert {d: content_digest(m) for d, m in back.items()} == {t.digest: t.digest for t in said}


def test_no_transcripts_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no transcripts"):
        plan_run([], INSTRUMENT, PLAN)


def test_faults_of_the_machine_and_the_pack_stop_the_run() -> None:
    assert transcript_fault(InputError("x"))
    assert transcript_fault(ValueError("x"))
    for err in (PackError("x"), StoreError("x"), RuntimeError("cuda"), OSError("disk"), MemoryError()):
        assert not transcript_fault(err)


def test_progress_reaches_the_total_of_each_stage(tmp_path: Path) -> None:
    events: list[Event] = []
    planned = plan_run(both_arms(), INSTRUMENT, PLAN, events.append)
    store = ReadingStore.create(str(tmp_path), planned.identity)
    read_in_process(planned, Workbench(lambda: PlantedEngine(TARGET), store, plain_scores), events.append)
    last = {event.stage: event for event in events}
    assert {stage: (e.done, e.total) for stage, e in last.items()} == {
        "replay": (12, 12),
        "capture": (12, 12),
        "verbalize": (420, 420),
    }
    assert Counter(e.stage for e in events)["verbalize"] == 420


def test_failed_readings_are_data() -> None:
    prepared = prepare(chat(1, messages=BAD["no assistant turn"]), INSTRUMENT, PLAN)
    (row,) = failed_readings(prepared, INSTRUMENT.identity(PLAN))
    assert (row.stop, row.position) == (StopReason.ERROR, -1)
    assert capture_stage(PlantedEngine(TARGET), [prepared])[0].error == row.error


def test_matched_minus_shuffled_ignores_who_shared_a_batch(tmp_path: Path) -> None:
    one, _ = run(tmp_path / "a", PlantedEngine(TARGET, batch=1))
    frame = one.readings().filter((pl.col("lane") == "measured") & (pl.col("draw") == 0))
    stored = one.activations()
    unit = {
        (digest, int(p)): row / np.linalg.norm(row)
        for digest, kept in stored.items()
        for p, row in zip(kept.positions, kept.activations, strict=True)
    }
    row = frame.row(0, named=True)
    text = next(iter(frame["explanation"]))
    reconstructed = PlantedEngine(TARGET).reconstruct([text])[0]
    reconstructed /= np.linalg.norm(reconstructed)
    key = (row["transcript_digest"], row["position"])
    others = [float(reconstructed @ v) for k, v in unit.items() if k != key]
    assert row["matched_minus_shuffled"] == pytest.approx(float(reconstructed @ unit[key]) - np.mean(others), abs=1e-5)
