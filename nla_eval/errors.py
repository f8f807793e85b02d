"""All user errors: one line saying what was wrong, what was expected, how to fix it.

The CLI prints the line and exits with 2. Any other exception is a bug: it shows its traceback, writes a report without
transcripts, and exits with 1. docs/errors.md says what mends each class."""

from __future__ import annotations


class NlaEvalError(Exception):
    """Base class of every error that a user can cause or fix."""


class InputError(NlaEvalError):
    """A file, transcript or argument from the user cannot be used."""


class TemplateError(NlaEvalError):
    """A chat template cannot render a transcript faithfully, and no declared fallback applies."""


class PackError(NlaEvalError):
    """An NLA pack is incomplete, inconsistent, or belongs to another target. Always stops the run."""


class StoreError(NlaEvalError):
    """A store of readings belongs to another pack or version, or cannot be read or written."""


class DamagedError(StoreError):
    """A file of a store was read, and is not what was written. Other store errors may pass, such as a lost network."""


class MissingExtraError(NlaEvalError):
    """An optional package is not installed; the message ends in the exact install command."""

    def __init__(self, what: str, package: str, install: str) -> None:
        super().__init__(f"{what} needs the package '{package}', which is not installed. Run: {install}")
