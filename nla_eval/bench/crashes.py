"""`python -m nla_eval.bench.crashes`: faults at random moments of read, score and report, and what became of the store.

Each trial runs a command, lets a fault happen, runs the same command again without it, and compares the result with
that of a run without faults: no finished reading may be lost, made twice or changed. With --write the counts go to
docs/reliability.json and docs/reliability.md."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, NlaEvalError
from ..store.store import ReadingStore
from . import crash_store
from .crash_runs import DRAWN, FAULTS, OUTPUT, Run
from .crash_store import Compared, compared, damage, keys_of
from .reliability import Situation, keep_crashes, lines

READ = ("read", "asked.jsonl", "--deployment", "used.jsonl", "--out", "store", "--engine", "planted", "--target",
        "bytes", "--positions", "uniform_response(4)", "--lanes", "measured,donor", "--scores", "none")  # fmt: skip
SCORE = (*READ[:-1], "missing")
REPORT = ("report", "store", "--out", "report.html", "--classifier", "lexicon", "--format", "html,json")
REPORTS = ("report.html", "report.json")
REPAIR = ("store", "repair", "store")
_PAUSE = 0.002
_TAIL = 1.05
"""Moments are drawn up to this share of the time of a run without faults."""
_PATIENCE = 120.0
_AGAIN = 4
"""How often the same command is run again where the fault goes on, as that of an object store does."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    """Exit code; negative: the signal that ended it."""
    seconds: float
    output: str
    drawn: int | None
    """Draws of a process that ended by itself."""


@dataclass(frozen=True)
class Reference:
    """A folder in which everything ran without a fault, with a copy of each step's state."""

    folder: Path
    seconds: dict[str, float]
    """Time of each command."""

    def copy(self, step: str, to: Path) -> Path:
        """A new folder in the state after `step`: "none", "read", "score"."""
        shutil.copytree(self.folder / step, to)
        return to


@dataclass
class Bench:
    """Starts processes and keeps the folders of trials."""

    root: Path
    context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))
    made: int = 0

    def __post_init__(self) -> None:
        self.context.set_forkserver_preload(["nla_eval.bench.crash_runs"])

    def folder(self) -> Path:
        """A path that does not exist yet."""
        self.made += 1
        return self.root / f"trial-{self.made}"

    def begin(self, run: Run) -> Any:
        """A process that has been started."""
        from .crash_runs import start

        process = self.context.Process(target=start, args=(run,))
        process.start()
        return process

    def run(self, run: Run, signals: Sequence[tuple[float, int]] = ()) -> Ended:
        """Run a command to its end, and send it each signal after its number of seconds."""
        for left in (DRAWN, OUTPUT):
            Path(run.folder, left).unlink(missing_ok=True)
        process = self.begin(run)
        while process.is_alive() and not Path(run.folder, OUTPUT).exists():
            time.sleep(0.001)  # a process that does not work yet has nothing to lose
        began = time.monotonic()
        for after, number in signals:
            process.join(max(0.0, began + after - time.monotonic()))
            if process.is_alive():
                os.kill(process.pid, number)
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
            raise NlaEvalError(f"a run hangs: {' '.join(run.args)} in {run.folder}, fault '{run.fault}'; look there")
        drawn = Path(run.folder, DRAWN)
        return Ended(
            process.exitcode,
            time.monotonic() - began,
            Path(run.folder, OUTPUT).read_text(errors="replace"),
            int(drawn.read_text()) if drawn.is_file() else None,
        )

    def reference(self) -> Reference:
        """Run everything once without a fault."""
        folder, seconds = self.root / "reference", dict[str, float]()
        work = folder / "none"
        crash_store.write_chats(work)
        for step, args in (("read", READ), ("score", SCORE), ("report", REPORT)):
            following = shutil.copytree(work, folder / step)
            done = self.run(Run(str(following), args, pause=_PAUSE))
            if done.code:
                raise NlaEvalError(f"the run without faults ended with {done.code}: {done.output.strip()[-300:]}")
            seconds[step], work = done.seconds, following
        return Reference(folder, seconds)


def killed(bench: Bench, reference: Reference, step: str, moments: int, seed: int) -> Situation:
    """SIGKILL at random moments of a step."""
    args, before = _STEPS[step]
    rng = random.Random(f"{seed}{step}")

    def one() -> Compared:
        run = Run(str(reference.copy(before, bench.folder())), args, pause=_PAUSE)
        bench.run(run, [(rng.uniform(0, _TAIL * reference.seconds[step]), signal.SIGKILL)])
        return _again(bench, reference, step, run)

    return Situation.of(f"SIGKILL in {step}", (one() for _ in range(moments)))


def told_to_stop(bench: Bench, reference: Reference, number: signal.Signals, moments: int, seed: int) -> Situation:
    """Ctrl-C or SIGTERM while drawing, with the usual 20 s between writes: all that is drawn is in the store."""
    rng = random.Random(f"{seed}{number}")

    def one() -> Compared:
        run = Run(str(reference.copy("none", bench.folder())), READ, pause=_PAUSE, flush=20.0)
        done = bench.run(run, [(rng.uniform(0, _TAIL * reference.seconds["read"]), number)])
        stored = len(keys_of(Path(run.folder, "store")))
        orderly = done.code in (0, 128 + number, -number) and "Traceback" not in done.output
        if done.code == 128 + number and done.drawn:
            last = done.output.strip().splitlines()[-1]
            orderly = orderly and "run the same command again" in last and "nla-eval read" in last
        unsaved = (done.drawn or 0) - stored
        found = _again(bench, reference, "read", run)
        return replace(found, lost=found.lost + unsaved, resumed=found.resumed and orderly)

    what = "Ctrl-C" if number is signal.SIGINT else "SIGTERM"
    return Situation.of(f"{what} in read", (one() for _ in range(moments)))


def faulty(bench: Bench, reference: Reference, fault: str, moments: int) -> Situation:
    """A fault inside the process that reads."""

    def one(seed: int) -> Compared:
        run = Run(str(reference.copy("none", bench.folder())), READ, fault, seed, _PAUSE)
        done = bench.run(run)
        said = done.code == 0 or (done.code == 2 and _one_line(done.output))
        found = _again(bench, reference, "read", replace(run, fault=""))
        return replace(found, resumed=found.resumed and said)

    return Situation.of(fault, (one(seed) for seed in range(moments)))


def small_disk(bench: Bench, reference: Reference, moments: int, seed: int) -> Situation:
    """A file system with too little room for the store, which then gets enough."""
    rng = random.Random(seed)

    def one() -> Compared:
        folder = reference.copy("none", bench.folder())
        place = folder / "store"
        with _mounted(place, rng.randrange(24, 400)):
            done = bench.run(Run(str(folder), READ, pause=_PAUSE))
            kept = shutil.copytree(place, folder / "kept")
        place.rmdir()
        kept.rename(place)
        said = done.code == 0 or (done.code == 2 and _one_line(done.output))
        found = _again(bench, reference, "read", Run(str(folder), READ, pause=_PAUSE))
        return replace(found, resumed=found.resumed and said)

    return Situation.of("full disk (tmpfs)", (one() for _ in range(moments)))


def together(bench: Bench, reference: Reference, writers: int, moments: int) -> Situation:
    """Several processes make the same readings in one store at the same time."""

    def one() -> Compared:
        folder = reference.copy("none", bench.folder())
        folders = [folder, *(shutil.copytree(folder, bench.folder()) for _ in range(writers - 1))]
        for other in folders[1:]:
            (other / "store").symlink_to(folder / "store")
        (folder / "store").mkdir()
        running = [bench.begin(Run(str(each), READ, pause=_PAUSE)) for each in folders]
        for process in running:
            process.join(_PATIENCE)
        clean = all(process.exitcode == 0 for process in running)
        found = _again(bench, reference, "read", Run(str(folder), READ, pause=_PAUSE), alone=False)
        return replace(found, resumed=found.resumed and clean)

    return Situation.of(f"{writers} writers of the same readings", (one() for _ in range(moments)))


def damaged(bench: Bench, reference: Reference, what: str, moments: int, seed: int) -> Situation:
    """A file of a finished store is damaged; `store repair` and the same read mend it."""
    rng = random.Random(f"{seed}{what}")

    def one() -> Compared:
        run = Run(str(reference.copy("read", bench.folder())), READ, pause=_PAUSE)
        damage(Path(run.folder, "store"), what, rng)
        done = bench.run(run)
        said = done.code == 2 and _one_line(done.output) and "store repair" in done.output
        said = said and bench.run(replace(run, args=REPAIR)).code == 0
        found = _again(bench, reference, "read", run)
        return replace(found, resumed=found.resumed and said)

    return Situation.of(f"{what}, then store repair", (one() for _ in range(moments)))


def object_store(bench: Bench, reference: Reference, moments: int, seed: int) -> Situation:
    """A bucket whose server fails one request in ten, with SIGKILL at a random moment."""
    from .faulty_bucket import bucket

    rng = random.Random(f"{seed}bucket")
    with bucket(share=0.1, seed=seed) as (url, environment):

        def one() -> Compared:
            folder = reference.copy("none", bench.folder())
            place = f"{url}/{folder.name}"
            args = tuple(place if arg == "store" else arg for arg in READ)
            run = Run(str(folder), args, pause=_PAUSE, environment=environment)
            bench.run(run, [(rng.uniform(0, 2 * _TAIL * reference.seconds["read"]), signal.SIGKILL)])
            return _again(bench, reference, "read", run, place)

        return Situation.of("object store failing 1 request in 10, and SIGKILL", (one() for _ in range(moments)))


def real(bench: Bench, moments: int, seed: int) -> Situation:
    """SIGKILL at random moments of `nla-eval read` with the default target and pack, in float32; weights are loaded."""
    rng = random.Random(f"{seed}real")
    args = [*(a for a in READ if a not in ("--engine", "planted", "--target", "bytes")), "--limit", "3",
            "--dtype", "float32", "--max-new-tokens", "24"]  # fmt: skip
    args[args.index("none")] = "new"
    whole = bench.folder()
    crash_store.write_chats(whole)
    began = time.monotonic()
    _alone(args, whole)
    seconds = time.monotonic() - began
    reference = ReadingStore.open(str(whole / "store"))

    def one() -> Compared:
        folder = bench.folder()
        crash_store.write_chats(folder)
        _alone(args, folder, rng.uniform(0.2, 1.0) * seconds)
        place = folder / "store"
        before = keys_of(place)
        code = _alone(args, folder)
        return replace(compared(ReadingStore.open(str(place)), reference, before), resumed=code == 0)

    return Situation.of("SIGKILL in read, real model", (one() for _ in range(moments)))


def _alone(args: Sequence[str], folder: Path, kill_after: float | None = None) -> int:
    """Run `python -m nla_eval` in `folder`. Returns its exit code."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "nla_eval", *args]
    with (folder / "output").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=out, stderr=out)
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


_STEPS = {"read": (READ, "none"), "score": (SCORE, "read"), "report": (REPORT, "score")}
"""Command of each step, and the step before it."""


def _again(bench: Bench, reference: Reference, step: str, run: Run, place: str = "", *, alone: bool = True) -> Compared:
    """Run the same command again, and compare with the run without faults."""
    folder, url = Path(run.folder), place or str(Path(run.folder, "store"))
    with _environment(run.environment):
        before = keys_of(url)
    done = bench.run(run)
    for _ in range(_AGAIN if place else 0):
        done = done if done.code == 0 else bench.run(run)
    with _environment(run.environment):
        found = compared(
            ReadingStore.open(url),
            ReadingStore.open(str(reference.folder / step / "store")),
            before,
            once=alone and step == "read",
        )
    if step == "report":
        same = [(folder / n).read_bytes() == (reference.folder / step / n).read_bytes() for n in REPORTS]
        found = replace(found, wrong=found.wrong + same.count(False))
    return replace(found, resumed=done.code == 0)


@contextmanager
def _environment(extra: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _one_line(output: str) -> bool:
    last = output.strip().splitlines()[-1:]
    return "Traceback" not in output and bool(last) and last[0].startswith("nla-eval: ")


@contextmanager
def _mounted(place: Path, kibibytes: int) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "none", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def can_mount(root: Path) -> bool:
    """Whether this user can mount a small tmpfs."""
    try:
        with _mounted(root / "mount", 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        (root / "mount").rmdir()


def situations(bench: Bench, moments: int, seed: int) -> Iterator[Callable[[], Situation]]:
    """Every situation but those of the real model, each to be run by calling it."""
    few = max(2, moments // 5)
    reference = bench.reference()
    for step in _STEPS:
        yield lambda step=step: killed(bench, reference, step, moments, seed)  # type: ignore[misc]
    for number in (signal.SIGINT, signal.SIGTERM):
        yield lambda number=number: told_to_stop(bench, reference, number, moments, seed)  # type: ignore[misc]
    for fault in FAULTS:
        yield lambda fault=fault: faulty(bench, reference, fault, few)  # type: ignore[misc]
    if can_mount(bench.root):
        yield lambda: small_disk(bench, reference, few, seed)
    for what in crash_store.DAMAGE:
        yield lambda what=what: damaged(bench, reference, what, few, seed)  # type: ignore[misc]
    yield lambda: together(bench, reference, 2, few)
    yield lambda: object_store(bench, reference, few, seed)


def main() -> None:
    """Let faults happen to runs of the planted engine, and count what was lost, made twice or changed."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench.crashes", description=main.__doc__)
    parser.add_argument("--moments", type=int, default=40, help="of a signal in each step; a fifth for other faults")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="kill the real model N times, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="save the counts below docs/")
    parser.add_argument("--folder", type=Path, help="keep the folders of all trials here (default: they are removed)")
    args = parser.parse_args()
    if args.folder and args.folder.exists():
        raise SystemExit(f"crashes: {InputError(f'{args.folder} exists already; name another folder')}")
    found = []
    with ExitStack() as stack:
        root = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(exist_ok=True)
        os.environ["NLA_EVAL_CACHE"] = str(root / "cache")
        bench = Bench(root)
        every = list(situations(bench, args.moments, args.seed))
        every += [lambda: real(bench, args.real, args.seed)] if args.real else []
        for situation in every:
            found.append(situation())
            print("\n".join(lines([found[-1]])[2:]), flush=True)
    if args.write:
        keep_crashes(found, args.seed)
    raise SystemExit(not all(one.held for one in found))


if __name__ == "__main__":
    main()
