"""Complete worlds through the tally: what is printed is what was planted, and each control shows what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nla_eval.judging.classify import make_classifier
from nla_eval.readings import Lane
from nla_eval.simulate.pools import Pools, load_pools
from nla_eval.simulate.whole import WORLDS, Printed, Whole, printed, worlds
from nla_eval.simulate.world import Drawn, draw


def small(whole: Whole) -> Whole:
    ours = replace(whole.evaluation, families=10, per_family=2, k=6)
    return replace(
        whole, evaluation=ours, deployment=replace(whole.deployment, families=20, k=min(6, whole.deployment.k))
    )


BY_NAME = {whole.name: small(whole) for whole in WORLDS}


@pytest.fixture(scope="module")
def judged() -> Pools:
    """The frozen texts, judged by the classifier that loads at once."""
    return load_pools(make_classifier("lexicon"))


@pytest.fixture(scope="module")
def shown(judged: Pools) -> dict[str, Printed]:
    names = ("aware", "prior", "longer", "leak")
    return dict(zip(names, worlds(judged, 1, [BY_NAME[name] for name in names]), strict=True))


def test_pools_are_the_frozen_texts_with_the_classifiers_verdicts(judged: Pools) -> None:
    for pool in (judged.explanations, judged.turns):
        parts = (pool.aware, pool.near, pool.ordinary)
        assert sum(map(len, parts)) == len(pool.texts) == len(pool.flags) > 800
        assert pool.rate(pool.aware) > 0.3 > 0.05 > pool.rate(pool.ordinary)
    limited = load_pools(make_classifier("lexicon"), limit=10)
    assert len(limited.turns.aware) < 20


def test_the_tally_prints_the_planted_flags(judged: Pools) -> None:
    rng, whole = np.random.default_rng(3), BY_NAME["aware"]
    drawn: dict[str, Drawn] = {
        "evaluation": draw(whole.evaluation, judged, rng),
        "deployment": draw(whole.deployment, judged, rng),
    }
    found = printed(whole, drawn, judged, rng)
    assert found.lane(Lane.MEASURED).value == pytest.approx(drawn["evaluation"].any.mean())
    assert found.verbalized.value == pytest.approx(drawn["evaluation"].v.mean())


def test_awareness_shows_in_the_measured_lane_alone(shown: dict[str, Printed]) -> None:
    aware = shown["aware"]
    assert aware.lane(Lane.MEASURED).value > 0.2 > aware.lane(Lane.DONOR).value
    assert aware.auroc.value > 0.55


def test_the_donor_lane_shows_a_verbalizer_with_a_prior(shown: dict[str, Printed]) -> None:
    prior = shown["prior"]
    assert min(prior.lane(Lane.MEASURED).value, prior.lane(Lane.DONOR).value) > 0.2
    less = prior.less(Lane.DONOR, fraction=True)
    assert less.low <= 0 <= less.high
    assert not prior.certified


def test_a_verbalizer_that_says_what_the_text_says_has_no_gain(shown: dict[str, Printed]) -> None:
    gain = shown["aware"].less(Lane.TEXT_ONLY, fraction=True)
    assert gain.low <= 0 <= gain.high


def test_a_judge_that_leaks_its_suite_is_found_by_telling_it_another(shown: dict[str, Printed]) -> None:
    leaky, blind = shown["leak"].leakage, shown["aware"].leakage
    assert leaky.left_only > 0 == leaky.right_only
    assert (blind.left_only, blind.right_only) == (0, 0)
