"""Explanations and AR scores, made together or separately, give the same store; nothing is drawn twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from nla_eval.errors import StoreError
from nla_eval.models.scores import normalised
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run
from nla_eval.pipeline.reading import ReadResult, Scores, Workbench, read_in_process
from nla_eval.pipeline.stages import ShuffleReference
from nla_eval.readings import Lane
from nla_eval.store.store import ReadingStore
from nla_eval.transcript import Arm, Transcript
from tests.fakes import PlantedEngine, TinyPack, both_arms, chat, plain_scores
from tests.pipeline.test_reading import INSTRUMENT, PLAN, TARGET, same

SCORES = ["cos", "mse_nrm", "fve_nrm", "fve_meannorm", "matched_minus_shuffled"]


@dataclass
class Counting(PlantedEngine):
    """A planted engine that counts what the AR was given, and may lack an AR that works."""

    reconstructed: int = 0
    broken: bool = False

    def reconstruct(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.broken:
            raise RuntimeError("planted: the AR does not run")
        self.reconstructed += len(texts)
        return super().reconstruct(texts)


def run(
    where: Path,
    engine: PlantedEngine,
    scores: Scores = Scores.NEW,
    *,
    transcripts: Sequence[Transcript] | None = None,
    plan: ReadingPlan = PLAN,
    instrument: Instrument = INSTRUMENT,
) -> tuple[ReadingStore, ReadResult]:
    planned = plan_run(transcripts or both_arms(), instrument, plan)
    store = ReadingStore.create(str(where), planned.identity)
    bench = Workbench(lambda: engine, store, plain_scores, flush_seconds=0.1)
    return store, read_in_process(planned, bench, scores=scores)


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_the_reference_of_a_run_does_not_depend_on_how_many_rows_are_copied_at_a_time(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    activations = list(np.random.default_rng(0).standard_normal((25, 8)).astype(np.float32))
    monkeypatch.setattr("nla_eval.pipeline.stages._ROWS", rows)
    found = ShuffleReference.of(activations)
    assert found is not None
    assert found.count == 25
    assert np.array_equal(found.unit_sum, normalised(np.stack(activations)).sum(axis=0))


def test_readings_without_scores_need_no_reconstructor(tmp_path: Path) -> None:
    store, result = run(tmp_path, Counting(TARGET, broken=True), Scores.NONE)
    assert result.stops == {"closed": 420}
    assert store.complete
    for name in SCORES:
        assert store.readings()[name].null_count() == 420


@pytest.mark.parametrize("activations", ["float32", "float16", "bfloat16", "none"])
def test_scores_filled_in_later_are_those_of_one_run(tmp_path: Path, activations: str) -> None:
    plan = replace(PLAN, activations=activations)
    whole, _ = run(tmp_path / "whole", Counting(TARGET), plan=plan)
    run(tmp_path / "apart", Counting(TARGET), Scores.NONE, plan=plan)
    engine = Counting(TARGET)
    store, result = run(tmp_path / "apart", engine, Scores.MISSING, plan=plan)
    same(store, whole)
    assert (engine.draws, engine.reconstructed, result.rescored, result.made) == (0, 300, 300, 0)
    assert engine.captures == (12 if activations == "none" else 0)
    assert store.complete
    again = Counting(TARGET)
    _, result = run(tmp_path / "apart", again, Scores.MISSING, plan=plan)
    assert (again.draws, again.reconstructed, again.captures, result.rescored) == (0, 0, 0, 0)


def test_only_what_lacks_scores_is_scored_again(tmp_path: Path) -> None:
    measured = replace(PLAN, lanes=(Lane.MEASURED,))
    run(tmp_path, Counting(TARGET), Scores.NONE, plan=measured)
    run(tmp_path, Counting(TARGET), Scores.NEW)
    frame = ReadingStore.open(str(tmp_path)).readings()
    lacking = frame.filter(pl.col("cos").is_null() & (pl.col("lane") != "no_injection"))
    assert lacking["lane"].unique().to_list() == ["measured"]
    engine = Counting(TARGET)
    store, result = run(tmp_path, engine, Scores.MISSING)
    assert engine.reconstructed == result.rescored == lacking.height == 120
    whole, _ = run(tmp_path / "whole", Counting(TARGET))
    same(store, whole)


def test_a_run_whose_reconstructor_fails_keeps_what_is_finished(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the AR does not run"):
        run(tmp_path, Counting(TARGET, broken=True))
    store = ReadingStore.open(str(tmp_path))
    assert len(store.activations()) == 12
    assert not store.complete
    run(tmp_path, Counting(TARGET, broken=True), Scores.NONE)
    store, result = run(tmp_path, Counting(TARGET), Scores.MISSING)
    assert result.rescored == 300
    whole, _ = run(tmp_path / "whole", Counting(TARGET))
    same(store, whole)


def test_an_explanation_is_not_scored_against_another_stand_in(tmp_path: Path) -> None:
    """New deployment transcripts change who lends to whom; the old donor's explanation stays unscored."""
    run(tmp_path, Counting(TARGET), Scores.NONE)
    more = [*both_arms(), *(chat(200 + i, Arm.DEPLOYMENT) for i in range(6))]
    store, result = run(tmp_path, Counting(TARGET), Scores.MISSING, transcripts=more)
    frame = store.readings()
    assert frame.filter(pl.col("lane") == "measured")["cos"].null_count() == 0
    unscored = frame.filter(pl.col("cos").is_null() & (pl.col("lane") != "no_injection"))
    assert set(unscored["lane"]) <= {"donor", "gaussian"}
    assert result.unscorable == unscored.height > 0
    assert frame["cos"].drop_nulls().min() > 0.99


def test_a_changed_reconstructor_is_another_pack_and_refused(tmp_path: Path) -> None:
    run(tmp_path, Counting(TARGET), Scores.NONE)
    with pytest.raises(StoreError, match="made with pack 'planted@1', this run has 'planted@2'"):
        run(tmp_path, Counting(TARGET), Scores.MISSING, instrument=Instrument(TARGET, TinyPack(id="planted@2")))


def test_a_run_says_what_its_time_went_into(tmp_path: Path) -> None:
    _, result = run(tmp_path, Counting(TARGET))
    tokens = sum(len(p.token_ids) for p in plan_run(both_arms(), INSTRUMENT, PLAN).prepared)
    assert (result.spent.captured_tokens, result.spent.drawn) == (tokens, 420)
    assert result.spent.capture_seconds > 0
    assert result.spent.draw_seconds > 0
    _, again = run(tmp_path, Counting(TARGET))
    assert (again.spent.captured_tokens, again.spent.drawn) == (0, 0)
