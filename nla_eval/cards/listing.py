"""The cards of the room `suites`, as much of each as a list of suites shows. Builds no pydantic model, which would
take longer than the list itself; a card that is wrong is read again by its model, which says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from .._rooms import room_path
from .arm import Arm
from .file import read_yaml
from .needs import AnswersBy, Needs


@dataclass(frozen=True)
class Listed:
    """What the list says of one suite."""

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
    """The file or folder of a suite that `nla-eval suite add` made of one."""


def listed() -> Iterator[Listed]:
    """Every suite of the room, by name. Raises InputError for a card that its model refuses."""
    for module in sorted(room_path("suites").glob("[!_]*.py")):
        yield listed_card(module.with_suffix(".yaml"))


def listed_card(path: Path) -> Listed:
    """One card. Raises InputError where its model refuses it."""
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
    except (OSError, yaml.YAMLError, KeyError, ValueError, AttributeError, TypeError):
        from .card import SuiteCard

        SuiteCard.load(path)
        raise
