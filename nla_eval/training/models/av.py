"""Trains the AV: activation to explanation, by next-token loss with the vector injected at one prompt position.

The prompt before the slot is the same for every sample. It runs once per batch, with gradient, and its keys and values
are expanded. The slot, the rest of the prompt and the explanation run per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import DynamicCache

from ...engines.loading import load_lm
from ...measure.sentences import claimed_spans
from ...models.prompts import AVPrompt
from ..config import AVConfig
from .ar import Pairs
from .loading import Loading
from .optim import Optimisation, base_of, optimise, trainable, with_lora

IGNORE = -100
_OPEN, _CLOSE = "<explanation>\n", "\n</explanation>"

Prefix = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (1, G, P, d) of every layer, for G key-value heads and P prompt tokens."""


class Verbalizer(nn.Module):
    """The target LM with LoRA and a vector in the injection slot. Inputs may be on any device.

    Args:
        path: The target's checkpoint.
        prompt: Token ids before the slot, and from the slot on.
        scale: L2 norm of the injected vector.
        rank: LoRA rank; 0 trains every weight.
        loading: dtype and attention.
    """

    def __init__(self, path: Path, prompt: AVPrompt, scale: float, rank: int, loading: Loading | None = None) -> None:
        super().__init__()
        self.rank, self.loading = rank, loading or Loading()
        how = self.loading
        self.lm = with_lora(load_lm(path, how.weights(rank), how.attention, trust=how.trust, empty=how.empty), rank)
        self.prompt, self.scale = prompt, scale

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks."""
        return list(base_of(self.lm).model.layers)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return torch.as_tensor(self.lm.get_input_embeddings().weight).device

    def injected(self, ids: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, T, d) of `ids`, with the rescaled vectors in the slot, their first token."""
        embeddings = self.lm.get_input_embeddings()(ids)
        slot = vectors.float() * (self.scale / vectors.float().norm(dim=-1, keepdim=True).clamp_min(1e-12))
        return torch.cat([slot.to(embeddings.dtype)[:, None], embeddings[:, 1:]], dim=1)

    def prefix(self) -> Prefix:
        """Keys and values of the prompt before the slot, with gradient. All samples share them."""
        base = base_of(self.lm)
        cache = DynamicCache(config=base.config)
        ids = torch.tensor([self.prompt.prefix], device=self.device)
        with self.loading.arithmetic(self.rank, self.device):
            base.model(input_ids=ids, past_key_values=cache, use_cache=True)
        layers: Any = cache.layers
        return [(layer.keys, layer.values) for layer in layers]

    def log_probs(
        self, ids: torch.Tensor, labels: torch.Tensor, vectors: torch.Tensor, prefix: Prefix | None = None
    ) -> torch.Tensor:
        """(M,) log-probabilities, float32, of the labels that are not IGNORE, row by row.

        Args:
            ids: (B, T) prompt suffix from the slot on, then the explanation, right-padded.
            labels: (B, T) the token to predict at each place; IGNORE if there is none.
            vectors: (B, d_model) raw activations.
            prefix: Output of `prefix`, to share it among several batches; None computes it.
        """
        base, device = base_of(self.lm), self.device
        ids, labels, vectors = ids.to(device), labels.to(device), vectors.to(device)
        cache = DynamicCache(config=base.config)
        for layer, (keys, values) in enumerate(prefix or self.prefix()):
            rows = (len(ids), -1, -1, -1)
            cache.update(keys.expand(rows), values.expand(rows), layer)
        with self.loading.arithmetic(self.rank, device):
            hidden = base.model(
                inputs_embeds=self.injected(ids, vectors), past_key_values=cache, use_cache=True
            ).last_hidden_state
        return self._chosen(hidden, labels)

    def forward(
        self, ids: torch.Tensor, labels: torch.Tensor, vectors: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean next-token loss over labels that are not IGNORE, weighted by `weights` (M,) if there are any. The other
        arguments are those of `log_probs`."""
        found = self._of_whole_sequences if isinstance(self, FSDPModule) else self.log_probs
        losses = -found(ids, labels, vectors)
        if weights is None:
            return losses.mean()
        weights = weights.to(losses.device)
        return (losses * weights).sum() / weights.sum()

    def _of_whole_sequences(self, ids: torch.Tensor, labels: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """`log_probs` without a shared prefix, for FSDP. FSDP gathers a block's weights for the backward pass when a
        gradient arrives at the block's output. Gradients of a shared prefix arrive at its keys and values instead."""
        base, device = base_of(self.lm), self.device
        ids, labels, vectors = ids.to(device), labels.to(device), vectors.to(device)
        before = torch.tensor([self.prompt.prefix], device=device).expand(len(ids), -1)
        embeddings = torch.cat([self.lm.get_input_embeddings()(before), self.injected(ids, vectors)], dim=1)
        with self.loading.arithmetic(self.rank, device):
            hidden = base.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, before.shape[1] :]
        return self._chosen(hidden, labels)

    def _chosen(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(M,) log-probabilities of the labels that are not IGNORE, from (B, T, d) states."""
        wanted = labels != IGNORE
        with self.loading.arithmetic(self.rank, hidden.device):
            logits = base_of(self.lm).lm_head(hidden[wanted])
        return -nn.functional.cross_entropy(logits.float(), labels[wanted], reduction="none")


def teacher_forced(answers: Sequence[Sequence[int]], prompt: AVPrompt) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), both (B, T) right-padded: the prompt suffix, then the answer's tokens. The answer is the label."""
    ids, labels = [], []
    for answer in answers:
        whole = [*prompt.suffix, *answer]
        ids.append(torch.tensor(whole[:-1]))
        first = len(prompt.suffix) - 1
        labels.append(torch.tensor([IGNORE] * first + whole[first + 1 :]))
    pad = nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True), pad(labels, batch_first=True, padding_value=IGNORE)


def answer_ids(text: str, tokenizer: Any) -> list[int]:
    """Token ids of `text` as the AV writes it: `<explanation>` text `</explanation>`."""
    ids: list[int] = tokenizer(f"{_OPEN}{text}{_CLOSE}", add_special_tokens=False)["input_ids"]
    return ids


def encode_targets(texts: Sequence[str], prompt: AVPrompt, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), both (B, T) right-padded: the prompt suffix, then `<explanation>` text `</explanation>`."""
    return teacher_forced([answer_ids(text, tokenizer) for text in texts], prompt)


def held_out_loss(model: Verbalizer, pairs: Pairs, tokenizer: Any, shift: int = 0, batch: int = 32) -> float:
    """Mean token loss on `pairs`. Each text is paired with the activation `shift` rows before its own (0: its own)."""
    total, count = 0.0, 0
    vectors = pairs.activations.roll(shift, dims=0)
    with torch.no_grad():
        for start in range(0, len(pairs.texts), batch):
            ids, labels = encode_targets(pairs.texts[start : start + batch], model.prompt, tokenizer)
            n = int((labels != IGNORE).sum())
            total += float(model(ids, labels, vectors[start : start + batch])) * n
            count += n
    return total / count


@dataclass(frozen=True)
class Lesson:
    """What the AV learns to write of one row."""

    row: int
    ids: list[int]
    """Tokens from `<explanation>` on."""
    weights: list[float]
    """Of each token in the loss."""


def lessons(texts: Sequence[str], config: AVConfig, tokenizer: Any) -> list[Lesson]:
    """The AV's lessons: every text whole, and first lines alone.

    A first line alone has no end of explanation, so nothing is learnt of where to stop. It costs a third of a whole
    text and holds what is hardest to read: in a whole lesson few tokens say who speaks and where.

    Args:
        texts: (n,) explanations.
        config: Share of first lines among the lessons, their rows spread evenly; weight of tokens that carry a claim.
        tokenizer: The target's.
    """
    share = config.first_line_share
    alone = np.linspace(0, len(texts), round(len(texts) * share / (1 - share)), endpoint=False)
    whole = [_lesson(row, text, True, config.claim_weight, tokenizer) for row, text in enumerate(texts)]
    first = [(int(row), texts[int(row)].partition("\n")[0]) for row in alone]
    return whole + [_lesson(row, line, False, config.claim_weight, tokenizer) for row, line in first]


def _lesson(row: int, text: str, ends: bool, claim_weight: float, tokenizer: Any) -> Lesson:
    answer = f"{_OPEN}{text}{_CLOSE if ends else ''}"
    read = tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
    claimed = [(start + len(_OPEN), end + len(_OPEN)) for start, end in claimed_spans(text)]
    of_claim = [any(a < end and start < b for start, end in claimed) for a, b in read["offset_mapping"]]
    return Lesson(row, read["input_ids"], [claim_weight if claim else 1.0 for claim in of_claim])


def train_av(
    model: Verbalizer, train: Pairs, held_out: Pairs, *, tokenizer: Any, config: AVConfig, folder: Path
) -> None:
    """Train the AV on reference explanations. Logs held-out loss with each text's own and with another activation."""
    stage = Optimisation("av", folder, trainable(model), config)
    made = lessons(train.texts, config, tokenizer)

    def loss_of(batch: list[int]) -> torch.Tensor:
        some = [made[i] for i in batch]
        ids, labels = teacher_forced([lesson.ids for lesson in some], model.prompt)
        weights = torch.tensor([weight for lesson in some for weight in lesson.weights])
        loss: torch.Tensor = model(ids, labels, train.activations[[lesson.row for lesson in some]], weights)
        return loss

    def report() -> dict[str, float]:
        own = held_out_loss(model, held_out, tokenizer)
        other = held_out_loss(model, held_out, tokenizer, shift=len(held_out.texts) // 2)
        return {"held_out_nll": own, "held_out_nll_shuffled": other}

    tokens, weights = [len(lesson.ids) for lesson in made], [sum(lesson.weights) for lesson in made]
    optimise(stage, tokens, loss_of, report, report_every=960, weight_of=lambda part: sum(weights[i] for i in part))
