"""Control lanes match on what they state, never give a transcript its own activation, and do not depend on order."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.errors import InputError
from nla_eval.pipeline.lanes import (
    ActivationMoments,
    DonorPool,
    MatchLevel,
    Site,
    TokenClass,
    position_bin,
    token_class,
)
from nla_eval.transcript import Arm


def site(
    digest: str = "e1",
    position: int = 100,
    *,
    arm: Arm = Arm.DEPLOYMENT,
    family: str | None = None,
    channel: str = "response",
    kind: TokenClass = TokenClass.WORD_START,
) -> Site:
    return Site(
        digest,
        f"id-{digest}",
        "s",
        arm,
        family or f"fam-{digest}",
        position,
        1,
        "assistant",
        channel,
        0,
        " x",
        "c x",
        kind,
    )


SLOT = site("e1", arm=Arm.EVALUATION)


@pytest.mark.parametrize(
    ("token", "before", "expected"),
    [
        (" the", "n", TokenClass.WORD_START),
        ("The", "\n", TokenClass.WORD_START),
        ("The", "", TokenClass.WORD_START),
        ("ing", "d", TokenClass.WORD_PIECE),
        ("", "x", TokenClass.WORD_PIECE),
        (" 42", "x", TokenClass.NUMBER),
        ("3.14", " ", TokenClass.NUMBER),
        (".", "x", TokenClass.PUNCTUATION),
        (" —", "x", TokenClass.PUNCTUATION),
        ("\n\n", ".", TokenClass.NEWLINE),
        (" \n", ".", TokenClass.NEWLINE),
        ("  ", ".", TokenClass.WHITESPACE),
        ("日本", "は", TokenClass.WORD_PIECE),
    ],
)
def test_token_classes(token: str, before: str, expected: TokenClass) -> None:
    assert token_class(token, before) is expected


def test_position_bins_are_octaves() -> None:
    assert [position_bin(p) for p in (0, 63, 64, 127, 128, 255, 256, 8191)] == [0, 0, 1, 1, 2, 2, 3, 7]


@pytest.mark.parametrize(
    ("donor", "level"),
    [
        (site("d1", 120), MatchLevel.EXACT),
        (site("d1", 900), MatchLevel.ANY_POSITION),
        (site("d1", 120, kind=TokenClass.NUMBER), MatchLevel.CHANNEL_ONLY),
        (site("d1", 120, channel="thinking"), MatchLevel.CLASS_ONLY),
        (site("d1", 120, channel="thinking", kind=TokenClass.NUMBER), MatchLevel.UNMATCHED),
    ],
)
def test_back_off_follows_the_declared_order(donor: Site, level: MatchLevel) -> None:
    chosen = DonorPool([donor]).choose(SLOT, seed=0)
    assert chosen is not None
    assert chosen.level is level


def test_a_closer_match_always_wins() -> None:
    pool = DonorPool([site("d1", 900), site("d2", 120), site("d3", 120, channel="thinking")])
    assert {getattr(pool.choose(SLOT, seed=s), "name", None) for s in range(20)} == {"id-d2:120"}


def test_only_deployment_sites_are_lent() -> None:
    pool = DonorPool([site("m", arm=Arm.MONITOR), site("e2", arm=Arm.EVALUATION)])
    assert len(pool) == 0
    assert pool.choose(SLOT, seed=0) is None


@pytest.mark.parametrize("own", [site("e1"), site("d9", family="fam-e1")])
def test_own_transcript_and_own_family_are_never_lent(own: Site) -> None:
    assert DonorPool([own]).choose(site("e1"), seed=0) is None


def test_a_rare_stranger_is_found_among_many_of_the_own_family() -> None:
    pool = DonorPool([*(site(f"d{i}", family="fam-e1") for i in range(2000)), site("far", 120)])
    assert all(getattr(pool.choose(SLOT, seed=s), "name", None) == "id-far:120" for s in range(5))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(50, 600), st.sampled_from(["response", "thinking"])), max_size=30
    ),
    st.integers(0, 3),
)
def test_donors_depend_on_the_pool_and_the_key_only(rows: list[tuple[int, int, str]], seed: int) -> None:
    sites = [
        site(f"d{d}", p, family=f"f{d % 3}", channel=c) for d, p, c in {(d, p): (d, p, c) for d, p, c in rows}.values()
    ]
    shuffled = random.Random(seed).sample(sites, len(sites))
    for slot in [SLOT, *sites]:
        one, two = DonorPool(sites).choose(slot, seed), DonorPool(shuffled).choose(slot, seed)
        assert one == two
        if one is not None:
            assert one.site.family != slot.family
            assert one.site.transcript_digest != slot.transcript_digest


def test_donors_spread_over_the_pool() -> None:
    pool = DonorPool([site(f"d{i}", 110) for i in range(10)])
    picks = Counter(getattr(pool.choose(site("e", p, arm=Arm.EVALUATION), 0), "name", "") for p in range(64, 128))
    assert len(picks) >= 8


def test_gaussian_draws_have_the_mean_and_covariance_they_were_fitted_to() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4)) * np.array([10.0, 3.0, 1.0, 0.3])
    real = (rng.normal(size=(2000, 4)) @ mixing.T + np.array([50.0, 0, -5, 1])).astype(np.float32)
    moments = ActivationMoments.fit(real)
    drawn = np.stack([moments.draw("k", i) for i in range(4000)])
    scale = np.abs(np.cov(real.T)).max()
    np.testing.assert_allclose(drawn.mean(0), real.mean(0), atol=0.08 * np.sqrt(scale))
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.08 * scale)


def test_few_rows_in_many_dimensions_still_vary_outside_their_span() -> None:
    real = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32)
    moments = ActivationMoments.fit(real)
    assert 0 < moments.shrinkage <= 1
    drawn = np.stack([moments.draw(i) for i in range(200)]) - moments.mean
    assert np.linalg.matrix_rank(drawn) == 40


def test_gaussian_draws_are_keyed() -> None:
    moments = ActivationMoments.fit(np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32))
    np.testing.assert_array_equal(moments.draw("a", 1), moments.draw("a", 1))
    assert not np.array_equal(moments.draw("a", 1), moments.draw("a", 2))


def test_one_activation_is_too_few_for_moments() -> None:
    with pytest.raises(InputError, match="at least 2"):
        ActivationMoments.fit(np.ones((1, 3), np.float32))
