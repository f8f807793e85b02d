"""The frames, checked, joined and sorted: what all counting starts from.

In: `Frames`. Out: `Verdicts`, with readings and positions by transcript number, turns apart by author, transcripts
without repeats, and what is odd about them as notes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..errors import InputError
from ..readings import KEY, StopReason
from ..store.rows import SCHEMA
from .frames import (
    TRANSCRIPT_COLUMNS,
    TURN_KEY,
    VERDICT_COLUMNS,
    Definitions,
    Frames,
    column,
    require,
)
from .joining import Joined, judged_readings
from .turns import judged_turns


@dataclass(frozen=True)
class Verdicts:
    """The frames, checked, joined and sorted. Aware columns are named by `column(headline)`."""

    frames: Frames
    readings: pl.DataFrame
    """`Joined.rows`: narrow; `texts` adds the rest of chosen rows."""
    positions: pl.DataFrame
    """One row per lane, t and position: draws, judged_r, decided_r, aware_r by headline (`aware_<headline>`), channel,
    donor (a transcript). Rows that stand for lost context or a failed transcript are no positions."""
    turns: pl.DataFrame
    """Parts of the turns that the target wrote. `repeat` marks a turn that counts in another transcript of its run."""
    recorded: pl.DataFrame
    """Parts of recorded words (assistant turns that the target did not write), each turn of a run once."""
    transcripts: pl.DataFrame
    """Transcripts without repeated content, sorted by arm, suite and id; `t` numbers their contents."""
    duplicates: dict[tuple[str, str], int]
    """(arm, suite) -> number of transcripts left out because they repeat another."""
    draws: dict[tuple[str, str, str], int]
    """(arm, suite, lane) -> explanations per position."""
    notes: list[str]

    def texts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some rows of `readings` with all columns of their reading, and labels and evidence of their judgement."""
        own = self.frames.readings[rows["row"].cast(pl.Int64).to_list()]
        verdict = self.frames.judgements.select("labels", "evidence")
        said = verdict.select(pl.all().gather(rows["verdict"])) if verdict.height else verdict.clear(rows.height)
        return pl.concat([rows, own.drop(*(c for c in own.columns if c in rows.columns)), said], how="horizontal")


def verdicts(frames: Frames, definitions: Definitions) -> Verdicts:
    """Check the frames and join them.

    Raises:
        InputError: A column is missing; judgements mix rubrics or classifiers, or conflict; readings mix packs,
            policies or seeds; or there is no transcript.
    """
    require(frames.readings, SCHEMA, "readings")
    require(frames.judgements, (*KEY, *VERDICT_COLUMNS), "judgements")
    require(frames.turns, (*TURN_KEY, *VERDICT_COLUMNS, "text"), "turns")
    require(frames.transcripts, TRANSCRIPT_COLUMNS, "transcripts")
    if frames.transcripts.is_empty():
        raise InputError("nothing to tally: the transcripts frame is empty; read at least one transcript first")
    _one_of_each(frames)
    best = frames.transcripts.sort(
        "arm", "suite", "transcript_id", "transcript_digest", "planned_positions", descending=[False] * 4 + [True]
    )
    transcripts = best.unique(["arm", "suite", "transcript_id", "transcript_digest"], keep="first", maintain_order=True)
    kept = transcripts.unique(["arm", "suite", "transcript_digest"], keep="first", maintain_order=True)
    numbers = kept.select(pl.col("transcript_digest").unique().sort()).with_row_index("t")
    kept = kept.join(numbers, on="transcript_digest", how="left", maintain_order="left")
    joined = judged_readings(frames, numbers, definitions)
    turns = judged_turns(frames.turns, kept, definitions)
    positions = _positions(joined.rows, definitions)
    return Verdicts(
        frames=frames,
        readings=joined.rows,
        positions=positions,
        turns=turns.filter("own").drop("own"),
        recorded=turns.filter(~pl.col("own") & ~pl.col("repeat")).drop("own", "repeat"),
        transcripts=kept,
        duplicates=_repeats(transcripts, kept, frames),
        draws=_draws(positions, kept),
        notes=_notes(frames, joined),
    )


def _positions(rows: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    placed = rows.lazy().filter((pl.col("stop") != StopReason.OUT_OF_CONTEXT.value) & (pl.col("position") >= 0))
    grouped = placed.group_by("lane", "t", "position").agg(
        pl.len().alias("draws"),
        pl.col("judged").sum().alias("judged_r"),
        pl.col("decided").sum().alias("decided_r"),
        *(pl.col(column(headline)).sum() for headline in definitions),
        pl.col("channel").first(),
        pl.col("donor").first().str.replace(r":-?\d+$", ""),
    )
    return grouped.sort("lane", "t", "position").collect()


def _draws(positions: pl.DataFrame, transcripts: pl.DataFrame) -> dict[tuple[str, str, str], int]:
    most = positions.group_by("lane", "t").agg(pl.col("draws").max())
    by_suite = most.join(transcripts.select("arm", "suite", "t"), on="t", how="inner")
    found = by_suite.group_by("arm", "suite", "lane").agg(pl.col("draws").max())
    return {(arm, suite, lane): int(draws) for arm, suite, lane, draws in found.iter_rows()}


def _one_of_each(frames: Frames) -> None:
    rubrics = sorted({*frames.judgements["rubric"].drop_nulls().unique(), *frames.turns["rubric"].drop_nulls()})
    if len(rubrics) > 1:
        raise InputError(f"judgements mix the rubrics {', '.join(rubrics)}; judge readings and turns again under one")
    for frame, name in ((frames.judgements, "readings"), (frames.turns, "turns")):
        judges = sorted(frame["classifier"].drop_nulls().unique())
        if len(judges) > 1:
            raise InputError(f"{name} are judged by {', '.join(judges)}; pass the judgements of one classifier")
    for what in ("pack", "policy", "seed"):
        found = sorted(frames.readings[what].drop_nulls().unique())
        if len(found) > 1:
            several = "policies" if what == "policy" else f"{what}s"
            raise InputError(
                f"readings mix the {several} {', '.join(map(str, found))}; tally one {what} at a time, or let "
                "make_tallies take logs and stores apart"
            )


def _repeats(rows: pl.DataFrame, kept: pl.DataFrame, frames: Frames) -> dict[tuple[str, str], int]:
    before = {(arm, suite): n for arm, suite, n in rows.group_by("arm", "suite").len().iter_rows()}
    after = {(arm, suite): n for arm, suite, n in kept.group_by("arm", "suite").len().iter_rows()}
    return {key: max(before[key] - after[key], frames.repeats.get(key, 0)) for key in sorted(before)}


def _notes(frames: Frames, joined: Joined) -> list[str]:
    notes = []
    if joined.foreign:
        notes.append(f"{joined.foreign} readings belong to no listed transcript and are left out.")
    if joined.unjudged:
        other = f" ({joined.other_text} of them have one of another text, which does not attach)"
        notes.append(
            f"{joined.unjudged} closed explanations have no judgement{other if joined.other_text else ''} and count as "
            "ERROR."
        )
    judges = (
        sorted(frames.judgements["classifier"].drop_nulls().unique()),
        sorted(frames.turns["classifier"].drop_nulls().unique()),
    )
    if all(judges) and judges[0] != judges[1]:
        notes.append(
            f"Explanations are judged by {judges[0][0]}, turns by {judges[1][0]}: N and V are not strictly paired."
        )
    return notes
