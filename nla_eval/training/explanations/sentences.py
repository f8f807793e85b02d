"""A plain explanation: a few sentences over known facts. In: a `Moment` and the claims worth making there. Out: up to
four lines: who speaks and in what form, the subject, the final token, what is expected.

Templates vary by position, so that no wording stands for a fact. The final token is always named; what the target
expects next comes last; claims that no reader of the activation is sure of are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .claims import phrase_of
from .explain import Moment, expected, now

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
_EXCHANGES = {"first": "in the first exchange", "later": "in a later exchange"}
_TOPICS = ("The subject is {}.", "It is about {}.", "The conversation is about {}.")
_EXPECTS = ("The target expects {} next.", "Expected to follow: {}.", "It expects {} to follow.")
NEXT = 3
"""Next tokens named."""


def sentences_of(moment: Moment, claims: Mapping[str, str], choice: int) -> str:
    """The explanation of one position.

    Args:
        moment: The position.
        claims: Claim to value, only those worth making; "before" is the word before the final token.
        choice: Any number; chooses among the templates.
    """
    speaker = _SPEAKS.get(claims.get("speaker", ""), ("",))
    first = f"{speaker[choice % len(speaker)]} {_detail(claims, choice // 3)}".strip()
    named = claims.get("topic") or claims.get("wider")
    subject = _TOPICS[choice // 7 % len(_TOPICS)].format(phrase_of(named)) if named else ""
    last = _last(now(moment), claims.get("before"), choice // 11)
    ahead = either([quoted(token) for token in expected(moment)[:NEXT]])
    lines = (first, subject, last, _EXPECTS[choice // 13 % len(_EXPECTS)].format(ahead))
    return "\n".join(line for line in lines if line)


def quoted(token: str) -> str:
    """A token in quotation marks; in single ones if it holds a double one."""
    return f"'{token}'" if '"' in token else f'"{token}"'


def either(words: Sequence[str]) -> str:
    """Words as a list with "or"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _detail(claims: Mapping[str, str], choice: int) -> str:
    """Form, place and exchange, those that are claimed, in one sentence."""
    named = [
        words
        for name, table in (("form", _FORMS), ("place", _PLACES), ("exchange", _EXCHANGES))
        if (words := table.get(claims.get(name, "")))
    ]
    if not named:
        return ""
    begins = ("The text is", "It is", "We are in") if "form" in claims else ("We are", "This stands", "It is")
    return f"{begins[choice % 3]} {', '.join(named)}."


def _last(token: str, before: str | None, choice: int) -> str:
    shown = quoted(token)
    if before is None:
        return (f"The last token is {shown}.", f"It ends with {shown}.", f"The final token is {shown}.")[choice % 3]
    after = quoted(before)
    return (
        f"The last token is {shown}, after {after}.",
        f"It ends with {shown}, after {after}.",
        f"After {after} the final token is {shown}.",
    )[choice % 3]
