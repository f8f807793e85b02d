"""Time and peak memory of reading 10,000 transcripts of about 3,000 tokens, against plain json and polars.

The peak memory of a process never falls, so each measurement is a process of its own:
`python -m nla_eval.bench.sources WAY FILE` prints seconds, CPU seconds, peak MB and the number of records as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..progress import peak_bytes
from .figures import Figure, apart

COUNT = 10_000
_TURNS, _WORDS = 6, 380
"""Messages per transcript and words per message: about 3,000 tokens per transcript."""
_FORMATS = (("jsonl", "json"), ("parquet", "polars"))
"""Each of our readers with its plain alternative."""
KEYS = tuple(f"{ours}_{what}" for ours, plain in _FORMATS for what in ("10k_seconds", "10k_peak_mb", f"vs_{plain}"))
INSPECT_KEY = "inspect_10k_seconds"


def measured() -> dict[str, Figure]:
    """Both formats, read by us and by the plain alternative, on the same files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, COUNT)
        ways = [way for pair in _FORMATS for way in pair]
        found = {way: apart(__name__, way, str(folder / WAYS[way][0])) for way in ways}
    how = f"{COUNT:,} transcripts of {_TURNS} messages, {found['jsonl']['megabytes']:.0f} MB of JSON"
    figures = {}
    for ours, plain in _FORMATS:
        seconds, other = found[ours]["seconds"], found[plain]["seconds"]
        figures[f"{ours}_10k_seconds"] = Figure(seconds, unit="s", how=how)
        figures[f"{ours}_10k_peak_mb"] = Figure(found[ours]["peak"], unit="MB", how=how)
        figures[f"{ours}_vs_{plain}"] = Figure(other / seconds, COUNT / seconds, COUNT / other, "transcripts/s", how)
    return figures


def inspected() -> dict[str, Figure]:
    """Time of `nla-eval suite inspect` on the same JSON lines: reading, families, languages, counts."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), COUNT)
        found = apart(__name__, "inspect", str(Path(name) / WAYS["inspect"][0]))
    how = f"{COUNT:,} transcripts of {_TURNS} messages; {found['cpu']:.1f} s of CPU time, peak {found['peak']:.0f} MB"
    return {INSPECT_KEY: Figure(found["seconds"], unit="s", how=how)}


def write(folder: Path, count: int) -> None:
    """Write the same transcripts to `chats.jsonl` and `chats.parquet`, in pieces."""
    import pyarrow
    import pyarrow.parquet

    writer = None
    with (folder / "chats.jsonl").open("w", encoding="utf-8") as file:
        for piece in pieces(count):
            file.writelines(json.dumps(record) + "\n" for record in piece)
            table = pyarrow.Table.from_pylist(piece)
            writer = writer or pyarrow.parquet.ParquetWriter(folder / "chats.parquet", table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


def pieces(count: int, size: int = 500) -> Iterator[list[dict[str, Any]]]:
    """`count` conversations as records {id, messages}, `size` at a time.

    Random words of a vocabulary of 5,000, which compresses about as text does.
    """
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 9))) for _ in range(5000)])
    for start in range(0, count, size):
        piece = []
        for number in range(start, min(start + size, count)):
            texts = [" ".join(words[rng.integers(0, len(words), _WORDS)]) for _ in range(_TURNS)]
            chat = [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]
            piece.append({"id": f"chat-{number}", "messages": chat})
        yield piece


def _ours(reader: str) -> Callable[[Path], int]:
    def run(path: Path) -> int:
        from ..sources import SOURCES, SourceOptions
        from ..transcript import Arm

        return sum(1 for _ in SOURCES.get(reader)(path, SourceOptions(suite="bench", arm=Arm.DEPLOYMENT)))

    return run


def _inspect(path: Path) -> int:
    from ..dataset.overview import overview
    from ..sources import SourceOptions, read
    from ..transcript import Arm

    return overview(read(path, SourceOptions(suite="bench", arm=Arm.DEPLOYMENT)))[0].records


def _json(path: Path) -> int:
    with path.open(encoding="utf-8") as file:
        return sum(1 for line in file if json.loads(line))


def _polars(path: Path) -> int:
    import polars

    return sum(1 for _ in polars.read_parquet(path).iter_rows(named=True))


WAYS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "jsonl": ("chats.jsonl", _ours("jsonl")),
    "json": ("chats.jsonl", _json),
    "parquet": ("chats.parquet", _ours("parquet")),
    "polars": ("chats.parquet", _polars),
    "inspect": ("chats.jsonl", _inspect),
}


def _main(way: str, path: Path) -> None:
    from .. import sources  # noqa: F401  (importing is not reading)

    began, began_cpu = time.perf_counter(), time.process_time()
    count = WAYS[way][1](path)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    size = path.stat().st_size / 1e6
    found = {"seconds": seconds, "cpu": cpu, "peak": peak_bytes() / 1e6, "records": count, "megabytes": size}
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
