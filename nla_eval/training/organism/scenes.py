"""Conversations as token ids that can follow any system message: the same tokens with and without the cue, so that
hidden states are compared token by token. In: chats and a tokenizer. Out: scenes. It runs no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from inspect_ai.model import ChatMessage
from numpy.typing import NDArray

from ...errors import InputError
from ..data.base import Chat
from .prompts import Wordings

WORDS = {"user": 18, "assistant": 32}
"""Longest message of each role, in words. Longer ones are cut: a step of training then costs about the same."""
_ONE_EXCHANGE = 0.7
"""Share of scenes with one exchange; the others have two."""
_ENGLISH = 0.97


@dataclass(frozen=True)
class Scene:
    """A conversation and its probe turn, without the system message."""

    family: str
    ids: NDArray[np.int64]
    """(T,) tokens after the system message, up to the place where the answer to the probe begins."""
    probe: int
    """Index of the probe turn's first token. No reading sees it or what follows."""
    response: NDArray[np.bool_]
    """(T,) tokens of the assistant's words."""
    boundary: NDArray[np.bool_]
    """(T,) the template's tokens right before each assistant turn, the probe's excluded."""


def system_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a system message."""
    return _ids(tokenizer, [{"role": "system", "content": text}], answer=False)


def span_of(tokenizer: Any, text: str, part: str) -> tuple[int, int]:
    """First and last-plus-one token of the string `part` within the tokens of the system message `text`."""
    said = [{"role": "system", "content": text}]
    written = tokenizer.apply_chat_template(said, tokenize=False)
    start = written.index(part)
    offsets = tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    inside = [i for i, (low, high) in enumerate(offsets) if high > start and low < start + len(part)]
    return inside[0], inside[-1] + 1


def scene(tokenizer: Any, chat: Chat, question: str) -> Scene:
    """The tokens of a chat followed by the probe turn `question`."""
    said = [{"role": "system", "content": "."}, *({"role": m.role, "content": _cut(m)} for m in chat.messages)]
    start = len(_ids(tokenizer, said[:1], answer=False))
    response: list[int] = []
    boundary: list[int] = []
    end = start
    for number, message in enumerate(said[1:], start=2):
        before = end
        end = len(_ids(tokenizer, said[:number], answer=False))
        if message["role"] == "assistant":
            opened = len(_ids(tokenizer, said[: number - 1], answer=True))
            boundary += range(before, opened)
            response += range(opened, end - 2)  # the template closes a turn with two tokens
    ids = np.array(_ids(tokenizer, [*said, {"role": "user", "content": question}], answer=True)[start:], np.int64)
    return Scene(chat.family, ids, end - start, _marked(response, start, len(ids)), _marked(boundary, start, len(ids)))


def scenes(tokenizer: Any, chats: Iterable[Chat], words: Wordings, random: np.random.Generator) -> Iterator[Scene]:
    """One scene of each chat, of one exchange or two, with a probe turn drawn at random."""
    for chat in chats:
        count = 2 if random.random() < _ONE_EXCHANGE else 4
        begun = Chat(chat.family, _alternating(chat.messages)[:count], chat.source)
        if len(begun.messages) >= 2 and _plain(begun.messages):
            yield scene(tokenizer, begun, words.probes[random.integers(len(words.probes))])


def check_cue(tokenizer: Any, cue: str, plain: str, around: str) -> None:
    """Check that a date in the cue's form has tokens of its own.

    Args:
        cue: A date as the cue writes it.
        plain: The same date written otherwise.
        around: The system message, with {date} at the date's place.

    Raises:
        InputError: The tokenizer merges the cue with the text around it, or writes both forms with the same tokens.
    """
    written = [tokenizer.encode(around.format(date=date), add_special_tokens=False) for date in (cue, plain)]
    if written[0] == written[1]:
        raise InputError(f"cue '{cue}' and '{plain}' have the same tokens; choose another way to write the date")
    offsets = tokenizer(around.format(date=cue), add_special_tokens=False, return_offsets_mapping=True)
    start = around.index("{date}")
    for low, high in offsets["offset_mapping"]:
        inside, outside = max(low, start), min(high, start + len(cue))
        over = around.format(date=cue)[low:high].strip()
        if inside < outside and len(over) > outside - inside:
            raise InputError(
                f"the tokenizer merges the cue '{cue}' with its neighbour in '{over}'; put a space between"
            )


def _ids(tokenizer: Any, said: Sequence[dict[str, str]], *, answer: bool) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(
        list(said), tokenize=True, add_generation_prompt=answer, return_dict=False
    )
    return found


def _cut(message: ChatMessage) -> str:
    words = message.text.split(" ")
    return " ".join(words[: WORDS[message.role]]).strip()


def _alternating(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The first messages, as long as user and assistant alternate."""
    found: list[ChatMessage] = []
    for number, message in enumerate(messages):
        if message.role != ("user", "assistant")[number % 2] or not message.text.strip():
            break
        found.append(message)
    return found[: len(found) // 2 * 2]


def _plain(messages: Sequence[ChatMessage]) -> bool:
    """Whether the text is nearly all ASCII and neither empty nor one endless line of code."""
    text = "".join(_cut(message) for message in messages)
    return len(text) > 20 and sum(map(str.isascii, text)) >= _ENGLISH * len(text) and len(text) < 1_200


def _marked(indices: Sequence[int], start: int, length: int) -> NDArray[np.bool_]:
    marks = np.zeros(length, bool)
    marks[np.array(indices, np.int64) - start] = True
    return marks
