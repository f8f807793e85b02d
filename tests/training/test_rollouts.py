"""The decoder draws from the AV as it is now: after an update its greedy text is that of transformers' `generate`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nla_eval.engines.base import Sampling
from nla_eval.engines.side_by_side import Split
from nla_eval.training.joint.rollouts import Rollouts
from nla_eval.training.joint.round_trip import Models
from nla_eval.training.models.merged import plain_weights
from nla_eval.training.models.optim import trainable
from tests.training.tiny_pair import CAP, requests, tiny_models, tiny_pairs


def generated(models: Models, vector: torch.Tensor) -> list[int]:
    """The model in training through transformers' `generate`, greedy, at most CAP tokens."""
    prompt, lm = models.av.prompt, models.av.lm
    whole = torch.tensor([[*prompt.prefix, *prompt.suffix]])
    embeddings = lm.get_input_embeddings()(whole).detach().clone()
    embeddings[0, len(prompt.prefix)] = vector * (models.av.scale / vector.norm())
    mask = torch.ones(whole.shape, dtype=torch.long)
    out = lm.generate(inputs_embeds=embeddings, attention_mask=mask, do_sample=False, max_new_tokens=CAP)
    return [int(token) for token in out[0]]


@pytest.mark.parametrize("rank", [4, 0])
def test_after_an_update_the_decoder_draws_what_transformers_generates(tmp_path: Path, rank: int) -> None:
    models, pairs = tiny_models(tmp_path, rank), tiny_pairs()
    rollouts = Rollouts(models.av, models.tokenizer, Split())
    before = [draw.ids for draw in rollouts.draw(requests(pairs, 1), Sampling(0.0, CAP))]
    with torch.no_grad():
        for name, parameter in trainable(models.av).items():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.1)
    rollouts.sync()
    after = [draw.ids for draw in rollouts.draw(requests(pairs, 1), Sampling(0.0, CAP))]
    assert after != before
    assert [list(ids) for ids in after] == [generated(models, vector) for vector in pairs.activations]


@pytest.mark.parametrize("rank", [4, 0])
def test_in_bf16_the_decoder_follows_with_rounded_weights(tmp_path: Path, rank: int) -> None:
    models = tiny_models(tmp_path, rank, torch.bfloat16)
    rollouts = Rollouts(models.av, models.tokenizer, Split())
    with torch.no_grad():
        for parameter in trainable(models.av).values():
            parameter.add_(0.1)
    rollouts.sync()
    state = rollouts._decoder.model.state_dict()
    expected = plain_weights(models.av)
    assert state.keys() == expected.keys()
    for name, weight in state.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)
    assert {weight.dtype for weight in state.values()} == {torch.bfloat16}


def test_weights_that_train_in_the_decoders_dtype_are_not_held_twice(tmp_path: Path) -> None:
    models = tiny_models(tmp_path, rank=0)
    ours = {p.data_ptr() for p in Rollouts(models.av, models.tokenizer, Split())._decoder.model.parameters()}
    assert ours == {p.data_ptr() for p in models.av.lm.parameters()}


def test_two_workers_draw_what_one_draws(tmp_path: Path) -> None:
    models, pairs = tiny_models(tmp_path), tiny_pairs()
    one = Rollouts(models.av, models.tokenizer, Split()).draw(requests(pairs), Sampling(1.0, CAP))
    two = Rollouts(models.av, models.tokenizer, Split(2, 1)).draw(requests(pairs), Sampling(1.0, CAP))
    assert [draw.ids for draw in one] == [draw.ids for draw in two]
    assert len({draw.ids for draw in one}) > len(one) / 2
    assert all(len(draw.ids) == draw.tokens > 0 for draw in one)
