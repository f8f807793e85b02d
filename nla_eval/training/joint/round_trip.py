"""The greedy round trip over held-out rows while a pair is trained: activation, explanation, reconstruction. In: the
pair as it is. Out: a few means for the log; intervals and controls belong to the card (`evaluate.py`)."""

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
    """At its warm start, which is also the policy that KL is measured from."""
    ar: Reconstructor
    meta: PackMeta
    """The AR's sidecar: its template, the pack's token cap and baseline variance."""
    tokenizer: Any
    rollouts: RolloutSource | None = None
    """Who draws from the AV; None: the engine's own decoder."""


@dataclass(frozen=True)
class RoundTrip:
    """What is measured, and how.

    Args: see the fields. The processes share the rows.
    """

    models: Models
    rollouts: RolloutSource
    rows: Pairs
    baselines: Baselines
    layout: Layout
    together: Group
    cap: int
    """Tokens of one explanation at most."""

    def measure(self, count: int) -> dict[str, float]:
        """fve_nrm, fve_meannorm, closed share and mean tokens; where the rows say what it takes, also
        masked_overlap_fve_meannorm and names_next: the share whose first expected token is the target's.

        Args:
            count: The first so many rows.
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
        """Put the mse_nrm of each text into `found` under `name`."""
        if not texts:
            return
        vectors = self.rows.activations[list(rows)]
        scored = Scored(texts, vectors, torch.zeros(len(texts)), self.models.meta, self.models.tokenizer)
        for values, error in zip(found, texts_pass(self.models.ar, (), scored, self.layout).values, strict=True):
            values[name] = float(error)

    def _figures(self, means: dict[str, float]) -> dict[str, float]:
        """Errors as explained shares of variance, everything else as it is."""
        errors = {name: means.pop(name) for name in ("mse", "masked_mse") if name in means}
        found = {"fve_nrm": 1.0 - errors["mse"] / self.baselines.variance}
        found["fve_meannorm"] = 1.0 - errors["mse"] / self.baselines.meannorm
        if "masked_mse" in errors:
            found["masked_overlap_fve_meannorm"] = 1.0 - errors["masked_mse"] / self.baselines.meannorm
        return found | means
