"""Variants in the setting column are compared within items: a shift of every item is found, others are not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from nla_eval.cards.design import Design
from nla_eval.readings import Lane
from nla_eval.tally.setting import setting_tally, within_line

DESIGN = Design.model_validate({"notice": ["told", "prod"]})
CARD = {"setting": {"reader": "planted@1", "threshold": 0.0}}


def tallied(shift: float, items: int = 30, seed: int = 0, spread: float = 5.0, noise: float = 0.3):  # type: ignore[no-untyped-def]
    """Transcripts of `items` items, each told and not; items differ by `spread`, told ones by `shift`."""
    random = np.random.default_rng(seed)
    own = random.normal(0, spread, items)
    rows, scores = [], []
    for item in range(items):
        for variant in DESIGN.variants:
            digest = f"{item}-{variant}"
            rows.append((digest, "planted", "evaluation", f"item {item}", variant, None))
            mean = own[item] + (shift if variant == "told" else 0.0)
            scores += [(digest, Lane.SETTING.value, "planted@1", float(v)) for v in random.normal(mean, noise, 4)]
    transcripts = pl.DataFrame(
        rows, ["transcript_digest", "suite", "arm", "family", "variant", "trained_on"], orient="row"
    )
    read = pl.DataFrame(scores, ["transcript_digest", "lane", "reader", "score"], orient="row")
    return setting_tally(transcripts, read, CARD, designs={"planted": DESIGN})


def test_a_shift_of_every_item_is_found_under_items_that_differ_far_more() -> None:
    (row,) = tallied(0.6).within
    assert (row.suite, row.name, row.items) == ("planted", "told − prod", 30)
    assert row.higher >= 27
    assert row.found.test is not None
    assert row.holm_p < 0.001
    low, high = row.found.estimate.low, row.found.estimate.high
    assert low is not None
    assert high is not None
    assert low < 0.6 < high
    assert low > 0.3
    assert within_line(row).startswith("planted, told − prod, within items: log-odds of told are higher in ")


def test_log_odds_are_not_shares_so_nothing_is_clipped() -> None:
    (row,) = tallied(7.0).within
    assert row.found.estimate.value == pytest.approx(7.0, abs=0.2)
    assert row.found.estimate.high is not None
    assert row.found.estimate.high > 7.0


def test_without_a_shift_one_run_in_twenty_is_significant() -> None:
    rejected = [
        row.found.test.p_value < 0.05 for s in range(200) for row in tallied(0.0, 12, s).within if row.found.test
    ]
    assert len(rejected) == 200
    assert 0.01 <= np.mean(rejected) <= 0.09


@pytest.mark.parametrize("items", [1, 3, 7])
def test_few_items_give_a_mean_without_an_interval(items: int) -> None:
    (row,) = tallied(1.0, items).within
    assert row.items == items
    assert row.found.estimate.low is None
    assert row.found.estimate.withheld


def test_one_variant_alone_is_compared_with_nothing() -> None:
    rows = {"transcript_digest": ["a"], "suite": ["planted"], "arm": ["evaluation"], "family": ["item"]}
    transcripts = pl.DataFrame({**rows, "variant": ["told"], "trained_on": [None]})
    scores = pl.DataFrame(
        {"transcript_digest": ["a"], "lane": [Lane.SETTING.value], "reader": ["planted@1"], "score": [0.5]}
    )
    found = setting_tally(transcripts, scores, CARD, designs={"planted": DESIGN, "not read": DESIGN})
    assert found.within == []
