"""Warm-start explanations without an external model: short phrases built from the text so far and the target's own
next-token predictions. In: the corpus frame and the captured predictions. Out: one explanation per position.

Three lines: speaker, turn and form with the final token and the target's expectation; the local pattern (the last few
words, the final one included); the themes of the text so far. There is no rule for evaluation: words about testing come
only from the text itself or from the target's own prediction. Words of few training conversations are left out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_WORD = re.compile(r"[A-Za-z][a-z'’]+|[A-Za-z]+")
_LEFT_OUT = frozenset({"http", "https", "html", "www", "com", "like", "just"})
_MARKS = re.compile(r"<\|im_start\|>(\w+)\n?|<\|im_end\|>\n?|<\|[a-z_]+\|>")
THEMES = 3
QUOTED_WORDS = 6


@dataclass(frozen=True)
class Vocabulary:
    """Words common enough to be written, with their inverse document frequency."""

    idf: dict[str, float]
    min_document_frequency: int

    @classmethod
    def of(cls, texts: Iterable[str], min_document_frequency: int, head: int = 8000) -> Vocabulary:
        """Count the words of `texts` (one per conversation, its first `head` characters)."""
        counts: Counter[str] = Counter()
        n = 0
        for text in texts:
            n += 1
            counts.update({w.lower() for w in _WORD.findall(text[:head])})
        kept = {w: math.log(n / c) for w, c in counts.items() if c >= min_document_frequency}
        return cls(kept, min_document_frequency)

    def common(self, word: str) -> bool:
        """Whether `word` may be written. Numbers and punctuation may; long numbers may not."""
        bare = word.strip("\"'`*_()[]{}<>.,;:!?#$%&/\\|~^=+-")
        if not bare or bare.isdigit():
            return len(bare) <= 4
        pieces = _WORD.findall(bare)
        return bool(pieces) and len(bare) <= 24 and all(p.lower() in self.idf for p in pieces)


@dataclass(frozen=True)
class Moment:
    """One position, as the writer sees it."""

    text: str
    """The rendered conversation up to and including the token."""
    token: str
    channel: str
    role: str
    turn: int
    next_tokens: tuple[str, ...]
    """The target's most likely next tokens, decoded, best first."""
    written_from: int = 0
    """First character of `text` that a message holds: what the template itself says stands before it."""


def explain(moment: Moment, vocabulary: Vocabulary) -> str:
    """The reference explanation of one position."""
    lines = [
        f"{_speaker(moment)}, {_form(moment)}; now: {_now(moment)}; next: {' / '.join(expected(moment))}",
        f"after: {quoted_tail(moment, vocabulary)}",
    ]
    if themes := themes_of(moment.text[moment.written_from :], vocabulary):
        lines.append(f"about: {', '.join(themes)}")
    return "\n".join(lines)


def expected(moment: Moment) -> list[str]:
    """The target's likeliest next tokens as shown, best first; look-alikes are named once, broken characters never."""
    joined = moment.text[-1:].isalnum()
    shown = dict.fromkeys(shown_token(t, joined) for t in moment.next_tokens if "\ufffd" not in t)
    return list(shown) or ["other"]


def expects(moment: Moment) -> str:
    """The target's likeliest next token as shown, whatever it is."""
    return shown_token(moment.next_tokens[0], moment.text[-1:].isalnum())


def _now(moment: Moment) -> str:
    before = moment.text[: len(moment.text) - len(moment.token)]
    return shown_token(moment.token, before[-1:].isalnum())


def _speaker(moment: Moment) -> str:
    turn = f" turn {moment.turn + 1}" if moment.turn >= 0 else ""
    if moment.channel == "template":
        return f"start of {moment.role}{turn}" if moment.role != "template" else f"between turns{turn}"
    names = {
        "response": "assistant",
        "thinking": "assistant thinking",
        "tool_call": "tool call",
        "tool_result": "tool result",
    }
    return names.get(moment.channel, moment.channel) + turn


def _form(moment: Moment) -> str:
    """Surface form of the place: code, list, table, heading, question, quotation or prose."""
    message = _MARKS.split(moment.text)[-1] or ""
    line = message.rsplit("\n", 1)[-1]
    if message.count("```") % 2 == 1:
        return "code"
    if re.match(r"\s*(\d+[.)]|[-*•])\s?", line):
        return "list"
    if line.count("|") >= 2:
        return "table"
    if re.match(r"\s*#+\s|\s*\*\*", line):
        return "heading"
    if not line.strip():
        return "new line" if message.strip() else "opening"
    if re.search(r"[{};=]\s*$|^\s{4,}\S|\w\(.*\)\s*[:{;]?\s*$", line):
        return "code"
    return "question" if line.rstrip().endswith("?") else "prose"


def themes_of(text: str, vocabulary: Vocabulary, half_life: float = 120.0, window: int = 6000) -> list[str]:
    """Up to `THEMES` content words of the text so far by recency-weighted TF-IDF (half-life in words)."""
    words = [w.lower().removesuffix("'s").removesuffix("’s") for w in _WORD.findall(_MARKS.sub(" ", text[-window:]))]
    weight: dict[str, float] = {}
    for back, word in enumerate(reversed(words)):
        if len(word) >= 4 and word in vocabulary.idf and word not in ENGLISH_STOP_WORDS and word not in _LEFT_OUT:
            weight[word] = weight.get(word, 0.0) + 0.5 ** (back / half_life)
    ranked = sorted(weight, key=lambda w: (-math.log1p(weight[w]) * vocabulary.idf[w], w))
    return ranked[:THEMES]


def quoted_tail(moment: Moment, vocabulary: Vocabulary) -> str:
    """The last words up to and with the current token, uncommon ones left out, turn marks as [role].

    A word the current token only ends is quoted whole if it is common; otherwise the token stands for it."""
    plain = _MARKS.sub(lambda m: f" [{m[1]}] " if m[1] else " [end] ", moment.text[-200:])
    words = plain.split()[-QUOTED_WORDS:]
    shown = [w for w in words[:-1] if _is_mark(w) or vocabulary.common(w)]
    last = words[-1] if words else "[start]"
    shown.append(last if _is_mark(last) or vocabulary.common(last) else _now(moment))
    return " ".join(shown)


def _is_mark(word: str) -> bool:
    return word.startswith("[") and word.endswith("]")


def shown_token(token: str, joined: bool) -> str:
    """A token as a word: one that goes on a word (`joined`: text before it ends in a letter or digit) gets a hyphen,
    whitespace and turn marks get names."""
    if mark := _MARKS.fullmatch(token):
        return f"[{mark[1]}]" if mark[1] else "[end]"
    if not token.strip():
        return "newline" if "\n" in token else "space"
    return f"-{token.strip()}" if joined and token[0].isalpha() else token.strip()


def moments(row: dict[str, Any], next_ids: Sequence[Sequence[int]], tokenizer: Any) -> list[Moment]:
    """The moments of one corpus row; `next_ids` has one list per entry of `row["positions"]`."""
    made = []
    written_from = next((c for c, name in zip(row["char_start"], row["channel"], strict=True) if name != "template"), 0)
    for position, ahead in zip(row["positions"], next_ids, strict=True):
        end = row["char_end"][position]
        made.append(
            Moment(
                text=row["text"][:end],
                token=row["text"][row["char_start"][position] : end],
                channel=row["channel"][position],
                role=row["role"][position],
                turn=row["turn"][position],
                next_tokens=tuple(tokenizer.decode([int(i)]) for i in ahead),
                written_from=written_from,
            )
        )
    return made
