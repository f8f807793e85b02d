"""Coverage-guided fuzzing of every reader by atheris (libFuzzer): `make fuzz`, or `python -m tests.fuzz.readers`.

Each reader runs in its own process on a corpus that starts from the fixtures. The corpus is kept in .fuzz/, so the next
run continues from it. For any bytes, a reader may yield transcripts and reasons or raise an InputError; anything else
is a crash.

With --until-quiet SHARE, a reader is fuzzed beyond its seconds until that share of its total time over all runs found
nothing new. The time is kept beside the corpus. A table at the end sums up each reader."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.driver import CORPUS, ROOT, Found, driven, kept, table

READERS = (
    *(
        "atif",
        "chatgpt",
        "claude_code",
        "codex",
        "dpo",
        "gemini",
        "gemini_cli",
        "hub",
        "inspect_log",
        "jsonl",
        "langsmith",
    ),
    *("messages", "oasst", "parquet", "responses", "scout", "sharegpt", "swe_agent", "tau2"),
)
_LIMITS = ("-max_len=65536", "-timeout=20", "-rss_limit_mb=3072", "-print_final_stats=1")
_HEADER = {
    "version": 2, "status": "success",
    "eval": {"created": "2026-01-01T00:00:00+00:00", "task": "t", "dataset": {}, "model": "m", "config": {},
             "run_id": "r", "task_id": "i", "eval_id": "e"},
}  # fmt: skip


def main() -> None:
    """Fuzz the readers one after the other. Exits with 1 when one crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers", description=main.__doc__)
    parser.add_argument("--only", nargs="*", choices=READERS, default=READERS)
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--until-quiet", type=float, metavar="SHARE", help="go on until nothing is new for this share")
    parser.add_argument("--at-most", type=int, default=1800, help="seconds for each reader in this run")
    parser.add_argument("--child", choices=READERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.seconds)
        return
    found = []
    for reader in args.only:
        one, left = fuzz(reader, args.seconds), args.at_most - args.seconds
        while args.until_quiet and one.quiet < args.until_quiet and left > 0 and not one.failed:
            one, left = fuzz(reader, min(args.seconds, left)), left - args.seconds
        print(f"{one.reader}: {one.runs} runs, {one.coverage} edges", one.failed, flush=True)
        found.append(one)
    print("\n".join(table(found)))
    raise SystemExit(any(one.failed for one in found))


def fuzz(reader: str, seconds: int) -> Found:
    """Run one reader's fuzzer in a process and follow what it prints.

    Returns:
        What this and all earlier runs of the same code came to.
    """
    seed(reader)
    return driven("tests.fuzz.readers", reader, seconds, _record(reader), _code())


def earlier(reader: str) -> Found:
    """What runs before this one came to, as long as they ran the same code: edges of other code are not comparable."""
    return kept(reader, _record(reader), _code())


def _record(reader: str) -> Path:
    return CORPUS / f"{reader}.json"


def _code() -> str:
    files = sorted((ROOT / "nla_eval" / "sources").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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
