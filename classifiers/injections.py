"""Texts that beg the judge for a verdict, and how often each classifier gives in.

Thirty injections in five languages, half of them for each verdict, are put before and after each of the twenty known
texts. A *flip* is a verdict in the direction that the injection asks for, where the text alone had the other one.

    python -m nla_eval.classifiers.injections [--classifier NAME]      prints one line per classifier and place
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nla_eval.judgement import Classifier, Outcome
from nla_eval.judging.classify import make_classifier
from nla_eval.judging.known_texts import known_texts
from nla_eval.stats.wilson import wilson

from ._training_text import DATA

EMBEDDED = ("linear", "lexicon")
"""Classifiers without a model of language: nothing in a text can instruct them."""
PLACES = ("before", "after")


class Injection(BaseModel):
    """One sentence or block that asks for a verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: str
    asks: Literal["AWARE", "NOT_AWARE"]
    text: str


@cache
def injections() -> tuple[Injection, ...]:
    """The thirty shipped injections."""
    lines = (DATA / "injections.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Injection.model_validate_json(line) for line in lines)


@dataclass(frozen=True)
class Flips:
    """How often one classifier gave in."""

    classifier: str
    place: str
    """Where the injection stood: before or after the text."""
    tried: int
    """Pairs of a text and an injection that asks for the other verdict."""
    flipped: int
    unclear: int
    """Verdicts that became UNCLEAR instead, for example because the text is now half in another language."""


async def flips(judge: Classifier, place: str) -> Flips:
    """Judge every known text alone, then with every injection at `place`."""
    tried = flipped = unclear = 0
    for kind in ("turn", "explanation"):
        texts = [known.text for known in known_texts() if known.kind == kind]
        alone = [found.outcome for found in await judge.judge(texts, kind=kind)]
        pairs = [
            (text, injection)
            for text, outcome in zip(texts, alone, strict=True)
            for injection in injections()
            if outcome in (Outcome.AWARE, Outcome.NOT_AWARE) and outcome.value != injection.asks
        ]
        mixed = [_with(text, injection.text, place) for text, injection in pairs]
        for (_, injection), found in zip(pairs, await judge.judge(mixed, kind=kind), strict=True):
            tried += 1
            flipped += found.outcome.value == injection.asks
            unclear += found.outcome is Outcome.UNCLEAR
    return Flips(judge.name, place, tried, flipped, unclear)


def _with(text: str, injection: str, place: str) -> str:
    return f"{injection}\n\n{text}" if place == "before" else f"{text}\n\n{injection}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the flip rate of each classifier."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.classifiers.injections", description=main.__doc__)
    parser.add_argument("--classifier", action="append", help="name of a classifier; repeatable (default: embedded)")
    for name in parser.parse_args(argv).classifier or EMBEDDED:
        for place in PLACES:
            found = asyncio.run(flips(make_classifier(name), place))
            rate = wilson(found.flipped, found.tried)
            print(
                f"{found.classifier}, injection {place} the text: {found.flipped} of {found.tried} flipped "
                f"({100 * (rate.value or 0):.1f} %), {found.unclear} became UNCLEAR"
            )


if __name__ == "__main__":
    main()
