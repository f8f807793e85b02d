"""Transcripts from Inspect logs, `.eval` or `.json`, one file or a folder of them: one transcript per sample and epoch.

Messages are the sample's, or with `model_role` those of the last call to that role (in an audit log the sample's own
messages are the auditor's). Tool definitions come from the model calls; a log keeps them nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, read_eval_log_samples
from inspect_ai.model import ChatMessage

from ..errors import InputError
from ._base import (
    SOURCES,
    Fields,
    Item,
    RecordError,
    Skipped,
    SourceOptions,
    as_text,
    lookup,
    make_transcript,
    screened,
)

_SUFFIXES = (".eval", ".json")


@SOURCES.register("inspect_log")
def read(path: Path | None, options: SourceOptions) -> Iterator[Item]:
    """Transcripts of every sample, sample by sample, attachments resolved.

    Raises:
        InputError: nothing there, or not one usable transcript in it.
    """
    if path is None or not path.exists():
        raise InputError(
            f"source 'inspect_log': no '{path.name if path else ''}'; give an .eval or .json log or a folder"
        )
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    yield from screened(_samples(files, options), options, path.name)


def _samples(files: list[Path], options: SourceOptions) -> Iterator[Item]:
    for file in files:
        try:
            header = read_eval_log(str(file), header_only=True)
            yield from _of_log(file, header, _read_samples(file, header), options)
        except Exception as error:  # whatever a damaged log raises inside Inspect, the other logs are still read
            reason = (str(error) or type(error).__name__).splitlines()[0]
            yield Skipped(file.name, f"not a readable Inspect log: {reason}")


def _read_samples(file: Path, header: EvalLog) -> Iterator[EvalSample]:
    """One sample at a time, except from logs of old versions, which do not list their samples and are read whole."""
    if header.eval.dataset.sample_ids is not None:
        return read_eval_log_samples(str(file), all_samples_required=False, resolve_attachments=True)
    return iter(read_eval_log(str(file), resolve_attachments=True).samples or [])


def _of_log(file: Path, header: EvalLog, samples: Iterator[EvalSample], options: SourceOptions) -> Iterator[Item]:
    found = False
    for sample in samples:
        found = True
        try:
            yield make_transcript(_fields(file, header, sample, options), options, file.name)
        except RecordError as error:
            yield Skipped(f"{file.name} sample {sample.id} epoch {sample.epoch}", str(error))
    if not found:
        yield Skipped(file.name, "a log without samples")


def _fields(file: Path, header: EvalLog, sample: EvalSample, options: SourceOptions) -> Fields:
    calls = [event for event in sample.events if isinstance(event, ModelEvent)]
    if options.model_role is not None:
        calls = [event for event in calls if event.role == options.model_role and not event.output.empty]
        if not calls:
            raise RecordError(f"no call to the model role '{options.model_role}'")
    family = lookup(sample.metadata, options.family_key or "family")
    return Fields(
        id=f"{file.name}/{sample.id}/{sample.epoch}",
        messages=_messages(sample, calls, options),
        family=str(sample.id) if family is None else as_text(family),
        model=calls[-1].model if calls and options.model_role is not None else header.eval.model,
        outcome=_outcome(sample, options),
        tools=tuple(calls[-1].tools) if calls else (),
        metadata={"task": header.eval.task, "sample_id": str(sample.id), "epoch": str(sample.epoch)},
    )


def _messages(sample: EvalSample, calls: list[ModelEvent], options: SourceOptions) -> list[ChatMessage]:
    if options.model_role is None:
        return list(sample.messages)
    return [*calls[-1].input, calls[-1].output.message]


def _outcome(sample: EvalSample, options: SourceOptions) -> str | None:
    score: Any = (sample.scores or {}).get(options.outcome_key) if options.outcome_key else None
    return None if score is None else as_text(score.value)
