"""What this package takes from Inspect's private modules: all of it here, with the reason, and nowhere else.

`PrerequisiteError`: raised while a task, scorer or model is made, it makes Inspect print one line and stop; any other
error is shown with its traceback. Inspect exports no public name for it."""

from __future__ import annotations

from inspect_ai._util.error import PrerequisiteError

__all__ = ["PrerequisiteError"]
