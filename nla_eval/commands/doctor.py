"""`nla-eval doctor`: checks this machine before a run: packages, processor, memory, disk, target, pack, stores.

Each check is a function that yields findings. It draws no conclusion beyond them and changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..engines.kinds import RuntimeSettings
from ..errors import NlaEvalError
from ..printable import one_line

LEAST_MEMORY = 4 << 30
"""Bytes of available memory below which a run with the shipped target may have to halve its batches."""
LEAST_DISK = 2 << 30
"""Free bytes below which a store, the converted weights or an environment may not fit."""
_DISTRIBUTION = "nla_eval"
_EXTRAS = {"ray": "ray", "vllm": "vllm", "s3fs": "s3", "atheris": "fuzz"}
"""Optional packages and the extras that bring them."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    """Works, with a limit worth knowing."""
    WRONG = "wrong"
    """Runs will fail until it is mended."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    about: str
    state: State
    said: str
    mend: str = ""
    """The command or change that helps; empty for `State.OK`."""


def run(settings: RuntimeSettings, stores: Sequence[str], *, deep: bool = False) -> None:
    """Print every finding, one line each.

    Args:
        settings: Target and pack to check.
        stores: Stores to check part by part.
        deep: Also load the weights and run the pack's self-test.

    Raises:
        NlaEvalError: Something is wrong; how many things, and where their mends stand.
    """
    wrong = 0
    for finding in _findings(settings, stores, deep=deep):
        mend = f"; {finding.mend}" if finding.mend else ""
        print(f"{finding.state.value:5}  {finding.about:12}  {one_line(finding.said)}{mend}", flush=True)
        wrong += finding.state is State.WRONG
    if wrong:
        raise NlaEvalError(f"wrong: {wrong}; each line above that begins with 'wrong' ends in what mends it")


def _findings(settings: RuntimeSettings, stores: Sequence[str], *, deep: bool) -> Iterator[Finding]:
    yield from packages()
    yield from inspect_knows_us()
    yield from processor()
    yield from memory()
    yield from disk()
    yield from weights(settings, deep=deep)
    for url in stores:
        yield store(url)


def packages() -> Iterator[Finding]:
    """The interpreter, and each package that `pyproject.toml` requires, against its bounds."""
    from packaging.requirements import Requirement

    yield Finding("python", State.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    good = 0
    for line in importlib.metadata.requires(_DISTRIBUTION) or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            found = ""
        if found and needed.specifier.contains(found, prereleases=True):
            good += 1
            continue
        said = f"{found} is installed, {needed.specifier} is needed" if found else "not installed"
        yield Finding(needed.name, State.WRONG, said, f"run: pip install '{needed.name}{needed.specifier}'")
    here = [name for name in _EXTRAS if importlib.util.find_spec(name)]
    yield Finding("packages", State.OK, f"{good} as required; optional ones here: {', '.join(here) or 'none'}")


def inspect_knows_us() -> Iterator[Finding]:
    """Whether `inspect` is a command here, and finds the tasks of nla_eval."""
    entries = importlib.metadata.entry_points(group="inspect_ai")
    if not any(entry.name == _DISTRIBUTION for entry in entries):
        mend = "run: pip install -e . in the repository, or pip install nla_eval"
        yield Finding("inspect", State.WRONG, "Inspect does not find the tasks of nla_eval", mend)
    beside = Path(sys.executable).with_name("inspect")
    if shutil.which("inspect"):
        yield Finding("inspect", State.OK, f"inspect_ai {importlib.metadata.version('inspect_ai')}, on the PATH")
    elif beside.exists():
        mend = f"run: source {beside.parent / 'activate'}, or write {beside}"
        yield Finding("inspect", State.NOTE, "the command inspect is not on the PATH", mend)
    else:
        yield Finding("inspect", State.WRONG, "there is no command inspect", "run: pip install inspect-ai")


def processor() -> Iterator[Finding]:
    """Cores, instruction set, bfloat16 and accelerators."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = f"{cores} cores, {capability}, torch {torch.__version__}"
    if capability.upper() in ("DEFAULT", "NO AVX"):
        yield Finding("processor", State.NOTE, said, "expect runs several times slower than with AVX2")
    else:
        yield Finding("processor", State.OK, said)
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        yield Finding("accelerator", State.OK, f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")


def memory() -> Iterator[Finding]:
    """Memory that is free for a run, within the limit of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    said = f"{free / 2**30:.1f} GiB available"
    if free < LEAST_MEMORY:
        yield Finding(
            "memory", State.NOTE, said, "batches may be halved; close other programs, or use --dtype bfloat16"
        )
    else:
        yield Finding("memory", State.OK, said)


def disk() -> Iterator[Finding]:
    """Room in, and rights on, the cache folder and the current folder."""
    from ..models.target import cache_dir

    for about, folder, option in (("cache", cache_dir(), "NLA_EVAL_CACHE"), ("folder", Path.cwd(), "--out")):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        said = f"{folder}: {free / 2**30:.1f} GiB free"
        if not os.access(there, os.W_OK):
            yield Finding(about, State.WRONG, f"{folder} cannot be written", f"choose another folder with {option}")
        elif free < LEAST_DISK:
            yield Finding(about, State.NOTE, said, f"free some room, or choose another disk with {option}")
        else:
            yield Finding(about, State.OK, said)


def weights(settings: RuntimeSettings, *, deep: bool) -> Iterator[Finding]:
    """Whether target and pack are here, whole and made for each other; `deep` also loads them."""
    from ..engines.kinds import TransformersKind
    from ..models.pack_check import check_files

    try:
        target = TransformersKind.target(settings)
        yield Finding("target", State.OK, f"{target.name} at {target.path}")
    except NlaEvalError as err:
        yield Finding("target", State.WRONG, str(err), "")
        return
    try:
        pack = TransformersKind.pack(settings, target)
        lines = list(check_files(pack, target))
        yield Finding("pack", State.OK, f"{pack.id}, layer {pack.layer}: {'; '.join(lines)}")
        if deep:
            TransformersKind.engine(settings, target, pack)  # loading runs the self-test
            yield Finding("self-test", State.OK, "the weights load, and the explanations follow the activations")
    except NlaEvalError as err:
        yield Finding("pack", State.WRONG, str(err), "")


def store(url: str) -> Finding:
    """Whether every part of a store is sound."""
    from ..store.check import check

    try:
        found = check(url)
    except NlaEvalError as err:
        return Finding("store", State.WRONG, str(err))
    readings = next(kind for kind in found.kinds if kind.kind == "readings")
    said = f"{url}: {readings.rows:,} readings in {readings.parts} parts"
    if not found.sound:
        damaged = [f"{fault.kind}/{fault.name}" for fault in found.faults] + found.files
        return Finding(
            "store", State.WRONG, f"{said}; damaged: {', '.join(damaged)}", f"run: nla-eval store repair {url}"
        )
    if found.notes:
        return Finding("store", State.NOTE, f"{said}, sound", "; ".join(found.notes))
    return Finding("store", State.OK, f"{said}, sound")
