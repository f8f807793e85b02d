"""The ablation table tells an AR that reads meaning from one that re-reads a copied tail."""

from __future__ import annotations

import numpy as np
import pytest

from nla_eval.measure.ablation import BARE, MASKED, TAIL, Ablated, ablate, variants
from nla_eval.models.scores import Baselines
from tests.training.planted_reader import PlantedReader, planted_rows

WORDS = [f"w{i}" for i in range(300)]
CONTEXTS = [f"{' '.join(WORDS[7 * i : 7 * i + 7])} stop" for i in range(40)]
TEXTS = [f"situation s{i} of kind k{i}\nexpects e{i}\nafter: {c}" for i, c in enumerate(CONTEXTS)]


def table(texts: list[str], *, last_line_only: bool = False, truth: list[str] | None = None) -> Ablated:
    held = planted_rows(truth or texts, CONTEXTS)
    engine = PlantedReader(last_line_only=last_line_only)
    changed = variants(held, texts, [len(t.split()) for t in texts])
    return ablate(engine, held, changed, Baselines.of(held.activations))


def worth(found: Ablated, name: str) -> float:
    return next(c.fve_meannorm.value for c in found.conditions if c.name == name)


def test_an_ar_that_reads_everything_loses_by_every_part_that_is_taken_away() -> None:
    found = table(TEXTS)
    assert worth(found, "whole") == pytest.approx(1.0)
    for part in ("part 1", "part 2", "part 3"):
        lost = next(c.drop for c in found.conditions if c.name == f"without {part}")
        assert lost is not None
        assert lost.low is not None
        assert lost.low > 0.02
        assert worth(found, f"{part} of another row") < 0.9


def test_an_ar_that_copies_the_tail_loses_nothing_but_by_its_last_part() -> None:
    tail_truth = [t.splitlines()[-1] for t in TEXTS]
    found = table(TEXTS, last_line_only=True, truth=tail_truth)
    assert worth(found, "whole") == pytest.approx(1.0)
    assert worth(found, "without part 1") == pytest.approx(1.0)
    assert worth(found, "part 3 alone") == pytest.approx(1.0)
    assert worth(found, "without part 3") < 0.2
    assert worth(found, MASKED) < 0.2


def test_meaning_survives_masking_and_a_new_order_of_sentences() -> None:
    texts = [f"theme a{i} b{i} c{i}.\nmood d{i} f{i} g{i}." for i in range(40)]
    found = table(texts)
    assert worth(found, MASKED) == pytest.approx(1.0)
    assert worth(found, "sentence order shuffled") == pytest.approx(1.0)
    assert worth(found, "raw tail of equal length") < 0.1
    assert worth(found, "shuffled among rows") < 0.1


def test_positions_that_end_bare_are_scored_apart_with_their_own_n() -> None:
    contexts = [c if i % 4 else c.replace(" stop", " ,") for i, c in enumerate(CONTEXTS)]
    held = planted_rows(TEXTS, contexts)
    changed = variants(held, TEXTS, [5] * len(TEXTS))
    found = ablate(PlantedReader(), held, changed, Baselines.of(held.activations))
    bare = next(c for c in found.conditions if c.name == TAIL + BARE)
    assert bare.fve_nrm.n == 10
    assert np.isnan(found.mse[TAIL + BARE]).sum() == 30


def test_explanations_without_parts_still_have_a_table() -> None:
    found = table(["one"] * 40)
    assert not any("part" in c.name for c in found.conditions)
    assert {"whole", "empty", "constant"} <= {c.name for c in found.conditions}
