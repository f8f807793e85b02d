"""Planted readings of the positive control: log-odds whose shift with the cue is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from nla_eval.tally.control import ReadControl

READER = "p/setting@1"
CARD: Mapping[str, Any] = {"setting": {"reader": READER, "threshold": 0.5}}
BASE, ORGANISM = "smollm2-135m", "smollm2-135m+smollm2-135m-organism"


def read_of(
    target: str, shift: float, *, requests: int = 40, said: int = 0, seed: int = 0, noise: float = 0.5,
    spread: float = 0.5,
) -> ReadControl:  # fmt: skip
    """Log-odds around 0 without the cue, around `shift` with it. Requests differ by `spread`, the sides of each by
    `noise`."""
    random = np.random.default_rng(seed)
    rows, scores = [], []
    for number in range(requests):
        own = random.normal()
        for variant in ("cue", "no_cue"):
            digest = f"{number}-{variant}"
            rows.append(
                {"transcript_digest": digest, "suite": "positive_control", "arm": "monitor", "family": str(number),
                 "variant": variant}
            )  # fmt: skip
            mean = spread * own + noise * random.normal() + (shift if variant == "cue" else 0.0)
            scores += [
                {"transcript_digest": digest, "position": at, "lane": "setting", "reader": READER, "score": mean + off}
                for at, off in ((3, -0.2), (9, 0.2))
            ]
    return ReadControl(target, pl.DataFrame(rows), pl.DataFrame(scores), said)
