"""The pipeline in one process: takes a planned run through capture, verbalize and score, and stores the readings.

Readings in the store are not made again, so a run can be stopped at any moment and resumed, with the same result. This
module knows nothing of suites, rubrics or Inspect."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice

import anyio

from ..engines.base import Engine
from ..judging.panel import side_by_side
from ..models.scores import Scorer
from ..progress import Meter, Progress, silent
from ..readings import LANES, Lane, Reading, Score
from ..store.conversations import TRANSCRIPTS_PER_PART
from ..store.flush import flushed
from ..store.store import ReadingStore
from .driver import Driver
from .driver import Scores as Scores
from .lanes import ControlLanes, Site
from .plan import PlannedRun, Prepared
from .readers import (
    NONE,
    Readers,
    asked_scores,
    expect_same_readers,
    score_keys,
    text_drafts,
    unscored,
    vector_scores,
    written_readings,
)
from .rescoring import lacking_scores, with_injected
from .stages import (
    Drawn,
    Scoring,
    ShuffleReference,
    captured_stream,
    drawn_stream,
    rescore_stage,
    score_stage,
)
from .stopping import Stopping, stopping
from .stored import Activations, by_site, stored_activations

_log = logging.getLogger(__name__)
_CHUNK = 4096
_ROWS_PER_PART = 1024
_TEXTS_PER_PART = 256
"""Texts written without an activation go to the store in parts of this many."""


@dataclass(frozen=True)
class Workbench:
    """Engine, store and scorer of a run."""

    load_engine: Callable[[], Engine]
    """Called at most once, when something is left to capture or draw. A finished store loads no weights."""
    store: ReadingStore
    scorer: Scorer
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Facts about this run besides package versions: command, device, dtype."""
    readers: Readers = NONE
    """What reads the lanes that the verbalizer does not."""
    flush_seconds: float = 20.0
    """Readings are written at least this often, so a killed run loses at most this much drawing."""


@dataclass(frozen=True)
class Spent:
    """Time a run spent, by stage."""

    load_seconds: float = 0.0
    """Loading weights and running the self-test."""
    captured_tokens: int = 0
    capture_seconds: float = 0.0
    drawn: int = 0
    """Number of readings drawn, and scored if scores were requested."""
    draw_seconds: float = 0.0


@dataclass(frozen=True)
class ReadResult:
    """Result of one run."""

    made: int
    """Number of readings appended, with any stop reason."""
    present: int
    """Number of planned readings that were already in the store."""
    stops: Mapping[str, int]
    """Number of appended readings by stop reason."""
    donor_levels: Mapping[str, int]
    """Number of slots by match level of their donor; empty without a donor lane or if nothing was made."""
    rescored: int = 0
    """Number of stored readings that got their missing AR scores."""
    unscorable: int = 0
    """Number of readings that still lack scores: their stand-in has changed, or the AR's vector is not finite."""
    scored: int = 0
    """Number of scores of lanes without texts that were appended."""
    spent: Spent = field(default_factory=Spent)
    absent: tuple[Lane, ...] = ()
    """Requested lanes that were not read, because no transcript of the deployment arm was."""


def read_in_process(
    run: PlannedRun,
    bench: Workbench,
    progress: Progress = silent,
    *,
    retry_errors: bool = False,
    scores: Scores = Scores.NEW,
) -> ReadResult:
    """Make every planned reading that the store does not hold.

    Activations are captured in batches across transcripts, up to a token budget, and stored. Explanations are drawn in
    large batches over all pending readings of all transcripts. A run can be stopped at any moment and resumed, with the
    same result. Ctrl-C and SIGTERM raise `stopping.Stopped`, a KeyboardInterrupt; what is captured and drawn is stored
    first.

    Args:
        run: The planned run.
        bench: Engine, store and scorer.
        progress: Receives progress events of each stage.
        retry_errors: Read again the readings stored as ERROR.
        scores: Which readings the AR scores.

    Raises:
        StoreError: The store belongs to another plan, or cannot be written.
        PackError: The engine's weights do not match the pack.
    """
    with stopping() as stop:
        return _InProcess(run, bench, progress, retry_errors, scores, stop).result()


class _InProcess:
    """One call of `read_in_process`: forms the batches and holds the activations they need."""

    def __init__(
        self,
        run: PlannedRun,
        bench: Workbench,
        progress: Progress,
        retry_errors: bool,
        scores: Scores,
        stop: Stopping,
    ) -> None:
        self.run, self.bench, self.progress, self.scores, self.stop = run, bench, progress, scores, stop
        self.store, self.identity = bench.store, run.identity
        expect_same_readers(self.store, bench.readers)
        present = self.store.keys(errors=not retry_errors)
        self.scored = score_keys(self.store, errors=not retry_errors)
        repeated, facts = len(run.duplicates), {**bench.provenance, **bench.readers.facts()}
        self.driver = Driver(run.plan, run.identity, bench.store, present, facts, scores, repeated)
        self.activations: Activations = {}
        self.unscorable = 0
        self.spent = Spent()

    @cached_property
    def engine(self) -> Engine:
        began = time.monotonic()
        engine = self.bench.load_engine()
        self.spent = replace(self.spent, load_seconds=time.monotonic() - began)
        _log.info("weights loaded and tested in %.1f s", self.spent.load_seconds)
        return engine

    def result(self) -> ReadResult:
        driver = self.driver
        driver.enter(self.run.prepared)
        readable = self.run.readable(driver.present)
        planned = sum(len(self.run.keys(p)) for p in readable)
        missing = Counter(LANES[slot.lane].verbalized for p in readable for slot in driver.pending(p))
        to_draw, present = missing[True], planned - missing.total()
        lacking = self._lacking(readable) if self.scores is Scores.MISSING else []
        _log.info(
            "store '%s': %d of %d planned readings are there; to draw: %d, to score: %d",
            self.store.url, present, planned, to_draw, len(lacking),
        )  # fmt: skip
        self._ask(readable)
        if to_draw or lacking or unscored(readable, self.bench.readers, self.scored):
            readable = self._load_activations(readable)
            sites = [site for p in readable for site in p.sites]
            controls = ControlLanes(sites, self.activations, self.run.plan.seed)
            scoring = Scoring(self.bench.scorer, self._reference(sites))
            self._draw(readable, controls, scoring, to_draw)
            self._rescore(lacking, sites, controls, scoring)
            self._score_vectors(readable)
        if missing[False]:
            self._write(readable)
        driver.finish()
        return ReadResult(
            made=sum(driver.stops.values()),
            present=present,
            stops=dict(driver.stops),
            donor_levels=dict(driver.levels),
            rescored=driver.rescored,
            unscorable=self.unscorable,
            scored=driver.scored,
            spent=self.spent,
        )

    def _lacking(self, readable: Sequence[Prepared]) -> list[Reading]:
        return lacking_scores(self.store, {key for p in readable for key in self.run.keys(p)})

    def _load_activations(self, readable: Sequence[Prepared]) -> list[Prepared]:
        """Fill `activations` from the store and the engine. Returns the transcripts that could be captured."""
        self.activations.update(stored_activations(self.store, {p.digest for p in readable}))
        missing = [p for p in readable if any((p.digest, int(at)) not in self.activations for at in p.positions)]
        _log.info("activations in the store: %d; transcripts to capture: %d", len(self.activations), len(missing))
        lost = self._capture(missing)
        return [p for p in readable if p.digest not in lost]

    def _capture(self, missing: Sequence[Prepared]) -> set[str]:
        """Capture and store `missing`. Returns the digests of transcripts that failed; these get an ERROR row."""
        if not missing:
            return set()
        from ..engines.fitting import release_memory

        of, engine, began = {p.digest: p for p in missing}, self.engine, time.monotonic()
        meter = Meter(self.progress, "capture", len(missing), "transcripts")
        failed: set[str] = set()
        tokens = 0
        stream = self.stop.until(captured_stream(engine, (p.request for p in missing)))
        with self.stop.at_the_next_result():
            for batch in flushed(stream, TRANSCRIPTS_PER_PART, self.bench.flush_seconds):
                captures = [(of[captured.key], captured) for captured in batch]
                kept = self.driver.keep(captures)
                for digest, stored in kept.activations.items():
                    self.activations.update(by_site(digest, stored))
                failed |= kept.failed.keys()
                tokens += sum(0 if captured.recorded else len(prepared.token_ids) for prepared, captured in captures)
                meter.advance(len(batch))
        release_memory()
        self.spent = replace(self.spent, captured_tokens=tokens, capture_seconds=time.monotonic() - began)
        return failed

    def _reference(self, sites: Sequence[Site]) -> ShuffleReference | None:
        return ShuffleReference.of([self.activations[s.key] for s in _sorted(sites) if s.key in self.activations])

    def _draw(self, captured: Sequence[Prepared], controls: ControlLanes, scoring: Scoring, pending: int) -> None:
        if not pending:
            return
        from ..engines.fitting import release_memory

        self.driver.match(captured, controls.match_levels)
        drafts = (draft for p in captured for draft in self.driver.drafts(p, controls))
        meter = Meter(self.progress, "verbalize", pending, "readings")
        engine, began = self.engine, time.monotonic()
        while chunk := list(islice(drafts, _CHUNK)):
            stream = self.stop.until(_metered(drawn_stream(engine, chunk, self.identity), meter))
            with self.stop.at_the_next_result():
                for batch in flushed(stream, _ROWS_PER_PART, self.bench.flush_seconds):
                    wanted = None if self.scores is Scores.NONE else scoring
                    self.driver.append(score_stage(engine, batch, self.identity, wanted))
        release_memory()
        self.spent = replace(self.spent, drawn=pending, draw_seconds=time.monotonic() - began)

    def _ask(self, readable: Sequence[Prepared]) -> None:
        """Ask the target after every transcript that it has not been asked after, before other weights are loaded."""
        readers = self.bench.readers
        if readers.ask is None:
            return
        meter = Meter(self.progress, "ask", len(readable), "transcripts")
        for start in range(0, len(readable), TRANSCRIPTS_PER_PART):
            some = readable[start : start + TRANSCRIPTS_PER_PART]
            self._keep_scores(anyio.run(partial(asked_scores, some, readers, self.scored)))
            meter.advance(len(some))
        readers.done()

    def _score_vectors(self, captured: Sequence[Prepared]) -> None:
        """Scores of the activations, in the lanes that have a reader of them."""
        readers = self.bench.readers
        if not readers.vectors:
            return
        meter = Meter(self.progress, "score", len(captured), "transcripts")
        for start in range(0, len(captured), TRANSCRIPTS_PER_PART):
            some = captured[start : start + TRANSCRIPTS_PER_PART]
            # Asked for together, so that a reader with weights forms batches across transcripts.
            asked = [partial(vector_scores, p, self.activations, readers, self.scored) for p in some]
            made = anyio.run(side_by_side, asked)
            self._keep_scores([score for of_one in made for score in of_one])
            meter.advance(len(some))

    def _keep_scores(self, scores: Sequence[Score]) -> None:
        self.store.append_scores(scores)
        self.driver.scored += len(scores)

    def _write(self, readable: Sequence[Prepared]) -> None:
        """Write the texts of the lanes without an activation."""
        plan, present = self.run.plan, self.driver.present
        drafts = [(p, draft) for p in readable for draft in text_drafts(p, plan, present)]
        meter = Meter(self.progress, "write", len(drafts), "readings")
        for start in range(0, len(drafts), _TEXTS_PER_PART):
            some = drafts[start : start + _TEXTS_PER_PART]
            self.driver.append(anyio.run(partial(written_readings, some, self.bench.readers, self.identity)))
            meter.advance(len(some))

    def _rescore(
        self, lacking: Sequence[Reading], sites: Sequence[Site], controls: ControlLanes, scoring: Scoring
    ) -> None:
        """Score the explanations of `lacking`. In the store the scored row replaces the row without scores."""
        found = with_injected(lacking, {site.key: site for site in sites}, controls)
        meter = Meter(self.progress, "rescore", len(found), "readings")
        for start in range(0, len(found), _ROWS_PER_PART):
            batch, engine = found[start : start + _ROWS_PER_PART], self.engine
            with self.stop.at_the_next_result():
                scored = [r for r in rescore_stage(engine, batch, scoring) if r.cos is not None]
                self.store.append(scored)
            self.driver.rescored += len(scored)
            meter.advance(len(batch))
        self.unscorable = len(lacking) - self.driver.rescored


def _sorted(sites: Iterable[Site]) -> list[Site]:
    return sorted(sites, key=lambda site: site.key)


def _metered(stream: Iterable[Drawn], meter: Meter) -> Iterator[Drawn]:
    for drawn in stream:
        meter.advance()
        yield drawn
