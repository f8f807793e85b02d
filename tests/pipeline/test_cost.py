"""The cost of a run is shown before weights are loaded, from the plan, the store's content and remembered rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nla_eval.pipeline.cost import Rates, Setting, bytes_line, expected, plan_table, remember, remembered, work_of
from nla_eval.pipeline.plan import PlannedRun, ReadingPlan, plan_run
from nla_eval.pipeline.reading import Spent, Workbench, read_in_process
from nla_eval.store.store import ReadingStore
from tests.fakes import PlantedEngine, both_arms, plain_scores
from tests.pipeline.test_reading import INSTRUMENT, PLAN, TARGET

SETTING = Setting("t0", "tiny@1", "transformers", "float32", 2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def planned(plan: ReadingPlan = PLAN) -> PlannedRun:
    return plan_run(both_arms(), INSTRUMENT, plan)


def stopped_after(where: Path, draws: int | None, plan: ReadingPlan = PLAN) -> ReadingStore:
    """A store whose run was stopped after so many draws."""
    run = planned(plan)
    store = ReadingStore.create(str(where), run.identity)
    bench = Workbench(lambda: PlantedEngine(TARGET, stop_after=draws), store, plain_scores, flush_seconds=0.0)
    try:
        read_in_process(run, bench)
    except KeyboardInterrupt:
        assert draws is not None
    return store


def test_a_first_run_captures_and_draws_everything() -> None:
    run = planned()
    work = work_of(run, None)
    assert work.tokens == sum(len(p.token_ids) for p in run.prepared)
    assert (work.readings, work.present) == (420, 0)
    assert work.activation_bytes == 60 * 8 * 4


@pytest.mark.parametrize(("activations", "width"), [("float32", 4), ("float16", 2), ("bfloat16", 2), ("none", 0)])
def test_activations_take_their_width(activations: str, width: int) -> None:
    assert work_of(planned(replace(PLAN, activations=activations)), None).activation_bytes == 60 * 8 * width


def test_a_stopped_run_costs_what_is_left(tmp_path: Path) -> None:
    work = work_of(planned(), stopped_after(tmp_path, 130))
    assert (work.tokens, work.readings, work.present, work.activation_bytes) == (0, 290, 130, 0)


def test_without_stored_activations_all_is_captured_again(tmp_path: Path) -> None:
    plan = replace(PLAN, activations="none")
    run = planned(plan)
    assert work_of(run, stopped_after(tmp_path, 130, plan)).tokens == work_of(run, None).tokens


def test_a_finished_run_costs_nothing(tmp_path: Path) -> None:
    work = work_of(planned(), stopped_after(tmp_path, None))
    assert (work.tokens, work.readings, work.reading_bytes, work.message_bytes) == (0, 0, 0, 0)
    assert expected(work, None) == "none: every planned reading is in the store"


def test_the_bytes_told_bound_the_rows_written(tmp_path: Path) -> None:
    run = planned(replace(PLAN, max_new_tokens=20))
    work = work_of(run, None)
    store = stopped_after(tmp_path, None, run.plan)
    rows = store.readings()
    assert rows["explanation"].str.len_bytes().max() <= 20 * 5
    assert rows.estimated_size() <= work.reading_bytes <= 2 * rows.estimated_size()


def test_time_is_work_over_remembered_rates() -> None:
    remember(SETTING, Spent(4.0, 6000, 3.0, 96, 48.0))
    rates = remembered(SETTING)
    assert rates is not None
    assert (rates.tokens_per_second, rates.readings_per_second) == (2000.0, 2.0)
    work = replace(work_of(planned(), None), tokens=20_000, readings=120)
    told = expected(work, rates)
    assert told.startswith("about 1 min 14 s: load 4 s, capture 10 s, verbalize 1 min 0 s at 2 readings/s")
    assert rates.day in told


def test_without_a_run_like_it_no_time_is_told() -> None:
    remember(SETTING, Spent(4.0, 6000, 3.0, 96, 48.0))
    for name, value in (("target", "t1"), ("pack", "o@2"), ("dtype", "bfloat16"), ("threads", 1), ("engine", "vllm")):
        assert remembered(replace(SETTING, **{name: value})) is None
    work = work_of(planned(), None)
    assert "no run on this machine yet" in expected(work, None)
    assert "no run on this machine yet" in expected(work, Rates(readings_per_second=3.0))
    assert expected(replace(work, tokens=0), Rates(readings_per_second=42.0)).startswith("about 10 s")


def test_a_stage_too_short_to_tell_keeps_its_rate() -> None:
    remember(SETTING, Spent(4.0, 6000, 3.0, 96, 48.0))
    remember(SETTING, Spent(9.0, 100, 0.5, 0, 0.0))
    assert remembered(SETTING) == replace_day(Rates(load_seconds=4, tokens_per_second=2000, readings_per_second=2))
    remember(SETTING, Spent(5.0, 0, 0.0, 30, 10.0))
    assert remembered(SETTING) == replace_day(Rates(load_seconds=5, tokens_per_second=2000, readings_per_second=3))


def replace_day(rates: Rates) -> Rates:
    now = remembered(SETTING)
    assert now is not None
    return rates.model_copy(update={"day": now.day})


@pytest.mark.parametrize("text", ["{", "[]", '{"t0|tiny@1|transformers|float32|2": {"readings_per_second": "x"}}'])
def test_a_spoilt_file_of_rates_is_as_good_as_none(cache: Path, text: str) -> None:
    cache.mkdir(parents=True)
    (cache / "rates.json").write_text(text)
    assert remembered(SETTING) is None
    remember(SETTING, Spent(4.0, 6000, 3.0, 96, 48.0))
    assert remembered(SETTING) is not None


def test_the_plan_is_a_line_for_each_thing() -> None:
    run = planned()
    table = plan_table(run, work_of(run, None), None)
    assert [line.split()[0] for line in table.splitlines()] == [
        "transcripts", "positions", "capture", "draws", "time", "store"
    ]  # fmt: skip
    assert "12 (6 deployment, 6 evaluation)" in table
    assert "60 by uniform_response(5)" in table
    assert (
        "60 positions x 2 draws: 120 measured + 60 donor + 120 gaussian + 120 no_injection = 420 readings; "
        "0 are there, 420 to draw" in table
    )
    assert "activations (float32) 1.92 kB" in bytes_line(run, work_of(run, None))
