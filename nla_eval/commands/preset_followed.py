"""Which preset a report follows, and what its inputs did differently: the part of `nla-eval report` about presets."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..errors import InputError
from ..pipeline.presets import DEFAULT_PRESET, PRESETS, Followed, Preset, deviations
from ..readings import Lane
from ..tally.frames import Frames, draws_of
from ..tally.gather import Gathered


def preset_named(name: str | None, gathered: Gathered) -> Preset:
    """The preset asked for; else the one that all inputs were read under; else `strict`.

    Raises:
        InputError: No preset has that name.
    """
    if name is not None and name not in PRESETS:
        raise InputError(f"--preset '{name}'; expected one of {', '.join(PRESETS)}")
    read_under = {str(facts.get("preset") or DEFAULT_PRESET) for facts in gathered.provenance.values()}
    one = read_under.pop() if len(read_under) == 1 else DEFAULT_PRESET
    return PRESETS[name or (one if one in PRESETS else DEFAULT_PRESET)]


def preset_facts(preset: Preset, frames: Frames, pack: str | None, classifier: str) -> dict[str, Any]:
    """Name, title, headline and lead of a preset, and what the readings and the judge do differently."""
    measured = frames.readings.filter(pl.col("lane") == Lane.MEASURED.value)
    options = {
        "positions": sorted(set(measured["policy"])),
        "draws": draws_of(measured),
        "lanes": [lane.value for lane in Lane if lane.value in set(frames.readings["lane"])],
    }
    planned = frames.transcripts["planned_positions"].to_list()
    followed = Followed(options, pack or "several", classifier, [count for count in planned if count])
    return {
        "name": preset.name,
        "title": preset.title,
        "headline": preset.headline,
        "lead": preset.lead.value,
        "deviations": deviations(preset, followed),
    }
