"""The bench of faults sees what is lost, made twice or changed; its page is what its record gives; part of it runs."""

from __future__ import annotations

import gc
import json
import re
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from nla_eval.bench.crash_runs import FAULTS
from nla_eval.bench.crash_store import DAMAGE, Compared, compared
from nla_eval.bench.crashes import Bench, Reference, damaged, faulty, killed, object_store, together, told_to_stop
from nla_eval.bench.load import Load, chats, measured
from nla_eval.bench.planted import ByteTarget, PlantedEngine, TinyPack, plain_scores
from nla_eval.bench.reliability import PAGE, RECORD, SECTIONS, Situation, into_page, keep_load, soak_lines
from nla_eval.bench.soak import Round, rounds, summed
from nla_eval.errors import InputError
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.store.conversations import kept
from nla_eval.store.rows import SCHEMA
from nla_eval.store.store import ReadingStore
from nla_eval.tally.gather import gather
from tests.pipeline.test_reading import run

ROOT = Path(__file__).parents[1]


def test_the_page_is_the_one_that_the_record_gives() -> None:
    assert into_page(PAGE.read_text(), json.loads(RECORD.read_text())) == PAGE.read_text()


def test_nothing_was_lost_made_twice_or_changed() -> None:
    found = json.loads(RECORD.read_text())
    assert all(Situation(**row).held for row in found["crashes"]["situations"])
    assert not any(row["crashes"] for row in found.get("fuzz", {}).get("targets", ()))


def test_the_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE.read_text())
    assert len(named) > 3
    assert all((ROOT / name).exists() for name in named)


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(InputError, match="no place for 'crashes'"):
        into_page("# title", {})


def test_every_section_is_made_from_an_empty_record() -> None:
    page = "\n".join(f"<!-- {name} -->\n<!-- end of {name} -->" for name in SECTIONS)
    assert into_page(page, {}).count("Not measured yet.") == len(SECTIONS)


@pytest.fixture
def twins(tmp_path: Path) -> tuple[ReadingStore, ReadingStore]:
    return run(tmp_path / "one")[0], run(tmp_path / "two")[0]


def rewritten(store: ReadingStore, change: pl.Expr | None = None, rows: slice = slice(None)) -> ReadingStore:
    """The store with other readings in one part."""
    frame = store.readings()[rows]
    store.files.remove("readings", [part.name for part in store.files.parts("readings")])
    store.write_part("readings", frame if change is None else frame.with_columns(change))
    store.finish({})
    return store


def test_equal_stores_are_equal(twins: tuple[ReadingStore, ReadingStore]) -> None:
    one, two = twins
    assert compared(one, two, one.keys()) == Compared(0, 0, 0, 420)


def test_a_lost_reading_is_seen(twins: tuple[ReadingStore, ReadingStore]) -> None:
    one, two = twins
    before = one.keys()
    found = compared(rewritten(one, rows=slice(1, None)), two, before)
    assert (found.lost, found.wrong) == (2, 0), "it is not there, and it was"


def test_a_reading_made_twice_is_seen_unless_several_wrote(twins: tuple[ReadingStore, ReadingStore]) -> None:
    one, two = twins
    one.write_part("readings", one.readings()[:3])
    one.finish({})
    assert compared(one, two, set()).duplicated == 3
    assert compared(one, two, set(), once=False).duplicated == 0


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (pl.col("explanation") + "!", 420),
        (pl.lit("truncated").alias("stop"), 420),
        (pl.col("tokens") + 1, 420),
        (pl.col("activation_norm") + 1e-4, 300),
        (pl.col("activation_norm") + 1e-7, 0),
        (pl.lit(None, SCHEMA["activation_norm"]).alias("activation_norm"), 300),
    ],
)
def test_a_changed_reading_is_seen(twins: tuple[ReadingStore, ReadingStore], change: pl.Expr, wrong: int) -> None:
    one, two = twins
    assert compared(rewritten(one, change), two, set()).wrong == wrong


def test_a_situation_adds_up_and_holds_only_without_a_fault() -> None:
    found = Situation.of("x", [Compared(0, 0, 0, 4), Compared(0, 1, 0, 8, resumed=False)])
    assert (found.trials, found.duplicated, found.not_resumed, found.kept) == (2, 1, 1, 6.0)
    assert not found.held
    assert Situation.of("x", [Compared(0, 0, 0, 4)]).held


def test_load_takes_chats_from_the_source_to_the_report(tmp_path: Path) -> None:
    assert len({chat.digest for chat in chats(40)}) == 40
    found = measured(12, tmp_path)
    assert isinstance(found, Load)
    assert found.transcripts == 12
    assert (tmp_path / "report.html").is_file()


def test_a_load_measured_alone_leaves_the_others_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    for name, where in (("RECORD", record), ("PAGE", page)):
        monkeypatch.setattr(f"nla_eval.bench.reliability.{name}", where)
    row = {"plan": 1.0, "read": 1.0, "report": 1.0, "seconds": 3.0, "each": 1.0}
    told = {"found": "all done", "peak": 9.0}
    keep_load({"sizes": [row | {"transcripts": n, "peak": 1.0} for n in (3000, 10)], "others": {"one": told}})
    keep_load({"sizes": [row | {"transcripts": 3000, "peak": 2.0}], "others": {"two": told}})
    kept_now = json.loads(record.read_text())["load"]
    assert [(one["transcripts"], one["peak"]) for one in kept_now["sizes"]] == [(10, 1.0), (3000, 2.0)]
    assert kept_now["others"] == {"one": told, "two": told}
    assert page.read_text().count("all done") == 2


@pytest.mark.parametrize("leak", [0.0, 60.0])
def test_a_soak_tells_a_leak_from_pools_that_fill(leak: float) -> None:
    """Pools of 500 MB fill within five minutes; a leak adds `leak` MB an hour."""
    curve = [Round(s, 1000 + min(s, 300) / 300 * 500 + leak * s / 3600 + (-1) ** (s // 20)) for s in range(0, 3601, 20)]
    content = summed(curve, 1600.0)
    assert content["slope"] == pytest.approx(leak, abs=1)
    minutes, _, held, *_ = soak_lines(content)
    assert minutes == "| minute | 0 | 5 | 10 | 15 | 20 | 25 | 30 | 35 | 40 | 45 | 50 | 55 | 60 |"
    assert held.count("|") == minutes.count("|")


@pytest.mark.full
def test_rounds_of_a_soak_read_with_the_shipped_pack() -> None:
    one, *_ = rounds(1.0)
    assert one.resident > 100
    assert "+0.0 MB an hour" in soak_lines(summed([one], 1.0))[-1]


def test_little_is_kept_of_a_transcript_between_the_stages(tmp_path: Path) -> None:
    """Python's own memory, in bytes per short transcript; rows in frames come on top (docs/reliability.md)."""
    count, kept_of = 150, {}
    measured(4, tmp_path / "warm")  # so that imports and tokenizers belong to no transcript
    instrument, plan = Instrument(ByteTarget(), TinyPack()), ReadingPlan("uniform_response(2)", lanes=("measured",))
    store = ReadingStore.create(str(tmp_path / "store"), instrument.identity(plan))
    tracemalloc.start()
    try:
        planned = plan_run(kept(chats(count), store), instrument, plan)
        kept_of["plan"] = tracemalloc.get_traced_memory()[0]
        read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
        planned = None
        gc.collect()
        tracemalloc.clear_traces()
        gathered = gather([store.url])
        kept_of["gather"] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(gathered.messages) == count
    assert {stage: size / count < 6_000 for stage, size in kept_of.items()} == {"plan": True, "gather": True}, kept_of


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Reference]]:
    root = tmp_path_factory.mktemp("crashes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLA_EVAL_CACHE", str(root / "cache"))
        made = Bench(root)
        yield made, made.reference()


@pytest.mark.full
@pytest.mark.parametrize(("step", "moments"), [("read", 6), ("score", 6), ("report", 2)])
def test_a_kill_at_any_moment_costs_nothing_that_was_finished(
    bench: tuple[Bench, Reference], step: str, moments: int
) -> None:
    assert killed(*bench, step, moments, seed=1).held


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_loses_nothing_that_was_drawn(bench: tuple[Bench, Reference], number: signal.Signals) -> None:
    assert told_to_stop(*bench, number, 3, seed=1).held


@pytest.mark.full
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_next_run_goes_on(bench: tuple[Bench, Reference], fault: str) -> None:
    assert faulty(*bench, fault, 2).held


@pytest.mark.full
@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended(bench: tuple[Bench, Reference], what: str) -> None:
    assert damaged(*bench, what, 1, seed=1).held


@pytest.mark.full
def test_two_writers_of_the_same_readings_agree(bench: tuple[Bench, Reference]) -> None:
    assert together(*bench, 2, 1).held


@pytest.mark.full
def test_a_bucket_that_fails_one_request_in_ten_loses_nothing(bench: tuple[Bench, Reference]) -> None:
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'nla_eval[dev]'")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'nla_eval[s3]'")
    assert object_store(*bench, 1, seed=1).held
