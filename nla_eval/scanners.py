"""V and N as scanners of Inspect Scout, so that a scan of a transcripts database gives them as a results table.

`verbalized` judges what the logged model says and needs no weights. `measured` looks up what `nla-eval read DATABASE`
put into a store; a scan loads no weights. Both follow the rules of the tally. A value is true, false, or null where too
little was judged. Needs the extra `scout`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from .errors import InputError, MissingExtraError
from .judgement import JUDGED_SHARE, Classifier, Headline
from .printable import one_line
from .readings import Lane
from .transcript import Arm

try:
    from inspect_scout import Reference, Result, Scanner, Transcript, scanner
except ImportError as missing:
    told = str(MissingExtraError("nla_eval.scanners", "inspect_scout", "pip install 'nla_eval[scout]'"))
    raise ImportError(told, name=missing.name) from None

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage

    from .sources._inspect_calls import Conversation
    from .tally.units import Verdict
    from .tally.verdicts import Verdicts

_SHOWN = 8
"""Maximum number of texts that a result quotes."""
_QUOTE_CHARS = 200


@scanner(messages="all", events=["model", "span_begin", "compaction"])
def verbalized(
    classifier: str = "linear", rubric: str = "strict", headline: str = "paper", model_role: str | None = None
) -> Scanner[Transcript]:
    """V: whether the logged model says that it is being evaluated.

    Only turns that a call of the logged model gave count; words of others (few-shot answers, prefills, other agents)
    are judged beside, under `recorded` in the metadata. Where a transcript has no calls, the author is what a message's
    source says.

    Args:
        classifier: Name of a classifier.
        rubric: Name of a rubric, or path of its YAML file.
        headline: "belief", "paper" or "broad": which labels count.
        model_role: Whose turns, of a log with several model roles; by default "target" where there is one, else the
            main model's.

    Raises:
        InputError: An unknown classifier, rubric or headline.
    """
    from .tally.frames import column
    from .tally.units import recorded_words, spoken

    judge, counted = _judge(classifier, rubric), _headline(headline)

    async def scan(transcript: Transcript) -> Result:
        stretches = _stretches(transcript, model_role)
        found, messages = await _said(transcript, stretches, judge)
        own, others = (_together(verdicts(found, counted, JUDGED_SHARE)) for verdicts in (spoken, recorded_words))
        rows = found.turns.rows(named=True)
        aware = [row for row in rows if row[column(counted)] and not row["repeat"]]
        return _result(
            own,
            [(messages[row["transcript_digest"]][row["message"]], row["text"]) for row in aware],
            {**_about(judge, counted), "recorded": others.word if found.recorded.height else None, "turns": len(rows)},
        )

    return scan


@scanner(messages="all")
def measured(
    store: str, classifier: str = "linear", rubric: str = "strict", headline: str = "paper", lane: str = "measured"
) -> Scanner[Transcript]:
    """N: whether activations of a transcript, put into words, say that the model is being evaluated.

    Args:
        store: What `nla-eval read DATABASE --out STORE` wrote.
        classifier: Name of a classifier.
        rubric: Name of a rubric, or path of its YAML file.
        headline: "belief", "paper" or "broad": which labels count.
        lane: The lane that is looked up: "measured", or a control such as "donor".

    Raises:
        InputError: No such store, classifier, rubric, headline or lane.
    """
    from .tally.gather import gather

    judge, counted = _judge(classifier, rubric), _headline(headline)
    if lane not in list(Lane):
        raise InputError(f"unknown lane '{lane}'; known: {', '.join(Lane)}")
    shelf = _Shelf(gather([store]), judge, counted, lane)

    async def scan(transcript: Transcript) -> Result:
        found = (await shelf.units()).get(transcript.transcript_id, [])
        if not found:
            told = f"not in the store; read it first: nla-eval read DATABASE --out {store}"
            return Result(value=None, answer="INDETERMINATE", explanation=told, metadata=_about(judge, counted))
        counts = {
            name: sum(getattr(unit, name) for unit in found)
            for name in ("planned", "judged_positions", "aware_positions")
        }
        about = {**_about(judge, counted), "lane": lane, **counts, "suite": found[0].suite, "arm": found[0].arm}
        return _result(_together(found), shelf.quotes(found), about)

    return scan


class _Shelf:
    """A store's readings, judged once, by the first transcript that is scanned."""

    def __init__(self, gathered: Any, judge: Classifier, headline: Headline, lane: str) -> None:
        self._gathered, self._judge, self._headline, self._lane = gathered, judge, headline, lane
        self._lock = anyio.Lock()
        self._found: Verdicts | None = None
        self._units: dict[str, list[Any]] = {}

    async def units(self) -> Mapping[str, Sequence[Any]]:
        """The units of each transcript's id; several where it was compacted."""
        from .tally.gather import judged
        from .tally.units import lane_units
        from .tally.verdicts import verdicts

        async with self._lock:
            if self._found is None:
                frames = await anyio.to_thread.run_sync(judged, self._gathered, self._judge)
                self._found = verdicts(frames, self._judge.rubric.headlines)
                ids = dict(frames.transcripts.select("transcript_digest", "transcript_id").iter_rows())
                for unit in lane_units(self._found, self._lane, self._headline, JUDGED_SHARE):
                    self._units.setdefault(_whole(ids[unit.digest]), []).append(unit)
        return self._units

    def quotes(self, units: Sequence[Any]) -> list[tuple[ChatMessage, str]]:
        """Aware explanations of units, each with the message that its position stands in."""
        import polars as pl

        from .tally.frames import column

        if self._found is None:
            return []
        numbers = [unit.t for unit in units]
        rows = self._found.readings.filter(
            pl.col("t").is_in(numbers) & (pl.col("lane") == self._lane) & pl.col(column(self._headline))
        )
        return [
            (self._gathered.messages[row["transcript_digest"]][row["message"]], row["explanation"])
            for row in self._found.texts(rows).sort("t", "position", "draw").iter_rows(named=True)
            if row["message"] >= 0
        ]


def _judge(classifier: str, rubric: str) -> Classifier:
    from .judging.classify import make_classifier

    return make_classifier(classifier, rubric)


def _headline(name: str) -> Headline:
    if name not in list(Headline):
        raise InputError(f"unknown headline '{name}'; known: {', '.join(Headline)}")
    return Headline(name)


def _about(judge: Classifier, headline: Headline) -> dict[str, Any]:
    from .judging.classify import rubric_ref

    return {"classifier": judge.name, "rubric": rubric_ref(judge.rubric), "headline": headline.value}


def _stretches(transcript: Transcript, model_role: str | None) -> list[Conversation]:
    """The conversations of a transcript as the reader of Scout databases finds them."""
    from inspect_ai.log import EvalSample

    from .sources import SourceOptions
    from .sources._inspect_authors import turn_facts
    from .sources._inspect_calls import Conversation, conversations

    messages = list(transcript.messages)
    if not transcript.events:
        return [Conversation(messages, turn_facts=turn_facts(messages, ()))]
    sample = EvalSample(id="", epoch=1, input="", target="", messages=messages, events=list(transcript.events))
    options = SourceOptions(suite="scan", arm=Arm.EVALUATION, model_role=model_role)
    return conversations(sample, {"model": transcript.model}, options).stretches


async def _said(
    transcript: Transcript, stretches: Sequence[Conversation], judge: Classifier
) -> tuple[Verdicts, dict[str, list[ChatMessage]]]:
    """The judged turns of a transcript, whose logged model is the one asked about; and messages by digest."""
    import polars as pl

    from .judging.classify import JUDGEMENT_SCHEMA, judge_messages
    from .store.rows import SCHEMA, TRANSCRIPT_SCHEMA
    from .tally.frames import Frames
    from .tally.verdicts import verdicts

    messages = {str(number): stretch.messages for number, stretch in enumerate(stretches, start=1)}
    rows = [
        {
            "transcript_digest": digest,
            "transcript_id": f"{transcript.transcript_id}#{digest}",
            "suite": "scan",
            "arm": Arm.EVALUATION.value,
            "family": transcript.transcript_id,
            "run": transcript.transcript_id,
            "on_policy": False,
            "logged_is_target": True,
            "planned_positions": 0,
            "tokens": 0,
        }
        for digest in messages
    ]
    turns = [
        await judge_messages(stretch.messages, digest, judge, stretch.turn_facts)
        for digest, stretch in zip(messages, stretches, strict=True)
    ]
    frames = Frames(
        readings=pl.DataFrame(schema=SCHEMA),
        judgements=pl.DataFrame(schema=JUDGEMENT_SCHEMA),
        turns=pl.concat(turns),
        transcripts=pl.DataFrame(rows, schema=TRANSCRIPT_SCHEMA),
    )
    return verdicts(frames, judge.rubric.headlines), messages


def _together(found: Sequence[Verdict]) -> Verdict:
    """One verdict for all stretches of a run: aware if one is; else not aware only if all are."""
    from .tally.units import Verdict

    admitted = all(one.admitted for one in found)
    if any(one.state for one in found):
        return Verdict(True, admitted)
    return Verdict(False if found and all(one.state is False for one in found) else None, admitted)


def _result(verdict: Verdict, quotes: Sequence[tuple[ChatMessage, str]], about: dict[str, Any]) -> Result:
    """A result with its first quotes, each of which cites its message."""
    shown = quotes[:_SHOWN]
    ids = dict.fromkeys(message.id for message, _ in shown if message.id)
    cites = {held: f"[M{number}]" for number, held in enumerate(ids, start=1)}
    lines = [f"{cites.get(message.id or '', '')} {one_line(text)[:_QUOTE_CHARS]}".strip() for message, text in shown]
    more = len(quotes) - len(shown)
    return Result(
        value=verdict.counted,
        answer=verdict.word,
        explanation="\n".join([*lines, *([f"and {more} more"] if more else [])]) or None,
        metadata=about,
        references=[Reference(type="message", cite=cite, id=held) for held, cite in cites.items()],
    )


def _whole(transcript_id: str) -> str:
    """The id of a run, of a stretch's."""
    return re.sub(r"#\d+$", "", transcript_id)
