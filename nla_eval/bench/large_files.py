"""Peak memory of reading large files: 2 GB of JSON lines, one JSON list or Parquet; and one message of 50 MB.

Files are generated in a temporary folder and deleted afterwards. Each is read in a process of its own:
`python -m nla_eval.bench.large_files FILE LIMIT` prints seconds, CPU seconds, peak MB and counts as JSON. LIMIT is the
reader's `max_record_mb`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..progress import peak_bytes
from .figures import Figure, apart
from .sources import pieces

SIZE = 2_000_000_000
"""Bytes of a large file."""
MESSAGE = 50_000_000
"""Characters of a large message, all ASCII."""
_PIECES = 20
"""Distinct pieces of 500 conversations. They repeat under new ids."""
_LIMITS = {"kept": 64, "left out": 32}
"""`max_record_mb` above and below the large message."""
_ROW_GROUP = 10_000
KINDS = ("lines", "list", "parquet")
FILE_KEYS = {kind: f"large_{kind}_peak_mb" for kind in KINDS}
MESSAGE_KEY = "large_message_peak_mb"

Records = Iterator[dict[str, Any]]


def large_file(kind: str, size: int = SIZE) -> dict[str, Figure]:
    """Peak memory of reading every transcript of one file of `size` bytes.

    Args:
        kind: One of `KINDS`.
        size: Minimum size in bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = _WRITERS[kind](Path(folder), _conversations(), size)
        found = _read_apart(path, _LIMITS["left out"])
    how = (
        f"{found['megabytes']:,.0f} MB, {found['transcripts']:,.0f} transcripts; "
        f"{found['seconds']:.0f} s, {found['cpu']:.0f} s of CPU time"
    )
    return {FILE_KEYS[kind]: Figure(found["peak"], found["seconds"], unit="s", how=how)}


def large_message(size: int = MESSAGE) -> dict[str, Figure]:
    """The highest peak of reading a file with one message of `size` characters, with the message kept and left out.

    Raises:
        InputError: Another record was left out together with the large message.
    """
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = _WRITERS[kind](Path(folder), _one_large(size), size)
            for fate, limit in _LIMITS.items():
                found = _read_apart(path, limit)
                if found["transcripts"] + found["dropped"] != 3 or found["dropped"] != (fate == "left out"):
                    raise InputError(
                        f"a large message in {kind}, {fate}: {found}; expected 3 records, at most it left out"
                    )
                peaks[f"{kind} {fate}"] = found["peak"]
            path.unlink()
    how = "MB: " + ", ".join(f"{what} {peak:.0f}" for what, peak in peaks.items())
    return {MESSAGE_KEY: Figure(max(peaks.values()), how=how)}


def _read_apart(path: Path, limit: int) -> dict[str, float]:
    return apart(__name__, str(path), str(limit))


def _conversations() -> Records:
    """An endless stream of conversations of about 14 kB."""
    made = [chat for piece in islice(pieces(_PIECES * 500), _PIECES) for chat in piece]
    for number, chat in enumerate(cycle(made)):
        yield {**chat, "id": f"chat-{number}"}


def _one_large(size: int) -> Records:
    """Three conversations; the second has a message of `size` characters."""
    (text,) = (chat["messages"][0]["content"] for piece in pieces(1) for chat in piece)
    repeated = (text + " ") * (size // len(text) + 1)
    for name, said in (("first", "short"), ("large", repeated[:size]), ("last", "short")):
        yield {"id": name, "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]}


def _write_lines(folder: Path, records: Records, size: int) -> Path:
    return _write_json(folder / "large.jsonl", records, size, (b"", b"\n", b"\n"))


def _write_list(folder: Path, records: Records, size: int) -> Path:
    return _write_json(folder / "large.json", records, size, (b"[", b",\n", b"]"))


def _write_json(path: Path, records: Records, size: int, marks: tuple[bytes, bytes, bytes]) -> Path:
    """Write `marks` before the first record, between records, and after the last."""
    mark, between, behind = marks
    with path.open("wb") as file:
        for record in records:
            file.write(mark + json.dumps(record).encode())
            mark = between
            if file.tell() > size and record["id"] != "large":  # one more comes after it
                break
        file.write(behind)
    return path


def _write_parquet(folder: Path, records: Records, size: int) -> Path:
    """Write an uncompressed file, so that its size is the size of its content."""
    import pyarrow
    import pyarrow.parquet

    path, written, writer = folder / "large.parquet", 0, None
    while written <= size and (rows := list(islice(records, _ROW_GROUP))):
        table = pyarrow.Table.from_pylist(rows)
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
        written += table.nbytes
    if writer is not None:
        writer.close()
    return path


_WRITERS: dict[str, Callable[[Path, Records, int], Path]] = {
    "lines": _write_lines,
    "list": _write_list,
    "parquet": _write_parquet,
}


def _main(path: Path, limit: int) -> None:
    from ..sources import Skipped, SourceOptions, read
    from ..transcript import Arm

    began, began_cpu = time.perf_counter(), time.process_time()
    transcripts = dropped = 0
    for item in read(path, SourceOptions(suite="bench", arm=Arm.DEPLOYMENT, max_record_mb=limit)):
        dropped += isinstance(item, Skipped)
        transcripts += not isinstance(item, Skipped)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - began_cpu,
        "peak": peak_bytes() / 1e6,
        "megabytes": path.stat().st_size / 1e6,
        "transcripts": transcripts,
        "dropped": dropped,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
