"""Finds the content rooms (`suites`, `classifiers`, `reports`) without importing any of them by name.

In a wheel they are packages below `nla_eval`; in a checkout they stand beside it. Appending the checkout's root to
`nla_eval.__path__` makes `nla_eval.suites` mean the same folder in both, so registry names are the same too."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent
ROOMS = ("suites", "classifiers", "reports")


def extend_path(path: list[str]) -> None:
    """Let `nla_eval.<room>` resolve in a checkout. No effect on an installed wheel."""
    if not (PACKAGE / "suites").is_dir() and (PACKAGE.parent / "suites").is_dir():
        path.append(str(PACKAGE.parent))


def room_path(room: str) -> Path:
    """The folder of a content room."""
    inside = PACKAGE / room
    return inside if inside.is_dir() else PACKAGE.parent / room


def load_room(room: str) -> list[ModuleType]:
    """Import every public module of a room, so that its decorators register what it offers."""
    import pkgutil  # only here: every command imports this module

    package = importlib.import_module(f"nla_eval.{room}")
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return [importlib.import_module(f"nla_eval.{room}.{name}") for name in names]
