"""Transcripts of the simplest records at once: an id, facts that are texts, and messages that are a role and a text.

Most data is such, and the careful way asks each record some two hundred questions whose answer is then no. What is
made here equals what the careful way makes; a record of which that is not certain is left to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inspect_ai.model import ChatMessage

from ..transcript import Transcript
from ._base import Record, SourceOptions, constructed, default_id, hashed_id, plain_size, provenance
from ._families import family_of, family_of_id, says_family
from ._keys import FACTS, IDS, MESSAGES
from ._messages import ROLES
from ._notes import BOOKKEEPING
from ._plain import MAKERS, copied, is_utf8
from ._thinking import may_open
from ._turns import STOP_KEYS

_TEXTS = frozenset((*IDS, *FACTS, "family", "model", "outcome", "variant"))
"""Keys that are read, each with a text here."""
_SIMPLE = frozenset((*MESSAGES, *_TEXTS, *BOOKKEEPING)) - {*STOP_KEYS}
_MOST_SHAPES = 100
_NUMBERS = tuple(b"\n%d" % number for number in range(1000))
"""What an id of a message is made of, after the transcript's id. Longer conversations are left to the careful way."""
_FILLED = ("id", "messages", "family", "outcome", "variant", "metadata")
_ANSWER = MAKERS["assistant"]


@dataclass(frozen=True)
class _Shape:
    """What the keys of a record say."""

    messages: str
    id: str | None
    texts: tuple[str, ...]
    """Keys that are read beside the messages."""
    facts: tuple[str, ...]
    """Those of them that become metadata."""
    says_family: bool


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
        roles = {**ROLES, **options.roles}
        self._makers = {name: MAKERS[role] for name, role in roles.items() if role in MAKERS}
        self._prompts, self._limit = options.prompts, options.max_record_bytes
        self._blank = constructed(options, source, None, tools=[], turn_facts=(), **dict.fromkeys(_FILLED))
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def transcript(self, record: Record) -> Transcript | None:
        """The transcript; None where the record is not simple."""
        value: Any = record.value
        if type(value) is not dict or not self._usable:
            return None
        shape = self._shape(tuple(value))
        if shape is None:
            return None
        characters = 0
        for key in shape.texts:
            text = value[key]
            if type(text) is not str or not (text.isascii() or is_utf8(text)):
                return None
            characters += len(text)
        raw, transcript_id = value[shape.messages], value[shape.id] if shape.id else default_id(record)
        if type(raw) is not list or not transcript_id:
            return None
        made = self._messages(raw, transcript_id)
        if made is None:
            return None
        messages, letters = made
        family = family_of(value, transcript_id, None) if shape.says_family else family_of_id(transcript_id)
        characters += letters + len(transcript_id) + len(family.name)
        if plain_size(characters, len(messages)) > self._limit:
            return None
        self._options.notes.family_by(family.rule)
        filled = {
            "id": transcript_id,
            "messages": messages,
            "family": family.name,
            "tools": [],
            "metadata": {key: value[key] for key in shape.facts},
            "outcome": value.get("outcome"),
            "variant": value.get("variant"),
        }
        if (model := value.get("model")) is not None:
            filled["provenance"] = provenance(self._options, self._source, model)
        return copied(self._blank, filled)

    def _shape(self, keys: tuple[str, ...]) -> _Shape | None:
        if keys in self._shapes:
            return self._shapes[keys]
        lists, ids = [key for key in keys if key in MESSAGES], [key for key in keys if key in IDS]
        simple = len(lists) == 1 and len(ids) <= 1 and _SIMPLE.issuperset(keys)
        texts = tuple(key for key in keys if key in _TEXTS)
        facts = tuple(key for key in FACTS if key in keys)
        shape = _Shape(lists[0], ids[0] if ids else None, texts, facts, says_family(keys)) if simple else None
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes[keys] = shape
        return shape

    def _messages(self, raw: list[Any], transcript_id: str) -> tuple[list[ChatMessage], int] | None:
        """The messages and the number of their characters, if each is a role and a text, and one of them an answer
        unless the target is to write it."""
        if not raw or len(raw) > len(_NUMBERS) or type(raw[0]) is not dict:
            return None
        role_key, text_key = ("role", "content") if "role" in raw[0] else ("from", "value")
        made: list[ChatMessage] = []
        answered, characters = self._prompts, 0
        makers = self._makers
        encoded = transcript_id.encode()
        try:
            for message, number in zip(raw, _NUMBERS, strict=False):
                text = message[text_key]
                if type(message) is not dict or len(message) != 2 or type(text) is not str:
                    return None
                make = makers[message[role_key]]
                if not (text.isascii() or is_utf8(text)):
                    return None
                if make is _ANSWER:
                    if may_open(text):
                        return None
                    answered = True
                characters += len(text)
                made.append(make(hashed_id(encoded + number), text))
        except (KeyError, TypeError):  # another key, another role, no object
            return None
        return (made, characters) if answered else None
