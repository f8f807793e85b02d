"""Makes prompts from openings of real conversations: English, in three length bands, with personal data masked. In: the
items of a data set's reader, in order. Out: prompts that end in a user message, for the target to answer. It knows no
data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from inspect_ai.model import ChatMessage

from nla_eval.dataset.redact import redact_messages
from nla_eval.sources import Item
from nla_eval.suite import held_out
from nla_eval.transcript import Transcript

BANDS = ((200, 2_500), (2_500, 6_500), (6_500, 10_500))
"""Prompt lengths in characters, from (inclusive) and to (exclusive)."""

_COMMON = frozenset(
    re.findall(
        r"\w+", "the of and to in a is that for it on with as are this be by an or you i can what how please me my"
    )
)


def openings(items: Iterable[Item], per_band: int) -> Iterator[Transcript]:
    """The first English held-out dialogues that fit each band, round-robin over bands, shortest band first.

    No family and no opening is taken twice. Items are read until every band is full.
    """
    picked = _pick((item for item in items if isinstance(item, Transcript) and _suits(item)), per_band)
    for round_ in zip(*picked, strict=True):
        yield from round_


def looks_english(text: str) -> bool:
    """Whether the text is mostly ASCII letters and at least one word in eight is a common English word."""
    letters = [c for c in text if c.isalpha()]
    words = re.findall(r"[a-z']+", text.lower())
    if not words or sum(c.isascii() for c in letters) < 0.98 * len(letters):
        return False
    return sum(w in _COMMON for w in words) >= len(words) / 8


def longest_prompt(messages: Sequence[ChatMessage], limit: int) -> list[ChatMessage]:
    """The longest opening that ends in a user message and has fewer than `limit` characters."""
    best, length = 0, 0
    for index, message in enumerate(messages):
        length += len(message.text)
        if length >= limit:
            break
        if message.role == "user":
            best = index + 1
    return list(messages[:best])


def _pick(candidates: Iterable[Transcript], per_band: int) -> list[list[Transcript]]:
    bands: list[list[Transcript]] = [[] for _ in BANDS]
    seen: set[str] = set()
    for candidate in candidates:
        opening = _fold(candidate.messages[0].text)
        if candidate.family in seen or opening in seen:
            continue
        for band, (low, high) in reversed(list(zip(bands, BANDS, strict=True))):
            prompt = longest_prompt(candidate.messages, high)
            if len(band) < per_band and prompt and sum(len(m.text) for m in prompt) >= low:
                band.append(_masked(candidate, prompt))
                seen |= {candidate.family, opening}
                break
        if all(len(band) == per_band for band in bands):
            break
    return bands


def _suits(transcript: Transcript) -> bool:
    """Whether this is an English held-out dialogue that a user opened, without empty messages."""
    if not held_out(transcript.family):  # excludes nine in ten, and is much cheaper than the other tests
        return False
    messages = transcript.messages
    alternating = all(m.role == ("user", "assistant")[i % 2] for i, m in enumerate(messages))
    users = " ".join(m.text for m in messages if m.role == "user")
    return alternating and all(m.text.strip() for m in messages) and looks_english(users)


def _masked(transcript: Transcript, prompt: list[ChatMessage]) -> Transcript:
    messages, counts = redact_messages(prompt)
    facts = {"masked": str(sum(counts.values())), "turns": str(sum(m.role == "user" for m in messages))}
    return transcript.model_copy(update={"messages": messages, "metadata": facts})


def _fold(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower())[:120]
