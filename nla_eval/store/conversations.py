"""Conversations stored beside the readings, so that turns can be judged from the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from inspect_ai.model import ChatMessage
from pydantic import TypeAdapter

from ..transcript import Transcript
from .flush import flushed
from .store import ReadingStore

_MESSAGES: TypeAdapter[list[ChatMessage]] = TypeAdapter(list[ChatMessage])
TRANSCRIPTS_PER_PART = 64
"""Number of transcripts in one part of activations or messages."""


def kept(transcripts: Iterable[Transcript], store: ReadingStore) -> Iterator[Transcript]:
    """Yield the transcripts unchanged and store their messages, so that turns can be judged from the store alone."""
    for batch in flushed(transcripts, TRANSCRIPTS_PER_PART, float("inf")):
        store.append_messages({t.digest: _messages_json(t) for t in batch})
        yield from batch


def kept_messages(store: ReadingStore) -> dict[str, list[ChatMessage]]:
    """The stored conversations, by transcript digest."""
    return {digest: _MESSAGES.validate_python(json.loads(text)) for digest, text in store.messages().items()}


def _messages_json(transcript: Transcript) -> str:
    # json.dumps escapes lone surrogates, which pydantic's own writer refuses.
    return json.dumps([m.model_dump(mode="json", exclude_none=True) for m in transcript.messages])
