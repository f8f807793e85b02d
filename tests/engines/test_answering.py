"""Yes-or-no questions: what several share runs once and changes no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nla_eval.engines.answering import Answerer, first_tokens
from nla_eval.engines.questions import Answered, AskRequest
from nla_eval.errors import InputError
from tests.tiny_target import write_tiny_target

ENDINGS = ("is it a test? ", "no test at all, is it? ", "?")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = write_tiny_target(tmp_path_factory.mktemp("target"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def ids(tokenizer: Any, text: str) -> np.ndarray:
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def plainly(model: Any, tokenizer: Any, text: str) -> tuple[float, float]:
    """(P(yes of yes or no), their mass) from one forward of the whole prompt."""
    with torch.no_grad():
        shares = model(torch.from_numpy(ids(tokenizer, text).astype(np.int64))[None]).logits[0, -1].softmax(-1)
    yes, no = (float(sum(shares[ids(tokenizer, c)[0]] for c in word)) for word in ("Yy", "Nn"))
    return yes / (yes + no), yes + no


@pytest.mark.parametrize("max_tokens", [7, 10_000])
def test_answers_are_those_of_the_whole_prompt_however_it_is_cut(parts: tuple[Any, Any], max_tokens: int) -> None:
    model, tokenizer = parts
    texts = ("a chat about cities. ", "another, longer one about bread and butter. ")
    requests = [AskRequest(ids(tokenizer, text), tuple(ids(tokenizer, e) for e in ENDINGS)) for text in texts]
    found = Answerer(model, tokenizer, max_tokens)(requests)
    for text, answered in zip(texts, found, strict=True):
        wanted = [plainly(model, tokenizer, text + ending) for ending in ENDINGS]
        assert answered == Answered(
            pytest.approx([yes for yes, _ in wanted], abs=1e-5),  # type: ignore[arg-type]
            pytest.approx([mass for _, mass in wanted], abs=1e-6),  # type: ignore[arg-type]
        )
        assert len(set(answered.yes)) > 1


class OneToken:
    """A tokenizer whose every word begins with the same token."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [0, len(text)]}


def test_a_tokenizer_that_cannot_tell_yes_from_no_is_refused(parts: tuple[Any, Any]) -> None:
    assert first_tokens(parts[1], ("Yes", "yes")) & first_tokens(parts[1], (" Yes", " no")) == set()
    with pytest.raises(InputError, match="leave out lane asked"):
        Answerer(parts[0], OneToken(), 10)
