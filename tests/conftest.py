"""Shared fixtures: the real target's tokenizer, chat templates to give it, and the shared data, which may be absent."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from nla_eval.errors import MissingExtraError
from nla_eval.models.target import load_target

pytest.register_assert_rewrite("replay_chats")  # what its checks find is shown, as in a test

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def target_tokenizer() -> PreTrainedTokenizerBase:
    """The default target's tokenizer with its own chat template. Do not change it: ask `tokenizer_with`."""
    try:
        return load_target().tokenizer
    except MissingExtraError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def tokenizer_with(target_tokenizer: PreTrainedTokenizerBase) -> Callable[..., PreTrainedTokenizerBase]:
    """The default target's tokenizer with another chat template and, if given, further special tokens."""
    made: dict[tuple[str, tuple[str, ...]], PreTrainedTokenizerBase] = {}

    def make(template: str, *special: str) -> PreTrainedTokenizerBase:
        if (template, special) not in made:
            tokenizer = copy.deepcopy(target_tokenizer)
            tokenizer.chat_template = template
            if special:
                tokenizer.add_tokens(list(special), special_tokens=True)
            made[template, special] = tokenizer
        return made[template, special]

    return make


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A file of the shared data; a test that lacks it is skipped by name."""
    folder = Path(os.environ.get("NLA_EVAL_SHARED_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"shared data '{name}' is not here; set NLA_EVAL_SHARED_DATA to the folder that holds it")
        return folder / name

    return find
