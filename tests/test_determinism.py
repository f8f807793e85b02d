"""The same inputs give the same numbers, however the work is cut up and in whatever order its rows lie in the store.

Drivers (one process, an Inspect task, Ray) are compared in `inspect_ext/test_one_driver.py`, processors in
`test_processors.py`."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nla_eval.commands.report import ReportRequest, make_tally, write_report
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.models.pack import Pack
from nla_eval.models.scores import Baselines, ar_scores
from nla_eval.models.target import Target
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.readings import Lane
from nla_eval.store.conversations import kept
from nla_eval.store.rows import KINDS
from nla_eval.store.store import ReadingStore
from nla_eval.transcript import Transcript
from tests.engines.tiny_pack import write_tiny_pack
from tests.fakes import PlantedEngine, both_arms, plain_scores
from tests.pipeline.test_reading import INSTRUMENT, PLAN

TOKENS = ["transcript_digest", "position", "lane", "draw", "explanation", "stop", "tokens", "donor", "error"]
NUMBERS = ["cos", "mse_nrm", "matched_minus_shuffled"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    return write_tiny_pack(tmp_path_factory.mktemp("tiny"))


def read(
    where: Path, pair: tuple[Target, Pack], transcripts: list[Transcript], batch_tokens: int, cut: int = 0
) -> pl.DataFrame:
    """Readings by a real engine in float32; with `cut`, in two runs, the first of which reads only so many."""
    import torch

    plan = ReadingPlan("uniform_response(2)", seed=5, lanes=(Lane.MEASURED, Lane.NO_INJECTION), max_new_tokens=12)
    instrument = Instrument(*pair)
    engine = TransformersEngine(*pair, EngineConfig(torch.float32, batch_tokens=batch_tokens))
    scorer = partial(ar_scores, baselines=Baselines(0.5))
    store = ReadingStore.create(str(where), instrument.identity(plan))
    for some in ([transcripts[:cut]] if cut else []) + [transcripts]:
        read_in_process(plan_run(kept(some, store), instrument, plan), Workbench(lambda: engine, store, scorer))
    return store.readings()


def test_batches_orders_and_stops_change_no_token_in_float32(tiny: tuple[Target, Pack], tmp_path: Path) -> None:
    chats = both_arms(3)
    expected = read(tmp_path / "plain", tiny, chats, 8192)
    assert expected["explanation"].n_unique() > 6, "explanations that are all alike would agree by themselves"
    for seed, (batch_tokens, cut) in enumerate([(120, 0), (700, 2), (8192, 4)]):
        shuffled = random.Random(seed).sample(chats, len(chats))
        found = read(tmp_path / str(seed), tiny, shuffled, batch_tokens, cut)
        assert_frame_equal(found.select(TOKENS), expected.select(TOKENS))
        whole = [name for name in NUMBERS if not cut or name != "matched_minus_shuffled"]
        assert_frame_equal(found.select(whole), expected.select(whole), abs_tol=1e-5, rel_tol=0)


@pytest.fixture(scope="module")
def planted_store(tmp_path_factory: pytest.TempPathFactory) -> ReadingStore:
    where = tmp_path_factory.mktemp("planted") / "store"
    store = ReadingStore.create(str(where), INSTRUMENT.identity(PLAN))
    planned = plan_run(kept(both_arms(), store), INSTRUMENT, PLAN)
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    return store


def scattered(store: ReadingStore, where: Path, rng: random.Random) -> ReadingStore:
    """The rows of `store` in another order, cut into other parts, some of them twice."""
    other = ReadingStore.create(str(where), store.identity)
    for kind in KINDS:
        frame = store.rows(kind, store.schema_of(kind))
        order = rng.sample(range(frame.height), frame.height)
        order += rng.sample(order, len(order) // 5)
        while order:
            size = rng.randint(1, max(1, len(order) // 2))
            other.write_part(kind, frame[order[:size]])
            order = order[size:]
    assert store.manifest is not None
    other.finish(store.manifest.provenance)
    return other


@pytest.mark.full
def test_rows_in_any_order_give_the_same_tally_and_bytes(
    planted_store: ReadingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nla_eval.commands.report.command", lambda: "nla-eval report store")

    def made(where: Path) -> list[bytes]:
        monkeypatch.chdir(where)
        found = make_tally(ReportRequest(("store",), "report.html", classifier="lexicon"))
        return [write_report(found, where / "report.html", kind).read_bytes() for kind in ("html", "json")]

    expected = made(Path(planted_store.url).parent)
    for seed in range(2):
        where = tmp_path / str(seed)
        where.mkdir()
        scattered(planted_store, where / "store", random.Random(seed))
        assert made(where) == expected


@pytest.mark.parametrize("seed", range(4))
def test_engines_batches_writes_and_orders_change_no_planted_reading(
    planted_store: ReadingStore, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    chats = rng.sample(both_arms(), 12)
    store = ReadingStore.create(str(tmp_path), INSTRUMENT.identity(PLAN))
    bench = Workbench(
        lambda: PlantedEngine(batch=rng.randint(1, 60)), store, plain_scores, flush_seconds=rng.choice((0.0, 0.01, 1e9))
    )
    half = replace(PLAN, draws=1)
    for plan in rng.choice(([PLAN], [half, PLAN])):
        read_in_process(plan_run(kept(chats, store), INSTRUMENT, plan), bench)
    assert_frame_equal(store.readings(), planted_store.readings(), abs_tol=1e-9, rel_tol=0)
    ours, theirs = store.activations(), planted_store.activations()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[d].activations, theirs[d].activations) for d in ours)
