"""How the judges of a tally behaved: what they were asked, what came back unusable and why, and whether that stops the
headline (docs/method.md 4.16).

In: frames. Out: one `JudgeTally` per judge. It counts only texts that a judge was shown: a truncated or empty
explanation is not its fault."""

from __future__ import annotations

import polars as pl

from ..judgement import JUDGED, UNPARSED_LIMIT, JudgeCheck, Outcome, most_frequent
from ..readings import KEY, StopReason
from .frames import Frames
from .types import JudgeTally

_SIGNED = ("classifier", "rubric", "outcome", "note")


def judges_of(frames: Frames) -> list[JudgeTally]:
    """Every judge of explanations or turns, by name."""
    shown = _shown(frames)
    signatures = sorted(set(shown.select("classifier", "rubric").iter_rows()))
    return [
        _judge(
            classifier, rubric, shown, [c for c in frames.checks if (c.classifier, c.rubric) == (classifier, rubric)]
        )
        for classifier, rubric in signatures
    ]


def headline_stopped(judges: list[JudgeTally]) -> str:
    """Why there is no headline; empty where every judge may be believed."""
    return "; ".join(judge.stopped for judge in judges if judge.stopped)


def _judge(classifier: str, rubric: str, shown: pl.DataFrame, checks: list[JudgeCheck]) -> JudgeTally:
    own = shown.filter((pl.col("classifier") == classifier) & (pl.col("rubric") == rubric))
    counts = dict(own.group_by("outcome").len().iter_rows())
    failed = own.filter(pl.col("outcome").is_in([Outcome.UNPARSED.value, Outcome.ERROR.value]))
    check = next((c for c in checks if c.stopped), next(iter(checks), None))
    causes = dict(failed.with_columns(pl.col("note").fill_null("")).group_by("note").len().sort("note").iter_rows())
    found = JudgeTally(
        classifier=classifier,
        rubric=rubric,
        check=check,
        asked=own.height,
        unparsed=counts.get(Outcome.UNPARSED.value, 0),
        errors=counts.get(Outcome.ERROR.value, 0),
        causes={note or "no cause recorded": count for note, count in causes.items()},
    )
    judged = sum(counts.get(outcome.value, 0) for outcome in JUDGED)
    return found.model_copy(update={"stopped": _stopped(found, judged)})


def _stopped(judge: JudgeTally, judged: int) -> str:
    if judge.check is not None and judge.check.stopped:
        return judge.check.stopped
    why = f" ({most_frequent(judge.causes)})" if judge.causes else ""
    if judge.asked and not judged:
        return f"{judge.classifier} judged none of the {judge.asked} texts of this run{why}"
    if judge.unparsed > UNPARSED_LIMIT * judge.asked:
        return f"{judge.classifier} left {judge.unparsed} of {judge.asked} judgements of this run UNPARSED{why}"
    return ""


def _shown(frames: Frames) -> pl.DataFrame:
    """Signed judgements of the texts that a judge was asked about."""
    closed = (pl.col("stop") == StopReason.CLOSED.value) & _speaks("explanation")
    asked = frames.readings.filter(closed).select(KEY)
    of_readings = _with_note(frames.judgements).select(*KEY, *_SIGNED).join(asked, on=list(KEY), how="semi")
    of_turns = _with_note(frames.turns).filter(_speaks("text"))
    return pl.concat([of_readings.select(_SIGNED), of_turns.select(_SIGNED)]).drop_nulls(["classifier", "rubric"])


def _with_note(rows: pl.DataFrame) -> pl.DataFrame:
    return rows if "note" in rows.columns else rows.with_columns(pl.lit("").alias("note"))


def _speaks(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.len_chars() > 0
