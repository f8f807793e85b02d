"""The cards of all suites, with only the fields that a list of suites shows.

It builds no pydantic models, because that would take longer than the list itself. A card that cannot be read this way
is read again by its model, whose error says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._rooms import room_path
from .arm import Arm
from .needs import AnswersBy, Needs
from .yaml_file import YAMLError, read_yaml


@dataclass(frozen=True)
class Listed:
    """One suite as the list shows it."""

    name: str
    arm: Arm
    licence: str
    families: str
    needs: Needs
    answers_by: AnswersBy
    count: int | None
    family_count: int | None
    install: str
    data: Path | None
    """The file or folder that `nla-eval suite add` made the suite from; None for other suites."""


def listed() -> Iterator[Listed]:
    """Every suite, sorted by name. Raises InputError for a card that its model refuses."""
    for module in sorted(room_path("suites").glob("[!_]*.py")):
        yield listed_card(module.with_suffix(".yaml"))


def listed_card(path: Path) -> Listed:
    """Read one card. Raises InputError if its model refuses it."""
    try:
        card = read_yaml(path)
        place = (card.get("data") or {}).get("place")
        return Listed(
            name=str(card["name"]),
            arm=Arm(card["arm"]),
            licence=str(card["licence"]),
            families=str(card["families"]),
            needs=Needs(card["needs"]),
            answers_by=AnswersBy(card["answers_by"]),
            count=card.get("count"),
            family_count=card.get("family_count"),
            install=str(card.get("install", "")),
            data=None if place is None or "://" in place else path.parent / place,
        )
    except (OSError, YAMLError, KeyError, ValueError, AttributeError, TypeError):
        from .card import SuiteCard

        SuiteCard.load(path)
        raise
