"""`python -m nla_eval.bench.load`: does time per transcript, and memory, stay flat up to 100,000 transcripts?

Short transcripts go through read, score, tally and report with the planted engine, so that everything but the models is
measured. Each size is a process of its own, which prints its figures as JSON; times are of the processor, because a
wall clock on a shared machine measures its other users. With --write they go to docs/reliability.json and its page."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from ..commands.report import ReportRequest, make_tallies, write_report
from ..pipeline.plan import Instrument, plan_run
from ..pipeline.reading import Workbench, read_in_process
from ..pipeline.reading_plan import ReadingPlan
from ..progress import peak_bytes
from ..readings import Lane, StopReason
from ..store.conversations import kept
from ..store.store import ReadingStore
from ..transcript import Arm, Provenance, Transcript
from .figures import apart
from .planted import CUE, ByteTarget, PlantedEngine, TinyPack, plain_scores
from .reliability import keep_load, load_lines

_MODULE = "nla_eval.bench.load"
SIZES = (1_000, 10_000, 100_000)
_PLAN = ReadingPlan("uniform_response(2)", lanes=(Lane.MEASURED,))
_WRITERS = 8
_WARM = 40


@dataclass(frozen=True)
class Load:
    """What a number of transcripts cost."""

    transcripts: int
    plan: float
    """CPU seconds of storing the conversations and planning."""
    read: float
    """Of capture, drawing, scoring and storing."""
    report: float
    """Of judging, the tally, and a report page."""
    seconds: float
    """Of the wall clock, for all of it."""
    peak: float
    """Peak memory in MB."""

    @property
    def each(self) -> float:
        """CPU milliseconds per transcript."""
        return 1000 * (self.plan + self.read + self.report) / self.transcripts


def chats(count: int) -> Iterator[Transcript]:
    """Short chats in turn of both arms, made as they are taken: a family in ten, a tenth of the evaluation aware."""
    for number in range(count):
        arm = Arm.DEPLOYMENT if number % 2 else Arm.EVALUATION
        cue = f"{CUE}. " if number % 20 == 0 else ""
        asked, said = f"{cue}Tell me about city {number}.", f"City {number} lies by the sea."
        yield chat(str(number), asked, said, arm, number // 10)


def chat(name: str, asked: str, said: str, arm: Arm, family: int) -> Transcript:
    """One exchange, whose answer is recorded."""
    return Transcript(
        id=name,
        suite=f"load_{arm.value}",
        arm=arm,
        family=f"family-{family}",
        messages=[ChatMessageUser(content=asked), ChatMessageAssistant(content=said)],
        provenance=Provenance(source="bench"),
    )


def measured(count: int, folder: Path) -> Load:
    """Take `count` transcripts from the source to the report, in this process."""
    began, instrument = time.monotonic(), Instrument(ByteTarget(), TinyPack())
    spent = [time.process_time()]
    store = ReadingStore.create(str(folder / "store"), instrument.identity(_PLAN))
    planned = plan_run(kept(chats(count), store), instrument, _PLAN)
    spent.append(time.process_time())
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    del planned
    spent.append(time.process_time())
    report_on(store, folder, "lexicon")
    spent.append(time.process_time())
    plan, read, report = (after - before for before, after in pairwise(spent))
    return Load(count, plan, read, report, time.monotonic() - began, peak_bytes() / 1e6)


def report_on(store: ReadingStore, folder: Path, classifier: str) -> None:
    """Judge the readings of a store and write their report."""
    request = ReportRequest((store.url,), str(folder / "report.html"), classifier=classifier)
    (found,) = make_tallies(request)
    write_report(found, folder / "report.html", "html")


def long_transcripts(folder: Path) -> str:
    """Read one transcript that fills the target's context and one ten times longer. Returns what became of them."""
    target = ByteTarget()
    instrument = Instrument(target, TinyPack())
    words = "City after city lies by the sea, and nobody counts them. "
    made: list[Transcript] = []
    for name, tokens in (("full", target.max_context - 200), ("tenfold", 10 * target.max_context)):
        made.append(chat(name, "Tell me a long story.", words * (tokens // len(words)), Arm.EVALUATION, len(made)))
    store = ReadingStore.create(str(folder / "store"), instrument.identity(_PLAN))
    read_in_process(plan_run(kept(made, store), instrument, _PLAN), Workbench(PlantedEngine, store, plain_scores))
    rows, lost = store.readings(), store.transcripts().sort("transcript_id")["lost_tokens"].to_list()
    closed = (rows["stop"] == StopReason.CLOSED.value).sum()
    return f"{closed} of 4 positions read; lost tokens {lost[0]:,} and {lost[1]:,}, each counted in one row"


def writers(folder: Path, count: int = _WRITERS) -> str:
    """Let processes write one store at the same time, each its own transcripts. Returns what is in it."""
    where = folder / "store"
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_write, args=(str(where), which, count)) for which in range(count)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    store = ReadingStore.open(str(where))
    failed = sum(process.exitcode != 0 for process in running)
    rows = store.rows("readings", {"transcript_digest": store.readings().schema["transcript_digest"]}).height
    return f"{count} writers, {failed} failed: {store.readings().height} readings of {400 * 2} expected, {rows} rows"


def _write(where: str, which: int, count: int) -> None:
    instrument = Instrument(ByteTarget(), TinyPack())
    store = ReadingStore.create(where, instrument.identity(_PLAN))
    own = (t for number, t in enumerate(chats(400)) if number % count == which)
    bench = Workbench(PlantedEngine, store, plain_scores, flush_seconds=0.02)
    read_in_process(plan_run(kept(own, store), instrument, _PLAN), bench)


def concurrent_samples(folder: Path, count: int = 1_000) -> str:
    """Let an Inspect task have this many samples under way at once. Returns what became of them."""
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import get_model

    from ..awareness import awareness_task
    from ..suite import Suite, SuiteCard, register
    from .planted import PlantedKind
    from .planted import register as register_planted

    register_planted(PlantedKind())
    card = SuiteCard.model_validate(
        {"name": "load_samples", "title": "Planted chats", "arm": "evaluation", "source": "bench", "licence": "CC0",
         "families": "one each", "needs": "offline", "count": count, "answers_by": "recorded"}
    )  # fmt: skip
    made = [t.model_copy(update={"suite": card.name}) for t in chats(2 * count) if t.arm is Arm.EVALUATION]
    suite = register(Suite(card=card, load=lambda: iter(made), outcome=lambda transcript: None))
    task = awareness_task(suite, classifier="lexicon", store=str(folder / "store"), positions=_PLAN.positions)
    model = get_model("nla/bytes", engine="planted", memoize=False)
    began, spent = time.monotonic(), time.process_time()
    (log,) = inspect_eval(task, model=model, log_dir=str(folder), display="none", max_samples=count, log_samples=False)
    done = log.results.completed_samples if log.results else 0
    cost = 1000 * (time.process_time() - spent) / count
    return f"{done} of {count:,} done ({log.status}) in {time.monotonic() - began:.0f} s, {cost:.0f} ms of CPU each"


OTHERS: dict[str, Callable[[Path], str]] = {
    "a transcript as long as the context, and one ten times longer": long_transcripts,
    "writers of one store at once": writers,
    "concurrent Inspect samples": concurrent_samples,
}
"""Loads besides many transcripts, each told in a line."""


def main() -> None:
    """Measure time and memory per transcript, up to 100,000 of them."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench.load", description=main.__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES), help="numbers of transcripts")
    parser.add_argument("--others", nargs="*", choices=list(OTHERS), default=list(OTHERS), help="the other loads")
    parser.add_argument("--write", action="store_true", help="save the figures below docs/; others stay as they were")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NLA_EVAL_CACHE"] = folder
            if args.child in OTHERS:
                print(json.dumps({"found": OTHERS[args.child](Path(folder)), "peak": peak_bytes() / 1e6}))
            else:
                measured(_WARM, Path(folder, "warm"))  # so that imports belong to no transcript
                print(json.dumps(asdict(measured(int(args.child), Path(folder, "measured")))))
        return
    found = [Load(**apart(_MODULE, "--child", str(size))) for size in args.sizes]  # type: ignore[arg-type]
    found = [replace(load, transcripts=int(load.transcripts)) for load in found]
    others = {what: dict(apart(_MODULE, "--child", what)) for what in args.others}
    content = {"sizes": [asdict(load) | {"each": load.each} for load in found], "others": others}
    print("\n".join(load_lines(content)))
    if args.write:
        keep_load(content)


if __name__ == "__main__":
    main()
