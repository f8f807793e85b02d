"""The error tree: every mistake a user can make ends in one of these, as one line that names the thing,
what was expected and the mend. The CLI prints the line and exits with 2; anything else is a bug with its traceback."""

from __future__ import annotations


class NlaEvalError(Exception):
    """Base of every error a user can cause or mend."""


class InputError(NlaEvalError):
    """A file, transcript or argument the user gave cannot be used as it is."""


class TemplateError(NlaEvalError):
    """A chat template cannot render a transcript faithfully and no declared fallback applies."""


class PackError(NlaEvalError):
    """An NLA pack is incomplete, inconsistent, or belongs to another target. Always fatal: fail closed."""


class StoreError(NlaEvalError):
    """A store of readings belongs to another pack or version, or cannot be read or written."""


class MissingExtraError(NlaEvalError):
    """An optional package is not installed; the message ends in the exact install command."""

    def __init__(self, what: str, package: str, install: str) -> None:
        super().__init__(f"{what} needs the package '{package}', which is not installed. Run: {install}")
