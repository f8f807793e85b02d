"""The input of a writer of explanations: one position, and the words it may use. In: the corpus frame and the captured
tensors. Out: `Moment`s, a `Vocabulary`, and tokens shown as words.

No rule here mentions evaluation: words about testing come only from the text or from the target's own predictions.
Words that occur in few training conversations are left out, so that no rare name is learnt."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...measure.shown_tokens import RECENT, shown_token

WORD = re.compile(r"[A-Za-z][a-z'’]+|[A-Za-z]+")
_LETTERS = re.compile(r"[A-Za-z]+\Z")
_LONGEST_WORD = 30


@dataclass(frozen=True)
class Vocabulary:
    """Words common enough to use in explanations, with their inverse document frequency."""

    idf: dict[str, float]
    min_document_frequency: int

    @classmethod
    def of(cls, texts: Iterable[str], min_document_frequency: int, head: int = 8000) -> Vocabulary:
        """Count the words in the first `head` characters of each text. One text per conversation."""
        counts: Counter[str] = Counter()
        n = 0
        for text in texts:
            n += 1
            counts.update({w.lower() for w in WORD.findall(text[:head])})
        kept = {w: math.log(n / c) for w, c in counts.items() if c >= min_document_frequency}
        return cls(kept, min_document_frequency)

    def common(self, word: str) -> bool:
        """Whether an explanation may use `word`. Numbers and punctuation are allowed, long numbers are not."""
        bare = word.strip("\"'`*_()[]{}<>.,;:!?#$%&/\\|~^=+-")
        if not bare or bare.isdigit():
            return len(bare) <= 4
        pieces = WORD.findall(bare)
        return bool(pieces) and len(bare) <= 24 and all(p.lower() in self.idf for p in pieces)


@dataclass(frozen=True)
class Moment:
    """One position, as a writer sees it."""

    text: str
    """The rendered conversation up to and including the token."""
    token: str
    channel: str
    role: str
    turn: int
    next_tokens: tuple[str, ...]
    """The target's most likely next tokens, decoded, best first."""
    written_from: int = 0
    """Start of the first message in `text`. The characters before it are the template's own."""
    recent_from: int = 0
    """First character of the last `RECENT` tokens."""
    continuation: str = ""
    """The target's own greedy continuation."""
    like: tuple[str, ...] = ()
    """Words similar to the last word of the text, nearest first, without recent words; see `resembling`."""

    @property
    def joined(self) -> bool:
        """Whether the next token can continue the last word: the text ends in a letter or digit."""
        return self.text[-1:].isalnum()

    @property
    def last_word(self) -> str:
        """The last word of the text, possibly unfinished; empty if the text does not end in a letter."""
        found = _LETTERS.search(self.text[-_LONGEST_WORD:])
        return found[0] if found else ""

    @property
    def recent(self) -> str:
        """The last `RECENT` tokens, as text."""
        return self.text[self.recent_from :]


def expected(moment: Moment) -> list[str]:
    """The target's likeliest next tokens as shown, best first. Duplicates are named once; broken characters are left
    out."""
    shown = dict.fromkeys(shown_token(t, moment.joined) for t in moment.next_tokens if "\ufffd" not in t)
    return list(shown) or ["other"]


def expects(moment: Moment) -> str:
    """The target's likeliest next token as shown, also if it is a broken character."""
    return shown_token(moment.next_tokens[0], moment.joined)


def now(moment: Moment) -> str:
    """The final token as shown."""
    before = moment.text[: len(moment.text) - len(moment.token)]
    return shown_token(moment.token, before[-1:].isalnum())


def moments(
    row: dict[str, Any], next_ids: Sequence[Sequence[int]], tokenizer: Any,
    continuations: Sequence[Sequence[int]] | None = None,
) -> list[Moment]:  # fmt: skip
    """The moments of one corpus row.

    Args:
        row: A row of the corpus frame.
        next_ids: Likeliest next token ids, one list per entry of `row["positions"]`.
        tokenizer: The target's.
        continuations: Token ids of the greedy continuations, one list per position, padded with negative ids after
            the end; None if none were captured.
    """
    made = []
    written_from = next((c for c, name in zip(row["char_start"], row["channel"], strict=True) if name != "template"), 0)
    ongoing = continuations if continuations is not None else [[]] * len(row["positions"])
    for position, ahead, further in zip(row["positions"], next_ids, ongoing, strict=True):
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
                recent_from=row["char_start"][max(0, position + 1 - RECENT)],
                continuation=tokenizer.decode([int(i) for i in further if i >= 0]),
            )
        )
    return made
