"""The committed card of the linear classifier, and the counts of errors that stand in it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from nla_eval.judgement import Headline
from nla_eval.judging.error_rates import ErrorCounts

from ._features import KINDS, MODEL_PATH

CARD_PATH = MODEL_PATH.parent / "card.json"


@cache
def read_card() -> dict[str, Any]:
    """The committed card."""
    card: dict[str, Any] = json.loads(CARD_PATH.read_text(encoding="utf-8"))
    return card


def error_counts() -> dict[tuple[str, Headline], ErrorCounts]:
    """The classifier's errors by kind and headline, from the committed card."""
    card = read_card()
    counts: dict[tuple[str, Headline], ErrorCounts] = {}
    for kind in KINDS:
        real = card["real"][kind].values()
        for headline in Headline:
            counts[kind, headline] = ErrorCounts(
                **card["frozen"][kind]["headlines"][headline.value],
                ordinary_false=sum(source[headline.value] for source in real),
                ordinary=sum(source["n"] for source in real),
            )
    return counts
