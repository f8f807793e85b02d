"""Asks a language model yes-or-no questions: the probability that its next token is a yes, of a yes or a no.

In: token ids that several questions share, and each question's own ids, which end with the header of an answer. Out:
probabilities; nothing is sampled. What is shared runs once and its keys and values are kept. It knows no chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ..errors import InputError
from .questions import Answered, AskRequest

_YES = ("Yes", "yes", "YES", " Yes", " yes")
_NO = ("No", "no", "NO", " No", " no")


class Answerer:
    """A causal language model that answers yes or no.

    Args:
        model: A transformers causal language model in eval mode.
        tokenizer: Its tokenizer.
        max_tokens: Tokens of one forward of the shared part.

    Raises:
        InputError: The tokenizer begins "yes" and "no" with the same tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        self.model, self.max_tokens = model, max_tokens
        yes, no = first_tokens(tokenizer, _YES), first_tokens(tokenizer, _NO)
        self._yes, self._no = sorted(yes - no), sorted(no - yes)
        if not self._yes or not self._no:
            raise InputError("the target's tokenizer begins 'yes' and 'no' with the same token; leave out lane asked")

    def __call__(self, requests: Sequence[AskRequest]) -> list[Answered]:
        """Answers of each request, in order."""
        return [self._answered(request) for request in requests]

    @torch.inference_mode()
    def _answered(self, request: AskRequest) -> Answered:
        # Without a config the cache keeps every token, so that it can be cropped; the masks apply sliding windows.
        cache = DynamicCache()
        for start in range(0, len(request.shared), self.max_tokens):
            self._last(request.shared[start : start + self.max_tokens], cache)
        found = []
        for ending in request.endings:
            found.append(self._last(ending, cache))
            cache.crop(-len(ending))
        shares = torch.stack(found).float().softmax(-1)
        yes, no = (shares[:, ids].sum(-1) for ids in (self._yes, self._no))
        return Answered(tuple((yes / (yes + no)).tolist()), tuple((yes + no).tolist()))

    def _last(self, ids: NDArray[np.int32], cache: DynamicCache) -> torch.Tensor:
        """Logits (V,) after `ids`, which are added to the cache."""
        given = torch.from_numpy(ids.astype(np.int64))[None].to(self.model.device)
        return torch.as_tensor(
            self.model(input_ids=given, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        )


def first_tokens(tokenizer: Any, words: Sequence[str]) -> set[int]:
    """First token id of each spelling. A token that another spelling of another word shares says nothing."""
    return {int(tokenizer(word, add_special_tokens=False)["input_ids"][0]) for word in words}
