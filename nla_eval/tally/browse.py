"""Chooses the transcripts that a report can open, and joins each with its messages, readings and verdicts.

The choice depends only on keys and the seed, never on row order. False alarms are chosen like claims: whatever is
flagged, measured or said, in any arm, comes first; then as many matched transcripts without a flag; then a sample."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool

from ..judgement import JUDGED_SHARE, Evidence, Headline, Outcome
from ..judging.turns import turn_texts
from ..readings import KEY, LANES, Lane
from ..transcript import CUT, Arm, Author, content_parts
from .browsed import (
    Browse,
    BrowsedMessage,
    BrowsedPart,
    BrowsedPosition,
    BrowsedReading,
    BrowsedTranscript,
    LoggedSample,
    Why,
)
from .frames import column, outcome_under
from .placing import place
from .units import lane_units, spoken
from .verdicts import Verdicts
from .viewer import viewer_address

TRANSCRIPTS = 200
"""Default number of transcripts in a report."""
DOZEN = 12
"""Unflagged positions of each transcript, where not all fit."""
EVERY_READING = 6000
"""Up to so many readings of the chosen transcripts, all are in the report."""
_HEADLINES = (Headline.BELIEF, Headline.PAPER, Headline.BROAD)
_PARTS = {"thinking": "thinking", "tool_call": "tool_call"}
"""Kind of the message part that a reading's channel stands in; "text" for all others."""
_LANES = [lane.value for lane in LANES]


@dataclass(frozen=True)
class _Row:
    """A transcript as it is chosen."""

    digest: str
    suite: str
    arm: str
    family: str
    flagged: bool
    index: int
    """Row number in `found.transcripts`."""


@dataclass(frozen=True)
class BrowseOptions:
    """How transcripts are chosen and shown."""

    primary: Headline = Headline.PAPER
    """The headline of badges and outcomes."""
    limit: int = TRANSCRIPTS
    """Number of transcripts. At most half of them are flagged ones if there are more of those."""
    seed: int = 0
    """Of the samples of transcripts and positions."""
    judged_share: float = JUDGED_SHARE
    """See `units.lane_units`."""
    viewer: str = ""
    """Address of a running `inspect view`, for links to the samples of logs."""


def browse(
    found: Verdicts,
    messages: Mapping[str, Sequence[ChatMessage]],
    options: BrowseOptions | None = None,
    samples: Mapping[str, LoggedSample] | None = None,
) -> Browse:
    """Up to `limit` transcripts with everything that a reader needs to check them.

    Args:
        found: What a tally counts.
        messages: Conversations by transcript digest; a transcript without one is shown by its contexts alone.
        options: How they are chosen.
        samples: Samples of logs by transcript digest.

    Raises:
        InputError: The viewer's address is none.
    """
    options = options or BrowseOptions()
    primary, limit, seed = options.primary, options.limit, options.seed
    rows = _rows(found)
    chosen = _choose(rows, limit, seed)
    digests = [row.digest for row, _ in chosen]
    numbers = found.transcripts.filter(pl.col("transcript_digest").is_in(digests))["t"]
    readings = found.texts(found.readings.filter(pl.col("t").is_in(numbers.implode())))
    every = readings.height <= EVERY_READING
    if not every:
        readings = _some(readings, seed)
    scored = _with_reasons(_scored(found, readings), found.frames.judgements)
    by_digest = _by_digest(scored.with_columns(outcome_under(primary).alias("shown")).to_dicts())
    turns = _by_digest(_turns(found, digests, primary))
    units = lane_units(found, Lane.MEASURED, primary, options.judged_share)
    said = spoken(found, primary, options.judged_share)
    kept = found.transcripts.select("transcript_id", "variant", "outcome", "tokens").to_dicts()
    transcripts = []
    for row, why in chosen:
        about, unit = kept[row.index], units[row.index]
        shown = _messages(messages.get(row.digest, ()), turns.get(row.digest, []))
        transcripts.append(
            BrowsedTranscript(
                id=about["transcript_id"],
                digest=row.digest,
                suite=row.suite,
                arm=row.arm,
                family=row.family,
                variant=about["variant"] or "",
                result=about["outcome"] or "",
                tokens=about["tokens"],
                measured=unit.state,
                said=said[row.index].state,
                why=why,
                planned=unit.planned,
                judged=unit.judged_positions,
                aware=unit.aware_positions,
                positions=tuple(_positions(by_digest.get(row.digest, []), shown)),
                messages=tuple(shown),
                sample=(samples or {}).get(row.digest),
            )
        )
    counts = Counter(t.why for t in transcripts)
    return Browse(
        headline=primary,
        transcripts=tuple(transcripts),
        total=found.transcripts.height,
        flagged=sum(row.flagged for row in rows),
        limit=limit,
        seed=seed,
        every_reading=every,
        dozen=DOZEN,
        counts={why: counts[why] for why in Why},
        viewer=viewer_address(options.viewer) if options.viewer else "",
    )


def _rows(found: Verdicts) -> list[_Row]:
    broad = pl.col(column(Headline.BROAD))
    measured = {*found.readings.filter(broad & (pl.col("lane") == Lane.MEASURED.value))["t"]}
    said = {*found.turns.filter(broad & ~pl.col("repeat"))["transcript_digest"]}
    about = found.transcripts.select("t", "transcript_digest", "suite", "arm", "family").iter_rows()
    return [
        _Row(d, suite, arm, family, t in measured or d in said, i) for i, (t, d, suite, arm, family) in enumerate(about)
    ]


def _choose(rows: Sequence[_Row], limit: int, seed: int) -> list[tuple[_Row, Why]]:
    """Flagged ones, as many matched ones, a sample; in the order of the tally, the deployment arm last."""
    drawn = sorted(rows, key=lambda row: _draw(seed, row.digest))
    groups: dict[tuple[str, str, bool], list[_Row]] = defaultdict(list)
    for row in drawn:
        groups[row.arm, row.suite, row.flagged].append(row)
    flagged = [row for row in drawn if row.flagged]
    if len(flagged) > max(1, limit // 2):
        flagged = _round_robin([rows for key, rows in sorted(groups.items()) if key[2]])[: max(1, limit // 2)]
    chosen = {row.index: Why.FLAGGED for row in flagged[:limit]}
    for row in flagged:
        rest = [r for r in groups[row.arm, row.suite, False] if r.index not in chosen]
        match = next((r for r in rest if r.family == row.family), next(iter(rest), None))
        if match is not None and len(chosen) < limit:
            chosen[match.index] = Why.MATCHED
    others = _round_robin([rows for key, rows in sorted(groups.items()) if not key[2]])
    for row in others:
        if row.index not in chosen and len(chosen) < limit:
            chosen[row.index] = Why.SAMPLED
    kept = [(row, chosen[row.index]) for row in rows if row.index in chosen]
    return sorted(kept, key=lambda entry: entry[0].arm == Arm.DEPLOYMENT)


def _round_robin(groups: Iterable[list[_Row]]) -> list[_Row]:
    """The first of every group, then the second of every group, and so on."""
    ranked = [(at, group, row) for group, rows in enumerate(groups) for at, row in enumerate(rows)]
    return [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])]


def _some(readings: pl.DataFrame, seed: int) -> pl.DataFrame:
    """All readings at flagged positions (in any lane), and at `DOZEN` others of each transcript."""
    at = ["transcript_digest", "position"]
    flags = readings.group_by(at).agg(pl.col(column(Headline.BROAD)).any().alias("hit")).sort(at)
    taken: Counter[str] = Counter()
    kept = []
    quiet = flags.filter(~pl.col("hit")).select(at).rows()
    for digest, position in sorted(quiet, key=lambda row: _draw(seed, *row)):
        taken[digest] += 1
        if taken[digest] <= DOZEN:
            kept.append((digest, position))
    wanted = pl.concat(
        [flags.filter("hit").select(at), pl.DataFrame(kept, schema=flags.select(at).schema, orient="row")]
    )
    return readings.join(wanted, on=at, how="semi")


def _draw(seed: int, *key: object) -> bytes:
    text = "|".join(map(str, (seed, *key)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _scored(found: Verdicts, readings: pl.DataFrame) -> pl.DataFrame:
    """Readings with `ar_percentile`, over all scored readings of the lane."""
    place = ["t", "position", "lane", "draw"]
    every = found.readings.select(*place, cos=found.frames.readings["cos"].gather(found.readings["row"]))
    ranks = every.filter(pl.col("cos").is_not_null()).select(
        *place, (100 * (pl.col("cos").rank("average") - 0.5) / pl.len()).over("lane").alias("ar_percentile")
    )
    return readings.join(ranks, on=place, how="left")


def _with_reasons(readings: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """Readings with `note`, the judge's reason."""
    if "note" not in judgements.columns:
        return readings
    notes = judgements.select(*KEY, "note").unique(list(KEY), keep="first", maintain_order=True)
    return readings.join(notes, on=list(KEY), how="left")


def _by_digest(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    out: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        out[row["transcript_digest"]].append(row)
    return out


def _turns(found: Verdicts, digests: Sequence[str], primary: Headline) -> list[dict[str, Any]]:
    own = found.turns.with_columns(default=pl.lit(Author.TARGET.value))
    others = found.recorded.with_columns(default=pl.lit(Author.RECORDED.value))
    columns = ["transcript_digest", "message", "part", "author", "default", "stop", "labels", "evidence", "note"]
    rows: list[dict[str, Any]] = []
    for frame in (own, others):
        mine = frame.filter(pl.col("transcript_digest").is_in(digests))
        shown = mine.with_columns(outcome_under(primary).alias("shown"), broad=pl.col(column(Headline.BROAD)))
        rows += shown.select(*(c for c in columns if c in shown.columns), "shown", "broad").to_dicts()
    return rows


def _messages(messages: Sequence[ChatMessage], turns: Sequence[dict[str, Any]]) -> list[BrowsedMessage]:
    verdicts = {(row["message"], row["part"]): row for row in turns}
    facts = {row["message"]: row for row in turns}
    texts: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for turn in turn_texts(messages):
        texts[turn.message].append((turn.part.value, turn.text))
    out = []
    for index, message in enumerate(messages):
        about = facts.get(index, {})
        parts = texts[index] if isinstance(message, ChatMessageAssistant) else list(_plain(message))
        author = (about.get("author") or about.get("default") or "") if message.role == "assistant" else ""
        out.append(
            BrowsedMessage(
                index=index,
                role=message.role,
                author=str(author),
                note=_note(message, about.get("stop")),
                parts=tuple(_part(kind, text, verdicts.get((index, kind))) for kind, text in parts),
            )
        )
    return out


def _plain(message: ChatMessage) -> Iterator[tuple[str, str]]:
    for kind, text in content_parts(message):
        yield (kind, text) if text else (kind, "" if kind == "text" else f"[{kind}]")


def _note(message: ChatMessage, stop: str | None) -> str:
    if isinstance(message, ChatMessageTool):
        failed = f": {message.error.message}" if message.error else ""
        return f"{message.function or 'tool'}{failed}"
    return f"cut short ({stop})" if stop in CUT else ""


def _part(kind: str, text: str, verdict: Mapping[str, Any] | None) -> BrowsedPart:
    if verdict is None:
        return BrowsedPart(kind, text)
    said = tuple(Evidence(**e) for e in verdict["evidence"] or ()) if verdict["broad"] else ()
    return BrowsedPart(
        kind, text, Outcome(verdict["shown"]), tuple(verdict["labels"] or ()), said, verdict.get("note") or ""
    )


def _positions(rows: Sequence[dict[str, Any]], messages: Sequence[BrowsedMessage]) -> Iterator[BrowsedPosition]:
    by_position: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_position[row["position"]].append(row)
    parts = {message.index: message.parts for message in messages}
    ends: dict[tuple[int, int], int] = {}
    for position, here in sorted(by_position.items()):
        here.sort(key=lambda row: (_LANES.index(row["lane"]) if row["lane"] in _LANES else len(_LANES), row["draw"]))
        first = here[0]
        part, start, end = _placed(first, parts.get(first["message"], ()), ends)
        yield BrowsedPosition(
            position=position,
            token=first["token"],
            context=first["context"],
            channel=first["channel"],
            turn=first["turn"],
            message=first["message"],
            part=part,
            start=start,
            end=end,
            outcome=_together([row for row in here if row["lane"] == Lane.MEASURED]),
            readings=tuple(_reading(row) for row in here),
        )


def _placed(
    row: Mapping[str, Any], parts: Sequence[BrowsedPart], ends: dict[tuple[int, int], int]
) -> tuple[int | None, int, int]:
    wanted = _PARTS.get(row["channel"], "text")
    for index in sorted(range(len(parts)), key=lambda i: (parts[i].kind != wanted, i)):
        where = (row["message"], index)
        span = place(parts[index].text, row["context"], row["token"], ends.get(where, 0))
        if span is not None:
            ends[where] = span[1]
            return index, *span
    return None, 0, 0


def _together(rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """The outcome of a position: AWARE if any draw is; else the first draw's; ERROR without one."""
    outcomes = [Outcome(row["shown"]) for row in rows]
    return Outcome.AWARE if Outcome.AWARE in outcomes else next(iter(outcomes), Outcome.ERROR)


def _reading(row: Mapping[str, Any]) -> BrowsedReading:
    return BrowsedReading(
        lane=row["lane"],
        draw=row["draw"],
        outcome=Outcome(row["shown"]),
        headlines=tuple(h for h in _HEADLINES if row[column(h)]),
        labels=tuple(row["labels"] or ()),
        score=row["score"],
        explanation=row["explanation"] or row.get("error") or "",
        evidence=tuple(Evidence(**e) for e in row["evidence"] or ()),
        reason=row.get("note") or "",
        cos=row["cos"],
        ar_percentile=row["ar_percentile"],
        donor=row.get("donor") or "",
    )
