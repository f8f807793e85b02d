"""Readings and their lanes. `Reading` is imported on first use: pydantic takes longer than `--help` may."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .lanes import DISPLAYED, EXPLAINED, LANES, READABLE, VERBALIZED, Display, Lane, LaneEntry, Needs, lanes_in

if TYPE_CHECKING:
    from .reading import KEY, Reading, Score, StopReason

__all__ = [
    "DISPLAYED",
    "EXPLAINED",
    "KEY",
    "LANES",
    "READABLE",
    "VERBALIZED",
    "Display",
    "Lane",
    "LaneEntry",
    "Needs",
    "Reading",
    "Score",
    "StopReason",
    "lanes_in",
]


def __getattr__(name: str) -> Any:
    if name not in ("KEY", "Reading", "Score", "StopReason"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(".reading", __name__), name)
