"""The command line in this process, as in a new one: nothing is loaded yet."""

from __future__ import annotations

import sys

import pytest

import nla_eval.pipeline.runtime as runtime_module
from nla_eval.commands.cli import main


def typed(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Run a command; its exit code."""
    runtime_module._RUNTIMES.clear()
    monkeypatch.setattr(sys, "argv", ["nla-eval", *args])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
