"""The bench times every stage of an engine on inputs of its own."""

from __future__ import annotations

import numpy as np

from nla_eval.bench import Load, Rate, capture_requests, measure, table
from tests.fakes import PlantedEngine

LOAD = Load(sequences=3, tokens=40, positions=4, explanations=5)


def test_every_stage_is_timed_on_the_declared_load() -> None:
    rates = measure(PlantedEngine(), LOAD, vocabulary=200, norm=10.0)
    assert [(r.count, r.unit) for r in rates] == [(120, "tokens"), (5, "explanations"), (5, "explanations")]
    assert all(r.seconds > 0 for r in rates)


def test_requests_are_seeded_and_end_at_the_last_token() -> None:
    one, two = capture_requests(LOAD, 200), capture_requests(LOAD, 200)
    assert all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(one, two, strict=True))
    assert all(r.positions[-1] == 39 and len(r.positions) == 4 for r in one)


def test_rates_become_a_table() -> None:
    assert table([Rate("capture", 1200, "tokens", 2.0)]).splitlines()[-1] == "| capture | 1200 tokens | 2.0 | 600.0 |"
