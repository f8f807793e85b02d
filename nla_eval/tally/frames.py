"""The four input frames of a tally, and the units it counts: one verdict per transcript, by lane or by its own words.

In: polars frames of readings, judgements of readings, judged turns, and transcripts. Out: `Unit`s. All rules that turn
judgements into verdicts are in this module. It knows no suite and no classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..cards.design import Design
from ..dataset.matching import MatchedArm
from ..errors import InputError
from ..judgement import JUDGED, Headline, JudgeCheck, Label, Outcome
from ..readings import KEY, StopReason
from ..store.rows import SCHEMA
from ..transcript import CUT, Author

TURN_KEY = ("transcript_digest", "message", "part")
VERDICT_COLUMNS = ("outcome", "labels", "score", "evidence", "classifier", "rubric")
TRANSCRIPT_COLUMNS = (
    *("transcript_digest", "transcript_id", "suite", "arm", "family", "variant", "outcome", "on_policy"),
    *("planned_positions", "tokens", "turns", "tool_calls", "lost_tokens", "replay_notes"),
)

Definitions = Mapping[Headline, Sequence[Label]]
"""Which labels count as aware under each headline: `Rubric.headlines`."""


@dataclass(frozen=True)
class Frames:
    """The input of a tally."""

    readings: pl.DataFrame
    """Columns of `readings.SCHEMA`, any lanes."""
    judgements: pl.DataFrame
    """Columns: the key of a reading, then outcome, labels, score, evidence, classifier, rubric, note."""
    turns: pl.DataFrame
    """Columns: transcript_digest, message, part ("thinking", "text", "tool_call"), the same verdict columns, and text.
    Optional: author, stop, turn_id."""
    transcripts: pl.DataFrame
    """One row per transcript: `TRANSCRIPT_COLUMNS`. Optional: languages (list of strings), words_by, logged_is_target,
    run."""
    designs: Mapping[str, Design] = field(default_factory=dict)
    """The design that compares the variants of a suite, by suite name."""
    matched: Sequence[MatchedArm] = ()
    """How deployment arms were drawn."""
    checks: Sequence[JudgeCheck] = ()
    """What the judges made of the known texts; empty where nobody looked."""


@dataclass(frozen=True)
class Verdicts:
    """The frames, checked, joined and sorted. Aware columns are named by `column(headline)`."""

    readings: pl.DataFrame
    """Readings with the verdict columns, `judged` and one aware column per headline; sorted by key."""
    turns: pl.DataFrame
    """Parts of the turns that the target wrote. `repeat` marks a turn that counts in another transcript of its run."""
    recorded: pl.DataFrame
    """Parts of recorded words (assistant turns that the target did not write), each turn of a run once."""
    transcripts: pl.DataFrame
    """Transcripts without repeated content, sorted by arm, suite and id."""
    duplicates: dict[tuple[str, str], int]
    """(arm, suite) -> number of transcripts left out because they repeat another."""
    notes: list[str]


@dataclass(frozen=True)
class Unit:
    """One transcript in one lane under one headline."""

    digest: str
    suite: str
    arm: str
    family: str
    state: bool | None
    """True: aware. False: not aware, with enough readings judged. None: INDETERMINATE."""
    planned: int
    """Planned positions."""
    aware_positions: int
    judged_positions: int
    aware_readings: int
    judged_readings: int
    first_aware: int | None
    """Token index of the first aware position."""
    tokens: int

    @property
    def cluster(self) -> tuple[str, str]:
        """The cluster of every interval: the family within its suite."""
        return (self.suite, self.family)

    @property
    def fraction(self) -> float | None:
        """Aware positions over judged positions."""
        return self.aware_positions / self.judged_positions if self.judged_positions else None


def column(headline: Headline) -> str:
    """The name of a headline's aware column."""
    return f"aware_{headline.value}"


def verdicts(frames: Frames, definitions: Definitions) -> Verdicts:
    """Check the frames and join them.

    If an explanation is not closed, its stop reason is the outcome, whatever the classifier says: a truncated
    explanation is never "not aware". A reading without a judgement is an ERROR.

    Raises:
        InputError: A column is missing; judgements mix rubrics or classifiers; readings mix packs; or there is no
            transcript.
    """
    _require(frames.readings, SCHEMA, "readings")
    _require(frames.judgements, (*KEY, *VERDICT_COLUMNS), "judgements")
    _require(frames.turns, (*TURN_KEY, *VERDICT_COLUMNS, "text"), "turns")
    _require(frames.transcripts, TRANSCRIPT_COLUMNS, "transcripts")
    if frames.transcripts.is_empty():
        raise InputError("nothing to tally: the transcripts frame is empty; read at least one transcript first")
    _one_of_each(frames)
    transcripts = frames.transcripts.sort("arm", "suite", "transcript_id", "transcript_digest")
    kept = transcripts.unique(["arm", "suite", "transcript_digest"], keep="first", maintain_order=True)
    turns = _judged_turns(frames.turns, kept, definitions)
    return Verdicts(
        readings=_judged_readings(frames, definitions),
        turns=turns.filter("own").drop("own"),
        recorded=turns.filter(~pl.col("own") & ~pl.col("repeat")).drop("own", "repeat"),
        transcripts=kept,
        duplicates=_repeats(transcripts, kept),
        notes=_notes(frames, kept),
    )


def lane_units(found: Verdicts, lane: str, headline: Headline, judged_share: float) -> list[Unit]:
    """Every transcript's verdict in one lane, in the order of `found.transcripts`.

    A position is aware if any of its draws is. A transcript is aware if any judged position is. Otherwise it is not
    aware if at least `judged_share` of its planned readings (positions x draws) were judged, else undecided.
    """
    rows = found.readings.filter(pl.col("lane") == lane)
    draws = draws_of(rows)
    counts = {row["transcript_digest"]: row for row in _count_by_transcript(rows, column(headline)).to_dicts()}
    nothing = dict.fromkeys(("positions", "aware_p", "judged_p", "aware_r", "judged_r"), 0) | {"first": None}
    units = []
    for transcript in found.transcripts.to_dicts():
        seen = counts.get(transcript["transcript_digest"], nothing)
        planned = max(transcript["planned_positions"], seen["positions"])
        enough = planned > 0 and seen["judged_r"] >= judged_share * planned * draws
        units.append(
            Unit(
                **{name: transcript[name] for name in ("suite", "arm", "family", "tokens")},
                digest=transcript["transcript_digest"],
                state=True if seen["aware_p"] else (False if enough else None),
                planned=planned,
                aware_positions=seen["aware_p"],
                judged_positions=seen["judged_p"],
                aware_readings=seen["aware_r"],
                judged_readings=seen["judged_r"],
                first_aware=seen["first"],
            )
        )
    return units


def spoken(found: Verdicts, headline: Headline, judged_share: float) -> list[bool | None]:
    """The verdict V of each transcript (the target says so itself), in the order of `found.transcripts`.

    True if any part of a turn that the target wrote is aware. Otherwise False if at least `judged_share` of these parts
    were judged. Otherwise None, also if the target wrote no turn. If a run is read as several transcripts, each turn
    counts in only one of them; a transcript that only repeats an aware turn is None.
    """
    return _states(found, found.turns, headline, judged_share)


def recorded_words(found: Verdicts, headline: Headline, judged_share: float) -> list[bool | None]:
    """As `spoken`, for the turns that the target did not write. None also if there are none."""
    return _states(found, found.recorded.with_columns(repeat=pl.lit(False)), headline, judged_share)


def written_by_others(found: Verdicts) -> list[bool]:
    """Whether a transcript has assistant turns and the target wrote none, in the order of `found.transcripts`."""
    own, others = (set(frame["transcript_digest"]) for frame in (found.turns, found.recorded))
    return [digest in others and digest not in own for digest in found.transcripts["transcript_digest"]]


def _states(found: Verdicts, turns: pl.DataFrame, headline: Headline, judged_share: float) -> list[bool | None]:
    aware, first = pl.col(column(headline)), ~pl.col("repeat")
    by_transcript = turns.group_by("transcript_digest").agg(
        aware.filter(first).any().alias("aware"),
        aware.filter(pl.col("repeat")).any().alias("elsewhere"),
        (pl.col("judged") & (~pl.col("cut") | aware)).filter(first).mean().alias("share"),
    )
    known = {row["transcript_digest"]: row for row in by_transcript.to_dicts()}
    return [_state(known.get(d), judged_share) for d in found.transcripts["transcript_digest"]]


def _state(row: Mapping[str, Any] | None, judged_share: float) -> bool | None:
    if row is None:
        return None
    if row["aware"]:
        return True
    return False if not row["elsewhere"] and (row["share"] or 0.0) >= judged_share else None


def mean_scores(found: Verdicts, lane: str) -> list[float | None]:
    """The classifier's mean score over each transcript's judged readings, in the order of `found.transcripts`.

    None if nothing was judged or the classifier gives no score.
    """
    rows = found.readings.filter((pl.col("lane") == lane) & pl.col("judged"))
    means = rows.group_by("transcript_digest").agg(pl.col("score").sort().mean())
    known: dict[str, float | None] = dict(means.iter_rows())
    return [known.get(digest) for digest in found.transcripts["transcript_digest"]]


def draws_of(rows: pl.DataFrame) -> int:
    """Draws per position: the largest number found, at least 1."""
    if rows.is_empty():
        return 1
    most = rows.group_by("transcript_digest", "position").len()["len"].max()
    return int(str(most))


def outcome_under(headline: Headline) -> pl.Expr:
    """The outcome of a joined row under one headline, as `Judgement.under` gives it. A turn that was cut off is
    TRUNCATED instead of not aware."""
    verdict = (
        pl.when(column(headline))
        .then(pl.lit(Outcome.AWARE.value))
        .when("cut")
        .then(pl.lit(Outcome.TRUNCATED.value))
        .otherwise(pl.lit(Outcome.NOT_AWARE.value))
    )
    return (
        pl.when(pl.col("outcome").is_in([Outcome.AWARE.value, Outcome.NOT_AWARE.value]))
        .then(verdict)
        .otherwise(pl.col("outcome"))
    )


def _count_by_transcript(rows: pl.DataFrame, aware: str) -> pl.DataFrame:
    positions = rows.group_by("transcript_digest", "position").agg(
        pl.col(aware).any().alias("aware"),
        pl.col("judged").any().alias("judged"),
        pl.col(aware).sum().alias("aware_r"),
        pl.col("judged").sum().alias("judged_r"),
    )
    return positions.group_by("transcript_digest").agg(
        pl.len().alias("positions"),
        pl.col("aware").sum().alias("aware_p"),
        pl.col("judged").sum().alias("judged_p"),
        pl.col("aware_r").sum(),
        pl.col("judged_r").sum(),
        pl.col("position").filter("aware").min().alias("first"),
    )


def _judged_readings(frames: Frames, definitions: Definitions) -> pl.DataFrame:
    verdict = frames.judgements.select(*KEY, *VERDICT_COLUMNS).unique(list(KEY), keep="first", maintain_order=True)
    rows = frames.readings.unique(list(KEY), keep="first", maintain_order=True)
    joined = rows.join(verdict, on=list(KEY), how="left")
    stopped = {
        StopReason.TRUNCATED.value: Outcome.TRUNCATED.value,
        StopReason.OUT_OF_CONTEXT.value: Outcome.OUT_OF_CONTEXT.value,
        StopReason.ERROR.value: Outcome.ERROR.value,
    }
    outcome = pl.col("stop").replace_strict(stopped, default=None, return_dtype=pl.String())
    resolved = joined.with_columns(pl.coalesce(outcome, "outcome", pl.lit(Outcome.ERROR.value)).alias("outcome"))
    return aware_columns(resolved.with_columns(cut=pl.lit(False)), definitions).sort(KEY)


def _judged_turns(turns: pl.DataFrame, transcripts: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    """Judged parts of assistant turns, sorted by key, with one aware column per headline and three more columns:

    - `own`: the target wrote the turn, in this run or in a log of its own. Older inputs do not record authors; there,
      the last turn of an on-policy transcript is the target's own.
    - `cut`: a limit or a filter ended the turn.
    - `repeat`: an earlier transcript of the same run has the same turn.
    """
    turns = _with_missing(turns, {"author": pl.String(), "stop": pl.String(), "turn_id": pl.String()})
    facts = _with_missing(transcripts, {"logged_is_target": pl.Boolean(), "run": pl.String()}).select(
        "transcript_digest", "suite", "on_policy", "logged_is_target", "run",
        stretch=pl.col("transcript_id").str.extract(r"#(\d+)$").cast(pl.Int64),
    )  # fmt: skip
    facts = facts.unique("transcript_digest", keep="first", maintain_order=True)
    author, last = pl.col("author"), pl.col("message") == pl.col("message").max().over("transcript_digest")
    own = (
        (author == Author.TARGET.value)
        | ((author == Author.LOGGED.value) & pl.col("logged_is_target"))
        | (author.is_null() & pl.col("on_policy") & last)
    )
    rows = turns.unique(TURN_KEY, keep="first", maintain_order=True).join(facts, on="transcript_digest", how="left")
    turn = ["suite", "run", "turn_id", "part"]
    rows = rows.sort("stretch", *TURN_KEY, nulls_last=True).with_columns(
        own=own.fill_null(False),
        cut=pl.col("stop").is_in(sorted(CUT)).fill_null(False),
        repeat=~pl.struct(turn).is_first_distinct() & pl.col("run").is_not_null() & pl.col("turn_id").is_not_null(),
    )
    return aware_columns(rows.drop("suite", "on_policy", "logged_is_target", "run", "stretch"), definitions).sort(
        TURN_KEY
    )


def _with_missing(frame: pl.DataFrame, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, dtype=t).alias(name) for name, t in columns.items() if name not in frame)


def aware_columns(rows: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    """Rows with `judged`, one aware column per headline, and `cut`: False where the rows do not say."""
    labels = pl.col("labels").cast(pl.List(pl.String())).fill_null([])
    decided = pl.col("outcome").is_in([Outcome.AWARE.value, Outcome.NOT_AWARE.value])
    cut = pl.col("cut") if "cut" in rows else pl.lit(False)
    return rows.with_columns(labels.alias("labels"), cut.alias("cut")).with_columns(
        (pl.col("outcome").is_in([o.value for o in JUDGED]) & (~cut | (pl.col("outcome") == Outcome.AWARE))).alias(
            "judged"
        ),
        *(
            (decided & pl.any_horizontal(pl.lit(False), *(pl.col("labels").list.contains(x.value) for x in counted)))
            .fill_null(False)
            .alias(column(headline))
            for headline, counted in definitions.items()
        ),
    )


def _require(frame: pl.DataFrame, columns: Iterable[str], name: str) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise InputError(f"the {name} frame lacks the column(s) {', '.join(missing)}; judge the readings again")


def _one_of_each(frames: Frames) -> None:
    rubrics = sorted({*frames.judgements["rubric"].drop_nulls(), *frames.turns["rubric"].drop_nulls()})
    if len(rubrics) > 1:
        raise InputError(f"judgements mix the rubrics {', '.join(rubrics)}; judge readings and turns again under one")
    for frame, name in ((frames.judgements, "readings"), (frames.turns, "turns")):
        judges = sorted(set(frame["classifier"].drop_nulls()))
        if len(judges) > 1:
            raise InputError(f"{name} are judged by {', '.join(judges)}; pass the judgements of one classifier")
    packs = sorted(set(frames.readings["pack"]))
    if len(packs) > 1:
        raise InputError(f"readings mix the packs {', '.join(packs)}; tally one pack at a time")


def _repeats(rows: pl.DataFrame, kept: pl.DataFrame) -> dict[tuple[str, str], int]:
    before = {(arm, suite): n for arm, suite, n in rows.group_by("arm", "suite").len().iter_rows()}
    after = {(arm, suite): n for arm, suite, n in kept.group_by("arm", "suite").len().iter_rows()}
    return {key: before[key] - after[key] for key in sorted(before)}


def _notes(frames: Frames, kept: pl.DataFrame) -> list[str]:
    notes = []
    foreign = frames.readings.join(kept, on="transcript_digest", how="anti").height
    if foreign:
        notes.append(f"{foreign} readings belong to no listed transcript and are left out.")
    unjudged = frames.readings.filter(pl.col("stop") == StopReason.CLOSED.value).join(
        frames.judgements, on=list(KEY), how="anti"
    )
    if not unjudged.is_empty():
        notes.append(f"{unjudged.height} closed explanations have no judgement and count as ERROR.")
    judges = (
        sorted(set(frames.judgements["classifier"].drop_nulls())),
        sorted(set(frames.turns["classifier"].drop_nulls())),
    )
    if all(judges) and judges[0] != judges[1]:
        notes.append(
            f"Explanations are judged by {judges[0][0]}, turns by {judges[1][0]}: N and V are not strictly paired."
        )
    return notes
