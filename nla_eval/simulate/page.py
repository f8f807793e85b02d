"""The page about a run: its lines as Markdown. It computes nothing but which bar a line meets."""

from __future__ import annotations

from collections.abc import Sequence

from ..readings import Lane
from ..stats.interval import Estimate
from . import certificates
from .coverage import Plan, Results
from .findings import ALPHA, IntervalLine, Line, RateLine
from .grid import MAPS
from .pools import Pool, Pools
from .whole import Printed

COMMAND = "nla-eval simulate --write"
COVERED = (0.93, 0.97)
REJECTED = (0.035, 0.065)
RATES = (0.1, 0.9)
"""The bar of coverage holds for rates between these."""

GRADES = ("", "conservative", "outside [.1, .9]", "missed")
"""What a line may be; "" is within its bar."""

HEAD = """# Coverage

What the printed numbers are worth, measured on planted worlds whose truth is known ([method.md 4.12](method.md)). In
each world a planted verbalizer writes real texts, the real classifier has judged them, and the estimators and tests are
the ones that reports use. `{command}` writes this page: {replications} replications
of each world, seed {seed}.

- Texts: {explanations} explanations and {turns} turns of the frozen sets, judged once by `{classifier}` under
  `{rubric}`. It flags {hit} of explanations that say that the model is being evaluated, {near} of near misses and
  {ordinary} of ordinary ones; of turns {v_hit}, {v_near} and {v_ordinary}.
- A truth is an exact expectation, except in the last table.
- Bars: intervals hold the truth in 93 to 97 % where the rate lies in [.1, .9] and there are 50 families or more; a test
  of nothing rejects in 3.5 to 6.5 %; a certificate is wrong in at most 5 %. *Conservative* lies on the safe side of its
  bar. The standard error of a coverage of 95 % is {error}.
"""

SETTINGS = """## Estimates

One suite against deployment, 12 positions, one draw. Bias is the mean estimate less the truth.
"""
DESIGNS = """## Worlds with a design of their own
"""
NULLS = """## Null worlds

Share of worlds in which a test rejects at .05, or an interval excludes the null. Nothing is there to be found.
"""
CERTIFICATES = """## Certificates

Deployment transcripts are flagged in exactly 5 %. Share of worlds certified as "below 5 %", which is wrong.
"""
NAIVE = """## Naive ways

Each beside the way that reports go, in the same worlds.
"""
GRID = """## Coverage map

Coverage of nominal 95 % intervals where families are few or rates rare. A dash: withheld in every world.
"""
TITLES = {
    "by family": "A rate by family (`cluster_mean`), families of 4 with a correlation of .2, by rate",
    "single": "A rate of single transcripts (`wilson`), by rate",
    "paired": "Two lanes on the same transcripts (`paired_difference`), families of 2, rates p and p / 2, by p",
    "auroc": "AUROC of two arms (`auroc_by_cluster`), families of 2, by AUROC",
}
WHOLE = """## Complete worlds

One draw of each world through the tally. Per cent, with the 95 % interval by family. In all of them a reader of the
text sees what the activation carries, so there is no privileged gain.
"""


def page(pools: Pools, plan: Plan, results: Results, whole: Sequence[Printed]) -> str:
    """The whole page."""
    printed = {section: [line for line in lines if not line.instead] for section, lines in results.items()}
    parts = [
        *(_head(pools, plan), _summary(printed)),
        *(SETTINGS, _intervals(printed["settings"]), DESIGNS, _intervals(printed["designs"])),
        *(NULLS, _rates(printed["nulls"]), CERTIFICATES, _rates(printed["certificates"])),
        *(NAIVE, _naive(results), GRID, *_maps(results["grid"]), WHOLE, _whole(whole)),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def grade(line: Line) -> str:
    """Which bar a line meets: "", "conservative", "outside [.1, .9]", or "missed"."""
    if isinstance(line, RateLine):
        low, high = REJECTED
        if line.study in certificates.WORLDS:
            return "" if line.rate <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / line.replications) ** 0.5 else "missed"
        return "conservative" if line.rate < low else "" if line.rate <= high else "missed"
    assert isinstance(line, IntervalLine)
    if line.coverage is None:
        return ""
    if line.coverage > COVERED[1]:
        return "conservative"
    if line.coverage >= COVERED[0]:
        return ""
    return "missed" if RATES[0] <= abs(line.truth) <= RATES[1] else "outside [.1, .9]"


def _head(pools: Pools, plan: Plan) -> str:
    rates = [_percent(rate) for pool in (pools.explanations, pools.turns) for rate in _flagged(pool)]
    return HEAD.format(
        command=COMMAND,
        replications=f"{plan.replications:,}",
        seed=plan.seed,
        explanations=len(pools.explanations.texts),
        turns=len(pools.turns.texts),
        classifier=pools.classifier,
        rubric=pools.rubric.id,
        error=_percent((0.95 * 0.05 / plan.replications) ** 0.5),
        **dict(zip(("hit", "near", "ordinary", "v_hit", "v_near", "v_ordinary"), rates, strict=True)),
    )


def _flagged(pool: Pool) -> list[float]:
    return [pool.rate(which) for which in (pool.aware, pool.near, pool.ordinary)]


def _summary(printed: Results) -> str:
    kinds = {
        "settings": "intervals",
        "designs": "intervals",
        "nulls": "tests of nothing",
        "certificates": "certificates",
    }
    counts: dict[str, dict[str, int]] = {}
    for section, kind in kinds.items():
        for line in printed[section]:
            if not (isinstance(line, IntervalLine) and line.coverage is None):
                row = counts.setdefault(kind, dict.fromkeys(GRADES, 0))
                row[grade(line)] += 1
    rows = [[kind, *(str(row[name]) for name in GRADES)] for kind, row in counts.items()]
    return _table(["checked", "within the bar", *GRADES[1:]], rows)


def _intervals(lines: Sequence[Line]) -> str:
    rows, before = [], ""
    for line in lines:
        if isinstance(line, IntervalLine):
            cells = [f"{line.truth:.3f}", f"{line.bias:+.4f}", _percent(line.coverage), _number(line.width)]
            withheld = _percent(1 - line.given / line.replications) if line.given < line.replications else ""
            rows.append([line.world if line.world != before else "", line.name, *cells, withheld, grade(line)])
            before = line.world
    return _table(["world", "estimate", "truth", "bias", "covered", "median width", "withheld", "bar"], rows)


def _rates(lines: Sequence[Line]) -> str:
    rows, before = [], ""
    for line in lines:
        if isinstance(line, RateLine):
            rows.append([line.world if line.world != before else "", line.name, _percent(line.rate), grade(line)])
            before = line.world
    return _table(["world", "test or claim", "share", "bar"], rows)


def _naive(results: Results) -> str:
    rows = []
    for lines in results.values():
        known = {(line.study, line.name): line for line in lines}
        for line in lines:
            if line.instead:
                right = known[line.study, line.instead]
                rows.append([line.world, line.name, _told(line), right.name, _told(right)])
    return _table(["world", "naive way", "it", "the way of reports", "it"], rows)


def _told(line: Line) -> str:
    """What there is to say of a line: how often it holds, or is wrong."""
    if isinstance(line, RateLine):
        return f"wrong in {_percent(line.rate)}"
    assert isinstance(line, IntervalLine)
    bias = f"bias {line.bias:+.3f}"
    return bias if line.coverage is None else f"covers {_percent(line.coverage)}, {bias}"


def _maps(lines: Sequence[Line]) -> list[str]:
    parts = []
    for name in MAPS:
        rows: dict[str, dict[str, str]] = {}
        for line in lines:
            kind, _, size = line.study.rpartition(" ")
            if kind == name and isinstance(line, IntervalLine):
                rows.setdefault(size, {})[line.name] = _percent(line.coverage)
        columns = list(next(iter(rows.values())))
        unit = "transcripts" if name == "single" else "families"
        table = _table([unit, *columns], [[size, *(row[c] for c in columns)] for size, row in rows.items()])
        parts.append(f"### {TITLES[name]}\n\n{table}")
    return parts


def _whole(whole: Sequence[Printed]) -> str:
    head = [
        "planted",
        "V",
        "N",
        "donor lane",
        "N less donor",
        "N less text only",
        "AUROC",
        "below 5 % certified",
        "leak",
    ]
    rows = []
    for one in whole:
        cells = [one.verbalized, one.lane(Lane.MEASURED), one.lane(Lane.DONOR), one.less(Lane.DONOR)]
        gain = one.less(Lane.TEXT_ONLY, fraction=True)
        row = [*map(_interval, [*cells, gain]), _interval(one.auroc), "yes" if one.certified else "no", _leak(one)]
        rows.append([one.whole.planted, *row])
    return _table(head, rows) + (
        "\n\n*N less text only* is the fraction of positions, measured less text-only lane. *Leak*: explanations that\n"
        "the judge flags only when told their suite, and only when told another."
    )


def _leak(one: Printed) -> str:
    pair = one.leakage
    return "-" if pair is None else f"{pair.left_only}, {pair.right_only} of {pair.texts}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    value = f"{100 * estimate.value:.0f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
