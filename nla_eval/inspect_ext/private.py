"""The only imports from Inspect's private modules, each with its reason.

`PrerequisiteError`: when a task, scorer or model raises it at construction, Inspect prints one line and stops. It shows
any other error with a traceback. Inspect has no public name for it."""

from __future__ import annotations

from inspect_ai._util.error import PrerequisiteError

__all__ = ["PrerequisiteError"]
