"""The lanes that the verbalizer does not read: texts written from the prefix, scores of the activation (probe, setting
adapter), and the target's own answer.

In: prepared transcripts, and for some lanes their activations. Out: readings of `text_only` and `text_raw`, scores of
`probe`, `setting` and `asked`. `readings.LANES` says what a lane needs, `plan.expect_readers` refuses one without it.
Every way of running a plan calls these functions; only their batches differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.questions import Answered, AskRequest
from ..errors import StoreError
from ..judging.panel import side_by_side
from ..models.probe import Probe, load_probe
from ..models.prompts import av_prompt
from ..models.setting import Setting
from ..readings import LANES, Lane, Reading, Score
from ..store.rows import SCORE_KEY
from ..store.store import ReadingStore, StoreIdentity
from .asked import asked_id, asked_score
from .plan import Prepared, ReadingPlan, sampling_of, slots_of
from .runtime import Runtime
from .stages import Draft, Drawn, reading_of
from .text_readers import AdapterReader, ModelReader, PrefixReader, TextReader, TextRequest

ScoreKey = tuple[str, int, str, str]
"""(transcript_digest, position, lane, reader)."""


class VectorReader(Protocol):
    """Reads activations as scores."""

    @property
    def id(self) -> str:
        """Name and content hash."""
        ...

    async def scores(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) scores of (n, d_model) raw activations."""
        ...


@dataclass(frozen=True)
class ProbeReader:
    """A linear probe."""

    probe: Probe

    @property
    def id(self) -> str:
        """Name and content hash."""
        return self.probe.id

    async def scores(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-odds of told."""
        return self.probe.scores(activations)


@dataclass(frozen=True)
class SettingLaneReader:
    """The pack's setting adapter. Its weights are loaded with the first transcript."""

    setting: Setting
    read: Callable[[NDArray[np.float32]], Awaitable[NDArray[np.float64]]]

    @property
    def id(self) -> str:
        """Name and content hash."""
        return self.setting.id

    async def scores(self, activations: NDArray[np.float32]) -> NDArray[np.float64]:
        """`setting_log_odds`."""
        return await self.read(activations)


@dataclass(frozen=True)
class Readers:
    """What reads these lanes in one run. A lane that is not requested has none."""

    texts: Mapping[Lane, TextReader] = field(default_factory=dict)
    ask: Callable[[AskRequest], Awaitable[Answered]] | None = None
    vectors: Mapping[Lane, VectorReader] = field(default_factory=dict)
    done: Callable[[], None] = lambda: None
    """Frees the weights that `ask` has loaded."""

    def facts(self) -> dict[str, str]:
        """Who read these lanes, for a manifest."""
        names = {f"{lane}_reader": reader.name for lane, reader in self.texts.items()}
        names |= {f"{lane}_reader": reader.id for lane, reader in self.vectors.items()}
        return {**names, "asked_reader": asked_id()} if self.ask is not None else names


NONE = Readers()


def readers_for(runtime: Runtime, plan: ReadingPlan) -> Readers:
    """The readers that `plan` asks for. Weights are loaded when the first text is written or question asked."""
    tokenizer, pack = runtime.target.tokenizer, runtime.pack
    texts: dict[Lane, TextReader] = {}
    if Lane.TEXT_RAW in plan.lanes:
        texts[Lane.TEXT_RAW] = PrefixReader(tokenizer, pack.text_window)
    if Lane.TEXT_ONLY in plan.lanes:
        texts[Lane.TEXT_ONLY] = (
            AdapterReader(
                f"{pack.id}/text_only", pack.text_window, av_prompt(pack.av, tokenizer), tokenizer, runtime.write
            )
            if plan.text_reader is None
            else ModelReader(plan.text_reader, pack.forms, tokenizer, pack.text_window)
        )
    vectors: dict[Lane, VectorReader] = {}
    if plan.probe is not None:
        vectors[Lane.PROBE] = ProbeReader(load_probe(Path(plan.probe)))
    if Lane.SETTING in plan.lanes and pack.setting is not None:
        vectors[Lane.SETTING] = SettingLaneReader(pack.setting, runtime.read_setting)
    return Readers(texts, runtime.ask if Lane.ASKED in plan.lanes else None, vectors, runtime.drop_answerer)


def expect_same_readers(store: ReadingStore, readers: Readers) -> None:
    """Check that the store's texts were written by these readers, because a lane's rows do not mix readers.

    Raises:
        StoreError: Another reader wrote them.
    """
    for name, wrote in sorted(store.text_readers()) if readers.texts else ():
        reader = readers.texts.get(Lane(name))
        if reader is not None and reader.name != wrote:
            raise StoreError(
                f"store '{store.url}' holds {name} texts by '{wrote}', this run's reader is '{reader.name}'; "
                "give a new folder with --out, or the same reader"
            )


def text_drafts(
    prepared: Prepared, plan: ReadingPlan, present: Collection[tuple[str, int, str, int]], first_draw: int = 0
) -> list[Draft]:
    """The missing readings of the text lanes of one transcript.

    Args:
        prepared: A transcript without error.
        plan: Its lanes and draws.
        present: Keys of readings that exist.
        first_draw: Number of the first draw.
    """
    return [
        Draft(slot.site, slot.lane, slot.draw, None)
        for slot in slots_of(prepared, plan, first_draw)
        if LANES[slot.lane].written and slot.key not in present
    ]


async def written_readings(
    drafts: Sequence[tuple[Prepared, Draft]], readers: Readers, identity: StoreIdentity
) -> list[Reading]:
    """The texts of `drafts` as readings, in order of lane. They have no AR score: nothing was injected.

    Args:
        drafts: Each with the transcript that it is of.
        readers: With a reader for every lane of the drafts.
        identity: Temperature, token cap and seed.
    """
    made: list[Reading] = []
    for lane, reader in readers.texts.items():
        own = [(prepared, draft) for prepared, draft in drafts if draft.lane is lane]
        requests = [_request(p, d, reader.window, identity) for p, d in own]
        draws = await reader.write(requests, sampling_of(identity)) if requests else []
        drawn = [Drawn(draft, draw) for (_, draft), draw in zip(own, draws, strict=True)]
        made += [reading_of(each, identity, reader.name) for each in drawn]
    return made


async def vector_scores(
    prepared: Prepared,
    activations: Mapping[tuple[str, int], NDArray[np.float32]],
    readers: Readers,
    present: Collection[ScoreKey] = (),
) -> list[Score]:
    """The missing scores of one transcript's activations, by lane and position. A position without a finite activation
    has an error."""
    rows: list[Score] = []
    for lane, reader in readers.vectors.items():
        keys = [key for key in prepared.keys_of(lane) if (*key, lane.value, reader.id) not in present]
        finite = [key for key in keys if (own := activations.get(key)) is not None and bool(np.isfinite(own).all())]
        read = await reader.scores(np.stack([activations[key] for key in finite])) if finite else np.empty(0)
        found = dict(zip(finite, read.tolist(), strict=True))
        rows += [
            Score(
                transcript_digest=key[0],
                position=key[1],
                lane=lane,
                reader=reader.id,
                score=found.get(key),
                error=None if key in found else "the activation is missing or not finite",
            )
            for key in keys
        ]
    return rows


def unscored(prepared: Iterable[Prepared], readers: Readers, present: Collection[ScoreKey]) -> list[Prepared]:
    """Transcripts that lack scores of their activations."""
    wanted = [(lane, reader.id) for lane, reader in readers.vectors.items()]
    return [
        p
        for p in prepared
        if any((*key, lane.value, of) not in present for lane, of in wanted for key in p.keys_of(lane))
    ]


async def asked_scores(
    prepared: Iterable[Prepared], readers: Readers, present: Collection[ScoreKey] = ()
) -> list[Score]:
    """The missing answers of the target, one score per transcript. A transcript that cannot be asked has an error."""
    ask = readers.ask
    if ask is None:
        return []

    async def one(p: Prepared) -> Score | None:
        if p.questions is None:
            return None
        answered = None if p.questions.request is None else await ask(p.questions.request)
        return asked_score(p.digest, p.questions, answered)

    pending = [
        p
        for p in prepared
        if p.questions is not None and (p.digest, p.questions.position, Lane.ASKED.value, asked_id()) not in present
    ]
    return [score for score in await side_by_side([partial(one, p) for p in pending]) if score is not None]


def score_keys(store: ReadingStore, *, errors: bool = True) -> set[ScoreKey]:
    """Keys of the stored scores. `errors=False` omits rows with an error, so that they are made again."""
    rows = store.scores()
    if not errors:
        rows = rows.filter(rows["score"].is_not_null())
    return set(rows.select(SCORE_KEY).rows())


def _request(prepared: Prepared, draft: Draft, window: int, identity: StoreIdentity) -> TextRequest:
    end = draft.site.position + 1
    return TextRequest(draft.key(identity.pack), prepared.token_ids[max(0, end - window) : end], identity.seed)
