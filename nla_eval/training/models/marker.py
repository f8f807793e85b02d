"""Chooses the injection character of a new pack: one that is a single token for the target's tokenizer, also inside the
AV's prompt. In: the tokenizer and the AV's template. Out: the character, its id and its neighbours' ids. Loads no
weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import InputError

CANDIDATES = ("─", "㈜", "㈎", "㈠", "※", "§", "¤", "†", "◆", "█", "¶", "~", "^")
"""Candidates in order of preference: rare in text, but in most vocabularies. The released pairs use enclosed CJK
characters."""


@dataclass(frozen=True)
class Marker:
    """An injection character and its place in the prompt."""

    char: str
    token_id: int
    left: int
    """Id of the token before it."""
    right: int


def injection_marker(tokenizer: Any, template: str, candidates: tuple[str, ...] = CANDIDATES) -> Marker:
    """The first candidate that is one token alone and in the chat prompt, and occurs there once and not at an end.

    Raises:
        InputError: No candidate works; the message gives the reason for each.
    """
    split = []
    for char in candidates:
        ids = tokenizer.encode(char, add_special_tokens=False)
        if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
            split.append(f"'{char}' is {len(ids)} tokens" if len(ids) != 1 else f"'{char}' is unknown")
            continue
        content = template.replace("{injection_char}", char)
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True, return_dict=False
        )
        at = [i for i, token in enumerate(prompt) if token == ids[0]]
        if len(at) == 1 and 0 < at[0] < len(prompt) - 1:
            return Marker(char, ids[0], prompt[at[0] - 1], prompt[at[0] + 1])
        split.append(f"'{char}' occurs {len(at)} times in the prompt")
    raise InputError(
        f"no injection character works with this tokenizer: {', '.join(split)}; add one to marker.CANDIDATES"
    )
