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
    """Every suite, sorted by name: the shipped ones, then those of the current folder. Raises InputError for a card
    that its model refuses."""
    for card in (*shipped_cards().values(), *local_cards().values()):
        yield listed_card(card)


def shipped_cards() -> dict[str, Path]:
    """Cards of the suites that come with nla_eval, by name."""
    modules = sorted(room_path("suites").glob("[!_]*.py"))
    return {module.stem: module.with_suffix(".yaml") for module in modules}


def local_cards() -> dict[str, Path]:
    """Cards in `suites/` of the current folder, by name, as `nla-eval suite add` writes them. Empty in a checkout of
    nla_eval, whose `suites/` is the room itself. No code of that folder is run."""
    folder = Path("suites").resolve()
    return {} if folder == room_path("suites") else {card.stem: card for card in sorted(folder.glob("*.yaml"))}


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
