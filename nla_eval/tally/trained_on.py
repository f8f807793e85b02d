"""Transcripts that the pack was trained on: no rate counts them, because an NLA may know them by heart.

In: frames whose transcripts may be marked (`store.rows.TranscriptRow.trained_on`). Out: the frames without them, and
how many there were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from ..errors import InputError
from .frames import Frames

MARK = "trained_on"


def without_trained_on(frames: Frames) -> tuple[Frames, dict[str, int]]:
    """Frames without the marked transcripts, their readings and turns; and the number left out, by suite.

    Raises:
        InputError: The pack was trained on every transcript.
    """
    if MARK not in frames.transcripts.columns or frames.transcripts[MARK].null_count() == frames.transcripts.height:
        return frames, {}
    marked = frames.transcripts.filter(pl.col(MARK).is_not_null())
    kept = frames.transcripts.filter(pl.col(MARK).is_null())
    if kept.is_empty():
        raise InputError(
            f"the pack was trained on all {marked.height} transcripts, so no rate can be taken from them; "
            "read others, or read these with another pack"
        )
    digests = marked["transcript_digest"].unique().implode()
    left = {
        name: getattr(frames, name).filter(~pl.col("transcript_digest").is_in(digests))
        for name in ("readings", "judgements", "turns")
    }
    return replace(frames, transcripts=kept, **left), dict(sorted(Counter(marked["suite"]).items()))


def trained_on_note(left_out: Mapping[str, int]) -> list[str]:
    """The warning of a tally; none where nothing was left out."""
    if not left_out:
        return []
    suites = ", ".join(f"{count} of {suite}" for suite, count in left_out.items())
    return [f"{sum(left_out.values())} transcripts are left out ({suites}): the pack was trained on them."]
