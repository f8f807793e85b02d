"""What a suite needs before it can be read, and who wrote its last turn."""

from __future__ import annotations

from enum import StrEnum


class Needs(StrEnum):
    """What a suite needs before its transcripts can be read."""

    OFFLINE = "offline"
    """Nothing: the transcripts are in the repository."""
    PACKAGE = "package"
    """A Python package that contains the data; no network at run time."""
    HUB = "hub"
    """A download from a model hub."""
    PATH = "path"
    """A file or folder of the user's own."""


class AnswersBy(StrEnum):
    """Who wrote the last assistant turn."""

    TARGET = "target"
    """The target under measurement, at run time or from cached answers: on-policy."""
    RECORDED = "recorded"
    """The author recorded in the source: off-policy unless that is the target."""
