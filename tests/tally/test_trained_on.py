"""No rate counts a transcript that the pack was trained on: it is marked when read, left out and counted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.errors import InputError
from nla_eval.models.trained_on import shared_with
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.stats.interval import Resampling
from nla_eval.store.store import ReadingStore
from nla_eval.tally.browse import browse
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import TallyOptions, counted_in, tally, tally_of
from nla_eval.tally.trained_on import without_trained_on
from nla_eval.tally.units import lane_units
from nla_eval.tally.where import where
from tests.fakes import ByteTarget, PlantedEngine, TinyPack, both_arms, plain_scores

QUICK = TallyOptions(how=Resampling(resamples=100))
PLAN = ReadingPlan(positions="uniform_response(2)", lanes="measured")


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("known", "shared"),
    [
        (frozenset(), None),
        (frozenset({"0" * 16}), None),
        (frozenset({hash_of("f")}), "family"),
        (frozenset({"d" * 16}), "content"),
        (frozenset({hash_of("f"), "d" * 16}), "content"),
    ],
)
def test_a_transcript_is_known_by_its_family_or_its_content(known: frozenset[str], shared: str | None) -> None:
    assert shared_with(known, "f", "d" * 64) == shared


def test_it_is_marked_in_the_store_and_counted_in_plan_and_manifest(tmp_path: Path) -> None:
    transcripts = list(both_arms())
    pack = TinyPack(training_hashes=frozenset({transcripts[0].digest[:16]}))
    planned = plan_run(transcripts, Instrument(ByteTarget(), pack), PLAN)
    assert "1 the pack was trained on, left out of rates" in planned.describe()
    store = ReadingStore.create(str(tmp_path), planned.identity)
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    marks = dict(store.transcripts().select("transcript_digest", "trained_on").iter_rows())
    assert marks == {t.digest: "content" if t is transcripts[0] else None for t in transcripts}
    assert store.manifest is not None
    assert store.manifest.provenance["trained_on"] == "1"


def marked(frames: Frames, count: int) -> Frames:
    first = pl.int_range(pl.len()) < count
    return replace(
        frames,
        transcripts=frames.transcripts.with_columns(trained_on=pl.when(first).then(pl.lit("family"))),
    )


def test_rates_are_those_of_the_frames_without_it_and_the_note_says_how_many() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 8, 2, aware=0.5), Arm("chat", "deployment", 8, 2, aware=0.0)])
    found = tally(marked(frames, 6), QUICK)
    rest = frames.transcripts["transcript_digest"][6:].implode()
    without = replace(
        frames,
        **{
            name: getattr(frames, name).filter(pl.col("transcript_digest").is_in(rest))
            for name in ("transcripts", "readings", "judgements", "turns")
        },
    )
    assert found.suites == tally(without, QUICK).suites
    assert found.trained_on == {"exam": 6}
    assert "6 transcripts are left out (6 of exam): the pack was trained on them." in found.notes


def test_frames_of_older_stores_are_used_as_they_are() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 2, 2, aware=0.5)])
    assert without_trained_on(frames) == (frames, {})
    assert tally(marked(frames, 0), QUICK).trained_on == {}


def test_where_nothing_is_left_it_says_why() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 2, 2, aware=0.5)])
    with pytest.raises(InputError, match="the pack was trained on all 4 transcripts"):
        tally(marked(frames, 4), QUICK)


def test_what_describes_a_tally_leaves_them_out_too() -> None:
    """Cuts and the transcripts of a report are of what is counted."""
    frames = marked(planted_frames([Arm("exam", "evaluation", 10, 2, 0.9)]), 5)
    of = counted_in(frames, QUICK)
    assert browse(of.found, {}).total == 15
    assert sum(cut.judged for cut in where(of.found, QUICK.primary, QUICK.how).channel) == sum(
        unit.judged_positions for unit in lane_units(of.found, "measured", QUICK.primary, QUICK.judged_share)
    )
    assert tally_of(of, QUICK) == tally(frames, QUICK)
