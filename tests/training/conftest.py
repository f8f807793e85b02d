"""A tiny run that went through every stage before the pack, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import nla_eval.training.corpus as corpus_module
from nla_eval.training.run import Run
from nla_eval.training.stages import run_stages
from tests.tiny_target import write_tiny_target
from tests.training.tiny_run import BEFORE_PACK, settings, write_chats


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny target, chats, and a finished run in `run`. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("train")
    write_tiny_target(folder / "target")
    write_chats(folder / "chats.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "suite_messages", frozenset)
        run_stages(Run(settings(folder), folder / "run"), BEFORE_PACK)
    return folder
