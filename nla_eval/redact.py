"""Masks personal data in real users' text before anything is stored: e-mail addresses, phone and card numbers, keys.

Simple patterns with known limits: names, street addresses and free-form identifiers are not found, so masked text is
still users' text and is never committed. Pure functions over strings and messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from inspect_ai.model import ChatMessage, ContentText

_LONG_DIGITS = re.compile(r"\d")


def _is_card(match: re.Match[str]) -> bool:
    """Luhn's check digit: 1 in 10 random numbers passes, so most order numbers stay."""
    digits = [int(d) for d in _LONG_DIGITS.findall(match.group())]
    doubled = [sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _is_phone(match: re.Match[str]) -> bool:
    """7 to 15 digits (E.164), not a date, and written as people write phones: with "+", brackets or two separators."""
    text = match.group()
    digits = _LONG_DIGITS.findall(text)
    if not 7 <= len(digits) <= 15 or re.fullmatch(
        r"(19|20)\d\d[-. ]\d\d?[-. ]\d\d?|\d\d?[-. ]\d\d?[-. ](19|20)\d\d", text
    ):
        return False
    return text.startswith(("+", "(")) or len(re.findall(r"\d{2,}", text)) >= 3


def _is_key(match: re.Match[str]) -> bool:
    """A run of 32 and more characters that mixes letters with digits: tokens and hashes, not words or ruled lines."""
    text = match.group()
    digits = len(_LONG_DIGITS.findall(text))
    letters = sum(c.isalpha() for c in text)
    return digits >= 4 and letters >= 4


def _always(_: re.Match[str]) -> bool:
    return True


@dataclass(frozen=True)
class _Rule:
    kind: str
    pattern: re.Pattern[str]
    accept: Callable[[re.Match[str]], bool] = _always


_KEY_PREFIXES = (
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bxox[abpr]-[A-Za-z0-9-]{10,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_PHONE = (
    r"(?<![\w.+$/#-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?)?\d{2,8}(?:[ .-]\d{2,8}){1,4}(?![\w/-])",
    r"(?<!\w)\+\d{8,15}\b",
)

_RULES = (
    _Rule("private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)", re.S)),
    _Rule("password", re.compile(r"(?<=://)[^\s/:@]+:[^\s/:@]+(?=@)")),
    _Rule("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,6}[A-Za-z]{2,24}\b")),
    _Rule("key", re.compile("|".join(_KEY_PREFIXES))),
    _Rule("ssn", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    _Rule("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    _Rule("card", re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])"), _is_card),
    _Rule("ip", re.compile(rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\d.])")),
    _Rule("phone", re.compile("|".join(_PHONE)), _is_phone),
    _Rule("key", re.compile(r"(?<![\w/+=-])[A-Za-z0-9_+=-]{32,}(?![\w/+=-])"), _is_key),
)


@dataclass(frozen=True)
class Redacted:
    """Masked text and what was masked."""

    text: str
    counts: dict[str, int]
    """Number of maskings by kind: "email", "phone", ..."""


def redact(text: str) -> Redacted:
    """Replace what the patterns find with "[email]", "[phone]" and so on. Masking masked text changes nothing."""
    counts: Counter[str] = Counter()
    for rule in _RULES:
        text = rule.pattern.sub(partial(_mask, rule, counts), text)
    return Redacted(text, dict(counts))


def redact_messages(messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], dict[str, int]]:
    """The same messages with their text masked, and the counts over all of them. Ids and roles are kept."""
    counts: Counter[str] = Counter()

    def masked(text: str) -> str:
        found = redact(text)
        counts.update(found.counts)
        return found.text

    out: list[ChatMessage] = []
    for message in messages:
        if isinstance(message.content, str):
            content: object = masked(message.content)
        else:
            content = [
                part.model_copy(update={"text": masked(part.text)}) if isinstance(part, ContentText) else part
                for part in message.content
            ]
        out.append(message.model_copy(update={"content": content}))
    return out, dict(counts)


def _mask(rule: _Rule, counts: Counter[str], match: re.Match[str]) -> str:
    if not rule.accept(match):
        return match.group()
    counts[rule.kind] += 1
    return f"[{rule.kind}]"
