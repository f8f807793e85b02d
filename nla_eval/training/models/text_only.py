"""Trains the text reader: the AV's lessons, with the tokens up to the position in place of the injected vector.

Base, rank, prompt and explanations are the AV's; what stands in the slot is all that differs. So what the AV says and
this reader does not comes from the activation, as far as such lessons can show (docs/method.md 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn

from ...engines.loading import load_lm
from ...models.prompts import AVPrompt, text_prompt
from ..config import OptimConfig
from .av import IGNORE, answer_ids
from .loading import Loading
from .optim import Optimisation, base_of, optimise, trainable, with_lora


@dataclass(frozen=True)
class Windows:
    """Explanations and the tokens up to their positions, row by row."""

    texts: Sequence[str]
    windows: Sequence[Sequence[int]]
    """Token ids up to and including the position, at most the reader's window."""

    @classmethod
    def of(cls, frame: pl.DataFrame, conversations: Sequence[Sequence[int]], size: int) -> Windows:
        """The rows of `frame` (row, position, text), with windows of up to `size` tokens of their conversations."""
        rows = list(frame.select("row", "position", "text").iter_rows())
        windows = [conversations[row][max(0, position + 1 - size) : position + 1] for row, position, _ in rows]
        return cls([text for _, _, text in rows], windows)


class TextReader(nn.Module):
    """The target LM with LoRA, which writes explanations after a text. Inputs may be on any device.

    Args:
        path: The target's checkpoint.
        prompt: The AV's prompt, whose marker the text replaces.
        rank: LoRA rank.
        loading: dtype and attention.
    """

    def __init__(self, path: Path, prompt: AVPrompt, rank: int, loading: Loading | None = None) -> None:
        super().__init__()
        self.rank, self.loading, self.prompt = rank, loading or Loading(), prompt
        how = self.loading
        self.lm = with_lora(load_lm(path, how.weights(rank), how.attention, trust=how.trust, empty=how.empty), rank)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks."""
        return list(base_of(self.lm).model.layers)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean next-token loss over labels that are not IGNORE.

        Args:
            ids: (B, T) prompt and explanation, right-padded: causal attention needs no mask for them.
            labels: (B, T) the token to predict at each place.
        """
        base = base_of(self.lm)
        device = self.lm.get_input_embeddings().weight.device
        with self.loading.arithmetic(self.rank, device):
            hidden = base.model(input_ids=ids.to(device), use_cache=False).last_hidden_state
            wanted = labels.to(device) != IGNORE
            logits = base.lm_head(hidden[wanted])
        return nn.functional.cross_entropy(logits.float(), labels.to(device)[wanted])


def lessons(
    rows: Windows, chosen: Sequence[int], prompt: AVPrompt, tokenizer: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), both (B, T) right-padded: the prompt with its text, then the explanation, which is the label."""
    ids, labels = [], []
    for i in chosen:
        before, answer = text_prompt(prompt, rows.windows[i]), answer_ids(rows.texts[i], tokenizer)
        whole = [*before, *answer]
        ids.append(torch.tensor(whole[:-1]))
        labels.append(torch.tensor([IGNORE] * (len(before) - 1) + answer))
    pad = nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True), pad(labels, batch_first=True, padding_value=IGNORE)


def held_out_loss(model: TextReader, rows: Windows, tokenizer: Any, shift: int = 0, batch: int = 16) -> float:
    """Mean token loss on `rows`. Each explanation follows the text `shift` rows before its own (0: its own)."""
    count = len(rows.texts)
    moved = Windows(rows.texts, [rows.windows[(i - shift) % count] for i in range(count)])
    total = tokens = 0.0
    with torch.no_grad():
        for start in range(0, count, batch):
            ids, labels = lessons(moved, range(start, min(start + batch, count)), model.prompt, tokenizer)
            n = int((labels != IGNORE).sum())
            total, tokens = total + float(model(ids, labels)) * n, tokens + n
    return total / tokens


def train_text_only(
    model: TextReader, train: Windows, held_out: Windows, *, tokenizer: Any, config: OptimConfig, folder: Path
) -> None:
    """Train the text reader. Logs held-out loss after each explanation's own text and after another."""
    stage = Optimisation("text_only", folder, trainable(model), config)

    def loss_of(batch: list[int]) -> torch.Tensor:
        loss: torch.Tensor = model(*lessons(train, batch, model.prompt, tokenizer))
        return loss

    def report() -> dict[str, float]:
        return {
            "held_out_nll": held_out_loss(model, held_out, tokenizer),
            "held_out_nll_shuffled": held_out_loss(model, held_out, tokenizer, shift=len(held_out.texts) // 2),
        }

    tokens = [len(answer_ids(text, tokenizer)) for text in train.texts]
    lengths = [len(window) + n for window, n in zip(train.windows, tokens, strict=True)]
    optimise(stage, lengths, loss_of, report, report_every=960, weight_of=lambda rows: sum(tokens[i] for i in rows))
