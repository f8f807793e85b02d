"""The arms of a comparison."""

from __future__ import annotations

from enum import StrEnum


class Arm(StrEnum):
    """Which side of a comparison a transcript stands on."""

    EVALUATION = "evaluation"
    DEPLOYMENT = "deployment"
    MONITOR = "monitor"
