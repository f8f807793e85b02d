"""Trains the AR: explanation text to activation, by regression of L2-normalised vectors (loss = mse_nrm).

The AR is blocks 0..K of the target with LoRA, plus a bias-free linear head initialised to the identity. The prompt
template ends in a fixed suffix; the vector is read at its last token."""

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
from .optim import Optimisation, base_of, optimise, trainable, with_lora


class Reconstructor(nn.Module):
    """Trunk, LoRA and head. Token ids may be on any device; the output is on theirs.

    Args:
        path: The target's checkpoint.
        layer: K.
        rank: LoRA rank; 0 trains every weight.
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
        """(B, d_model) vectors from (B, T) right-padded ids and (B,) lengths."""
        device = self.head.weight.device
        with self.loading.arithmetic(self.rank, device):
            hidden = self.trunk(input_ids=ids.to(device), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(lengths), device=device), (lengths - 1).to(device)]
        predicted: torch.Tensor = self.head(last.to(self.head.weight.dtype))
        return predicted.to(ids.device)


@dataclass(frozen=True)
class Pairs:
    """Explanations and their activations, row by row."""

    texts: Sequence[str]
    activations: torch.Tensor
    """(N, d_model) raw."""
    recent: Sequence[str] | None = None
    """The last 30 context tokens of each position, as text."""
    expected: Sequence[str] | None = None
    """The target's likeliest next token at each position, as an explanation names it."""


def encode(texts: Sequence[str], meta: PackMeta, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded AR prompt ids (B, T) and their lengths (B,). The tokenizer adds its usual special tokens."""
    ids = [torch.tensor(ar_ids(meta, tokenizer, text)) for text in texts]
    lengths = torch.tensor([len(i) for i in ids])
    return nn.utils.rnn.pad_sequence(ids, batch_first=True), lengths


def mse_nrm(predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """2 (1 - cos) per row, (B,)."""
    return 2.0 * (1.0 - nn.functional.cosine_similarity(predicted.float(), actual.float(), dim=-1))


def predict(
    model: Reconstructor, texts: Sequence[str], meta: PackMeta, tokenizer: Any, batch: int = 64
) -> torch.Tensor:
    """(n, d_model) reconstructions of `texts`, without gradient."""
    out = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            out.append(model(*encode(texts[start : start + batch], meta, tokenizer)))
    return torch.cat(out)


def train_ar(
    model: Reconstructor, train: Pairs, held_out: Pairs, *, meta: PackMeta, tokenizer: Any, config: OptimConfig,
    folder: Path, name: str = "ar",
) -> None:  # fmt: skip
    """Regress `train.activations` from `train.texts`. Logs held-out fve_nrm."""
    stage = Optimisation(name, folder, trainable(model), config)

    def loss_of(batch: list[int]) -> torch.Tensor:
        predicted = model(*encode([train.texts[i] for i in batch], meta, tokenizer))
        return mse_nrm(predicted, train.activations[batch]).mean()

    def report() -> dict[str, float]:
        predicted = predict(model, held_out.texts, meta, tokenizer)
        error = float(mse_nrm(predicted, held_out.activations).mean())
        return {"held_out_mse_nrm": error, "held_out_fve_nrm": 1.0 - error / float(meta.baseline_variance or 1.0)}

    optimise(stage, [len(t) for t in train.texts], loss_of, report, report_every=960)
