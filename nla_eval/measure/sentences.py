"""A plain explanation: claims as sentences, and back. In: the claims worth making, the final token, what is expected.
Out: up to four lines: who speaks and in what form, the subject, the final token, what is expected next.

Templates vary by position, so that no wording stands for a fact. `said_in` reads the claims of any such text, so that
each can be held against the context it was made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from .claims import topics

_SPEAKS = {
    "response": ("The assistant is answering.", "This is the assistant's answer.", "The assistant speaks."),
    "user": ("The user is writing.", "This is the user's message.", "The user speaks."),
    "system": ("The system message is being read.", "These are the system's instructions."),
    "thinking": ("The assistant is thinking.", "This is the assistant's thinking."),
    "tool_call": ("The assistant is calling a tool.", "This is a call of a tool."),
    "tool_result": ("A tool has answered.", "This is the result of a tool."),
    "before assistant": ("The assistant's turn begins.", "The assistant is about to speak."),
    "before user": ("The user's turn begins.", "The user is about to speak."),
    "before tool": ("A tool's turn begins.", "A tool is about to answer."),
    "before system": ("The system message begins.",),
}
_FORMS = {"code": "code", "list": "a list", "table": "a table", "heading": "a heading", "question": "a question",
          "prose": "prose"}  # fmt: skip
_PLACES = {"start": "at the start of the message", "middle": "early in the message", "far": "far into the message"}
_DETAILS = {"form": _FORMS, "place": _PLACES}
_TOPICS = ("The subject is {}.", "It is about {}.", "The conversation is about {}.")
_LAST = ("The last token is {}.", "It ends with {}.", "The final token is {}.")
_LAST_AFTER = ("The last token is {0}, after {1}.", "It ends with {0}, after {1}.", "After {1} the final token is {0}.")
_EXPECTS = ("The target expects {} next.", "Expected to follow: {}.", "It expects {} to follow.")
_QUOTED = r"""("[^"]+"|'[^']*"[^']*')"""
_TOKEN = re.compile(rf"(?:token is|ends with) {_QUOTED}")
_AFTER = re.compile(rf"(?:\bafter|^After) {_QUOTED}", re.M)
NEXT = 3
"""Next tokens named."""


def sentences_of(token: str, ahead: Sequence[str], claims: Mapping[str, str], choice: int) -> str:
    """The explanation of one position.

    Args:
        token: The final token as shown.
        ahead: The target's likeliest next tokens as shown, best first; at least one.
        claims: Claim to value, only those worth making.
        choice: Any number; chooses among the templates.
    """
    speaker = _SPEAKS.get(claims.get("speaker", ""), ("",))
    first = f"{speaker[choice % len(speaker)]} {_detail(claims, choice // 3)}".strip()
    named = claims.get("topic") or claims.get("wider")
    subject = _TOPICS[choice // 7 % len(_TOPICS)].format(phrase_of(named)) if named else ""
    shown = [quoted(token), *([quoted(claims["before"])] if "before" in claims else [])]
    last = (_LAST_AFTER if "before" in claims else _LAST)[choice // 11 % len(_LAST)].format(*shown)
    expects = _EXPECTS[choice // 13 % len(_EXPECTS)].format(either([quoted(t) for t in ahead[:NEXT]]))
    return "\n".join(line for line in (first, subject, last, expects) if line)


def phrase_of(value: str) -> str:
    """The words for a subject or a wider subject."""
    read = topics()
    return str(read["topics"][value]["phrase"] if value in read["topics"] else read["wider"][value])


def quoted(token: str) -> str:
    """A token in quotation marks; in single ones if it holds a double one."""
    return f"'{token}'" if '"' in token else f'"{token}"'


def either(words: Sequence[str]) -> str:
    """Words as a list with "or"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _detail(claims: Mapping[str, str], choice: int) -> str:
    """Form and place, those that are claimed, in one sentence."""
    named = [words for name, table in _DETAILS.items() if (words := table.get(claims.get(name, "")))]
    if not named:
        return ""
    begins = ("The text is", "It is", "This is") if "form" in claims else ("We are", "This is", "It is")
    return f"{begins[choice % 3]} {', '.join(named)}."


@dataclass(frozen=True)
class Said:
    """What an explanation says."""

    token: str | None
    """The final token; None if it names none."""
    claims: dict[str, str]
    """Claim to value. A text that names a subject has "topic" or "wider", never both."""


def said_in(text: str) -> Said:
    """Read an explanation of `sentences_of`, or one that a model wrote like it. What it cannot read is not claimed."""
    first = text.partition("\n")[0]
    claims = {name: value for name, value in _first(first).items() if value}
    for phrase, (name, value) in _phrases().items():
        if re.search(_about(phrase), text):
            claims[name] = value
    if found := _AFTER.search(text):
        claims["before"] = found[1][1:-1]
    token = _TOKEN.search(text)
    return Said(token[1][1:-1] if token else None, claims)


def claimed_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) characters, in order, of the parts of a plain explanation that its claims decide. The words between
    them are a template's."""
    first = text.partition("\n")[0]
    said = [re.escape(way) for ways in _SPEAKS.values() for way in ways]
    said += [_detailed(words) for table in _DETAILS.values() for words in table.values()]
    found = [m.span() for pattern in said for m in re.finditer(pattern, first)]
    found += [m.span(1) for pattern in (_TOKEN, _AFTER) for m in pattern.finditer(text)]
    found += [m.span(1) for phrase in _phrases() for m in re.finditer(_about(phrase), text)]
    return sorted(found)


def _about(phrase: str) -> str:
    """A pattern of the sentence that names a subject."""
    return rf"(?:subject is|is about) ({re.escape(phrase)})\."


def _detailed(words: str) -> str:
    """A pattern of a form or place in the first line."""
    return rf"\b{re.escape(words)}(?=[,.])"


def _first(line: str) -> dict[str, str | None]:
    found = {"speaker": next((who for who, ways in _SPEAKS.items() if any(way in line for way in ways)), None)}
    for name, table in _DETAILS.items():
        found[name] = next((v for v, words in table.items() if re.search(_detailed(words), line)), None)
    return found


@cache
def _phrases() -> dict[str, tuple[str, str]]:
    read = topics()
    named = {entry["phrase"]: ("topic", name) for name, entry in read["topics"].items()}
    return named | {phrase: ("wider", name) for name, phrase in read["wider"].items()}
