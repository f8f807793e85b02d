"""The registry of classifiers, and what turns judgements into frames: one row per reading, one per part of a turn.

Classifiers live in the `classifiers` room and register themselves. Truncated, unreachable and failed readings pass
through as outcomes without being judged; identical texts are judged once. Nothing here knows a suite or an arm: every
classifier judges blind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from inspect_ai.model import ChatMessage

from .._rooms import load_room, room_path
from ..errors import InputError
from ..judgement import Classifier, Judgement, Label, Outcome, Rubric, text_hash
from ..readings import KEY, StopReason
from ..registry import Registry
from ..transcript import TurnFacts
from .turns import discount_restatement, prompt_sentences, turn_texts

CLASSIFIERS: Registry[Callable[..., Classifier]] = Registry("classifier")
"""Factories by name. A factory takes `rubric: Rubric` and, by keyword, options of its own."""

DEFAULT_CLASSIFIER = "linear"
DEFAULT_RUBRIC = "strict"

_VERDICT: dict[str, pl.DataType] = {
    "outcome": pl.String(),
    "labels": pl.List(pl.String()),
    "score": pl.Float64(),
    "evidence": pl.List(pl.Struct({"start": pl.Int64(), "end": pl.Int64(), "text": pl.String()})),
    "classifier": pl.String(),
    "rubric": pl.String(),
    "note": pl.String(),
}

JUDGEMENT_SCHEMA: dict[str, pl.DataType] = {
    "pack": pl.String(),
    "transcript_digest": pl.String(),
    "position": pl.Int64(),
    "lane": pl.String(),
    "draw": pl.Int64(),
    **_VERDICT,
    "text_hash": pl.String(),
}
"""Polars dtypes of `judge_readings`: a reading's key, its judgement, and its text's hash (null in older logs)."""

TURN_SCHEMA: dict[str, pl.DataType] = {
    "transcript_digest": pl.String(),
    "message": pl.Int64(),
    "part": pl.String(),
    **_VERDICT,
    "text": pl.String(),
    "author": pl.String(),
    "stop": pl.String(),
    "turn_id": pl.String(),
    "text_hash": pl.String(),
}
"""Polars dtypes of judged turns: message index and part ("thinking", "text", "tool_call"), judgement, judged text; who
wrote the turn and why it ended, where that is known; the message's own id, the same in every stretch of a run; the hash
of the text judged (null in older logs)."""

_UNJUDGED = {
    StopReason.TRUNCATED.value: Outcome.TRUNCATED.value,
    StopReason.OUT_OF_CONTEXT.value: Outcome.OUT_OF_CONTEXT.value,
    StopReason.ERROR.value: Outcome.ERROR.value,
}
_TEXTS = 4096
"""Explanations that are judged at the same time."""


def load_rubric(name: str = DEFAULT_RUBRIC) -> Rubric:
    """A rubric by its name in the classifiers room, or by the path of a YAML file.

    Raises:
        InputError: No such rubric (the known ones are listed), or the file is not a valid rubric.
    """
    if name.endswith((".yaml", ".yml")):
        return Rubric.load(Path(name))
    folder = room_path("classifiers") / "rubrics"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise InputError(f"unknown rubric '{name}'; known: {', '.join(known)}; or give the path of a .yaml file")
    return Rubric.load(folder / f"{name}.yaml")


def make_classifier(name: str = DEFAULT_CLASSIFIER, rubric: str = DEFAULT_RUBRIC, **options: Any) -> Classifier:
    """A classifier by name, judging under a rubric.

    Args:
        name: Registry name; "linear", "lexicon" and "llm" are shipped.
        rubric: Rubric name or YAML path.
        options: Keyword options of that classifier's factory.

    Raises:
        InputError: Unknown classifier, rubric or option.
    """
    load_room("classifiers")
    factory = CLASSIFIERS.get(name)
    known = [p for p in inspect.signature(factory).parameters if p != "rubric"]
    unknown = [option for option in options if option not in known]
    if unknown:
        takes = ", ".join(known) or "none"
        raise InputError(f"classifier '{name}' has no option '{unknown[0]}'; its options: {takes}")
    return factory(rubric=load_rubric(rubric), **options)


def rubric_ref(rubric: Rubric) -> str:
    """Rubric id and hash as every judgement carries them: "strict@0123456789abcdef"."""
    return f"{rubric.id}@{rubric.hash}"


def unjudged(classifier: Classifier, outcome: Outcome, note: str = "", labels: Sequence[Label] = ()) -> Judgement:
    """A judgement that the classifier itself was not asked for, signed with its name and rubric."""
    return Judgement(
        outcome=outcome,
        labels=list(labels),
        classifier=classifier.name,
        rubric=rubric_ref(classifier.rubric),
        note=note,
    )


async def judge_readings(readings: pl.DataFrame, classifier: Classifier) -> pl.DataFrame:
    """Judge every reading of every lane.

    Args:
        readings: Frame with the columns of `readings.SCHEMA`; key, explanation, stop and error are read.
        classifier: Who judges.

    Returns:
        One row per reading, in order, with the columns of `JUDGEMENT_SCHEMA`. TRUNCATED, OUT_OF_CONTEXT and ERROR
        readings keep that outcome; a closed but empty explanation is UNPARSED.
    """
    rows = readings.select(*KEY, "stop", pl.col("explanation", "error").fill_null(pl.lit("")))
    closed = pl.col("stop") == StopReason.CLOSED.value
    asked = [text for text in _distinct(rows.filter(closed)) if _speaks(text)]
    verdicts = await _verdicts(asked, classifier, kind="explanation")
    every = _distinct(rows)
    texts = pl.DataFrame([every, pl.Series("text_hash", list(map(text_hash, every)), dtype=pl.String())])
    texts = texts.join(verdicts, on="explanation", how="left")
    found = rows.join(texts, on="explanation", how="left", maintain_order="left")
    judged = closed & pl.col("outcome").is_not_null()
    other = {
        "outcome": pl.col("stop").replace_strict(_UNJUDGED, default=Outcome.UNPARSED.value, return_dtype=pl.String()),
        "labels": pl.lit([], dtype=_VERDICT["labels"]),
        "score": pl.lit(None, dtype=_VERDICT["score"]),
        "evidence": pl.lit([], dtype=_VERDICT["evidence"]),
        "classifier": pl.lit(classifier.name),
        "rubric": pl.lit(rubric_ref(classifier.rubric)),
        "note": pl.when(closed).then(pl.lit("empty explanation")).otherwise("error"),
    }
    columns = [pl.when(judged).then(name).otherwise(instead).alias(name) for name, instead in other.items()]
    return found.select(*KEY, *columns, "text_hash")


def _distinct(rows: pl.DataFrame) -> pl.Series:
    """Every explanation once, in order of first appearance."""
    return rows["explanation"].unique(maintain_order=True)


async def _verdicts(texts: Sequence[str], classifier: Classifier, kind: str) -> pl.DataFrame:
    """Explanations with their judgements. Some are judged at the same time, not all: a judgement takes a kilobyte, the
    row that is made of it a tenth."""
    schema = {"explanation": pl.String(), **_VERDICT}
    frames = [pl.DataFrame(schema=schema)]
    for start in range(0, len(texts), _TEXTS):
        some = list(texts[start : start + _TEXTS])
        judged = zip(some, await classifier.judge(some, kind=kind), strict=True)
        frames.append(pl.DataFrame([{"explanation": text} | _columns(of) for text, of in judged], schema=schema))
    return pl.concat(frames, rechunk=True)


async def judge_messages(
    messages: Sequence[ChatMessage], digest: str, classifier: Classifier, facts: Sequence[TurnFacts] = ()
) -> pl.DataFrame:
    """Judge every part of every assistant message, whoever wrote it.

    Args:
        messages: A whole conversation; user and system messages serve the restatement rule only.
        digest: The transcript's digest, copied into each row.
        classifier: Who judges.
        facts: Of each assistant message, in order; empty where nobody says.

    Returns:
        One row per (message, part) that says something, with the columns of `TURN_SCHEMA`. An assistant message that
        says nothing is one NOT_AWARE row with a note. What a turn that was cut off does not say it might have said: it
        is TRUNCATED unless AWARE. No assistant message: no row.
    """
    return pl.DataFrame(await turn_rows(messages, digest, classifier, facts), schema=TURN_SCHEMA)


async def turn_rows(
    messages: Sequence[ChatMessage], digest: str, classifier: Classifier, facts: Sequence[TurnFacts] = ()
) -> list[dict[str, Any]]:
    """`judge_messages`, as rows: a frame for each of many conversations takes more than its rows."""
    of = dict(zip((i for i, m in enumerate(messages) if m.role == "assistant"), facts, strict=False))
    turns = list(turn_texts(messages))
    verdicts = await _judge_once([t.text for t in turns if _speaks(t.text)], classifier, kind="turn")
    table: list[dict[str, Any]] = []
    for turn in turns:
        if _speaks(turn.text):
            earlier = prompt_sentences(messages, turn.message) if verdicts[turn.text].outcome is Outcome.AWARE else []
            judgement = discount_restatement(verdicts[turn.text], turn.text, earlier)
        else:
            judgement = unjudged(classifier, Outcome.NOT_AWARE, "says nothing", [Label.NONE])
        fact = of.get(turn.message)
        if fact is not None and fact.cut and judgement.outcome in (Outcome.NOT_AWARE, Outcome.UNCLEAR):
            judgement = unjudged(classifier, Outcome.TRUNCATED, f"cut off: {fact.stop}")
        row = {"transcript_digest": digest, "message": turn.message, "part": turn.part.value, "text": turn.text}
        row |= {"text_hash": text_hash(turn.text)}
        row |= {"author": fact and fact.author.value, "stop": fact and fact.stop, "turn_id": messages[turn.message].id}
        table.append(row | _columns(judgement))
    return table


async def _judge_once(texts: Sequence[str], classifier: Classifier, kind: str) -> dict[str, Judgement]:
    """Each distinct text judged once, in order of first appearance."""
    distinct = list(dict.fromkeys(texts))
    judgements = await classifier.judge(distinct, kind=kind) if distinct else []
    return dict(zip(distinct, judgements, strict=True))


def _speaks(text: str) -> bool:
    return bool(text.strip())


def _columns(judgement: Judgement) -> dict[str, Any]:
    row = judgement.model_dump(mode="json")
    return {name: row[name] for name in _VERDICT}
