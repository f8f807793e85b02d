"""Does a pack leak its training text? Finds the longest run of words in any explanation that occurs in the training
text but not in the explanation's own context."""

from __future__ import annotations

from collections.abc import Sequence

from .parts import words


def longest_shared_run(
    texts: Sequence[str], training: Sequence[str], own_context: Sequence[str], most: int = 16
) -> tuple[int, str]:
    """(number of words, run) of the longest shared run, up to `most` words. A run does not cross lines.

    Args:
        texts: Explanations.
        training: Training text, one per conversation.
        own_context: The context of each explanation. A run that occurs there is a quotation, not a leak.
        most: Maximum length of a run in words.
    """
    sources = [words(t) for t in training]
    around = [f" {' '.join(words(c))} " for c in own_context]
    lines = [[words(line) for line in text.splitlines()] for text in texts]
    best = (0, "")
    for length in range(2, most + 1):
        known = {hash(tuple(w[i : i + length])) for w in sources for i in range(len(w) - length + 1)}
        found = ""
        for of_text, context in zip(lines, around, strict=True):
            for line in of_text:
                for i in range(len(line) - length + 1):
                    run = line[i : i + length]
                    if hash(tuple(run)) in known and f" {' '.join(run)} " not in context:
                        found = " ".join(run)
        if not found:
            return best
        best = (length, found)
    return best
