"""What the fuzzers share: a child process that libFuzzer ends, what it came to, and the total of all runs of the same
code, kept beside the corpus."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".fuzz"


@dataclass(frozen=True)
class Found:
    """What one reader's fuzzing came to, in one run or in several after each other."""

    reader: str
    runs: int = 0
    coverage: int = 0
    """Edges of nla_eval.sources that the corpus reaches."""
    seconds: float = 0.0
    newest: float = 0.0
    """Seconds after which the last edge was reached for the first time."""
    core_seconds: float = 0.0
    crashes: int = 0
    failed: str = ""
    """The last lines of a crash."""

    @property
    def quiet(self) -> float:
        """Share of the time that brought no new edge, up to now."""
        return 1 - self.newest / self.seconds if self.seconds else 0.0

    def noted(self, line: str, at: float) -> Found:
        """With what libFuzzer printed `at` seconds after its first line."""
        now = replace(self, seconds=max(at, self.seconds))
        if told := re.match(r"#(\d+)\s+\w+\s+cov: (\d+)", line):
            now = replace(now, runs=int(told[1]))
            return replace(now, coverage=int(told[2]), newest=at) if int(told[2]) > self.coverage else now
        told = re.match(r"stat::number_of_executed_units:\s+(\d+)", line)
        return replace(now, runs=int(told[1])) if told else now

    def then(self, later: Found) -> Found:
        """Both runs; an edge is new in the later one only where it goes beyond this one's."""
        return Found(
            self.reader,
            self.runs + later.runs,
            max(self.coverage, later.coverage),
            self.seconds + later.seconds,
            self.seconds + later.newest if later.coverage > self.coverage else self.newest,
            self.core_seconds + later.core_seconds,
            self.crashes + later.crashes,
            later.failed,
        )


def table(found: list[Found]) -> Iterator[str]:
    """What came of each reader over all runs on its corpus, as lines of Markdown."""
    yield "| reader | runs | edges | seconds | of a core | last new at | nothing new for | crashes |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for one in found:
        times = (f"{seconds:.0f}" for seconds in (one.seconds, one.core_seconds, one.newest))
        cells = (one.reader, f"{one.runs:,}", str(one.coverage), *times, f"{one.quiet:.0%}", str(one.crashes))
        yield f"| {' | '.join(cells)} |"
    quiet = min((one.seconds - one.newest for one in found), default=0.0)
    spent = sum(one.core_seconds for one in found)
    yield f"\n{spent / 60:.1f} core-minutes; no reader reached anything new in its last {quiet:.0f} s"


def driven(module: str, name: str, seconds: int, record: Path, code: str) -> Found:
    """Run one fuzzer in a process and follow what it prints.

    Args:
        module: Its module, whose `--child` hands over to libFuzzer.
        name: What is fuzzed.
        seconds: How long.
        record: File of the total.
        code: Digest of the code that is fuzzed.

    Returns:
        What this and all earlier runs of the same code came to.
    """
    command = [sys.executable, "-m", module, "--child", name, "--seconds", str(seconds)]
    found, began, tail, used = Found(name), None, list[str](), _children()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail, line][-60:]
            if line.startswith("#") or began is not None:
                began = began or time.monotonic()
                found = found.noted(line, time.monotonic() - began)
    found = replace(found, core_seconds=_children() - used)
    if process.returncode != 0:
        found = replace(found, crashes=1, failed="\n" + "".join(tail))
    total = kept(name, record, code).then(found)
    record.write_text(json.dumps({"code": code, "found": asdict(replace(total, failed=""))}))
    return total


def kept(name: str, record: Path, code: str) -> Found:
    """What runs before this one came to, as long as they ran the same code: edges of other code are not comparable."""
    try:
        held = json.loads(record.read_text())
        return Found(**held["found"]) if held["code"] == code else Found(name)
    except (OSError, ValueError, TypeError, KeyError):
        return Found(name)


def _children() -> float:
    """Core-seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
