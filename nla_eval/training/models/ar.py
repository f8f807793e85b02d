"""Trains the AR: explanation text to activation, by regression of L2-normalised vectors (loss = mse_nrm).

The AR is blocks 0..K of the target with LoRA and a bias-free linear head that starts as the identity, read at the last
token of a template that ends in a fixed suffix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...engines.loading import load_trunk
from ...models.pack_meta import PackMeta
from ...models.prompts import ar_ids
from ..config import OptimConfig
from .loading import Loading
from .optim import Stage, base_of, run_stage, trainable, with_lora


class Reconstructor(nn.Module):
    """Trunk, LoRA and head. Token ids may be anywhere; what it gives is where they are.

    Args:
        path: The target's checkpoint.
        layer: K.
        rank: Of LoRA; 0 trains every weight.
        loading: dtype and attention.
    """

    def __init__(self, path: Path, layer: int, rank: int, loading: Loading | None = None) -> None:
        super().__init__()
        self.rank, self.loading = rank, loading or Loading()
        how = self.loading
        trunk = load_trunk(path, layer, how.weights(rank), how.attention, trust=how.trust, empty=how.empty)
        self.trunk = with_lora(trunk, rank)
        width = self.trunk.config.hidden_size
        self.head = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(width))
        if how.empty:
            self.head.to("meta")

    @property
    def blocks(self) -> list[nn.Module]:
        """Blocks 0..K."""
        return list(base_of(self.trunk).layers)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, T) right-padded ids and (B,) lengths to (B, d_model) vectors."""
        device = self.head.weight.device
        with self.loading.arithmetic(self.rank, device):
            hidden = self.trunk(input_ids=ids.to(device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(lengths), device=device), (lengths - 1).to(device)]
        predicted: torch.Tensor = self.head(last.to(self.head.weight.dtype))
        return predicted.to(ids.device)


@dataclass(frozen=True)
class Pairs:
    """Explanations and the activations they belong to, row by row."""

    texts: Sequence[str]
    activations: torch.Tensor
    """(N, d_model) raw."""
    recent: Sequence[str] | None = None
    """The last 30 context tokens of each position, as text."""
    expected: Sequence[str] | None = None
    """The target's likeliest next token at each position, as an explanation names it."""


def encode(texts: Sequence[str], meta: PackMeta, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded AR prompt ids (B, T) and their lengths (B,). Special tokens as the tokenizer adds them."""
    ids = [torch.tensor(ar_ids(meta, tokenizer, text)) for text in texts]
    lengths = torch.tensor([len(i) for i in ids])
    return nn.utils.rnn.pad_sequence(ids, batch_first=True), lengths


def mse_nrm(predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """2 (1 - cos) per row, (B,)."""
    return 2.0 * (1.0 - nn.functional.cosine_similarity(predicted.float(), actual.float(), dim=-1))


def predict(
    model: Reconstructor, texts: Sequence[str], meta: PackMeta, tokenizer: Any, batch: int = 64
) -> torch.Tensor:
    """(n, d_model) reconstructions, without gradient."""
    out = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            out.append(model(*encode(texts[start : start + batch], meta, tokenizer)))
    return torch.cat(out)


def train_ar(
    model: Reconstructor, train: Pairs, held_out: Pairs, *, meta: PackMeta, tokenizer: Any, config: OptimConfig,
    folder: Path, name: str = "ar",
) -> None:  # fmt: skip
    """Regress `train.activations` from `train.texts`; logs held-out fve_nrm."""
    stage = Stage(name, folder, trainable(model), config)

    def loss_of(batch: list[int]) -> torch.Tensor:
        predicted = model(*encode([train.texts[i] for i in batch], meta, tokenizer))
        return mse_nrm(predicted, train.activations[batch]).mean()

    def report() -> dict[str, float]:
        predicted = predict(model, held_out.texts, meta, tokenizer)
        error = float(mse_nrm(predicted, held_out.activations).mean())
        return {"held_out_mse_nrm": error, "held_out_fve_nrm": 1.0 - error / float(meta.baseline_variance or 1.0)}

    run_stage(stage, [len(t) for t in train.texts], loss_of, report, report_every=960)
