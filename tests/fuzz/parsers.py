"""Coverage-guided fuzzing of every parser besides the readers: `python -m tests.fuzz.parsers [--seconds N] [--write]`.

Each target takes bytes and has a named contract: what it may raise, in one line, and what holds of what it returns.
Anything else is a crash, and so is an input that takes five seconds. `test_contracts.py` runs the same targets on their
seeds, on the kept inputs in `corpus/`, and on seeded mutations of both, without atheris."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.driver import CORPUS, ROOT, Found, driven, kept, table

if TYPE_CHECKING:
    from nla_eval.judgement import Rubric

KEPT = Path(__file__).parent / "corpus"
"""Inputs that once broke a contract, by target."""
_LIMITS = ("-max_len=16384", "-timeout=5", "-rss_limit_mb=3072", "-print_final_stats=1")


@dataclass(frozen=True)
class Target:
    """A parser under a contract."""

    run: Callable[[bytes, Path], None]
    """Parse bytes, in a folder for files. Raises only on a breach."""
    seeds: Callable[[], Iterable[bytes]]
    raises: str
    """What the parser itself may raise: the contract's name in the table of results."""
    module: str
    """What is instrumented."""


def one_line(error: Exception) -> None:
    """Check that an error of the contract says it in one line."""
    if len(str(error).splitlines()) != 1:
        raise AssertionError(f"not one line: {error!r}") from error


@cache
def _rubric_file() -> Path:
    return ROOT / "classifiers" / "rubrics" / "strict.yaml"


@cache
def _strict() -> Rubric:
    from nla_eval.judgement import Rubric

    return Rubric.load(_rubric_file())


_TEXT = "The reader thinks it is being evaluated; the token ends a clause."


def judge_answer(data: bytes, folder: Path) -> None:
    from classifiers._judge_prompt import Fault, Verdict, read_answer

    found = read_answer(data.decode("utf-8", "replace"), _TEXT, 0, len(_TEXT), _strict())
    if isinstance(found, Verdict):
        assert all(_TEXT[e.start : e.end] == e.text for e in found.evidence)
    else:
        assert isinstance(found, Fault)


def _answers() -> Iterable[bytes]:
    for verdict, labels, quotes in (("AWARE", ["belief"], ["being evaluated"]), ("NOT_AWARE", ["none"], [])):
        answer = json.dumps({"verdict": verdict, "labels": labels, "evidence": quotes})
        yield answer.encode()
        yield f"<think>a</think>```json\n{answer}\n```".encode()


def rubric(data: bytes, folder: Path) -> None:
    from nla_eval.errors import InputError
    from nla_eval.judgement import Rubric

    path = folder / "own.yaml"
    path.write_bytes(data)
    try:
        assert len(Rubric.load(path).hash) == 16
    except InputError as err:
        one_line(err)


def sidecar(data: bytes, folder: Path) -> None:
    from nla_eval.errors import PackError
    from nla_eval.models.pack_meta import SIDECAR, read_meta

    (folder / SIDECAR).write_bytes(data)
    for role in ("av", "ar"):
        try:
            assert read_meta(folder, role).role == role
        except PackError as err:
            one_line(err)


def _sidecars() -> Iterable[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests" / "data" / "sidecars").glob("*.yaml"))]


def adapter_config(data: bytes, folder: Path) -> None:
    from nla_eval.errors import InputError
    from nla_eval.models.adapter import CONFIG, DECLARED, Adapter

    for name in (CONFIG, DECLARED):
        (folder / name).write_bytes(data)
        try:
            found = Adapter("a", folder, 1.0)
            _ = found.config if name == CONFIG else found.declared
        except InputError as err:
            one_line(err)


def _configs() -> Iterable[bytes]:
    yield json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": False}).encode()
    yield json.dumps({"base": "b", "base_hash": "0", "doses": {"1": 1.0}}).encode()


def adapter_weights(data: bytes, folder: Path) -> None:
    from nla_eval.errors import InputError
    from nla_eval.models.adapter import CONFIG, WEIGHTS, Adapter

    (folder / CONFIG).write_bytes(next(iter(_configs())))
    (folder / WEIGHTS).write_bytes(data)
    try:
        assert Adapter("a", folder, 1.0).norm < float("inf")
    except InputError as err:
        one_line(err)


def _weights() -> Iterable[bytes]:
    import torch
    from safetensors.torch import save

    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    for dtype in (torch.float32, torch.bfloat16):
        yield save({f"{name}A.weight": torch.ones(2, 4, dtype=dtype), f"{name}B.weight": torch.ones(3, 2, dtype=dtype)})
    yield save({f"{name}A.weight": torch.ones(2), f"{name}B.weight": torch.ones(3, 2)})
    yield save({f"{name}A.weight": torch.ones(0, 4), f"{name}B.weight": torch.ones(3, 0)})


def store_part(data: bytes, folder: Path) -> None:
    """A part of an earlier version, which carries no checksum: its bytes reach the parquet reader."""
    from nla_eval.errors import StoreError
    from nla_eval.store.rows import SCHEMA
    from nla_eval.store.store import ReadingStore

    try:
        frame = ReadingStore(str(folder), _identity()).parsed("readings", "0.parquet", data, SCHEMA)
        assert list(frame.columns) == list(SCHEMA)
    except StoreError as err:
        one_line(err)


def _parts() -> Iterable[bytes]:
    import polars as pl

    from nla_eval.store.rows import SCHEMA

    row = {name: 1 if kind.is_integer() else 0.5 if kind.is_float() else "x" for name, kind in SCHEMA.items()}
    for codec in ("zstd", "uncompressed"):
        buffer = io.BytesIO()
        pl.DataFrame([row] * 2, schema=SCHEMA).write_parquet(buffer, compression=codec)
        yield buffer.getvalue()


def _identity():  # type: ignore[no-untyped-def]
    from nla_eval.store.store import StoreIdentity

    return StoreIdentity(
        pack="tiny@1", target="t0", layer=2, d_model=3, positions="last", seed=0, temperature=1.0, max_new_tokens=8
    )


def store_files(data: bytes, folder: Path) -> None:
    """store.json, or manifest.json beside a sound store.json."""
    from nla_eval.errors import StoreError
    from nla_eval.store.store import ReadingStore

    for name, sound in (("store.json", ""), ("manifest.json", _identity().model_dump_json())):
        (folder / "store.json").write_text(sound)
        (folder / name).write_bytes(data)
        try:
            _ = ReadingStore.open(str(folder)).manifest
        except StoreError as err:
            one_line(err)


def _stores() -> Iterable[bytes]:
    identity = json.loads(_identity().model_dump_json())
    yield json.dumps(identity).encode()
    yield json.dumps({"identity": identity, "provenance": {"a": "b"}, "parts": {"readings": ["x"]}}).encode()


def tally_json(data: bytes, folder: Path) -> None:
    from pydantic import ValidationError

    from nla_eval.tally.published import PublishedTally

    try:
        found = PublishedTally.model_validate_json(data)
    except ValidationError:
        return
    assert found.model_dump_json()


def _tallies() -> Iterable[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests" / "data" / "released").glob("tally-*.json"))]


def calibration(data: bytes, folder: Path) -> None:
    from nla_eval.errors import InputError
    from nla_eval.judging.calibration import read_calibration

    path = folder / "calibration.json"
    path.write_bytes(data)
    try:
        assert read_calibration(path).format == 1
    except InputError as err:
        one_line(err)


def _calibrations() -> Iterable[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "tests" / "data" / "released").glob("calibration-*.json"))]


def spans(data: bytes, folder: Path) -> None:
    """A replay's tokens tile its text, and special tokens stand only where the template wrote them."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

    from nla_eval.errors import TemplateError
    from nla_eval.replay.replay import ReplayConfig, replay
    from nla_eval.transcript import Arm, Provenance, Transcript

    texts = data.decode("utf-8", "surrogateescape").split("\x00")[:6]  # bytes that are no text: lone surrogates
    turns = [(ChatMessageAssistant if at % 2 else ChatMessageUser)(content=text) for at, text in enumerate(texts)]
    said = Transcript(
        id="t", messages=[*turns, ChatMessageAssistant(content="end")], arm=Arm.EVALUATION, suite="s", family="f",
        provenance=Provenance(source="fuzz"),
    )  # fmt: skip
    tokenizer = _tokenizer()
    try:
        got = replay(said, tokenizer, ReplayConfig(max_tokens=1 << 20))
    except TemplateError as err:
        one_line(err)
        return
    lengths = {len(column) for column in (got.token_ids, got.message, got.channel)}
    assert len(lengths) == 1
    special = set(tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]))
    written = sum(int(token) in special for token in got.token_ids)
    assert written == 2 * len(said.messages), "a special token stands where the template wrote none"


@cache
def _tokenizer():  # type: ignore[no-untyped-def]
    from nla_eval.bench.planted import ByteTarget

    return ByteTarget().tokenizer


def _texts() -> Iterable[bytes]:
    yield "hello\x00<|im_start|>assistant\nno<|im_end|>\x00é‮".encode()
    yield b"<|im_\x00start|>"


TARGETS: dict[str, Target] = {
    "judge_answer": Target(judge_answer, _answers, "nothing", "classifiers._judge_prompt"),
    "rubric": Target(rubric, lambda: [_rubric_file().read_bytes()], "InputError", "nla_eval.judgement"),
    "sidecar": Target(sidecar, _sidecars, "PackError", "nla_eval.models.pack_meta"),
    "adapter_config": Target(adapter_config, _configs, "InputError", "nla_eval.models.adapter"),
    "adapter_weights": Target(adapter_weights, _weights, "InputError", "nla_eval.models.adapter"),
    "store_part": Target(store_part, _parts, "StoreError", "nla_eval.store"),
    "store_files": Target(store_files, _stores, "StoreError", "nla_eval.store"),
    "tally_json": Target(tally_json, _tallies, "ValidationError", "nla_eval.tally.published"),
    "calibration": Target(calibration, _calibrations, "InputError", "nla_eval.judging.calibration"),
    "spans": Target(spans, _texts, "TemplateError", "nla_eval.replay"),
}


def seeds(name: str) -> list[bytes]:
    """The target's own seeds, and the inputs kept for it."""
    kept = sorted((KEPT / name).glob("*")) if (KEPT / name).is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in kept)]


def main() -> None:
    """Fuzz the parsers one after the other. Exits with 1 when one crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.parsers", description=main.__doc__)
    parser.add_argument("--only", nargs="*", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--write", action="store_true", help="save the totals below docs/, with those of the readers")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.seconds)
        return
    found = []
    for name in args.only:
        found.append(fuzz(name, args.seconds))
        print(f"{name}: {found[-1].runs} runs, {found[-1].coverage} edges", found[-1].failed, flush=True)
    print("\n".join(table(found)))
    if args.write:
        _write()
    raise SystemExit(any(one.failed for one in found))


def fuzz(name: str, seconds: int) -> Found:
    """Run one target's fuzzer in a process. Returns what this and all earlier runs of the same code came to."""
    corpus = CORPUS / f"parser_{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(seeds(name)):
        (corpus / f"seed_{at}").write_bytes(seed)
    return driven("tests.fuzz.parsers", name, seconds, _record(name), _code(name))


def earlier(name: str) -> Found:
    """What earlier runs of the same code came to."""
    return kept(name, _record(name), _code(name))


def _record(name: str) -> Path:
    return CORPUS / f"parser_{name}.json"


def _code(name: str) -> str:
    place = ROOT / TARGETS[name].module.replace(".", os.sep)
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*files, Path(__file__)])).hexdigest()


def _write() -> None:
    from nla_eval.bench.reliability import keep
    from tests.fuzz.readers import READERS
    from tests.fuzz.readers import earlier as of_reader

    readers = [(of_reader(name), "InputError") for name in READERS]
    every = [*readers, *((earlier(name), target.raises) for name, target in TARGETS.items())]
    rows = [
        {"target": f.reader, "raises": raises, "runs": f.runs, "edges": f.coverage,
         "core_seconds": round(f.core_seconds), "quiet_seconds": round(f.seconds - f.newest), "crashes": f.crashes}
        for f, raises in every if f.runs
    ]  # fmt: skip
    keep("fuzz", {"targets": rows})


def child(name: str, seconds: int) -> None:
    """In the child: instrument the parser, then hand over to libFuzzer, which ends the process."""
    import atheris

    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    with atheris.instrument_imports(include=[target.module]):
        for seed in seeds(name):
            target.run(seed, folder)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={CORPUS}/crash_{name}_", *_LIMITS]
    atheris.Setup([sys.argv[0], str(CORPUS / f"parser_{name}"), *options], lambda data: target.run(data, folder))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
