"""Transcripts from Inspect logs, `.eval` or `.json`: one transcript per sample and epoch, sample by sample.

Messages are the sample's. Where the conversation was compacted they are what the model saw: one transcript for each
stretch, all of one run. Of a model role they are those of its calls: in an audit log the sample's own messages are the
auditor's, and the role `target` is read. Tool definitions come from the model calls; a log keeps them nowhere else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalSample,
    read_eval_log,
    read_eval_log_sample,
    read_eval_log_sample_summaries,
    resolve_sample_attachments,
    resolve_sample_events_data,
)

from ..errors import InputError
from ..printable import told
from ._base import Fields, Item, RecordError, Samples, Skipped, SourceOptions, as_text, lookup, make_transcript
from ._inspect_calls import Conversation, conversations, quoted
from ._json import JsonDamageError, JsonText, json_text, opened
from ._probe import Container, Probe, probe
from ._source import SOURCES, Source

_LONGEST_SAMPLE = 1 << 29
"""Characters of a sample's JSON. Events repeat messages, so this is far above what a transcript may have."""
_MEMBERS = ("header.json", "_journal/", "samples/", "summaries.json", "reductions.json")

_Waiting = tuple[Mapping[str, Any], str, Callable[[], EvalSample]]
"""What the log says of all its samples, one sample's name for a reason, and how to read it."""


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    found = False
    for waiting in _samples(path):
        found = True
        if isinstance(waiting, Skipped):
            yield waiting
            continue
        header, name, read_sample = waiting
        try:
            sample = read_sample()
        except Exception as error:  # whatever one damaged sample raises inside Inspect, the others are still read
            yield Skipped(f"{path.name} {name}", f"not a readable sample: {told(error)}")
        else:
            yield from _of_sample(path.name, header, sample, options)
    if not found:
        yield Skipped(path.name, "a log without samples")


def _samples(path: Path) -> Iterator[_Waiting | Skipped]:
    try:
        yield from _archive(path) if probe(path).container is Container.ZIP else _document(path)
    except Exception as error:  # damage in what holds the samples: zip, zstd, JSON, Inspect's own checks
        yield Skipped(path.name, f"not a readable Inspect log: {told(error)}")


def _archive(path: Path) -> Iterator[_Waiting]:
    """Samples of an `.eval` file by their summaries, each read when it is asked for."""
    with zipfile.ZipFile(path) as archive:
        largest = max((member.file_size for member in archive.infolist()), default=0)
    if largest > _LONGEST_SAMPLE:
        raise InputError(f"a sample unpacks to {largest / 1e6:.0f} MB; the limit is {_LONGEST_SAMPLE / 1e6:.0f}")
    header = read_eval_log(str(path), header_only=True)
    facts = {"model": header.eval.model, "task": header.eval.task, "model_roles": header.eval.model_roles}
    for summary in read_eval_log_sample_summaries(str(path)):

        def sample(id: int | str = summary.id, epoch: int = summary.epoch) -> EvalSample:
            return read_eval_log_sample(str(path), id=id, epoch=epoch, resolve_attachments=True)

        yield facts, f"sample {summary.id} epoch {summary.epoch}", sample


def _document(path: Path) -> Iterator[_Waiting]:
    """Samples of a `.json` log in the order of the file, decoded one at a time: Inspect's own reader takes it whole."""
    with opened(path) as raw, json_text(raw, _LONGEST_SAMPLE) as values:
        header: dict[str, Any] = {}
        if not values.take("{"):
            raise InputError("not a JSON object")
        while not values.take("}"):
            key = values.value()
            if not values.take(":"):
                raise JsonDamageError("not JSON: a key without a value")
            if key == "samples" and values.take("["):
                spec = header.get("eval")
                facts = spec if isinstance(spec, dict) else {}
                yield from _listed(values, facts)
            else:
                value = values.value()
                header[key] = value if key == "eval" else None
            values.take(",")


def _listed(values: JsonText, facts: Mapping[str, Any]) -> Iterator[_Waiting]:
    number = 0
    while not values.take("]"):
        number += 1
        raw = values.value()

        def sample(raw: Any = raw) -> EvalSample:
            whole = resolve_sample_events_data(EvalSample.model_validate(raw))
            return resolve_sample_attachments(whole, "full")

        yield facts, f"sample number {number}", sample
        values.take(",")


def _of_sample(name: str, header: Mapping[str, Any], sample: EvalSample, options: SourceOptions) -> Iterator[Item]:
    where = f"{name} sample {sample.id} epoch {sample.epoch}"
    if options.samples is Samples.COMPLETE and (why := _incomplete(sample)):
        yield Skipped(where, f"{why}; --samples all reads it")
        return
    try:
        found = conversations(sample, header, options)
    except RecordError as error:
        yield Skipped(where, str(error))
        return
    _note_unread(sample, options)
    for number, conversation in enumerate(found.stretches, start=1):
        try:
            fields = _fields(name, header, sample, conversation, options)
            yield make_transcript(found.numbered(fields, number), options, name)
        except RecordError as error:
            yield Skipped(where, str(error))


def _incomplete(sample: EvalSample) -> str | None:
    """Why a sample is no complete run."""
    if sample.invalidation is not None:
        reason = sample.invalidation.reason
        return "its owner marked it invalid" + (f": '{quoted(reason)}'" if reason else "")
    return f"it ended in an error: '{quoted(sample.error.message)}'" if sample.error else None


def _note_unread(sample: EvalSample, options: SourceOptions) -> None:
    """What a log says of a sample beside its conversation: the answer that was wanted, what scorers wrote, state."""
    scores = {name: {"answer": s.answer, "explanation": s.explanation} for name, s in (sample.scores or {}).items()}
    held = {"target": sample.target, "choices": sample.choices, "scores": scores, "store": sample.store}
    options.notes.left(held, ())
    options.notes.left(sample.metadata, {(options.family_key or "family").split(".")[0]}, "metadata.")
    for message in sample.messages:
        options.notes.hold("messages[].metadata", message.metadata)


def _fields(
    name: str, header: Mapping[str, Any], sample: EvalSample, conversation: Conversation, options: SourceOptions
) -> Fields:
    family = lookup(sample.metadata, options.family_key or "family")
    invalid = sample.invalidation
    task = header.get("task")
    return Fields(
        id=f"{name}/{sample.id}/{sample.epoch}",
        messages=conversation.messages,
        family=as_text(family) if family is not None else f"{task}/{sample.id}" if task else str(sample.id),
        family_from="task and sample" if family is None else f"'{options.family_key or 'family'}' of the metadata",
        model=conversation.model or header.get("model"),
        outcome=_outcome(sample, options),
        tools=conversation.tools,
        metadata={
            "task": task,
            "sample_id": str(sample.id),
            "epoch": str(sample.epoch),
            "error": sample.error.message if sample.error else None,
            "limit": sample.limit.type if sample.limit else None,
            "invalidated": (invalid.reason or "without a reason") if invalid else None,
        },
        turn_facts=conversation.turn_facts,
    )


def _outcome(sample: EvalSample, options: SourceOptions) -> str | None:
    score: Any = (sample.scores or {}).get(options.outcome_key) if options.outcome_key else None
    return None if score is None else as_text(score.value)


def _fits(probe: Probe) -> bool:
    if probe.container is Container.ZIP:
        return probe.member.startswith(_MEMBERS)
    log = isinstance(probe.first.get("eval"), dict) and bool({"version", "status"} & set(probe.first))
    return log and probe.container in (Container.OBJECT, Container.LINES)


read = SOURCES.register("inspect_log")(
    Source("inspect_log", "an .eval or .json log of Inspect, or a folder of them", _read, _fits, (".eval", ".json"))
)
