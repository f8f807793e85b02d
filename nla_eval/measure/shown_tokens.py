"""Shows tokens and turn marks as words."""

from __future__ import annotations

import re

_ROLE_MARKS = (
    r"<\|im_start\|>(\w+)\n?",
    r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*",
    r"<start_of_turn>(\w+)\n?",
)
"""The turn marks of ChatML (SmolLM2, Qwen), Llama 3 and Gemma."""


_MARKS = re.compile("|".join([*_ROLE_MARKS, r"<end_of_turn>\n?", r"<\|im_end\|>\n?", r"<\|[a-z_]+\|>"]))


_LONGEST_RULE = 4
"""Maximum characters shown of a row of dots or dashes."""


RECENT = 30
"""Number of last context tokens that count as recent. An explanation may have copied their words."""


def role_of(mark: re.Match[str]) -> str | None:
    """The role that a turn mark opens; None if it ends a message."""
    return next((group for group in mark.groups() if group), None)


def without_marks(text: str) -> str:
    """`text` with turn marks replaced by spaces."""
    return _MARKS.sub(" ", text)


def with_named_marks(text: str) -> str:
    """`text` with turn marks replaced by [role] and [end]."""
    return _MARKS.sub(lambda m: f" [{role_of(m) or 'end'}] ", text)


def is_mark(word: str) -> bool:
    """Whether a word of `with_named_marks` is a turn mark."""
    return word.startswith("[") and word.endswith("]")


def shown_token(token: str, joined: bool) -> str:
    """A token as a word. A token that continues a word gets a hyphen; whitespace and turn marks get names. `joined`:
    the text before it ends in a letter or digit."""
    if mark := _MARKS.fullmatch(token):
        return f"[{role_of(mark) or 'end'}]"
    if not token.strip():
        return "newline" if "\n" in token else "space"
    if len(token.strip()) > _LONGEST_RULE and not any(c.isalnum() for c in token):
        return token.strip()[:_LONGEST_RULE]
    return f"-{token.strip()}" if joined and token[0].isalpha() else token.strip()


def messages_of(text: str) -> list[tuple[str, str]]:
    """(role, text) of each message of a rendered conversation. Text before the first turn mark has role ""."""
    found, role, start = [], "", 0
    for mark in _MARKS.finditer(text):
        if named := role_of(mark):
            found.append((role, text[start : mark.start()]))
            role, start = named, mark.end()
    found.append((role, text[start:]))
    return [(role, without_marks(words)) for role, words in found if role or words.strip()]
