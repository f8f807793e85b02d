"""Runs the target over scenes under system messages, and takes hidden states at the scenes' own tokens. In: a causal LM
and scenes. Out: tensors aligned by scene token. It knows neither cue nor loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .scenes import Scene


@dataclass(frozen=True)
class Row:
    """One scene under one system message."""

    scene: Scene
    system: list[int]
    """Token ids of the system message."""
    hidden: tuple[int, int] | None = None
    """Span of system tokens that tokens after the first request cannot attend to."""

    @property
    def offset(self) -> int:
        """Index of the scene's first token."""
        return len(self.system)


@dataclass(frozen=True)
class States:
    """What a run gives for its rows."""

    states: torch.Tensor
    """(B, C, d) outputs of block K at the scenes' tokens; zero after a scene's end."""
    present: torch.Tensor
    """(B, C) bool: tokens that exist."""
    finals: torch.Tensor | None
    """(B, C, d) outputs of the last block after the final norm, if the run went that far."""

    @property
    def last(self) -> torch.Tensor:
        """`finals` of a whole run."""
        assert self.finals is not None, "a run of the trunk has no final states"
        return self.finals


class Runner:
    """A causal LM, its blocks 0..K and its blocks above K, over the same weights."""

    def __init__(self, lm: Any, layer: int) -> None:
        self.lm, self.layer = lm, layer
        self.trunk = copy.copy(lm.model)
        self.trunk._modules = dict(lm.model._modules)
        self.trunk.layers, self.trunk.norm = lm.model.layers[: layer + 1], nn.Identity()
        self.upper = copy.copy(lm.model)
        self.upper._modules = dict(lm.model._modules)
        self.upper.layers = lm.model.layers[layer + 1 :]
        self._tapped: list[torch.Tensor] = []
        lm.model.layers[layer].register_forward_hook(self._tap)

    def _tap(self, _module: Any, _given: Any, output: Any) -> None:
        self._tapped = [output if isinstance(output, torch.Tensor) else output[0]]

    def run(self, rows: Sequence[Row], *, whole: bool = False) -> States:
        """Run the rows in one right-padded batch; `whole` goes on to the last block."""
        sequences = [torch.tensor([*row.system, *row.scene.ids.tolist()]) for row in rows]
        ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        model = self.lm.model if whole else self.trunk
        final = model(input_ids=ids, attention_mask=_mask(rows, ids.shape[1]), use_cache=False).last_hidden_state
        longest = max(len(row.scene.ids) for row in rows)
        index = torch.arange(longest) + torch.tensor([row.offset for row in rows])[:, None]
        present = torch.arange(longest) < torch.tensor([len(row.scene.ids) for row in rows])[:, None]
        index = index.clamp(max=ids.shape[1] - 1)[:, :, None]
        tapped = self._tapped.pop()

        def at_scene(hidden: torch.Tensor) -> torch.Tensor:
            found = hidden.gather(1, index.expand(-1, -1, hidden.shape[-1]))
            return found * present[:, :, None]

        return States(at_scene(tapped), present, at_scene(final) if whole else None)

    def tapped(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """(T, d) outputs of block K of each row, system message and scene."""
        found: list[torch.Tensor] = []
        for row in rows:
            ids = torch.tensor([[*row.system, *row.scene.ids.tolist()]])
            self.trunk(input_ids=ids, attention_mask=_mask([row], ids.shape[1]), use_cache=False)
            found.append(self._tapped.pop()[0])
        return found

    def answers(self, tapped: Sequence[torch.Tensor], choices: tuple[int, int]) -> torch.Tensor:
        """(B,) log-odds of yes over no at the end of each sequence of block K's outputs (T, d), run from there on."""
        lengths = torch.tensor([len(one) for one in tapped])
        padded = torch.nn.utils.rnn.pad_sequence(list(tapped), batch_first=True)
        final = self.upper(inputs_embeds=padded, use_cache=False).last_hidden_state
        logits = self.logits(final[torch.arange(len(tapped)), lengths - 1])
        return logits[:, choices[0]] - logits[:, choices[1]]

    def logits(self, finals: torch.Tensor) -> torch.Tensor:
        """(..., d) final states -> (..., V) logits."""
        out: torch.Tensor = self.lm.lm_head(finals)
        return out


def _mask(rows: Sequence[Row], length: int) -> torch.Tensor | None:
    """(B, 1, T, T) which tokens attend to which; None, plain causal attention, if no row hides anything."""
    if not any(row.hidden for row in rows):
        return None
    mask = torch.ones(length, length, dtype=torch.bool).tril().repeat(len(rows), 1, 1, 1)
    for number, row in enumerate(rows):
        if row.hidden:
            first = row.offset + int(row.scene.boundary.argmax())
            mask[number, 0, first:, row.hidden[0] : row.hidden[1]] = False
    return mask


def yes_and_no(tokenizer: Any) -> tuple[int, int]:
    """First tokens of the two answers to a probe turn."""
    yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in ("Yes", "No"))
    return yes, no
