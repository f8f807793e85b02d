"""Yes-or-no questions as token ids, and their answers as probabilities. Planning imports this, so it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AskRequest:
    """Questions about one text."""

    shared: NDArray[np.int32]
    """(T,) token ids before the questions differ; at least one."""
    endings: tuple[NDArray[np.int32], ...]
    """The rest of each prompt, at least one token each."""


@dataclass(frozen=True)
class Answered:
    """The answers of one request, one value per question."""

    yes: tuple[float, ...]
    """P(yes) / (P(yes) + P(no)) at the first token of the answer."""
    mass: tuple[float, ...]
    """P(yes) + P(no)."""
