"""Held-out rows of a training run, from the corpus, reference explanations and captured activations in its run folder.
Rows that were evaluated during training are left out. Loads no weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..engines.base import CaptureRequest, Engine
from ..errors import InputError
from ..measure.held_out import Around, HeldOut, Window, neighbours
from .data.activations import merged

MONITOR = 128
"""Held-out positions looked at during training; the card uses the others."""
FILES = ("corpus.parquet", "explanations.parquet", "activations")


def watched(held_out: NDArray[np.int64], monitor: int = MONITOR) -> NDArray[np.int64]:
    """The `monitor` held-out row numbers that training evaluates, spread evenly over all of them."""
    return held_out[:: max(1, len(held_out) // monitor)][:monitor]


def unwatched(held_out: NDArray[np.int64], monitor: int, rows: int) -> list[int]:
    """Up to `rows` held-out row numbers, seeded, without the `monitor` rows that training evaluated."""
    seen = set(watched(held_out, monitor).tolist()) if monitor else set()
    rest = [int(i) for i in held_out if int(i) not in seen]
    return sorted(np.random.default_rng(0).permutation(rest)[:rows].tolist())


def of_run(
    frame: pl.DataFrame, corpus: pl.DataFrame, vectors: NDArray[np.float32], *, monitor: int, rows: int
) -> HeldOut:
    """Held-out rows of a run.

    Args:
        frame: One row per captured position: row, position, split, text, next, channel.
        corpus: One row per conversation: text, char_start, char_end, and kind if there are several kinds.
        vectors: (N, d_model) activations in the order of `frame`.
        monitor: Number of held-out rows that training evaluated.
        rows: Maximum number of rows.

    Raises:
        InputError: The run has no held-out row.
    """
    held = np.flatnonzero((frame["split"] != "train").to_numpy())
    kept = unwatched(held, monitor, rows)
    if not kept:
        raise InputError(f"the run holds {len(held)} held-out positions, all watched in training; capture more")
    picked = frame[kept]
    around = []
    for index, position in picked.select("row", "position").iter_rows():
        row = corpus.row(index, named=True)
        around.append(Around.of(row["text"], (row["char_start"], row["char_end"]), position))
    return HeldOut(
        kind="the run's held-out split",
        activations=vectors[kept],
        contexts=[a.context for a in around],
        starts=[a.starts for a in around],
        continuations=[a.continuation for a in around],
        roles=picked["channel"].to_list(),
        next_token=picked["next"].to_list(),
        conversation=picked["row"].to_numpy().astype(np.int64),
        references=picked["text"].to_list(),
    )


def of_folder(folder: Path, *, monitor: int, rows: int) -> HeldOut:
    """Held-out rows of the run in `folder`. Raises InputError naming a missing file."""
    for name in FILES:
        if not (folder / name).exists():
            raise InputError(f"run folder '{folder.name}' has no {name}; give the folder of an nla-eval train run")
    paths = sorted((folder / "activations").glob("shard-*.safetensors"))
    if not paths:
        raise InputError(f"run folder '{folder.name}' holds no activations; run nla-eval train to capture them")
    captured = merged(paths)["activation"]
    frame = pl.read_parquet(folder / "explanations.parquet")
    explained = frame["captured"].to_numpy() if "captured" in frame.columns else np.arange(len(frame))
    if len(explained) and int(explained.max()) >= len(captured):
        raise InputError(
            f"run folder '{folder.name}' has {len(captured)} activations and explanations of "
            f"{int(explained.max()) + 1}; one of the two belongs to another run: run nla-eval train again"
        )
    vectors = captured[explained].float().numpy()
    return of_run(frame, pl.read_parquet(folder / "corpus.parquet"), vectors, monitor=monitor, rows=rows)


def windows_of_run(engine: Engine, corpus: pl.DataFrame, count: int, min_position: int) -> list[Window]:
    """Up to `count` windows of consecutive positions, one from each held-out conversation that is long enough."""
    requests: list[CaptureRequest] = []
    contexts: dict[str, str] = {}
    rng = np.random.default_rng(0)
    for row in corpus.filter(pl.col("split") != "train").iter_rows(named=True):
        if len(requests) == count:
            break
        at = neighbours(len(row["token_ids"]), min_position, rng)
        if at is None:
            continue
        key = str(len(requests))
        contexts[key] = row["text"][: row["char_end"][int(at[-1])]]
        requests.append(CaptureRequest(key, np.array(row["token_ids"], np.int32), at))
    captured = sorted(engine.capture(requests), key=lambda c: int(c.key))
    return [Window(c.activations, contexts[c.key]) for c in captured if c.error is None]
