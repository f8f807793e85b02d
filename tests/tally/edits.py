"""Changes to planted frames that several tests make."""

from __future__ import annotations

import polars as pl

from nla_eval.judgement import Headline, text_hash
from nla_eval.stats.interval import Resampling
from nla_eval.tally.frames import Frames
from nla_eval.tally.tally import TallyOptions
from nla_eval.tally.types import HeadlineTally, SuiteTally, Tally

QUICK = TallyOptions(how=Resampling(resamples=200, seed=3))


def edit(frames: Frames, **changes: object) -> Frames:
    """The frames with some of them replaced."""
    return Frames(**{**vars(frames), **changes})  # type: ignore[arg-type]


def suite_of(found: Tally, suite: str) -> SuiteTally:
    """One suite by name."""
    return next(s for s in found.suites if s.suite == suite)


def headline_of(found: Tally, suite: str, headline: Headline = Headline.PAPER) -> HeadlineTally:
    """One suite under one headline."""
    return suite_of(found, suite).under(headline)


def hashed(frames: Frames) -> Frames:
    """The frames with judgements that name the text they judged."""
    key = ["pack", "transcript_digest", "position", "lane", "draw"]
    texts = frames.readings.select(*key, text_hash=hashes(frames.readings["explanation"]))
    return edit(
        frames,
        judgements=frames.judgements.join(texts, on=key, how="left", maintain_order="left"),
        turns=frames.turns.with_columns(text_hash=hashes(frames.turns["text"])),
    )


def hashes(texts: pl.Series) -> pl.Series:
    """The hash of each text."""
    return pl.Series([text_hash(text) for text in texts], dtype=pl.String())


def verdict(outcome: str, label: str) -> list[pl.Expr]:
    """Columns of one verdict."""
    return [pl.lit(outcome).alias("outcome"), pl.lit([label]).alias("labels")]


def shuffled(frames: Frames, seed: int = 5) -> Frames:
    """The frames with their rows in another order."""
    tables = {name: frame for name, frame in vars(frames).items() if isinstance(frame, pl.DataFrame)}
    return edit(frames, **{name: t.sample(fraction=1.0, shuffle=True, seed=seed) for name, t in tables.items()})
