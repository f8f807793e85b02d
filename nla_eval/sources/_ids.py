"""Ids that stand twice in a place: a copy of a record, another rollout of the same prompt, or the same number in
another file. Only a copy is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from inspect_ai.model import ChatMessage

from ..transcript import Transcript, content_parts
from ._base import Item, Skipped


@dataclass
class _Met:
    """Transcripts of one id."""

    file: str
    family: str
    prompt: int
    contents: set[int] = field(default_factory=set)


class Ids:
    """Makes ids unique within one reading; memory grows by some hundred bytes for each."""

    def __init__(self) -> None:
        self._met: dict[str, _Met] = {}

    def settled(self, item: Transcript, file: str) -> Item:
        """The transcript under an id of its own, or why it is left out.

        A second rollout of an id is "id#2", of the first one's family. The same id in another file is "file/id"; its
        family is the first one's only where the prompts are the same.

        Args:
            item: As its reader gave it.
            file: Where it stood, in a folder of several.
        """
        said = tuple(map(_said, item.messages))
        content, prompt = hash(said), hash(_asked(said))
        first = self._met.get(item.id)
        if first is None:
            self._met[item.id] = _Met(file, item.family, prompt, {content})
            return item
        if content in first.contents:
            return Skipped(file or item.provenance.source, f"an exact copy of the transcript with the id '{item.id}'")
        first.contents.add(content)
        if file != first.file:
            renamed, own = f"{file}/{item.id}", item.family == item.id
            family = first.family if prompt == first.prompt else f"{file}/{item.id}" if own else item.family
            return self.settled(item.model_copy(update={"id": renamed, "family": family}), file)
        renamed = self._next(item.id, len(first.contents))
        self._met[renamed] = _Met(file, first.family, prompt, {content})
        return item.model_copy(update={"id": renamed, "family": first.family})

    def _next(self, id: str, number: int) -> str:
        while f"{id}#{number}" in self._met:
            number += 1
        return f"{id}#{number}"


_Said = tuple[object, ...]


def _said(message: ChatMessage) -> _Said:
    """Everything in a message by which copies are known, its role first. A text counts as one part of that text."""
    calls = message.tool_calls if message.role == "assistant" else None
    if type(message.content) is str:
        return message.role, ("text", message.content), str(calls) if calls else ""
    return message.role, *content_parts(message), str(calls) if calls else ""


def _asked(said: tuple[_Said, ...]) -> tuple[_Said, ...]:
    """What stands before the first answer; all of it where there is none."""
    for at, message in enumerate(said):
        if message[0] == "assistant":
            return said[:at]
    return said
