"""Transcripts from preference pairs (DPO, reward models): {prompt?, chosen, rejected}, in JSON or Parquet.

The answers are texts, messages, or whole conversations that hold the prompt too; also the text of one, with its turns
marked "Human:" and "Assistant:". `answers` says which to read: the chosen one, the rejected one, or both as two
transcripts of one family. Which of the two it is stands as the variant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._base import Answers, Item, Record, Skipped, SourceOptions
from ._beside import HISTORY, with_history, words_of
from ._chat import chats
from ._json import json_records
from ._keys import IDS
from ._probe import Container, Probe, probe
from ._source import SOURCES, Source

_SYSTEM = ("system", "developer")
_PROMPTS = ("prompt", "question", "instruction", "input")
_MARKED = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def expanded(records: Iterable[Record | Skipped], options: SourceOptions) -> Iterator[Record | Skipped]:
    """Records with each pair put as the conversations that are to be read; other records as they are."""
    for record in records:
        if isinstance(record, Skipped) or not _is_pair(record.value):
            yield record
            continue
        wanted = ("chosen", "rejected") if options.answers is Answers.BOTH else (str(options.answers),)
        other = {"chosen", "rejected"} - set(wanted)
        options.notes.count(f"{', '.join(other)} answers left out (--answers both reads them)", len(other))
        for which in wanted:
            yield record._replace(value=_conversation(record, which, options))


def _is_pair(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_answer(value.get(key)) for key in ("chosen", "rejected"))


def _is_answer(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "role" in value or "from" in value
    return isinstance(value, str | list) and bool(value)


def _conversation(record: Record, which: str, options: SourceOptions) -> dict[str, Any]:
    pair = record.value
    key = options.messages_key or next((key for key in _PROMPTS if pair.get(key) is not None), "")
    rest = {name: held for name, held in pair.items() if name not in ("chosen", "rejected", key)}
    if key == "instruction" and isinstance(pair.get("input"), str):
        prompt = [{"role": "user", "content": f"{pair[key]}\n\n{rest.pop('input')}".strip()}]
    else:
        prompt = _messages(pair.get(key), "user") if key else []
    used: set[str] = set()
    prompt = with_history(pair, prompt, used)
    if used:
        rest.pop(HISTORY)
    answer = _messages(pair[which], "assistant")
    if prompt and answer[: len(prompt)] == prompt:
        prompt = []
    elif len(answer) > 1 and prompt and _role(answer[0]) in (*_SYSTEM, "user", "human"):
        prompt = _above(prompt, answer, options)
    named = options.id_key or next((name for name in IDS if pair.get(name) not in (None, "")), None)
    known = pair.get(named) if named else None
    pair_id = f"line-{record.number}" if known is None else str(known)
    return {
        "family": pair_id,
        **rest,
        "id": f"{pair_id}/{which}" if options.answers is Answers.BOTH else pair_id,
        "variant": which,
        "messages": [*prompt, *answer],
    }


def _above(prompt: list[Any], answer: list[Any], options: SourceOptions) -> list[Any]:
    """What of a prompt stands above an answer that is a whole conversation: its system prompt. What the conversation
    does not repeat is counted."""
    kept = [] if _role(answer[0]) in _SYSTEM else [m for m in prompt if _role(m) in _SYSTEM]
    repeated = {words_of(message) for message in (*kept, *answer)}
    for words in map(words_of, prompt):
        options.notes.hold("prompt", "" if words in repeated else words)
    return kept


def _messages(value: Any, role: str) -> list[Any]:
    """A prompt or an answer as messages."""
    if isinstance(value, list):
        return list(value)
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, str):
        return []
    marks = _MARKED.split(value)
    said_by_nobody = role == "assistant" and "Assistant" not in marks[1::2]
    if len(marks) < 3 or marks[0].strip() or said_by_nobody:
        return [{"role": role, "content": value}]
    turns = zip(marks[1::2], marks[2::2], strict=True)
    said = [{"role": "user" if who == "Human" else "assistant", "content": words} for who, words in turns]
    # A prompt of this kind ends where the answer begins.
    return said[:-1] if role == "user" and said[-1] == {"role": "assistant", "content": ""} else said


def _role(message: Any) -> Any:
    return message.get("role", message.get("from")) if isinstance(message, Mapping) else None


def _read(path: Path, options: SourceOptions) -> Iterator[Item]:
    if probe(path).container is Container.PARQUET:
        from ._tables import parquet_rows

        records = parquet_rows(path, lambda schema: list(schema.names))
    else:
        records = json_records(path, options)
    # Messages, id and prompt are found here, so the options that name them have had their say.
    yield from chats(expanded(records, options), replace(options, messages_key=None, id_key=None), path.name)


def _fits(probe: Probe) -> bool:
    if probe.container is Container.PARQUET:
        return {"chosen", "rejected"} <= probe.columns
    return any(map(_is_pair, probe.records))


read = SOURCES.register("dpo")(
    Source("dpo", "preference pairs (prompt, chosen, rejected), in JSON or Parquet", _read, _fits)
)
