"""`python -m nla_eval.bench.soak`: does memory stay flat while one process reads and reports for an hour?

One process loads the shipped pack once. Round after round it takes new transcripts through read, score, tally and
report, each round into a store of its own, and notes how much memory it holds. Transcripts differ in length, so that
caches and allocators meet shapes they have not seen. With --write the curve goes to docs/reliability.json and its
page."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
import psutil

from ..engines.kinds import RuntimeSettings
from ..models.target import DEFAULT_TARGET
from ..pipeline.reading_plan import ReadingPlan
from ..pipeline.runtime import Runtime
from ..progress import peak_bytes
from ..readings import Lane
from ..transcript import Arm, Transcript
from .load import chat, report_on
from .pipeline import read_into
from .reliability import keep, soak_lines

_PLAN = ReadingPlan("uniform_response(4)", lanes=(Lane.MEASURED,))
_EACH = 12
_LONGEST = 60
"""Sentences of the longest answer, about 800 tokens."""
_WARM = 600.0
"""Seconds that the slope leaves out: pools grow to the size of the largest batch."""


@dataclass(frozen=True)
class Round:
    """The process after one round."""

    seconds: float
    """Since the first round began."""
    resident: float
    """Memory held, in MB."""


def chats(number: int) -> Iterator[Transcript]:
    """The transcripts of round `number`: half of them deployment, a family each, lengths drawn with the seed."""
    lengths = np.random.default_rng(number).integers(1, _LONGEST, _EACH).tolist()
    for which, length in enumerate(lengths):
        name = f"{number}-{which}"
        arm = Arm.DEPLOYMENT if which % 2 else Arm.EVALUATION
        said = " ".join(f"City {name} has {place} bridges over its river." for place in range(length))
        yield chat(name, f"Describe city {name}.", said, arm, which)


def rounds(seconds: float) -> Iterator[Round]:
    """Rounds of one process, at least one, until `seconds` have passed."""
    runtime = Runtime(RuntimeSettings(DEFAULT_TARGET, threads=1))
    began = time.monotonic()
    for number in count():
        with tempfile.TemporaryDirectory() as folder:
            where, texts = Path(folder), chats(number)
            store, _ = read_into(runtime.engine, runtime.instrument, runtime.scorer, _PLAN, texts, where / "store")
            report_on(store, where, "linear")
        passed = time.monotonic() - began
        yield Round(round(passed, 1), round(psutil.Process().memory_info().rss / 1e6, 1))
        if passed >= seconds:
            return


def summed(made: list[Round], peak: float) -> dict[str, object]:
    """What is kept of a run: the curve, and the slope after the first ten minutes in MB an hour."""
    later = [r for r in made if r.seconds >= min(_WARM, made[-1].seconds / 2)]
    slope = 0.0
    if len(later) > 2:
        slope = 3600 * statistics.linear_regression([r.seconds for r in later], [r.resident for r in later]).slope
    return {"curve": [asdict(r) for r in made], "slope": round(slope, 2), "peak": round(peak, 1), "each": _EACH}


def main() -> None:
    """Read for an hour in one process, and note the memory it holds."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench.soak", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long")
    parser.add_argument("--write", action="store_true", help="save the curve below docs/")
    args = parser.parse_args()
    made = []
    for one in rounds(args.seconds):
        made.append(one)
        print(f"{one.seconds:8.0f} s  {one.resident:8.1f} MB", flush=True)
    content = summed(made, peak_bytes() / 1e6)
    print("\n".join(soak_lines(content)))
    if args.write:
        keep("soak", content)


if __name__ == "__main__":
    main()
