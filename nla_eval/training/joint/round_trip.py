"""The greedy round trip over held-out rows during training: activation, explanation, reconstruction. In: the pair in
training. Out: means for the log. Intervals and controls are measured for the card only (`evaluate.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...engines.base import Sampling, VerbalizeRequest
from ...measure.parts import masked
from ...measure.tasks import said_next
from ...models.pack_meta import PackMeta
from ...models.scores import Baselines
from ...readings import StopReason
from ..models.ar import Pairs, Reconstructor
from ..models.av import Verbalizer
from ..models.group import Group
from ..models.passes import Layout, Scored, texts_pass
from .rollouts import RolloutSource


@dataclass(frozen=True)
class Models:
    """The pair in training."""

    av: Verbalizer
    """The AV at its warm start; this is also the reference policy of KL."""
    ar: Reconstructor
    meta: PackMeta
    """The AR's sidecar: its template, the pack's token cap and baseline variance."""
    tokenizer: Any
    rollouts: RolloutSource | None = None
    """What draws from the AV; None: the engine's own decoder."""


@dataclass(frozen=True)
class RoundTrip:
    """The round trip's models, rows and settings. The rows are divided among the processes."""

    models: Models
    rollouts: RolloutSource
    rows: Pairs
    baselines: Baselines
    layout: Layout
    together: Group
    cap: int
    """Maximum tokens of an explanation."""

    def measure(self, count: int) -> dict[str, float]:
        """fve_nrm, fve_meannorm, closed share and mean tokens. If the rows have `recent`, also
        masked_overlap_fve_meannorm; if they have `expected`, also names_next: the share of explanations whose first
        expected token is the target's.

        Args:
            count: Number of rows, taken from the first.
        """
        mine = self.together.share(range(min(len(self.rows.texts), count)))
        requests = [VerbalizeRequest(str(row), self.rows.activations[row].numpy(), 0) for row in mine]
        draws = self.rollouts.draw(requests, Sampling(0.0, self.cap))
        found = [{"closed": float(d.stop is StopReason.CLOSED), "tokens": float(d.tokens)} for d in draws]
        texts = [draw.text for draw in draws]
        self._add(found, "mse", texts, mine)
        if self.rows.recent is not None:
            recent = [self.rows.recent[row] for row in mine]
            self._add(found, "masked_mse", [masked(t, r) for t, r in zip(texts, recent, strict=True)], mine)
        if self.rows.expected is not None:
            for values, text, row in zip(found, texts, mine, strict=True):
                values["names_next"] = float(said_next(text) == self.rows.expected[row])
        everyone = self.together.gathered(found)
        means = {name: float(np.mean([values[name] for values in everyone])) for name in everyone[0]}
        return {name: round(value, 4) for name, value in self._figures(means).items()}

    def _add(self, found: list[dict[str, float]], name: str, texts: Sequence[str], rows: Sequence[int]) -> None:
        """Store the mse_nrm of each text in `found` under `name`."""
        if not texts:
            return
        vectors = self.rows.activations[list(rows)]
        scored = Scored(texts, vectors, torch.zeros(len(texts)), self.models.meta, self.models.tokenizer)
        for values, error in zip(found, texts_pass(self.models.ar, (), scored, self.layout).values, strict=True):
            values[name] = float(error)

    def _figures(self, means: dict[str, float]) -> dict[str, float]:
        """The means for the log: errors become FVE, other values stay."""
        errors = {name: means.pop(name) for name in ("mse", "masked_mse") if name in means}
        found = {"fve_nrm": 1.0 - errors["mse"] / self.baselines.variance}
        found["fve_meannorm"] = 1.0 - errors["mse"] / self.baselines.meannorm
        if "masked_mse" in errors:
            found["masked_overlap_fve_meannorm"] = 1.0 - errors["masked_mse"] / self.baselines.meannorm
        return found | means
