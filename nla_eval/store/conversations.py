"""Conversations stored beside the readings, so that turns can be judged from the store alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from inspect_ai.model import ChatMessage
from pydantic import TypeAdapter

from ..transcript import Transcript, content_digest
from .flush import flushed
from .store import ReadingStore

_MESSAGES: TypeAdapter[list[ChatMessage]] = TypeAdapter(list[ChatMessage])
TRANSCRIPTS_PER_PART = 64
"""Number of transcripts in one part of activations or messages."""

Said = Sequence[ChatMessage] | str
"""A conversation, or its JSON."""


class Conversations(Mapping[str, Sequence[ChatMessage]]):
    """Conversations by transcript digest. Those of a store stay JSON, and are parsed each time one is asked for: as
    messages they take ten times the memory."""

    def __init__(self, said: Mapping[str, Said] | None = None) -> None:
        self._said: dict[str, Said] = dict(said or {})

    def __getitem__(self, digest: str) -> Sequence[ChatMessage]:
        said = self._said[digest]
        return _MESSAGES.validate_python(json.loads(said)) if isinstance(said, str) else said

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)

    def __contains__(self, digest: object) -> bool:
        return digest in self._said

    def hear(self, digest: str, said: Said) -> None:
        """Keep a conversation: one that has the digest's content, before one that was changed since."""
        if digest not in self._said or content_digest(list(Conversations({digest: said})[digest])) == digest:
            self._said[digest] = said

    def add(self, other: Conversations) -> None:
        """Keep the conversations of another one, as `hear` does."""
        for digest, said in other._said.items():
            self.hear(digest, said)

    def within(self, digests: Collection[str]) -> Conversations:
        """The conversations with these digests."""
        return Conversations({digest: said for digest, said in self._said.items() if digest in digests})


def kept(transcripts: Iterable[Transcript], store: ReadingStore) -> Iterator[Transcript]:
    """Yield the transcripts unchanged and store their messages, so that turns can be judged from the store alone."""
    for batch in flushed(transcripts, TRANSCRIPTS_PER_PART, float("inf")):
        store.append_messages({t.digest: _messages_json(t) for t in batch})
        yield from batch


def kept_messages(store: ReadingStore) -> Conversations:
    """The stored conversations, by transcript digest."""
    return Conversations(store.messages())


def _messages_json(transcript: Transcript) -> str:
    # json.dumps escapes lone surrogates, which pydantic's own writer refuses.
    return json.dumps([m.model_dump(mode="json", exclude_none=True) for m in transcript.messages])
