"""Makes the column "read aware (setting)": the share of transcripts whose mean `setting_log_odds`, over boundaries and
the sampled positions of answers, lies above the threshold of the pack's card.

In: transcripts, scores of stores and logs, and the card. Out: frozen rows. It computes nothing of N (docs/method.md
4.17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..readings import Lane
from ..stats.bootstrap import cluster_average, cluster_mean
from ..stats.interval import Resampling
from .types_setting import SettingRow, SettingTally

_NOT_READ = (
    "lane setting was not read: the pack has no setting adapter, or the run left the lane out; a pack with one reads "
    "it by default"
)


def setting_tally(
    transcripts: pl.DataFrame, scores: pl.DataFrame, card: Mapping[str, Any] | None, how: Resampling | None = None
) -> SettingTally:
    """The column, or the reason why it is empty.

    Args:
        transcripts: Columns transcript_digest, suite, arm, family, variant and trained_on; those that the pack was
            trained on are left out.
        scores: Columns of `store.rows.SCORE_SCHEMA`.
        card: The pack's card.
        how: Of the intervals.
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
    threshold = float(declared["threshold"])
    keys = sorted({*joined.select("arm", "suite").iter_rows()}, key=lambda key: (key[0] == "deployment", key))
    rows = []
    for arm, suite in keys:
        of = joined.filter((pl.col("arm") == arm) & (pl.col("suite") == suite))
        variants = sorted(of["variant"].drop_nulls().unique())
        for variant in (None, *(variants if len(variants) > 1 else ())):
            part = of if variant is None else of.filter(pl.col("variant") == variant)
            rows.append(_row(suite, arm, variant, part, threshold, how or Resampling()))
    return SettingTally(
        rows=rows, reader=readers[0], threshold=threshold, expresses_told=declared.get("expresses_told")
    )


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
