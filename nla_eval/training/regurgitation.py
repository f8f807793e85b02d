"""Does a pack give away its training text? The longest run of words of any explanation that stands in the training text
and not in the explanation's own context."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORDS = re.compile(r"\w+")


def longest_shared_run(
    texts: Sequence[str], training: Sequence[str], own_context: Sequence[str], most: int = 16
) -> tuple[int, str]:
    """(words, run) of the longest shared run, up to `most` words; a run of every single line of a text is tried.

    Args:
        texts: Explanations.
        training: Training text, one per conversation.
        own_context: What each explanation was drawn from; a run that stands in it is a quotation, not a leak.
        most: Longest run looked for.
    """
    sources = [_WORDS.findall(t.lower()) for t in training]
    around = [f" {' '.join(_WORDS.findall(c.lower()))} " for c in own_context]
    lines = [[_WORDS.findall(line.lower()) for line in text.splitlines()] for text in texts]
    best = (0, "")
    for length in range(2, most + 1):
        known = {hash(tuple(w[i : i + length])) for w in sources for i in range(len(w) - length + 1)}
        found = ""
        for words_of_lines, context in zip(lines, around, strict=True):
            for words in words_of_lines:
                for i in range(len(words) - length + 1):
                    run = words[i : i + length]
                    if hash(tuple(run)) in known and f" {' '.join(run)} " not in context:
                        found = " ".join(run)
        if not found:
            return best
        best = (length, found)
    return best
