"""A suite: a named set of transcripts with its card (arm, source, licence, families, how to obtain it).

Suites live in the `suites` room, one Python file and one YAML card each, and register themselves here; this module
knows none of them by name. It loads nothing until a suite's transcripts are asked for."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import inspect_ai
from inspect_ai.tool import Tool

from ._rooms import load_room
from .cards.arm import Arm
from .cards.card import SLUG, SuiteCard, card_beside
from .cards.choices import SuiteData
from .cards.design import Design
from .cards.needs import AnswersBy, Needs
from .dataset.choices import source_options, transcripts_of
from .errors import InputError
from .transcript import Transcript

__all__ = [
    "BUCKETS",
    "SLUG",
    "AnswersBy",
    "Arm",
    "Design",
    "Needs",
    "Suite",
    "SuiteCard",
    "SuiteData",
    "Transcript",
    "card_beside",
    "family_bucket",
    "get_suite",
    "held_out",
    "register",
    "suite_beside",
    "suite_names",
    "suite_of",
    "task",
]

BUCKETS = 10
"""Conversations fall into this many parts by hash; part 0 is for suites, and no pack is trained on it."""

_PACKAGE = __name__.split(".")[0]
_Task = TypeVar("_Task", bound=Callable[..., inspect_ai.Task])


@dataclass(frozen=True, eq=False)
class Suite:
    """A card and the way to its transcripts."""

    card: SuiteCard
    load: Callable[[], Iterator[Transcript]]
    """Yields the transcripts in a fixed order, without the last assistant turn where the target writes it."""
    outcome: Callable[[Transcript], str | None] = lambda transcript: transcript.outcome
    """What the model did in a completed transcript, in the suite's own words; None where it cannot be told."""
    answers: Path | None = None
    """Committed answers of the target (JSONL), where the prompts' licence and origin allow them in the repository."""
    tools: Callable[[Transcript], Sequence[Tool]] | None = None
    """Fresh tools for one prompt, where the target acts before it has its last word. They share no state."""
    folder: Path | None = None
    """The card's, where the card says where the data lies."""

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name


_SUITES: dict[str, Suite] = {}


def register(suite: Suite) -> Suite:
    """Make a suite known by name.

    Inspect runs a suite's file once more when it is given by path; the later registration then replaces the earlier.
    """
    _SUITES[suite.name] = suite
    return suite


def family_bucket(family: str) -> int:
    """0 to `BUCKETS` - 1 from the sha256 of a family: the split that suites and training agree on.

    Args:
        family: The conversation's id without the number of its piece.
    """
    return int(hashlib.sha256(family.encode()).hexdigest(), 16) % BUCKETS


def held_out(family: str) -> bool:
    """Whether a conversation is kept for suites and so from every pack's training."""
    return family_bucket(family) == 0


def suite_beside(module_file: str) -> Suite:
    """The suite of a module that has no code of its own: everything is in the card beside it."""
    return suite_of(Path(module_file).resolve().with_suffix(".yaml"))


def suite_of(path: Path) -> Suite:
    """The suite of a card that says where its data lies. Raises InputError where it does not."""
    card = SuiteCard.load(path)
    if card.data is None:
        raise InputError(f"suite card {path.name}: it has no 'data'; nla-eval suite add writes it")
    data, options = card.data, source_options(card.data.choices, card.name, card.arm, card.licence)
    folder = path.resolve().parent
    return Suite(card=card, load=lambda: transcripts_of(data, folder, options), folder=folder)


def suite_names() -> list[str]:
    """Every suite of the room, sorted."""
    load_room("suites")
    return sorted(_SUITES)


def get_suite(name: str) -> Suite:
    """A suite by name. Raises InputError listing what exists."""
    if name not in _SUITES:
        known = ", ".join(suite_names()) or "none"
        if name not in _SUITES:
            raise InputError(f"unknown suite '{name}'; known: {known}")
    return _SUITES[name]


def task(*, name: str, **attribs: Any) -> Callable[[_Task], _Task]:
    """Inspect's `@task`, such that a file run by path and the installed package register one and the same name.

    Inspect prefixes the package's name only to what it can trace to an installed package, and looks a file's tasks up
    by the literal text of `name=`. So the literal carries the prefix, and it is taken off where Inspect would add it.

    Args:
        name: "nla_eval/<suite>", as a literal.
        attribs: Further attributes, as constants.
    """

    def decorate(factory: _Task) -> _Task:
        packaged = factory.__module__.split(".")[0] == _PACKAGE and inspect.getmodule(factory) is not None
        literal = name.removeprefix(f"{_PACKAGE}/") if packaged else name
        decorated: _Task = inspect_ai.task(name=literal, **attribs)(factory)
        return decorated

    return decorate
