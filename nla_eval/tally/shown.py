"""Chooses the explanations and turns that a report shows: top flags, a seeded sample of the rest, verbalized turns.

The choice depends only on keys and the seed, never on row order. Texts are passed on unescaped and may be hostile."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..judgement import Evidence, Headline, Outcome
from ..readings import KEY, Lane
from ..transcript import Arm
from .frames import Verdicts, column, outcome_under
from .types import ShownReading, ShownTurn

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
    judged = found.readings.filter("judged")
    flags = _with_context(found, primary, judged.filter(pl.any_horizontal(_aware())))
    groups: list[tuple[int, Callable[[dict[str, Any]], bool]]] = [
        (count, lambda r: r["lane"] == Lane.MEASURED and r["arm"] != Arm.DEPLOYMENT),
        (count // 2, lambda r: r["lane"] == Lane.MEASURED and r["arm"] == Arm.DEPLOYMENT),
        (count // 2, lambda r: r["lane"] != Lane.MEASURED),
    ]
    flagged = [r for limit, member in groups for r in _top([f for f in flags if member(f)], limit)]
    quiet = judged.filter(~pl.any_horizontal(_aware()) & (pl.col("lane") == Lane.MEASURED.value))
    wanted = max(_LEAST_UNFLAGGED, count - len(flagged))
    sample = _with_context(found, primary, _sample(found, quiet, wanted, seed))
    sample.sort(key=lambda r: _draw(r, seed))
    said, recorded = _said(found, found.turns.filter(~pl.col("repeat"))), _said(found, found.recorded)
    return Shown(
        flagged=[_shown(r) for r in flagged],
        flagged_total=len(flags),
        unflagged=[_shown(r) for r in sample],
        said=said[:count],
        said_total=len(said),
        recorded=recorded[:count],
        recorded_total=len(recorded),
    )


def _aware() -> list[pl.Expr]:
    return [pl.col(column(headline)) for headline in _HEADLINES]


def _sample(found: Verdicts, rows: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """The `count` rows that come first by keyed hash. Only keys become Python values: rows may be many."""
    known = rows.filter(pl.col("transcript_digest").is_in(found.transcripts["transcript_digest"].implode()))
    keys = known.select(KEY)
    ranked = sorted(range(keys.height), key=[_draw(key, seed) for key in keys.iter_rows(named=True)].__getitem__)
    return known[ranked[:count]]


def _with_context(found: Verdicts, primary: Headline, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Judged readings as dicts, joined with their transcript's arm and family and with its verbalized verdicts."""
    about = found.transcripts.select("transcript_digest", "suite", "arm", "family").unique(
        "transcript_digest", keep="first", maintain_order=True
    )
    broad = column(Headline.BROAD)
    by_message = _any_by(found.turns, ["transcript_digest", "message"], "turn_verbalized")
    by_transcript = _any_by(found.turns, ["transcript_digest"], "transcript_verbalized")
    recurrence = (
        found.readings.filter(broad)
        .group_by("transcript_digest", "lane")
        .agg(pl.col("position").n_unique().alias("aware_positions"))
    )
    joined = (
        rows.with_columns(outcome_under(primary).alias("shown_outcome"))
        .drop("suite")
        .join(about, on="transcript_digest", how="inner")
        .join(by_message, on=["transcript_digest", "message"], how="left")
        .join(by_transcript, on="transcript_digest", how="left")
        .join(recurrence, on=["transcript_digest", "lane"], how="left")
        .sort(KEY)
    )
    return [row | {"hits": [h for h in _HEADLINES if row[column(h)]]} for row in joined.to_dicts()]


def _any_by(turns: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    return turns.filter("judged").group_by(keys).agg(pl.col(column(Headline.BROAD)).any().alias(name))


def _top(flags: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Round-robin over suites and families, best flag first."""
    ranked = sorted(flags, key=lambda r: (-len(r["hits"]), -(r["score"] or 0.0), *(r[k] for k in KEY)))
    ranked = _in_turns(ranked, ("suite", "family"))
    seen: Counter[str] = Counter()
    few = []
    for row in ranked:
        seen[row["transcript_digest"]] += 1
        if seen[row["transcript_digest"]] <= _PER_TRANSCRIPT:
            few.append(row)
    return _in_turns(few, ("suite",))[:limit]


def _in_turns(rows: list[dict[str, Any]], group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Stable round robin: the first row of every group, then the second of every group, and so on."""
    seen: Counter[tuple[str, ...]] = Counter()
    turns = []
    for row in rows:
        key = tuple(row[name] for name in group)
        turns.append(seen[key])
        seen[key] += 1
    return [row for _, row in sorted(zip(turns, rows, strict=True), key=lambda pair: pair[0])]


def _draw(row: dict[str, Any], seed: int) -> bytes:
    key = "|".join(str(row[k]) for k in KEY)
    return hashlib.blake2b(f"{seed}|{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


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
