"""Time and peak memory of a tally: 1,000,000 judgements of 20 suites with 1,000 transcripts of 50 positions each.

Frames are generated, four suites of them deployment, a family per transcript, so that nothing can be pooled. It runs in
a process of its own: `python -m nla_eval.bench.tally SUITES TRANSCRIPTS POSITIONS` prints seconds, CPU seconds, peak MB
and judgements as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import polars as pl

from ..judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA
from ..progress import peak_bytes
from ..store.rows import SCHEMA
from ..tally.frames import Frames
from ..tally.tally import tally
from .figures import Figure, apart

SUITES, TRANSCRIPTS, POSITIONS = 20, 1000, 50
DEPLOYMENT = 4
"""Suites of the deployment arm."""
KEYS = ("tally_1m_seconds", "tally_1m_peak_mb")
_TEXTS = 20_000
"""Distinct explanations."""
_AWARE, _FALSE = 0.05, 0.002
_SIGNED = {"classifier": "bench@1", "rubric": "strict@0123456789abcdef", "note": ""}


def measured(suites: int = SUITES, transcripts: int = TRANSCRIPTS, positions: int = POSITIONS) -> dict[str, Figure]:
    """Seconds and peak memory of one tally, of frames that are at hand."""
    found = apart(__name__, str(suites), str(transcripts), str(positions))
    how = (
        f"{found['judgements']:,.0f} judgements, {suites} suites x {transcripts:,} transcripts x {positions}, "
        f"a family each; {found['cpu']:.0f} s of CPU time; frames included in the memory"
    )
    return {
        KEYS[0]: Figure(found["seconds"], found["seconds"], unit="s", how=how),
        KEYS[1]: Figure(found["peak"], how=how),
    }


def frames(suites: int, transcripts: int, positions: int, seed: int = 0) -> Frames:
    """Frames with planted flags: 5 % of explanations in a third of the evaluation transcripts, 0.2 % elsewhere."""
    rng = np.random.default_rng(seed)
    people = _transcripts(suites, transcripts, positions, rng)
    n = people.height * positions
    aware = np.repeat(rng.random(people.height) < 1 / 3, positions) & np.repeat(
        people["arm"] == "evaluation", positions
    )
    flagged = pl.Series(rng.random(n) < np.where(aware, _AWARE, _FALSE))
    texts = pl.Series(
        [f"{i:06d} a reply in plain English, third item; a verb is expected next " * 2 for i in range(_TEXTS)]
    )
    contexts = pl.Series(
        [f"{i:06d} " + "and the figures are attached, so that nobody has to ask " * 4 for i in range(_TEXTS)]
    )
    drawn = pl.Series(rng.integers(0, _TEXTS, n).astype(np.int64))
    repeated = people.select("transcript_digest", "transcript_id", "suite").select(
        pl.all().repeat_by(positions).explode()
    )
    shared = {
        "pack": "bench@0",
        "lane": "measured",
        "policy": f"uniform_response({positions})",
        "role": "assistant",
        "channel": "response",
        "token": " a",
        "stop": "closed",
        "donor": None,
        "error": None,
        "draw": 0,
        "seed": 0,
        "message": 1,
        "turn": 0,
        "tokens": 40,
    }
    readings = repeated.with_columns(
        position=pl.Series(np.tile(50 + 17 * np.arange(positions), people.height)),
        context=contexts.gather(drawn),
        explanation=texts.gather(drawn),
        activation_norm=pl.Series(rng.normal(60, 5, n)),
        **{name: pl.Series(rng.normal(0.5, 0.1, n)) for name in ("cos", "mse_nrm", "fve_nrm", "fve_meannorm")},
        matched_minus_shuffled=pl.Series(rng.normal(0.1, 0.05, n)),
        **{name: pl.lit(value) for name, value in shared.items()},
    )
    readings = readings.with_columns(pl.lit(None).alias(name) for name in SCHEMA if name not in readings.columns)
    readings = readings.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    judgements = readings.select("pack", "transcript_digest", "position", "lane", "draw").with_columns(
        *_verdict(flagged), text_hash=_hashes(texts).gather(drawn)
    )
    return Frames(
        readings=readings,
        judgements=judgements.select(pl.col(name).cast(dtype) for name, dtype in JUDGEMENT_SCHEMA.items()),
        turns=_turns(people, rng),
        transcripts=people,
    )


def _transcripts(suites: int, transcripts: int, positions: int, rng: np.random.Generator) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "transcript_digest": f"{suite:032d}{index:032d}",
            "transcript_id": f"suite{suite:02d}-{index:05d}",
            "suite": f"suite{suite:02d}",
            "arm": "deployment" if suite < DEPLOYMENT else "evaluation",
            "family": f"family-{index:05d}",
            "variant": None,
            "outcome": None,
            "on_policy": True,
            "planned_positions": positions,
            "tokens": int(rng.integers(900, 2000)),
            "turns": 1,
            "tool_calls": 0,
            "lost_tokens": 0,
            "replay_notes": [],
        }
        for suite in range(suites)
        for index in range(transcripts)
    ]
    types = {"variant": pl.String(), "outcome": pl.String(), "replay_notes": pl.List(pl.String())}
    return pl.DataFrame(rows, schema_overrides=types)


def _turns(people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    says = pl.Series(rng.random(people.height) < 0.02)
    text = pl.when(says).then(pl.lit("I am being evaluated here.")).otherwise(pl.lit("Here is the answer."))
    rows = people.select("transcript_digest").with_columns(
        *_verdict(says), message=pl.lit(1), part=pl.lit("text"), text=text, author=pl.lit("target"), stop=pl.lit("stop")
    )
    later = {name: pl.lit(None) for name in TURN_SCHEMA if name not in rows.columns}
    return rows.with_columns(**later).select(pl.col(name).cast(dtype) for name, dtype in TURN_SCHEMA.items())


def _verdict(flagged: pl.Series) -> list[pl.Expr]:
    yes, no = pl.lit(["belief"]), pl.lit(["none"])
    return [
        pl.when(flagged).then(pl.lit("AWARE")).otherwise(pl.lit("NOT_AWARE")).alias("outcome"),
        pl.when(flagged).then(yes).otherwise(no).alias("labels"),
        pl.when(flagged).then(0.9).otherwise(0.1).alias("score"),
        pl.lit([], dtype=JUDGEMENT_SCHEMA["evidence"]).alias("evidence"),
        *(pl.lit(value).alias(name) for name, value in _SIGNED.items()),
    ]


def _hashes(texts: pl.Series) -> pl.Series:
    from ..judgement import text_hash

    return pl.Series([text_hash(text) for text in texts])


def _main(suites: int, transcripts: int, positions: int) -> None:
    made = frames(suites, transcripts, positions)
    began, began_cpu = time.perf_counter(), time.process_time()
    tally(made)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - began_cpu,
        "peak": peak_bytes() / 1e6,
        "judgements": made.judgements.height,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:4]))
