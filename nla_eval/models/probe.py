"""The probe file: a linear readout of activations of one target and layer, with the figures it was measured at.

One safetensors file holds the weights; its header holds the facts as JSON. In: activations. Out: log-odds. This module
trains nothing (`measure.probe` does)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import InputError
from ..files import written
from ..stats.interval import Estimate

_KEY = "nla_eval_probe"


class ProbeFacts(BaseModel):
    """Where a probe comes from and what it is worth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    """Target hash."""
    target_name: str
    layer: int
    """K: it reads the output of block K."""
    trained_on: str
    """What the two sides are, in words."""
    data: str
    """Hash of the transcripts of both sides."""
    rows: int
    pairs: int
    """Pairs of transcripts that differ in the notice alone."""
    families: int
    """Notices: one at a time is held out, and intervals are over them."""
    readers: dict[str, Estimate]
    """AUROC of held-out rows by reader: `probe`, and beside it readers of the text up to the same tokens."""
    paired: Estimate
    """Share of tokens at which the told side scores above the other side of its pair."""
    licence: str = ""
    """Of the conversations."""


@dataclass(frozen=True)
class Probe:
    """A linear probe."""

    name: str
    direction: NDArray[np.float32]
    """(d_model,)"""
    bias: float
    facts: ProbeFacts

    @cached_property
    def id(self) -> str:
        """Name and content hash."""
        content = self.direction.astype("<f4").tobytes() + repr(self.bias).encode() + self.facts.data.encode()
        return f"{self.name}@{hashlib.sha256(content).hexdigest()[:12]}"

    def scores(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) log-odds of "told" for (n, d_model) raw activations."""
        return activations.astype(np.float64) @ self.direction.astype(np.float64) + self.bias

    def expect(self, target: str, layer: int, d_model: int) -> None:
        """Check that activations of this target, layer and width are the probe's. Raises InputError."""
        for what, own, asked in (
            ("target", self.facts.target, target),
            ("layer", self.facts.layer, layer),
            ("width", len(self.direction), d_model),
        ):
            if own != asked:
                raise InputError(
                    f"probe '{self.name}' was trained on {what} {own}, this run reads {what} {asked}; "
                    "make one for it with: nla-eval probe train"
                )


def write_probe(probe: Probe, path: Path) -> None:
    """Write a probe, whole or not at all."""
    tensors: dict[str, NDArray[Any]] = {
        "direction": probe.direction.astype(np.float32),
        "bias": np.array([probe.bias], np.float64),
    }
    with written(path) as part:
        part.write_bytes(save(tensors, metadata={_KEY: probe.facts.model_dump_json()}))


def load_probe(path: Path) -> Probe:
    """Read a probe file. Raises InputError if it is missing or is none."""
    if not path.is_file():
        raise InputError(f"no probe file '{path}'; make one with: nla-eval probe train")
    try:
        with safe_open(path, "np") as file:
            facts = ProbeFacts.model_validate(json.loads((file.metadata() or {})[_KEY]))
            direction, bias = file.get_tensor("direction"), file.get_tensor("bias")
    except (SafetensorError, OSError, KeyError, ValueError, ValidationError) as err:
        raise InputError(
            f"'{path.name}' is not a probe of nla-eval ({type(err).__name__}); make one with: nla-eval probe train"
        ) from err
    return Probe(path.stem, direction, float(bias[0]), facts)
