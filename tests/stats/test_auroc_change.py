"""The difference of two runs' AUROCs on planted worlds: null rates, coverage, and the same values as other ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm, t

from nla_eval.stats.auroc import auroc_by_cluster, auroc_shared_clusters
from nla_eval.stats.auroc_change import AurocChange, RunScores, auroc_change, auroc_of
from nla_eval.stats.common_arms import Side, compare_shares
from nla_eval.stats.gain import Scored, gain
from nla_eval.stats.interval import Resampling

HOW = Resampling(400)


@dataclass(frozen=True)
class World:
    """Two runs on the same families. Half of a score's variance is the transcript's own, shared by both runs."""

    families: tuple[int, int] = (40, 40)
    each: int = 2
    before: float = 1.0
    after: float = 1.0
    """By how much the scores of positives lie higher, in standard deviations."""
    uneven: bool = False
    stretched: bool = False
    """The second run's scores on another scale."""
    matched: bool = False
    positions: int = 0
    """Scores are the share of so many flagged positions."""

    def runs(self, seed: int) -> tuple[RunScores, RunScores]:
        """Both runs."""
        rng = np.random.default_rng(seed)
        sides = [self._side(side, rng) for side in (0, 1)]
        if self.matched:
            effect = np.sqrt(0.3) * rng.normal(size=self.families[0])
            sides = [(names, text + effect[np.array(names)], noise) for names, text, noise in sides]
        made = []
        for run, mu in enumerate((self.before, self.after)):
            parts = []
            for side, (names, text, noise) in enumerate(sides):
                score = np.sqrt(0.5) * (text + noise[run]) + (mu if side == 0 else 0.0)
                if self.positions:
                    chance = norm.cdf(score - 1.5)[:, None]
                    score = (
                        np.random.default_rng([seed, run, side]).random((len(score), self.positions)) < chance
                    ).mean(1)
                if self.stretched and run:
                    score = np.exp(3 * score) + 7
                parts += [score.tolist(), [(side * (not self.matched), n) for n in names]]
            made.append(RunScores.of_scores(*parts))
        return made[0], made[1]

    def _side(self, side: int, rng: np.random.Generator) -> tuple[list[int], np.ndarray, np.ndarray]:
        count = self.families[side]
        sizes = rng.integers(1, 2 * self.each, count) if self.uneven else np.full(count, self.each)
        names = np.repeat(np.arange(count), sizes)
        effect = 0.0 if self.matched else np.sqrt(0.3) * rng.normal(size=count)[names]
        text = effect + np.sqrt(0.7) * rng.normal(size=len(names))
        return names.tolist(), text, rng.normal(size=(2, len(names)))


NULLS = {
    "40 and 40 families": World(),
    "40 and 60 uneven families": World((40, 60), uneven=True),
    "strong signal": World(before=2.2, after=2.2),
    "share of 8 positions, single transcripts": World((60, 60), each=1, positions=8),
    "told against untold, 45 requests": World((45, 45), each=1, matched=True),
}


def rejected(world: World, worlds: int) -> float:
    """Share of worlds in which the interval leaves zero out, which is where p is below 0.05."""
    count = 0
    for seed in range(worlds):
        found = auroc_change(*world.runs(seed), Resampling(20), world.matched)
        low, high = found.difference.low, found.difference.high
        assert low is not None
        assert high is not None
        assert found.p_value is not None
        assert (found.p_value < 0.05) is (not low <= 0 <= high)
        count += not low <= 0 <= high
    return count / worlds


@pytest.mark.parametrize("world", [NULLS["40 and 40 families"], NULLS["told against untold, 45 requests"]])
def test_no_difference_is_rarely_found(world: World) -> None:
    assert 0.01 <= rejected(world, 200) <= 0.1  # three Monte Carlo errors; `full` has 2,000


@pytest.mark.full
@pytest.mark.parametrize("world", NULLS.values(), ids=NULLS.keys())
def test_no_difference_is_found_in_one_world_of_twenty(world: World) -> None:
    assert 0.035 <= rejected(world, 2000) <= 0.065


def test_a_planted_difference_is_covered_and_found() -> None:
    world = World(before=0.6, after=1.6)
    truth = float(norm.cdf(1.6 / np.sqrt(2)) - norm.cdf(0.6 / np.sqrt(2)))
    found = [auroc_change(*world.runs(seed), HOW) for seed in range(60)]
    covered = [(f.difference.low or 0) <= truth <= (f.difference.high or 0) for f in found]
    assert np.mean(covered) >= 0.88
    assert np.mean([f.difference.value for f in found]) == pytest.approx(truth, abs=0.02)
    assert np.mean([(f.p_value or 1) < 0.05 for f in found]) > 0.9


def test_pairing_by_family_narrows_the_interval() -> None:
    before, after = World(before=1.0, after=1.3).runs(1)
    paired = auroc_change(before, after, HOW)
    widths = [(e.high or 0) - (e.low or 0) for e in (paired.before, paired.after, paired.difference)]
    assert widths[2] < 0.8 * np.hypot(widths[0], widths[1])


def flat(run: RunScores, side: int) -> tuple[list[float], list[object]]:
    """Scores, by rank, and families of one side."""
    rows = (run.counts.left, run.counts.right)[side].tocoo()
    order = np.lexsort((rows.col, rows.row))
    return rows.col[order].astype(float).tolist(), [run.families[side][i] for i in rows.row[order]]


def same(one: object, other: object) -> bool:
    """Value, interval and number of families."""
    return all(
        getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9) for name in ("value", "low", "high", "n")
    )


@pytest.mark.parametrize("families", [(12, 15), (40, 40)], ids=["jackknife", "bootstrap"])
def test_one_run_has_the_auroc_that_a_tally_prints(families: tuple[int, int]) -> None:
    run = World(families).runs(4)[0]
    (a, of_a), (b, of_b) = flat(run, 0), flat(run, 1)
    found, known = auroc_of(run, Resampling(4000)), auroc_by_cluster(a, of_a, b, of_b, Resampling(4000))
    assert (found.value, found.n) == (pytest.approx(known.value), known.n)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.012)  # families in another order


def test_told_against_untold_has_the_auroc_of_the_control() -> None:
    run = World((15, 15), each=1, matched=True).runs(2)[0]
    (a, of_a), (b, of_b) = flat(run, 0), flat(run, 1)
    known = auroc_shared_clusters(a + b, [True] * len(a) + [False] * len(b), of_a + of_b, HOW)
    assert same(auroc_of(run, HOW, matched=True), known)


def test_the_same_transcripts_read_by_two_readers_have_the_gain() -> None:
    before, after = World((12, 14)).runs(3)
    arms = []
    for side in (0, 1):
        (other, families), (own, _) = flat(before, side), flat(after, side)
        arms.append(Scored(own, other, families))
    found, known = auroc_change(before, after, HOW).difference, gain(*arms, HOW).auroc
    assert found.value == pytest.approx(known.value)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.02)


def test_shares_of_a_common_k_have_the_auroc_of_the_comparison_of_arms() -> None:
    rng = np.random.default_rng(0)
    sides = [rng.dirichlet(np.ones(5), n) for n in (12, 14)]
    names = [list(range(12)), list(range(14))]
    known = compare_shares(Side(sides[0], names[0]), Side(sides[1], names[1]), 4, 1, (12, 14), HOW).auroc
    assert same(auroc_of(RunScores.of_shares(sides[0], names[0], sides[1], names[1]), HOW), known)


def test_the_test_is_delong_s_where_every_family_is_one_transcript() -> None:
    world = World((30, 35), each=1, after=1.6)
    before, after = world.runs(7)
    (a, _), (b, _) = flat(before, 0), flat(before, 1)
    (c, _), (d, _) = flat(after, 0), flat(after, 1)
    wins = [np.greater.outer(x, y) + 0.5 * np.equal.outer(x, y) for x, y in ((a, b), (c, d))]
    placed = wins[1] - wins[0]
    parts = placed.mean(1).var(ddof=1) / 30, placed.mean(0).var(ddof=1) / 35  # DeLong, DeLong, Clarke-Pearson 1988
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 29 + parts[1] ** 2 / 34)
    expected = 2 * t.sf(abs(placed.mean()) / np.sqrt(sum(parts)), freedom)
    assert auroc_change(before, after, HOW).p_value == pytest.approx(expected, rel=1e-6)


def test_neither_the_order_of_families_nor_the_scale_of_a_run_matters() -> None:
    world = World((25, 25))
    before, after = world.runs(5)
    found = auroc_change(before, after, HOW)
    order = tuple(before.families[0][::-1]), tuple(before.families[1][::-1])
    assert auroc_change(before.only(*order), after.only(*order), HOW) == found
    stretched = World((25, 25), stretched=True).runs(5)[1]
    assert auroc_change(before, stretched, HOW).p_value == pytest.approx(found.p_value)


def test_swapping_the_runs_swaps_the_sign() -> None:
    before, after = World((12, 12), after=1.5).runs(6)
    there, back = auroc_change(before, after, HOW), auroc_change(after, before, HOW)
    ends = [(c.difference.value, c.difference.low, c.difference.high) for c in (there, back)]
    assert ends[0] == pytest.approx((-ends[1][0], -ends[1][2], -ends[1][1]))  # type: ignore[operator]


def test_families_that_are_alike_are_counted_and_change_nothing() -> None:
    levels = [0.0, 0.25, 0.25, 1.0] * 10
    before = RunScores.of_scores(levels, range(40), [0.0, 0.25] * 20, range(40))
    after = RunScores.of_scores([0.5, *levels[1:]], range(40), [0.0, 0.25] * 20, range(40))
    found = auroc_change(before, after, HOW)
    assert found.before.value == pytest.approx(
        np.mean([np.mean([(p > q) + (p == q) / 2 for q in (0, 0.25)]) for p in levels])
    )
    assert found.difference.value == pytest.approx(0.75 / 40)
    assert found.p_value == pytest.approx(0.32, abs=0.02), "one family differs: one standard error"


@pytest.mark.parametrize(("before", "after", "value"), [(0.0, 0.0, 0.0), (-9.0, 9.0, 1.0), (9.0, -9.0, -1.0)])
def test_perfect_aurocs_have_bounds(before: float, after: float, value: float) -> None:
    def run(shift: float) -> RunScores:
        return RunScores.of_scores([1.0 + shift] * 20, range(20), [0.5] * 20, range(20))

    found = auroc_change(run(before), run(after), HOW).difference
    assert found.value == value
    assert found.low is not None
    assert found.high is not None
    assert found.low <= value <= found.high
    assert found.high - found.low > 0.1
    assert found.one_sided is bool(value)


def test_a_run_does_not_differ_from_itself() -> None:
    run = World((12, 12)).runs(0)[0]
    found = auroc_change(run, run, HOW)
    assert (found.difference.value, found.p_value) == (0.0, None)
    assert "no variation" in str(found.difference.withheld)


def test_few_families_have_no_interval_and_others_are_refused() -> None:
    found: AurocChange = auroc_change(*World((5, 20)).runs(0), HOW)
    assert "5 families" in str(found.difference.withheld)
    one, other = World((10, 10)).runs(0)[0], World((11, 10)).runs(0)[0]
    with pytest.raises(ValueError, match="different families"):
        auroc_change(one, other, HOW)
    with pytest.raises(ValueError, match="each side"):
        RunScores.of_scores([], [], [1.0], ["a"])
    with pytest.raises(ValueError, match="one side only"):
        auroc_of(one, HOW, matched=True)
