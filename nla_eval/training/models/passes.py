"""One forward and backward pass of AV or AR over a step's texts, in micro-batches that bound memory, in parallel
workers. In: texts and their weights in the loss. Out: the summed loss, its gradients, and a value per text. Updates
nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from ...engines.fitting import slices
from ...engines.side_by_side import Split, in_order
from ...models.pack_meta import PackMeta
from .ar import Reconstructor, encode, mse_nrm
from .av import Prefix, Verbalizer, teacher_forced
from .grpo import clipped_surrogate, k3

T = TypeVar("T")
Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """How a pass is divided. It affects the result by rounding only."""

    split: Split
    micro_tokens: int
    """Padded tokens of one micro-batch."""

    def jobs(self, sizes: Sequence[int]) -> list[list[list[int]]]:
        """Micro-batches of row numbers for each worker, longest rows first."""
        order = sorted(range(len(sizes)), key=lambda row: -sizes[row])
        batches = [order[s] for s in slices([sizes[row] for row in order], self.micro_tokens, padded=True)]
        return [batches[w :: self.split.workers] for w in range(min(self.split.workers, len(batches)))]


@dataclass(frozen=True)
class Passed:
    """Result of a pass."""

    loss: float
    gradients: Tensors
    """Gradients of the loss, in the order of the parameters; empty without gradient."""
    values: Tensors
    """Value of each row, without gradient."""


@dataclass(frozen=True)
class Answer:
    """One text of the AV: a rollout, or a reference explanation."""

    ids: tuple[int, ...]
    """Token ids, tags included."""
    vector: torch.Tensor
    """(d_model,) raw activation."""
    advantage: float | None = None
    """Advantage of a rollout; None for a reference, which is learned by next-token loss."""
    old: torch.Tensor | None = None
    """(len(ids),) log-probabilities under the policy that drew it; None if that is the current policy."""
    reference: torch.Tensor | None = None
    """(len(ids),) log-probabilities under the AV at the start of the stage; None without KL."""


@dataclass(frozen=True)
class Objective:
    """The AV's loss, summed over a step's answers of all processes."""

    rollout_tokens: float
    """Number of rollout tokens. The loss is a mean over them, so all tokens weigh the same."""
    reference_tokens: float
    clip_ratio: float = 0.2
    kl: float = 0.0
    reference_mix: float = 0.0

    def loss(self, log_probs: torch.Tensor, answer: Answer) -> torch.Tensor:
        """One answer's part of the loss, from its (len(ids),) log-probabilities."""
        if answer.advantage is None:
            return -self.reference_mix * log_probs.sum() / self.reference_tokens
        old = log_probs.detach() if answer.old is None else answer.old
        loss = -clipped_surrogate(log_probs, old, answer.advantage, self.clip_ratio)
        if self.kl and answer.reference is not None:
            loss = loss + self.kl * k3(log_probs, answer.reference)
        return loss.sum() / self.rollout_tokens


def answers_pass(
    model: Verbalizer, parameters: Sequence[torch.Tensor], answers: Sequence[Answer], objective: Objective,
    layout: Layout,
) -> Passed:  # fmt: skip
    """The objective over `answers` and its gradients. The value of a row is its log-probabilities (len(ids),). Without
    parameters no gradient is computed.

    The prompt before the slot runs once per worker. Every micro-batch adds gradients at its keys and values; one
    backward pass through the prompt follows at the end.
    """

    @torch.set_grad_enabled(bool(parameters))
    def job(batches: list[list[int]]) -> _Sum:
        prefix = model.prefix()
        leaves: Prefix = [(k.detach().requires_grad_(), v.detach().requires_grad_()) for k, v in prefix]
        ends = [end for pair in leaves for end in pair]
        total = _Sum(len(parameters) + len(ends))
        for rows in batches:
            batch = [answers[row] for row in rows]
            log_probs = _log_probs(model, batch, leaves)
            terms = [objective.loss(part, answer) for part, answer in zip(log_probs, batch, strict=True)]
            total.add(torch.stack(terms).sum(), [*parameters, *ends], dict(zip(rows, log_probs, strict=True)))
        return total.through([end for pair in prefix for end in pair], parameters)

    return _together([partial(job, batches) for batches in layout.jobs(_sizes(model, answers))], layout, parameters)


def texts_pass(model: Reconstructor, parameters: Sequence[torch.Tensor], scored: Scored, layout: Layout) -> Passed:
    """The AR's loss over all texts and its gradients. The value of a row is its mse_nrm, a scalar. One forward pass
    thus gives both the reward of a rollout and the AR's gradient."""
    encoded, lengths = encode(scored.texts, scored.meta, scored.tokenizer)
    sizes = [int(n) for n in lengths]

    @torch.set_grad_enabled(bool(parameters))
    def job(batches: list[list[int]]) -> _Sum:
        total = _Sum(len(parameters))
        for rows in batches:
            longest = max(sizes[row] for row in rows)
            predicted = model(encoded[rows, :longest], lengths[rows])
            error = mse_nrm(predicted, scored.vectors[rows])
            loss = (error * scored.weights[rows]).sum()
            total.add(loss, parameters, dict(zip(rows, error, strict=True)))
        return total

    return _together([partial(job, batches) for batches in layout.jobs(sizes)], layout, parameters)


@dataclass(frozen=True)
class Scored:
    """Texts for the AR."""

    texts: Sequence[str]
    vectors: torch.Tensor
    """(n, d_model) raw activations."""
    weights: torch.Tensor
    """(n,) weight of each text's error in the loss; 0 if it is only scored."""
    meta: PackMeta
    tokenizer: Any


def _sizes(model: Verbalizer, answers: Sequence[Answer]) -> list[int]:
    return [len(model.prompt.suffix) + len(answer.ids) - 1 for answer in answers]


def _log_probs(model: Verbalizer, batch: Sequence[Answer], prefix: Prefix) -> Sequence[torch.Tensor]:
    ids, labels = teacher_forced([answer.ids for answer in batch], model.prompt)
    found = model.log_probs(ids, labels, torch.stack([answer.vector for answer in batch]), prefix)
    return torch.split(found, [len(answer.ids) for answer in batch])


class _Sum:
    """Running sums of one worker."""

    def __init__(self, count: int) -> None:
        self.loss = 0.0
        self.gradients: list[torch.Tensor | None] = [None] * count
        self.values: dict[int, torch.Tensor] = {}

    def add(self, loss: torch.Tensor, inputs: Sequence[torch.Tensor], values: dict[int, torch.Tensor]) -> None:
        """Add a micro-batch: its loss, the gradients of the loss, and the rows' values."""
        self.loss += float(loss.detach())
        self.values.update((row, value.detach()) for row, value in values.items())
        self._accumulate(torch.autograd.grad(loss, inputs, allow_unused=True) if loss.requires_grad else ())

    def through(self, outputs: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor]) -> _Sum:
        """Backpropagate the gradients accumulated at `outputs` to `parameters`. In the sums, the gradients of `outputs`
        follow those of the parameters."""
        arrived = self.gradients[len(parameters) :]
        self.gradients = self.gradients[: len(parameters)]
        pairs = [(out, got) for out, got in zip(outputs, arrived, strict=True) if got is not None and out.requires_grad]
        if pairs:
            ends, gradients = zip(*pairs, strict=True)
            arriving = [got.to(out.dtype) for out, got in zip(ends, gradients, strict=True)]
            self._accumulate(torch.autograd.grad(ends, parameters, arriving, allow_unused=True))
        return self

    def _accumulate(self, new: Sequence[torch.Tensor | None]) -> None:
        for place, gradient in enumerate(new):
            if gradient is not None:
                held, new_part = self.gradients[place], gradient.float()  # a bf16 sum loses small terms
                self.gradients[place] = new_part if held is None else held.add_(new_part)


def _together(jobs: list[Callable[[], _Sum]], layout: Layout, parameters: Sequence[torch.Tensor]) -> Passed:
    """The workers' sums, added in a fixed order so that every run gives the same result."""
    whole = _Sum(len(parameters))
    for part in in_order(jobs, layout.split):
        whole.loss += part.loss
        whole.values.update(part.values)
        whole._accumulate(part.gradients)
    gradients = [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, whole.gradients, strict=True)
    ]
    return Passed(whole.loss, gradients, [whole.values[row] for row in range(len(whole.values))])
