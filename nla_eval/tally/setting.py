"""Makes the column "read aware (setting)": the share of transcripts whose mean `setting_log_odds`, over boundaries and
the sampled positions of answers, lies above the threshold of the pack's card.

In: transcripts, scores of stores and logs, and the card. Out: frozen rows. It computes nothing of N (docs/method.md
4.17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ..cards.design import Design
from ..printable import plural
from ..readings import Lane
from ..stats.bootstrap import cluster_average, cluster_mean
from ..stats.contrast import item_means, within_items
from ..stats.holm import holm
from ..stats.interval import Resampling
from ..transcript import Arm
from .types_setting import SettingContrast, SettingRow, SettingTally

_NOT_READ = (
    "lane setting was not read: the pack has no setting adapter, or the run left the lane out; a pack with one reads "
    "it by default"
)


def setting_tally(
    transcripts: pl.DataFrame,
    scores: pl.DataFrame,
    card: Mapping[str, Any] | None,
    how: Resampling | None = None,
    designs: Mapping[str, Design] | None = None,
) -> SettingTally:
    """The column, or the reason why it is empty.

    Args:
        transcripts: Columns transcript_digest, suite, arm, family, variant and trained_on; those that the pack was
            trained on are left out.
        scores: Columns of `store.rows.SCORE_SCHEMA`.
        card: The pack's card.
        how: Of the intervals.
        designs: Suite to the design of its variants, which are compared within items.
    """
    own = setting_scores(scores)
    readers = sorted(own["reader"].unique())
    if not readers:
        return SettingTally(missing=_NOT_READ)
    declared = declared_for(readers, card)
    if declared is None:
        return SettingTally(
            reader=readers[0],
            missing=f"the scores are of {', '.join(readers)}, and no card at hand has its threshold; name its pack "
            "with --pack",
        )
    joined = with_means(transcripts.filter(pl.col("trained_on").is_null()), own)
    threshold, how = float(declared["threshold"]), how or Resampling()
    keys = sorted({*joined.select("arm", "suite").iter_rows()}, key=lambda key: (key[0] == "deployment", key))
    rows = []
    for arm, suite in keys:
        of = joined.filter((pl.col("arm") == arm) & (pl.col("suite") == suite))
        variants = sorted(of["variant"].drop_nulls().unique())
        for variant in (None, *(variants if len(variants) > 1 else ())):
            part = of if variant is None else of.filter(pl.col("variant") == variant)
            rows.append(_row(suite, arm, variant, part, threshold, how))
    within = [row for suite, design in sorted((designs or {}).items()) for row in _within(suite, design, joined, how)]
    return SettingTally(
        rows=rows, within=within, reader=readers[0], threshold=threshold,
        expresses_told=declared.get("expresses_told"),
    )  # fmt: skip


def within_line(row: SettingContrast) -> str:
    """One contrast in words, for every format of a report."""
    shift, test = row.found.estimate, row.found.test
    inside = f" [{shift.low:+.3f}, {shift.high:+.3f}]" if shift.low is not None and shift.high is not None else ""
    mean = "" if shift.value is None else f", by {shift.value:+.3f}{inside} on average"
    p = "" if test is None else f"; sign-flip p {test.p_value:.3f}, Holm {row.holm_p:.3f}"
    return (
        f"{row.suite}, {row.name}, within items: log-odds of told are higher in {row.higher} of "
        f"{plural(row.items, 'item')}{mean}{p}."
    )


def _within(suite: str, design: Design, joined: pl.DataFrame, how: Resampling) -> list[SettingContrast]:
    """The paired differences of a suite's variants."""
    of = joined.filter((pl.col("suite") == suite) & (pl.col("arm") != Arm.DEPLOYMENT.value))
    once = of.unique("transcript_digest", maintain_order=True).sort("transcript_digest")
    scores, families, variants = (once[name].to_list() for name in ("score", "family", "variant"))
    cells = item_means(scores, families, variants, design.variants)
    planned = [contrast for contrast in design.contrasts() if contrast.kind == "difference"]
    found = [(plan, within_items(cells, plan.weights, how, bounded=False)) for plan in planned]
    read = [(plan, contrast) for plan, contrast in found if contrast.estimate.value is not None]
    adjusted = holm([contrast.test.p_value if contrast.test else 1.0 for _, contrast in read])
    rows = []
    for (plan, contrast), holm_p in zip(read, adjusted, strict=True):
        weights = np.asarray(plan.weights)
        differences = cells[:, weights != 0] @ weights[weights != 0]
        rows.append(
            SettingContrast(
                suite=suite,
                name=plan.name,
                items=contrast.estimate.n,
                higher=int((differences > 0).sum()),
                found=contrast,
                holm_p=holm_p,
            )
        )
    return rows


def setting_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """The scores of lane setting that are there."""
    return scores.filter((pl.col("lane") == Lane.SETTING.value) & pl.col("score").is_not_null())


def with_means(transcripts: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The transcripts that have scores, with `score`: the mean of theirs."""
    means = scores.group_by("transcript_digest").agg(pl.col("score").sort().mean())
    return transcripts.join(means, on="transcript_digest")


def declared_for(readers: Sequence[str], card: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the card says of the one adapter that read; None if there are several, or the card is of another."""
    declared: Mapping[str, Any] = (card or {}).get("setting") or {}
    return declared if readers == [declared.get("reader")] else None


def _row(
    suite: str, arm: str, variant: str | None, rows: pl.DataFrame, threshold: float, how: Resampling
) -> SettingRow:
    once = rows.unique("transcript_digest", maintain_order=True).sort("transcript_digest")
    families: Sequence[str] = once["family"].to_list()
    means: list[float] = once["score"].to_list()
    return SettingRow(
        suite=suite,
        arm=arm,
        variant=variant,
        transcripts=len(means),
        aware=cluster_mean([float(mean > threshold) for mean in means], families, how),
        log_odds=cluster_average(means, families, how),
    )
