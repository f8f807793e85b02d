"""The whole pipeline: does the time per transcript stay flat from 50 to 800, and what does judging again cost?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import numpy as np
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from ..engines.base import Engine
from ..judging.classify import judge_readings, make_classifier
from ..models.scores import Scorer
from ..pipeline.plan import Instrument, ReadingPlan, plan_run
from ..pipeline.reading import Workbench, read_in_process
from ..readings import Lane
from ..store.conversations import kept
from ..store.store import ReadingStore
from ..transcript import Arm, Provenance, Transcript
from .figures import Figure

COUNTS = (50, 200, 800)
_WORDS = ("river", "stone", "market", "letter", "window", "garden", "engine", "paper", "winter", "music", "harbour")


def chats(count: int, words: int, seed: int = 0) -> list[Transcript]:
    """`count` different one-turn chats of about `words` random words, alternating between the two arms."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        asked, answered = (" ".join(rng.choice(_WORDS, words // 2)) for _ in range(2))
        found.append(
            Transcript(
                id=f"bench-{number}",
                suite="bench",
                arm=Arm.DEPLOYMENT if number % 2 else Arm.EVALUATION,
                family=f"family-{number % 10}",
                messages=[ChatMessageUser(content=f"{number}: {asked}"), ChatMessageAssistant(content=answered)],
                provenance=Provenance(source="bench"),
            )
        )
    return found


def flatness(engine: Engine, instrument: Instrument, scorer: Scorer) -> dict[str, Figure]:
    """Seconds per transcript of the whole pipeline at 50, 200 and 800 chats of four readings each."""
    plan = ReadingPlan("uniform_response(4)", lanes=(Lane.MEASURED,), max_new_tokens=12)
    _timed(engine, instrument, scorer, plan, chats(10, 60))
    each = {n: _timed(engine, instrument, scorer, plan, chats(n, 60)) / n for n in COUNTS}
    how = ", ".join(f"{n}: {1000 * seconds:.0f} ms" for n, seconds in each.items())
    spread = max(each.values()) / min(each.values()) - 1
    return {"pipeline_flatness": Figure(spread, how=f"per transcript at {how}")}


def rejudging(engine: Engine, instrument: Instrument, scorer: Scorer, max_new_tokens: int) -> dict[str, Figure]:
    """Time of judging a store's readings again over the time of the run that made them, both without loading."""
    plan = ReadingPlan("stratified(12)", max_new_tokens=max_new_tokens)
    with tempfile.TemporaryDirectory() as folder:
        store, first = read_into(engine, instrument, scorer, plan, chats(8, 400), Path(folder))
        readings, classifier = store.readings(), make_classifier()
        anyio.run(judge_readings, readings.head(1), classifier)
        began = time.perf_counter()
        anyio.run(judge_readings, readings, classifier)
        again = time.perf_counter() - began
    how = f"{readings.height} readings made in {first:.1f} s, judged again in {again:.2f} s"
    return {"rejudge_fraction": Figure(again / first, how=how)}


def _timed(
    engine: Engine, instrument: Instrument, scorer: Scorer, plan: ReadingPlan, transcripts: list[Transcript]
) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return read_into(engine, instrument, scorer, plan, transcripts, Path(folder))[1]


def read_into(
    engine: Engine, instrument: Instrument, scorer: Scorer, plan: ReadingPlan, texts: Iterable[Transcript], where: Path
) -> tuple[ReadingStore, float]:
    """Take transcripts from the source to a new store. Returns the store and the seconds it took."""
    began = time.perf_counter()
    store = ReadingStore.create(str(where), instrument.identity(plan))
    read_in_process(plan_run(kept(texts, store), instrument, plan), Workbench(lambda: engine, store, scorer))
    return store, time.perf_counter() - began
