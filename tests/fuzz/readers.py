"""Coverage-guided fuzzing of every reader by atheris (libFuzzer): `make fuzz`, or `python -m tests.fuzz.readers`.

Each reader runs in a process of its own on a corpus seeded with the fixtures and kept in .fuzz/, so that the next run
goes on. Whatever the bytes, a reader may yield transcripts and reasons or raise one InputError; all else is a crash."""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".fuzz"
READERS = ("claude_code", "hub", "inspect_log", "jsonl", "oasst", "parquet", "scout", "sharegpt", "swe_agent")
_LIMITS = ("-max_len=65536", "-timeout=20", "-rss_limit_mb=3072", "-print_final_stats=1")
_HEADER = {
    "version": 2, "status": "success",
    "eval": {"created": "2026-01-01T00:00:00+00:00", "task": "t", "dataset": {}, "model": "m", "config": {},
             "run_id": "r", "task_id": "i", "eval_id": "e"},
}  # fmt: skip


@dataclass
class Found:
    """What one reader's fuzzing came to."""

    reader: str
    runs: int = 0
    coverage: int = 0
    """Edges of nla_eval.sources."""
    quiet: float = 0.0
    """Seconds since the last input that reached something new."""
    failed: str = ""
    """The last lines of a crash."""


def main() -> None:
    """Fuzz the readers one after the other. Exits with 1 when one crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers", description=main.__doc__)
    parser.add_argument("--only", nargs="*", choices=READERS, default=READERS)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--child", choices=READERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.seconds)
        return
    found = [fuzz(reader, args.seconds) for reader in args.only]
    for one in found:
        print(f"{one.reader}: {one.runs} runs, {one.coverage} edges, nothing new for {one.quiet:.0f} s", flush=True)
        if one.failed:
            print(one.failed)
    raise SystemExit(any(one.failed for one in found))


def fuzz(reader: str, seconds: int) -> Found:
    """Run one reader's fuzzer in a process and follow what it prints."""
    seed(reader)
    command = [sys.executable, "-m", "tests.fuzz.readers", "--child", reader, "--seconds", str(seconds)]
    found, began, tail = Found(reader), time.monotonic(), []
    newest = began
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail, line][-60:]
            if told := re.match(r"#(\d+)\s+(\w+)\s+cov: (\d+)", line):
                found.runs, found.coverage = int(told[1]), int(told[3])
                newest = time.monotonic() if told[2] == "NEW" else newest
            elif told := re.match(r"stat::number_of_executed_units:\s+(\d+)", line):
                found.runs = int(told[1])
    found.quiet = time.monotonic() - newest
    if process.returncode != 0:
        found.failed = "".join(tail)
    return found


def seed(reader: str) -> None:
    """Put the fixtures' files into the reader's corpus, and its words into a dictionary."""
    from tests.sources.fixtures import FIXTURES

    corpus = CORPUS / reader
    corpus.mkdir(parents=True, exist_ok=True)
    words: set[str] = set()
    for number, fixture in enumerate(FIXTURES):
        if fixture.reader != reader and not (reader == "hub" and fixture.reader == "jsonl"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = fixture.write(Path(folder))
            files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
            for at, file in enumerate(files):
                content = as_text(file)
                if len(content) <= 65536:
                    (corpus / f"fixture_{number}_{at}").write_bytes(content)
                words |= set(re.findall(r'"(\w{2,24})"', content[:200_000].decode("utf-8", "replace")))
    if reader == "inspect_log":
        (corpus / "fixture_log").write_bytes(json.dumps({**_HEADER, "samples": [_sample()]}).encode())
        (corpus / "fixture_sample").write_bytes(b"\x01" + json.dumps(_sample()).encode())
        words |= set(re.findall(r'"(\w{2,24})"', json.dumps(_sample())))
    (CORPUS / f"{reader}.dict").write_text("".join(f'"\\"{word}\\""\n' for word in sorted(words) if word.isascii()))


def as_text(file: Path) -> bytes:
    """A file's bytes; rows as JSON lines where it is Parquet, because flipped bits in Parquet only test Arrow."""
    if file.suffix != ".parquet":
        return file.read_bytes()
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(file).to_pylist()
    return "\n".join(json.dumps(row) for row in rows).encode()


def child(reader: str, seconds: int) -> None:
    """In the child: instrument the readers, then hand over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["nla_eval.sources"]):
        from nla_eval.sources import Branches, SourceOptions, _tables  # noqa: F401  (a reader loads it when it reads)
        from nla_eval.transcript import Arm
        from tests.sources.held import outcome

    options = [
        SourceOptions(
            suite="s", arm=Arm.EVALUATION, prompts=branches is Branches.ALL, branches=branches, max_record_mb=1
        )
        for branches in Branches
    ]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    place = _places(reader, folder)

    def one(data: bytes) -> None:
        outcome(reader, place(data), options[len(data) % 2])

    corpus = CORPUS / reader
    artefacts = f"-artifact_prefix={CORPUS}/crash_{reader}_"
    words = f"-dict={CORPUS / f'{reader}.dict'}"
    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", artefacts, words, *_LIMITS], one)
    atheris.Fuzz()


def _places(reader: str, folder: Path) -> Callable[[bytes], Path | str]:
    """How bytes become what a reader reads."""
    if reader == "hub":
        return _hub
    if reader in ("parquet", "scout"):
        return lambda data: _table(data, folder / "a.parquet")
    if reader == "inspect_log":
        return lambda data: _log(data, folder)
    suffix = {"swe_agent": "a.traj", "sharegpt": "a.json"}.get(reader, "a.jsonl")

    def plain(data: bytes) -> Path:
        (folder / suffix).write_bytes(data)
        return folder / suffix

    return plain


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def _table(data: bytes, path: Path) -> Path:
    """Rows where the bytes are JSON lines that Arrow can hold; else the bytes."""
    import pyarrow
    import pyarrow.parquet

    rows = list(_rows(data))
    try:
        if not rows:
            raise ValueError
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError, AttributeError, KeyError):
        path.write_bytes(b"PAR1" + data)
    return path


def _log(data: bytes, folder: Path) -> Path:
    """A log document; after a byte 1 a sample inside an .eval archive, after a byte 2 the archive's bytes."""
    if data[:1] not in (b"\x01", b"\x02"):
        (folder / "a.json").write_bytes(data)
        return folder / "a.json"
    path = folder / "a.eval"
    if data[:1] == b"\x02":
        path.write_bytes(data[1:])
        return path
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("header.json", json.dumps(_HEADER))
        archive.writestr("summaries.json", json.dumps([{"id": 1, "epoch": 1, "input": "x", "target": ""}]))
        archive.writestr("samples/1_epoch_1.json", data[1:])
    path.write_bytes(packed.getvalue())
    return path


def _hub(data: bytes) -> str:
    import huggingface_hub

    answers: Any = lambda *args, **kwargs: types.SimpleNamespace(sha="0123")  # noqa: E731
    huggingface_hub.HfApi.dataset_info = answers  # type: ignore[method-assign]
    stub: Any = types.ModuleType("datasets")
    stub.load_dataset = lambda *args, **kwargs: _rows(data)
    sys.modules["datasets"] = stub
    return "hf://owner/name@0123"


def _sample() -> dict[str, Any]:
    from tests.sources.fixtures import INSPECT

    event = {"event": "model", "timestamp": "2026-01-01T00:00:00+00:00", "model": "m", "input": INSPECT[:1],
             "tools": [], "tool_choice": "auto", "config": {}, "output": {"model": "m", "choices": []}}  # fmt: skip
    return {"id": 1, "epoch": 1, "input": "x", "target": "", "messages": INSPECT, "events": [event], "metadata": {},
            "scores": {"harm": {"value": "I"}}, "store": {}, "attachments": {}}  # fmt: skip


if __name__ == "__main__":
    main()
