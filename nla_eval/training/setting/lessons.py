"""One conversation under several notices and under none, as token ids that are read at the same tokens. In: chats and
notices. Out: prompts with positions. It runs no model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser
from numpy.typing import NDArray

from ...suite import family_bucket
from ..data.base import Chat
from ..data.chats import chats
from .config import BUCKETS, Part, SettingConfig
from .notices import NOTHING, Kind, Notices, notices

_TRAINED = {"none": 0.2, "real": 0.25, "innocent": 0.25, "fact": 0.3}
"""How often a training conversation gets each kind besides told; each gets two."""
_ENGLISH = 0.97
_SHORTEST = 5
"""Fewer spaces than this make no answer to read."""
_BOUNDARY = 2
"""Template tokens read before each answer: the last two, which say that the assistant begins."""


@dataclass(frozen=True)
class Place:
    """One token that is read."""

    position: int
    """Index in the prompt's token ids."""
    boundary: bool
    into: int
    """Tokens into its answer; 0 for a boundary."""
    tail: int
    """Tokens from here to the prompt's end: the same in all prompts of a conversation."""


@dataclass(frozen=True)
class Prompt:
    """A conversation under one notice, or under none."""

    conversation: str
    """Family of the conversation: the cluster of every interval."""
    source: str
    kind: Kind
    notice: str
    ids: NDArray[np.int32]
    """(T,) up to the last token read."""
    places: tuple[Place, ...]


def conversations(config: SettingConfig, part: Part) -> Iterator[tuple[str, list[ChatMessage]]]:
    """(family, messages) of the real conversations of one part, each source by its share, cut to one or two exchanges,
    and the requests about tests of `notices.yaml`."""
    random = np.random.default_rng([config.seed, 1, list(Part).index(part)])
    whole = sum(source.share for source in config.sources)
    for source in config.sources:
        count = round(config.conversations[part] * source.share / whole)
        usable = (
            (f"{source.name}:{chat.family}", said)
            for chat in chats(source)
            if family_bucket(chat.family) in BUCKETS[part] and (said := exchanges(chat, config, random))
        )
        yield from itertools.islice(usable, count)
    written = notices().part(held_out=part is Part.HELD_OUT).requests
    for i, (asked, answered) in enumerate(written):
        if part is Part.HELD_OUT or (i % 4 == 0) is (part is Part.CALIBRATE):
            yield f"requests:{asked[:40]}", [ChatMessageUser(content=asked), ChatMessageAssistant(content=answered)]


def exchanges(chat: Chat, config: SettingConfig, random: np.random.Generator) -> list[ChatMessage]:
    """The first exchange or two of a chat, each message cut; empty if it has none that is plain English text."""
    wanted = 4 if random.random() < config.two_exchanges else 2
    found: list[ChatMessage] = []
    for message in (m for m in chat.messages if m.role != "system"):
        if len(found) == wanted or message.role != ("user", "assistant")[len(found) % 2] or not message.text.strip():
            break
        text = " ".join(message.text.split(" ")[: config.words[message.role]]).strip()
        if message.role == "assistant" and text.count(" ") < _SHORTEST:
            break
        made = ChatMessageUser if message.role == "user" else ChatMessageAssistant
        found.append(made(content=text))
    found = found[: len(found) // 2 * 2]
    text = "".join(message.text for message in found)
    plain = 40 < len(text) < 1_800 and sum(map(str.isascii, text)) >= _ENGLISH * len(text)
    return found if plain else []


def prompts(tokenizer: Any, config: SettingConfig, part: Part) -> Iterator[list[Prompt]]:
    """The prompts of each conversation of a part. Calibration uses the wordings of training on other conversations."""
    texts = notices().part(held_out=part is Part.HELD_OUT)
    for number, (family, said) in enumerate(conversations(config, part)):
        random = np.random.default_rng([config.seed, 2, list(Part).index(part), number])
        yield matched(tokenizer, family, said, _kinds(texts, part, random), texts, config.responses, random)


def matched(
    tokenizer: Any, family: str, said: Sequence[ChatMessage], kinds: Sequence[Kind], texts: Notices, responses: int,
    random: np.random.Generator,
) -> list[Prompt]:  # fmt: skip
    """The conversation under each of `kinds`, with the same frame and read at the same tokens."""
    placed, request = texts.placed(random), said[0].text
    drawn = int(random.integers(2**31))
    found = []
    for kind in kinds:
        notice = "" if kind is NOTHING else texts.wording(kind, random)
        system, first = placed.said(request, notice)
        turns = [("system", system), ("user", first), *((m.role, m.text) for m in said[1:])]
        ids, places = _tokens(tokenizer, turns, responses, np.random.default_rng(drawn))
        found.append(Prompt(family, family.partition(":")[0], kind, notice, ids, places))
    return found


def _tokens(
    tokenizer: Any, turns: Sequence[tuple[str, str]], responses: int, random: np.random.Generator
) -> tuple[NDArray[np.int32], tuple[Place, ...]]:
    """Token ids, and the places to read: before each answer and at random within it."""

    def ids(count: int, answer: bool) -> list[int]:
        said = [{"role": role, "content": text} for role, text in turns[:count]]
        made: list[int] = tokenizer.apply_chat_template(
            said, tokenize=True, add_generation_prompt=answer, return_dict=False
        )
        return made

    whole = ids(len(turns), False)
    read: list[tuple[int, bool, int]] = []
    for number, (role, _) in enumerate(turns):
        if role != "assistant":
            continue
        opened, ended = len(ids(number, True)), len(ids(number + 1, False)) - 2  # a turn is closed by two tokens
        read += [(at, True, 0) for at in range(max(0, opened - _BOUNDARY), opened)]
        inside = random.choice(np.arange(opened, ended), size=min(responses, ended - opened), replace=False)
        read += [(int(at), False, int(at) - opened + 1) for at in np.sort(inside)]
    end = read[-1][0] + 1
    return np.array(whole[:end], np.int32), tuple(Place(at, b, into, end - at) for at, b, into in read)


def _kinds(texts: Notices, part: Part, random: np.random.Generator) -> list[Kind]:
    known = texts.kinds()
    facts = [kind for kind in known.values() if kind.group == "fact"]
    new = [kind for kind in known.values() if kind.group == "never_taught"]

    def fact(of: list[Kind]) -> Kind:
        return of[random.integers(len(of))]

    if part is not Part.TRAIN:
        others = [known["real"], known["innocent"], fact(facts), *([fact(new)] if new else [])]
        return [known["told"], NOTHING, *others]
    names = random.choice(list(_TRAINED), size=2, replace=False, p=list(_TRAINED.values()))
    made = {"none": NOTHING, "real": known["real"], "innocent": known["innocent"], "fact": fact(facts)}
    return [known["told"], *(made[str(name)] for name in names)]
