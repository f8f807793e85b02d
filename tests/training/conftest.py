"""A tiny run that went through every stage before the pack, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nla_eval.training.data.activations as activations_module
import nla_eval.training.data.corpus as corpus_module
import nla_eval.training.stages as stages_module
from nla_eval.training.run import Run
from nla_eval.training.stages import run_stages
from tests.tiny_target import write_tiny_target
from tests.training.tiny_run import BEFORE_PACK, settings, write_chats


class Inline:
    """Stands in for a process context: runs the work here, which saves the seconds of a new interpreter."""

    class Process:
        exitcode = 0

        def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
            self.target, self.args = target, args

        def start(self) -> None:
            self.target(*self.args)

        def join(self) -> None:
            pass


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny target, chats, and a finished run in `run`. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("train")
    write_tiny_target(folder / "target")
    write_chats(folder / "chats.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "suite_messages", frozenset)
        for module in (activations_module, stages_module):
            patch.setattr(module.multiprocessing, "get_context", lambda _: Inline)
        run_stages(Run(settings(folder), folder / "run"), BEFORE_PACK)
    return folder
