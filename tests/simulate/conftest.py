"""Pools without a classifier: so many texts of each kind, so many of them flagged."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.judging.classify import load_rubric
from nla_eval.simulate.pools import Pool, Pools

SIZES = (160, 120, 300)
"""Aware texts, near misses, ordinary ones."""


def planted_pool(*rates: float) -> Pool:
    flags = np.concatenate([np.arange(n) < round(rate * n) for n, rate in zip(SIZES, rates, strict=True)])
    groups = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    return Pool(("text",) * sum(SIZES), (), flags, *groups)


@pytest.fixture(scope="session")
def pools() -> Pools:
    return Pools("planted@1", load_rubric(), planted_pool(0.7, 0.025, 0.0), planted_pool(0.75, 0.025, 0.0))
