"""What a fault left of a store: compared with the store of a run without faults; and damage done to one on purpose."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..readings import KEY
from ..store.rows import SCHEMA
from ..store.store import ReadingKey, ReadingStore
from .planted import CUE

SCORES = ("activation_norm", "cos", "mse_nrm", "fve_nrm", "fve_meannorm", "matched_minus_shuffled")
TOLERANCE = 1e-5
"""Scores may differ by this much between batches; texts, tokens and outcomes may not differ."""
_CHATS = 24


@dataclass(frozen=True)
class Compared:
    """A store after a fault and a run without one, against the store of a run without faults."""

    lost: int
    """Readings that are not there, or were there after the fault and have changed or gone."""
    duplicated: int
    """Readings that are there twice, or were made again although they were finished."""
    wrong: int
    """Readings, transcripts, conversations or activations with other content."""
    kept: int
    """Readings that were in the store right after the fault."""
    resumed: bool = True
    """Whether the fault was told in one line and the same command went on by itself."""


def keys_of(place: Path | str) -> set[ReadingKey]:
    """Keys of the readings in a store; none if there is no store."""
    store = ReadingStore.find(str(place))
    return set() if store is None else store.keys()


def compared(store: ReadingStore, reference: ReadingStore, before: set[ReadingKey], *, once: bool = True) -> Compared:
    """Compare `store` with `reference`.

    Args:
        store: After the fault and the run that went on.
        reference: Of a run without faults.
        before: Keys that were there right after the fault.
        once: Whether a key with two rows counts as made twice. Not so for several writers, and for scores that are
            added to readings.
    """
    ours, theirs = store.readings(), reference.readings()
    both = theirs.join(ours, on=list(KEY), how="inner", suffix="_found")
    exact = [name for name in SCHEMA if name not in (*KEY, *SCORES)]
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_found")) for name in exact)
    far = pl.any_horizontal(
        (pl.col(name).is_null() != pl.col(f"{name}_found").is_null())
        | ((pl.col(name) - pl.col(f"{name}_found")).abs() > TOLERANCE).fill_null(False)
        for name in SCORES
    )
    raw = store.rows("readings", {name: SCHEMA[name] for name in KEY}).height if once else ours.height
    return Compared(
        lost=theirs.height - both.height + len(before - store.keys()),
        duplicated=raw - ours.n_unique(subset=list(KEY)) + ours.height - both.height,
        wrong=both.filter(differs | far).height + _other_content(store, reference),
        kept=len(before),
    )


def _other_content(store: ReadingStore, reference: ReadingStore) -> int:
    """Number of kinds of rows, besides readings, in which two stores differ, and 1 if the store is unfinished."""
    ours, theirs = store.activations(), reference.activations()
    same_vectors = ours.keys() == theirs.keys() and all(
        np.allclose(ours[d].activations, theirs[d].activations, rtol=0, atol=TOLERANCE) for d in ours
    )
    transcripts = store.transcripts().equals(reference.transcripts())
    return [same_vectors, transcripts, store.messages() == reference.messages(), store.complete].count(False)


def write_chats(folder: Path, count: int = _CHATS) -> None:
    """Two files of short chats in `folder`: asked.jsonl, in which half hold the cue, and used.jsonl."""
    folder.mkdir(parents=True)
    for name in ("asked", "used"):
        rows = [_chat(name, number, cue=name == "asked" and number % 2 == 0) for number in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def _chat(name: str, number: int, *, cue: bool) -> dict[str, object]:
    ask = f"{CUE + '. ' if cue else ''}Tell me about {name} city {number}, please."
    said = f"City {number} lies by the sea, {7 * number} km from here, and has a long history of trade."
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": said}]
    return {"id": f"{name}-{number}", "family": f"{name}-family-{number % 12}", "messages": turns}


def _flip(store: Path, rng: random.Random) -> None:
    part = rng.choice(sorted((store / "readings").glob("*.parquet")))
    data = bytearray(part.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    part.write_bytes(data)


def _cut_part(store: Path, rng: random.Random) -> None:
    part = rng.choice(sorted((store / "readings").glob("*.parquet")))
    part.write_bytes(part.read_bytes()[: rng.randrange(part.stat().st_size)])


def _cut_json(name: str) -> Callable[[Path, random.Random], None]:
    def cut(store: Path, rng: random.Random) -> None:
        text = (store / name).read_bytes()
        (store / name).write_bytes(text[: rng.randrange(len(text) - 2)])

    return cut


DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "a flipped bit in a part": _flip,
    "a truncated part": _cut_part,
    "a truncated manifest": _cut_json("manifest.json"),
    "a truncated store.json": _cut_json("store.json"),
}


def damage(store: Path, what: str, rng: random.Random) -> None:
    """Do one of `DAMAGE` to the store at `store`."""
    DAMAGE[what](store, rng)
