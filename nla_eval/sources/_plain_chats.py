"""Transcripts of the simplest records at once: an id, facts that are texts, and messages that are a role and a text.

Most data is such, and the careful way asks each record some two hundred questions whose answer is then no. What is
made here equals what the careful way makes; a record of which that is not certain is left to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inspect_ai.model import ChatMessage

from ..transcript import Transcript
from ._base import Record, SourceOptions, constructed, default_id, message_id, plain_size
from ._families import family_of
from ._keys import FACTS, IDS, MESSAGES
from ._messages import ROLES
from ._notes import BOOKKEEPING
from ._plain import is_utf8, message_of, templates
from ._thinking import may_open
from ._turns import STOP_KEYS

_TEXTS = frozenset((*IDS, *FACTS, "family", "model", "outcome", "variant"))
"""Keys that are read, each with a text here."""
_SIMPLE = frozenset((*MESSAGES, *_TEXTS, *BOOKKEEPING)) - {*STOP_KEYS}
_MOST_SHAPES = 100


@dataclass(frozen=True)
class _Shape:
    """What the keys of a record say."""

    messages: str
    id: str | None
    texts: tuple[str, ...]
    """Keys that are read beside the messages."""


class PlainChats:
    """Makes transcripts of simple records.

    Args:
        options: Of the source.
        source: Provenance, unless the options have another.
    """

    def __init__(self, options: SourceOptions, source: str) -> None:
        self._options, self._source = options, source
        named = (options.messages_key, options.id_key, options.family_key, options.outcome_key)
        self._usable = not any(named)
        self._templates = templates({**ROLES, **options.roles})
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def transcript(self, record: Record) -> Transcript | None:
        """The transcript; None where the record is not simple."""
        value: Any = record.value
        if not self._usable or type(value) is not dict:
            return None
        shape = self._shape(tuple(value))
        if shape is None:
            return None
        texts = [value[key] for key in shape.texts]
        for text in texts:
            if type(text) is not str or not is_utf8(text):
                return None
        raw, transcript_id = value[shape.messages], value[shape.id] if shape.id else default_id(record)
        if type(raw) is not list or not transcript_id:
            return None
        messages = self._messages(raw, transcript_id)
        if messages is None:
            return None
        family = family_of(value, transcript_id, None)
        if plain_size(messages, [transcript_id, family.name, *texts]) > self._options.max_record_bytes:
            return None
        self._options.notes.family_by(family.rule)
        return constructed(
            self._options,
            self._source,
            value.get("model"),
            id=transcript_id,
            messages=messages,
            family=family.name,
            tools=[],
            outcome=value.get("outcome"),
            variant=value.get("variant"),
            metadata={key: value[key] for key in FACTS if key in value},
            turn_facts=(),
        )

    def _shape(self, keys: tuple[str, ...]) -> _Shape | None:
        if keys in self._shapes:
            return self._shapes[keys]
        lists, ids = [key for key in keys if key in MESSAGES], [key for key in keys if key in IDS]
        simple = len(lists) == 1 and len(ids) <= 1 and _SIMPLE.issuperset(keys)
        texts = tuple(key for key in keys if key in _TEXTS)
        shape = _Shape(lists[0], ids[0] if ids else None, texts) if simple else None
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes[keys] = shape
        return shape

    def _messages(self, raw: list[Any], transcript_id: str) -> list[ChatMessage] | None:
        """The messages, if each is a role and a text, and one of them an answer unless the target is to write it."""
        made: list[ChatMessage] = []
        answered = self._options.prompts
        named = self._templates.get
        for index, message in enumerate(raw):
            if type(message) is not dict or len(message) != 2:
                return None
            role, text = message.get("role"), message.get("content")
            if role is None:
                role, text = message.get("from"), message.get("value")
            if type(role) is not str or type(text) is not str or not (text.isascii() or is_utf8(text)):
                return None
            template = named(role)
            if template is None:
                return None
            if template.role == "assistant":
                if may_open(text):
                    return None
                answered = True
            made.append(message_of(template, message_id(transcript_id, index), text))
        return made if made and answered else None
