"""A pass gives the loss and the gradients of plain transformers over whole sequences, however it is cut up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nla_eval.engines.side_by_side import Split
from nla_eval.training.joint.round_trip import Models
from nla_eval.training.models.ar import encode, mse_nrm
from nla_eval.training.models.optim import trainable
from nla_eval.training.models.passes import Answer, Layout, Objective, Scored, answers_pass, texts_pass
from tests.training.tiny_pair import tiny_models, tiny_pairs

WRITTEN = ((5, 9, 70, 71), (80, 81, 3), (40, 41, 42, 43, 44, 45, 46), (9,))
ADVANTAGES = (1.5, -0.5, None, -1.0)
LAYOUTS = [Layout(Split(), 10_000), Layout(Split(), 1), Layout(Split(2, 1), 20)]


@pytest.fixture(scope="module", params=[4, 0], ids=["adapters", "all weights"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return tiny_models(tmp_path_factory.mktemp("pair"), request.param)


def whole_sequence_log_probs(models: Models, ids: tuple[int, ...], vector: torch.Tensor) -> torch.Tensor:
    """The reference computation: one sequence at a time, no cache, the vector written over the slot's embedding."""
    prompt, lm = models.av.prompt, models.av.lm
    whole = torch.tensor([*prompt.prefix, *prompt.suffix, *ids])
    slot = torch.arange(len(whole)) == len(prompt.prefix)
    injected = vector * (models.av.scale / vector.norm())
    embeddings = torch.where(slot[None, :, None], injected, lm.get_input_embeddings()(whole[None]))
    logits = lm(inputs_embeds=embeddings, use_cache=False).logits[0, -len(ids) - 1 : -1]
    return torch.as_tensor(logits.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_avs_loss_and_gradient_are_those_of_whole_sequences(models: Models, layout: Layout) -> None:
    vectors = tiny_pairs().activations
    with torch.no_grad():
        at_start = [whole_sequence_log_probs(models, ids, vectors[i]) + 0.2 for i, ids in enumerate(WRITTEN)]
    answers = [
        Answer(ids, vectors[i], ADVANTAGES[i], reference=at_start[i]) for i, ids in enumerate(WRITTEN)
    ]  # fmt: skip
    parameters = trainable(models.av)
    found = answers_pass(models.av, list(parameters.values()), answers, Objective(8.0, 7.0, 0.2, 0.1, 0.3), layout)

    expected: torch.Tensor = torch.zeros(())
    for answer, start in zip(answers, at_start, strict=True):
        log_probs = whole_sequence_log_probs(models, answer.ids, answer.vector)
        if answer.advantage is None:
            expected = expected - 0.3 * log_probs.sum() / 7.0
        else:
            difference = start - log_probs
            kl = difference.exp() - difference - 1
            weighted = answer.advantage * (log_probs - log_probs.detach()).exp()
            expected = expected + (0.1 * kl - weighted).sum() / 8.0
    gradients = torch.autograd.grad(expected, list(parameters.values()), allow_unused=True)
    assert found.loss == pytest.approx(float(expected.detach()), abs=1e-5)
    for name, ours, theirs in zip(parameters, found.gradients, gradients, strict=True):
        torch.testing.assert_close(
            ours, torch.zeros_like(ours) if theirs is None else theirs, atol=2e-5, rtol=1e-4, msg=name
        )


def test_the_log_probabilities_come_back_in_the_order_of_the_answers(models: Models) -> None:
    vectors = tiny_pairs().activations
    answers = [Answer(ids, vectors[i], 1.0) for i, ids in enumerate(WRITTEN)]
    for layout in LAYOUTS:
        found = answers_pass(models.av, (), answers, Objective(1.0, 1.0), layout)
        assert found.gradients == []
        for answer, log_probs in zip(answers, found.values, strict=True):
            torch.testing.assert_close(
                log_probs, whole_sequence_log_probs(models, answer.ids, answer.vector).detach(), atol=2e-5, rtol=1e-4
            )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_ars_pass_scores_every_text_and_learns_from_those_with_weight(models: Models, layout: Layout) -> None:
    pairs = tiny_pairs()
    texts, weights = ["a", "longer text", "", "bc"], torch.tensor([0.5, 0.0, 0.25, 0.25])
    scored = Scored(texts, pairs.activations[:4], weights, models.meta, models.tokenizer)
    parameters = list(trainable(models.ar).values())
    found = texts_pass(models.ar, parameters, scored, layout)
    error = mse_nrm(models.ar(*encode(texts, models.meta, models.tokenizer)), pairs.activations[:4])
    torch.testing.assert_close(torch.stack(found.values), error.detach(), atol=1e-5, rtol=1e-4)
    expected = torch.autograd.grad((error * weights).sum(), parameters)
    for ours, theirs in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("rank", [4, 0])
def test_in_bf16_the_gradients_are_float32_and_near_those_of_float32(tmp_path: Path, rank: int) -> None:
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        models = tiny_models(tmp_path / str(dtype), rank, dtype)
        parameters = list(trainable(models.av).values())
        assert {p.dtype for p in parameters} == {torch.float32}
        answers = [Answer(ids, tiny_pairs().activations[i], 1.0) for i, ids in enumerate(WRITTEN)]
        passed = answers_pass(models.av, parameters, answers, Objective(8.0, 1.0), LAYOUTS[1])
        assert {g.dtype for g in passed.gradients} == {torch.float32}
        found.append(torch.cat([g.flatten() for g in passed.gradients]))
    exact, rounded = found
    assert not torch.equal(exact, rounded), "nothing was computed in bf16"
    assert float(torch.nn.functional.cosine_similarity(exact, rounded, dim=0)) > 0.95
