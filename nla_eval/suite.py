"""A suite: a named set of transcripts with its card (arm, source, licence, families, how to obtain it).

Each suite is one Python file and one YAML card in the `suites` room, and registers itself here. This module knows no
suite by name. It loads nothing until a suite's transcripts are requested."""

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
from .cards.listing import local_cards, shipped_cards
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
    "shipped_suite_names",
    "suite_beside",
    "suite_names",
    "suite_of",
    "task",
]

BUCKETS = 10
"""Conversations are split into this many parts by hash. Part 0 is reserved for suites; no pack is trained on it."""

_PACKAGE = __name__.split(".")[0]
_Task = TypeVar("_Task", bound=Callable[..., inspect_ai.Task])


@dataclass(frozen=True, eq=False)
class Suite:
    """A card with the function that loads its transcripts."""

    card: SuiteCard
    load: Callable[[], Iterator[Transcript]]
    """Yields the transcripts in a fixed order; without the last assistant turn if the target writes it."""
    outcome: Callable[[Transcript], str | None] = lambda transcript: transcript.outcome
    """What the model did in a completed transcript, in the suite's own words; None if unknown."""
    answers: Path | None = None
    """Committed answers of the target (JSONL), if the prompts' licence and origin allow it."""
    tools: Callable[[Transcript], Sequence[Tool]] | None = None
    """Makes fresh tools for one prompt, with no shared state; None if the target calls no tools."""
    folder: Path | None = None
    """Folder of the card, if the card says where the data is stored."""

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name


_SUITES: dict[str, Suite] = {}


def register(suite: Suite) -> Suite:
    """Register a suite under its name.

    Inspect runs a suite's file a second time if it is given by path; the second registration replaces the first.
    """
    _SUITES[suite.name] = suite
    return suite


def family_bucket(family: str) -> int:
    """Part 0 to `BUCKETS` - 1 of a family, from its sha256. Suites and training use the same split.

    Args:
        family: The conversation's id, without the piece number.
    """
    return int(hashlib.sha256(family.encode()).hexdigest(), 16) % BUCKETS


def held_out(family: str) -> bool:
    """Whether a conversation is reserved for suites, so that no pack is trained on it."""
    return family_bucket(family) == 0


def suite_beside(module_file: str) -> Suite:
    """The suite of a module without code of its own: the card beside it says everything."""
    return suite_of(Path(module_file).resolve().with_suffix(".yaml"))


def suite_of(path: Path) -> Suite:
    """The suite of a card with a `data` entry. Raises InputError if the card has none."""
    card = SuiteCard.load(path)
    if card.data is None:
        raise InputError(f"suite card {path.name}: it has no 'data'; nla-eval suite add writes it")
    data, options = card.data, source_options(card.data.choices, card.name, card.arm, card.licence)
    folder = path.resolve().parent
    return Suite(card=card, load=lambda: transcripts_of(data, folder, options), folder=folder)


def suite_names() -> list[str]:
    """Names of all suites, sorted: the shipped ones, and those with a card in `suites/` of the current folder."""
    load_room("suites")
    return sorted({*_SUITES, *local_cards()})


def shipped_suite_names() -> list[str]:
    """Names of the suites that come with nla_eval, sorted."""
    return sorted(shipped_cards())


def get_suite(name: str) -> Suite:
    """The suite called `name`. Raises InputError if there is none, or if the card of one of the current folder is
    wrong."""
    if name not in _SUITES:
        known = suite_names()
        if name not in known:
            raise InputError(f"unknown suite '{name}'; known: {', '.join(known) or 'none'}")
        if name not in _SUITES:
            register(suite_of(local_cards()[name]))
    return _SUITES[name]


def task(*, name: str, **attribs: Any) -> Callable[[_Task], _Task]:
    """Inspect's `@task`, with the same task name for the installed package and for a file run by path.

    Inspect adds the package prefix only if it can trace a task to an installed package, and it looks up a file's tasks
    by the literal text of `name=`. So the literal includes the prefix, and this removes it if Inspect would add it.

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
