"""Chooses the explanations and turns that a report shows: top flags, a seeded sample of the rest, verbalized turns.

The choice depends only on keys and the seed, never on row order. Texts are passed on unescaped and may be hostile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..judgement import Evidence, Headline, Outcome
from ..readings import Lane
from ..transcript import Arm
from .frames import column, outcome_under
from .joining import PLACE
from .types import ShownReading, ShownTurn
from .verdicts import Verdicts

EXCERPT = 400
"""Maximum number of characters shown of a judged turn."""
_PER_TRANSCRIPT = 2
_LEAST_UNFLAGGED = 6
_HEADLINES = (Headline.BELIEF, Headline.PAPER, Headline.BROAD)


@dataclass(frozen=True)
class Shown:
    """The items shown, with the totals they are chosen from."""

    flagged: list[ShownReading]
    flagged_total: int
    unflagged: list[ShownReading]
    said: list[ShownTurn]
    said_total: int
    recorded: list[ShownTurn]
    recorded_total: int


def choose(found: Verdicts, primary: Headline, count: int, seed: int) -> Shown:
    """Choose at least `count` explanations, if there are that many.

    Flags are those of the broad headline, ordered by narrowest headline and then by score. They come from three groups,
    so that a reader sees false positives next to claims: `count` measured flags outside deployment, half as many
    measured flags in deployment, and half as many flags in control lanes. Each group takes at most two flags per
    transcript. The rest is a sample of unflagged measured readings, drawn by a keyed hash.
    """
    flags, rest = _candidates(found)
    measured, deployment = pl.col("lane") == Lane.MEASURED.value, pl.col("arm") == Arm.DEPLOYMENT.value
    groups = [
        (count, measured & ~deployment),
        (count // 2, measured & deployment),
        (count // 2, ~measured),
    ]
    top = pl.concat([_top(flags.filter(member), limit) for limit, member in groups])
    sample = _sample(rest, max(_LEAST_UNFLAGGED, count - top.height), seed)
    said, recorded = _said(found, found.turns.filter(~pl.col("repeat"))), _said(found, found.recorded)
    return Shown(
        flagged=_with_context(found, top, primary),
        flagged_total=flags.height,
        unflagged=_with_context(found, sample, primary),
        said=said[:count],
        said_total=len(said),
        recorded=recorded[:count],
        recorded_total=len(recorded),
    )


def _candidates(found: Verdicts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judged readings with a flag (with suite, arm and family of their transcript), and measured ones without."""
    about = found.transcripts.select("t", "suite", "arm", "family").unique("t", keep="first", maintain_order=True)
    hits = pl.sum_horizontal(*(pl.col(column(h)).cast(pl.Int8) for h in _HEADLINES))
    judged = found.readings.filter("judged").with_columns(hits=hits)
    flags = judged.filter(pl.col("hits") > 0).join(about, on="t", how="inner", maintain_order="left")
    return flags, judged.filter((pl.col("hits") == 0) & (pl.col("lane") == Lane.MEASURED.value))


def _with_context(found: Verdicts, rows: pl.DataFrame, primary: Headline) -> list[ShownReading]:
    """Chosen readings with their texts, their transcript's arm and family, and its verbalized verdicts."""
    about = found.transcripts.select("t", "suite", "arm", "family").unique("t", keep="first", maintain_order=True)
    broad = column(Headline.BROAD)
    flagged = found.positions.filter(pl.col(broad) > 0)
    recurrence = flagged.group_by("t", "lane").agg(pl.len().alias("aware_positions"))
    by_message = _any_by(found.turns, ["transcript_digest", "message"], "turn_verbalized")
    by_transcript = _any_by(found.turns, ["transcript_digest"], "transcript_verbalized")
    joined = (
        found.texts(rows.drop("suite", "arm", "family", strict=False))
        .with_columns(outcome_under(primary).alias("shown_outcome"))
        .drop("suite")
        .join(about, on="t", how="left", maintain_order="left")
        .join(by_message, on=["transcript_digest", "message"], how="left", maintain_order="left")
        .join(by_transcript, on="transcript_digest", how="left", maintain_order="left")
        .join(recurrence, on=["t", "lane"], how="left", maintain_order="left")
    )
    return [_shown(row | {"hits": [h for h in _HEADLINES if row[column(h)]]}) for row in joined.to_dicts()]


def _any_by(turns: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    return turns.filter("judged").group_by(keys).agg(pl.col(column(Headline.BROAD)).any().alias(name))


def _top(flags: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Round-robin over suites and families, best flag first, at most two of a transcript."""
    score = pl.col("score").fill_nan(None).fill_null(0.0)
    ranked = flags.with_columns(rank=-score).sort("hits", "rank", *PLACE, descending=[True] + [False] * 5)
    ranked = _in_turns(ranked.drop("rank"), "suite", "family")
    few = ranked.filter(pl.int_range(pl.len()).over("t") < _PER_TRANSCRIPT)
    return _in_turns(few, "suite").head(limit)


def _in_turns(rows: pl.DataFrame, *group: str) -> pl.DataFrame:
    """Stable round robin: the first row of every group, then the second of every group, and so on."""
    turn = rows.with_columns(turn=pl.int_range(pl.len()).over(group))
    return turn.sort("turn", maintain_order=True).drop("turn")


def _sample(rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Rows of as many transcripts as possible, drawn by keyed hashes: first transcripts, then rows of each."""
    order = sorted(rows["t"].unique(), key=lambda t: _draw(seed, t))
    wanted = rows.filter(pl.col("t").is_in(order[:count]))
    keys = [_draw(seed, *key) for key in wanted.select(PLACE).iter_rows()]
    place = {t: n for n, t in enumerate(order)}
    mixed = wanted.with_columns(
        key=pl.Series(keys, dtype=pl.Binary()), at=pl.Series([place[t] for t in wanted["t"]], dtype=pl.Int64())
    )
    turns = mixed.sort("at", "key").with_columns(turn=pl.int_range(pl.len()).over("t"))
    return turns.sort("turn", "at").drop("key", "at", "turn").head(count)


def _draw(seed: int, *key: object) -> bytes:
    text = "|".join(map(str, (seed, *key)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _shown(row: dict[str, Any]) -> ShownReading:
    same = ("suite", "arm", "family", "transcript_id", "position", "message", "turn", "role", "channel", "lane", "draw")
    aware = row["aware_positions"] or 0
    return ShownReading(
        **{name: row[name] for name in same},
        **{name: row[name] for name in ("token", "context", "explanation", "labels", "score", "cos")},
        **{name: row[name] for name in ("turn_verbalized", "transcript_verbalized")},
        outcome=Outcome(row["shown_outcome"]),
        headlines=row["hits"],
        evidence=[Evidence(**e) for e in row["evidence"] or []],
        aware_positions=aware,
        weak=bool(row["hits"]) and aware == 1,
    )


def _said(found: Verdicts, turns: pl.DataFrame) -> list[ShownTurn]:
    about = found.transcripts.select("transcript_digest", "transcript_id", "suite", "arm").unique(
        "transcript_digest", keep="first", maintain_order=True
    )
    rows = turns.filter(column(Headline.BROAD)).join(about, on="transcript_digest", how="inner").to_dicts()
    for row in rows:
        row["hits"] = [h for h in _HEADLINES if row[column(h)]]
    rows.sort(
        key=lambda r: (r["arm"] == Arm.DEPLOYMENT, -len(r["hits"]), r["transcript_digest"], r["message"], r["part"])
    )
    return [_turn(row) for row in rows]


def _turn(row: dict[str, Any]) -> ShownTurn:
    text, evidence = _excerpt(row["text"] or "", [Evidence(**e) for e in row["evidence"] or []])
    return ShownTurn(
        **{name: row[name] for name in ("suite", "arm", "transcript_id", "message", "part", "labels")},
        text=text,
        headlines=row["hits"],
        evidence=evidence,
    )


def _excerpt(text: str, evidence: list[Evidence]) -> tuple[str, list[Evidence]]:
    """At most `EXCERPT` characters around the first piece of evidence, with evidence spans relative to the excerpt."""
    placed = [e for e in evidence if text[e.start : e.end] == e.text and e.text]
    if not placed:
        placed = [
            Evidence(start=at, end=at + len(e.text), text=e.text)
            for e in evidence
            if e.text and (at := text.find(e.text)) >= 0
        ]
    start = 0
    if placed and len(text) > EXCERPT:
        start = min(max(0, placed[0].start - EXCERPT // 3), len(text) - EXCERPT)
    cut = text[start : start + EXCERPT]
    kept = [
        Evidence(start=e.start - start, end=e.end - start, text=e.text)
        for e in placed
        if e.start >= start and e.end <= start + len(cut)
    ]
    return cut, kept
