"""Ids that stand twice in a place: a copy of a record, another rollout of the same prompt, or the same number in
another file. Only a copy is left out."""

from __future__ import annotations

from itertools import chain

from inspect_ai.model import ChatMessage

from ..transcript import Transcript, content_parts
from ._base import Item, Skipped


class Ids:
    """Makes ids unique within one reading; memory grows by some hundred bytes for each.

    What is kept of an id are texts and numbers in one dictionary for each fact. An object for each id would make the
    garbage collector go over the whole process now and then, a fifth of the time that reading takes.
    """

    def __init__(self) -> None:
        self._contents: dict[str, int] = {}
        """Of the first transcript of each id, as the others."""
        self._prompts: dict[str, int] = {}
        self._families: dict[str, str] = {}
        """Where they are not the id."""
        self._files: dict[str, str] = {}
        """Where they are not the first file."""
        self._file: str | None = None
        self._further: dict[str, set[int]] = {}
        """Contents of the other transcripts of an id."""

    def settled(self, item: Transcript, file: str) -> Item:
        """The transcript under an id of its own, or why it is left out.

        A second rollout of an id is "id#2", of the first one's family. The same id in another file is "file/id"; its
        family is the first one's only where the prompts are the same.

        Args:
            item: As its reader gave it.
            file: Where it stood, in a folder of several.
        """
        content, prompt = _marks(item.messages)
        first = self._contents.get(item.id)
        if first is None:
            self._meet(item.id, file, item.family, prompt, content)
            return item
        family = self._families.get(item.id, item.id)
        further = self._further.setdefault(item.id, set())
        if content == first or content in further:
            return Skipped(file or item.provenance.source, f"an exact copy of the transcript with the id '{item.id}'")
        further.add(content)
        if file != self._files.get(item.id, self._file):
            renamed, own = f"{file}/{item.id}", item.family == item.id
            if prompt != self._prompts[item.id]:
                family = renamed if own else item.family
            return self.settled(item.model_copy(update={"id": renamed, "family": family}), file)
        renamed = self._next(item.id, len(further) + 1)
        self._meet(renamed, file, family, prompt, content)
        return item.model_copy(update={"id": renamed, "family": family})

    def _meet(self, id: str, file: str, family: str, prompt: int, content: int) -> None:
        self._contents[id], self._prompts[id] = content, prompt
        if family != id:
            self._families[id] = family
        if self._file is None:
            self._file = file
        elif file != self._file:
            self._files[id] = file

    def _next(self, id: str, number: int) -> str:
        while f"{id}#{number}" in self._contents:
            number += 1
        return f"{id}#{number}"


def _marks(messages: list[ChatMessage]) -> tuple[int, int]:
    """What copies are known by, and what stands before the first answer; all of it where there is none."""
    said: list[str] = []
    asked = -1
    for message in messages:
        held = message.__dict__
        role, content, calls = held["role"], held["content"], None
        if role == "assistant":
            calls = held["tool_calls"]
            if asked < 0:
                asked = len(said)
        # No kind of content is named like what calls are written as, so the row of texts has one meaning only.
        if type(content) is str:
            said += (role, "text", content, str(calls) if calls else "")
        else:
            said += (role, *chain.from_iterable(content_parts(message)), str(calls) if calls else "")
    whole = hash(tuple(said))
    return whole, whole if asked < 0 else hash(tuple(said[:asked]))
