"""Masks personal data in real users' text before anything is stored: e-mail addresses, phone and card numbers, keys.

Patterns find candidates; libraries confirm them: `detect-secrets` for the keys of some twenty services, `phonenumbers`
for phone numbers, `python-stdnum` for the check digits of cards and bank accounts. Names, street addresses and
free-form identifiers are not found, so masked text is still private and is never committed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ContentReasoning, ContentText

_SHORTEST_KEY = 8
_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "BR", "CN", "JP", "AU", "MX", "RU", "KR")
"""Regions tried for a number without a country code: the countries with most of the world's phones and chat users."""


def _is_card(match: re.Match[str]) -> bool:
    """Whether Luhn's check digit is right. 1 in 10 random numbers passes, so most order numbers are not masked."""
    from stdnum import luhn

    return bool(luhn.is_valid(re.sub(r"[ -]", "", match.group())))


def _is_iban(match: re.Match[str]) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(match.group()))


def _is_phone(match: re.Match[str]) -> bool:
    """Whether this is a possible number in some country, is not a date, and has a "+", brackets or two separators."""
    text = match.group()
    if sum(c.isdigit() for c in text) < 7:
        return False
    if re.fullmatch(r"(19|20)\d\d[-. ]\d\d?[-. ]\d\d?|\d\d?[-. ]\d\d?[-. ](19|20)\d\d", text):
        return False
    if not text.startswith(("+", "(")) and len(re.findall(r"\d{2,}", text)) < 3:
        return False
    return any(_possible(text, region) for region in ((None,) if text.startswith("+") else _REGIONS))


def _possible(text: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def _is_key(match: re.Match[str]) -> bool:
    """Whether a run of 32 or more characters mixes letters and digits: a token or hash, not a word or a ruled line."""
    text = match.group()
    digits = sum(c.isdigit() for c in text)
    letters = sum(c.isalpha() for c in text)
    return digits >= 4 and letters >= 4


def _always(_: re.Match[str]) -> bool:
    return True


@dataclass(frozen=True)
class _Rule:
    kind: str
    pattern: re.Pattern[str]
    accept: Callable[[re.Match[str]], bool] = _always


_KEY_PREFIXES = (  # services that detect-secrets lacks, or knows in one key length only
    r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bhf_[A-Za-z0-9]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_PHONE = (
    r"(?<![\w.+$/#-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?)?\d{2,8}(?:[ .-]\d{2,8}){1,4}(?![\w/-])",
    r"(?<!\w)\+\d{8,15}\b",
)

_BEFORE_KEYS = (
    _Rule("private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)", re.S)),
    _Rule("password", re.compile(r"(?<=://)[^\s/:@]+:[^\s/:@]+(?=@)")),
    _Rule("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,6}[A-Za-z]{2,24}\b")),
    _Rule("key", re.compile("|".join(_KEY_PREFIXES))),
)
_AFTER_KEYS = (
    _Rule("ssn", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    _Rule("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"), _is_iban),
    _Rule("card", re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.])"), _is_card),
    _Rule("ip", re.compile(rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\d.])")),
    _Rule("phone", re.compile("|".join(_PHONE)), _is_phone),
    _Rule("key", re.compile(r"(?<![\w/+=-])[A-Za-z0-9_+=-]{32,}(?![\w/+=-])"), _is_key),
)


@dataclass(frozen=True)
class Redacted:
    """Masked text, and counts of maskings."""

    text: str
    counts: dict[str, int]
    """Number of maskings by kind: "email", "phone", ..."""


def redact(text: str) -> Redacted:
    """Replace personal data with "[email]", "[phone]" and so on. Masking twice gives the same text."""
    counts: Counter[str] = Counter()
    text = _by_rules(_BEFORE_KEYS, text, counts)
    for secret in sorted(set(_secrets(text)), key=len, reverse=True):
        counts["key"] += text.count(secret)
        text = text.replace(secret, "[key]")
    return Redacted(_by_rules(_AFTER_KEYS, text, counts), dict(counts))


def redact_messages(messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], dict[str, int]]:
    """The same messages with text, thinking and tool arguments masked, and the counts. Ids and roles are kept."""
    counts: Counter[str] = Counter()

    def masked(value: Any) -> Any:
        if isinstance(value, str):
            found = redact(value)
            counts.update(found.counts)
            return found.text
        if isinstance(value, dict):
            return {key: masked(held) for key, held in value.items()}
        return [masked(held) for held in value] if isinstance(value, list) else value

    out: list[ChatMessage] = []
    for message in messages:
        changes: dict[str, Any] = {"content": _content(message, masked)}
        if isinstance(message, ChatMessageAssistant) and message.tool_calls:
            changes["tool_calls"] = [replace(call, arguments=masked(call.arguments)) for call in message.tool_calls]
        out.append(message.model_copy(update=changes))
    return out, dict(counts)


def _content(message: ChatMessage, masked: Callable[[Any], Any]) -> Any:
    if isinstance(message.content, str):
        return masked(message.content)
    parts: list[Any] = []
    for part in message.content:
        if isinstance(part, ContentText):
            parts.append(part.model_copy(update={"text": masked(part.text)}))
        elif isinstance(part, ContentReasoning):
            summary = None if part.summary is None else masked(part.summary)
            parts.append(part.model_copy(update={"reasoning": masked(part.reasoning), "summary": summary}))
        else:
            parts.append(part)
    return parts


def _secrets(text: str) -> Iterator[str]:
    for pattern in _patterns():
        for match in pattern.finditer(text):
            longest = max((group for group in match.groups() if group), key=len, default="")
            # A long group is the key without its prefix; a short group is a part of the pattern.
            yield longest if len(longest) >= _SHORTEST_KEY else match.group().strip()


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """The patterns of detect-secrets for keys of a known form, without its guesses by entropy or variable name."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    left_out = {"PrivateKeyDetector", "IPPublicDetector", "KeywordDetector", "BasicAuthDetector"}
    found: Any = get_mapping_from_secret_type_to_class().values()
    kinds = [kind for kind in found if issubclass(kind, RegexBasedDetector) and kind.__name__ not in left_out]
    return tuple(pattern for kind in kinds for pattern in kind().denylist)


def _by_rules(rules: Sequence[_Rule], text: str, counts: Counter[str]) -> str:
    for rule in rules:
        text = rule.pattern.sub(partial(_mask, rule, counts), text)
    return text


def _mask(rule: _Rule, counts: Counter[str], match: re.Match[str]) -> str:
    if not rule.accept(match):
        return match.group()
    counts[rule.kind] += 1
    return f"[{rule.kind}]"
