"""Plans a run before any weights are loaded: replays, positions, lanes and draws, and their number.

In: transcripts, a target's tokenizer and a pack's facts. Out: a `PlannedRun` of `Prepared` transcripts; a transcript
that cannot be prepared has an error. It keeps only the parts of a replay that reading needs, and knows no engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from inspect_ai.model import ChatMessageAssistant
from numpy.typing import NDArray

from ..engines.base import CaptureRequest, Sampling
from ..errors import InputError, MissingExtraError, NlaEvalError, PackError, StoreError
from ..models.model_ids import same_model
from ..models.probe import load_probe
from ..models.setting import Setting
from ..models.trained_on import shared_with
from ..progress import Meter, Progress, silent
from ..readings import LANES, Lane, Needs
from ..replay.positions import channel_tokens, parse_policy, sample_positions
from ..replay.replay import ReplayConfig, replay
from ..replay.types import Channel, Replay
from ..store.rows import ChannelTokens, TranscriptRow
from ..store.store import ReadingKey, StoreIdentity
from ..transcript import Arm, Transcript
from .asked import Questions, questions_of
from .lanes import Site, token_class
from .options import declared
from .presets import PRESETS, Followed, deviations
from .reading_plan import ReadingPlan as ReadingPlan

_CONTEXT_CHARS = 240


class TargetFacts(Protocol):
    """The facts about a target that planning needs."""

    @property
    def tokenizer(self) -> Any:
        """The fast tokenizer with the chat template."""
        ...

    @property
    def hash(self) -> str:
        """Hash that identifies the weights and the tokenizer."""
        ...

    @property
    def max_context(self) -> int:
        """Context length of the target in tokens."""
        ...


class PackFacts(Protocol):
    """The facts about a pack that planning needs."""

    @property
    def id(self) -> str:
        """Name and content hash."""
        ...

    @property
    def layer(self) -> int:
        """K: the pack reads the output of block K."""
        ...

    @property
    def d_model(self) -> int:
        """Width of an activation."""
        ...

    @property
    def min_position(self) -> int:
        """First position the pack can read."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """Token cap of its explanations, unless the plan sets one."""
        ...

    @property
    def text_window(self) -> int:
        """Tokens up to a position that a reader of the text sees."""
        ...

    @property
    def text_only(self) -> Path | None:
        """File of its text_only adapter; None if it has none."""
        ...

    @property
    def setting(self) -> Setting | None:
        """Its setting adapter; None if it has none."""
        ...

    @property
    def training_hashes(self) -> frozenset[str]:
        """Hashes of the families and contents it was trained on; empty if it does not say."""
        ...


@dataclass(frozen=True)
class Instrument:
    """A target's tokenizer and a pack's facts. The engine loads the weights."""

    target: TargetFacts
    pack: PackFacts
    target_name: str = ""
    """The target's name as the user gave it. A log of a model with this name counts as a log of the target."""

    def identity(self, plan: ReadingPlan) -> StoreIdentity:
        """Identity of a store for this instrument's readings under `plan`."""
        shared: dict[str, Any] = {
            name: getattr(plan, name)
            for name, (what, default) in declared(ReadingPlan).items()
            # An option without a field of its own is named only if it differs from its default, because stores made
            # before the option existed do not name it.
            if what.shared and (name in StoreIdentity.model_fields or getattr(plan, name) != default)
        }
        shared["max_new_tokens"] = plan.max_new_tokens or self.pack.max_new_tokens
        pack = self.pack
        return StoreIdentity(pack=pack.id, target=self.target.hash, layer=pack.layer, d_model=pack.d_model, **shared)


def sampling_of(identity: StoreIdentity) -> Sampling:
    """Sampling settings for the explanations of a store."""
    return Sampling(identity.temperature, identity.max_new_tokens)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One transcript ready for capture, or the error that prevents it."""

    row: TranscriptRow
    token_ids: NDArray[np.int32]
    """(T,) up to the last sampled position. Later tokens cannot change the readings."""
    sites: tuple[Site, ...]
    """The sampled positions, ascending."""
    error: str | None = None
    boundaries: tuple[int, ...] = ()
    """Tokens before an answer that lane `setting` reads beside the sampled positions."""
    questions: Questions | None = None
    """What lane `asked` asks after the transcript; None if the lane is not read."""

    @property
    def digest(self) -> str:
        """The transcript's digest."""
        return self.row.transcript_digest

    @property
    def positions(self) -> NDArray[np.int64]:
        """(P,) ascending token indices to capture: sampled positions and boundaries."""
        return np.array(sorted({*(site.position for site in self.sites), *self.boundaries}), dtype=np.int64)

    def keys_of(self, lane: Lane) -> list[tuple[str, int]]:
        """(transcript_digest, position) of what a lane of scores reads. Lane `setting` reads what its adapter was
        taught: tokens of answers, and the boundaries before them."""
        if lane is not Lane.SETTING:
            return [site.key for site in self.sites]
        answers = {site.position for site in self.sites if site.role == "assistant"}
        return [(self.digest, position) for position in sorted({*answers, *self.boundaries})]

    @property
    def request(self) -> CaptureRequest:
        """The capture request for the engine."""
        return CaptureRequest(self.digest, self.token_ids, self.positions)


class Slot(NamedTuple):
    """One planned reading."""

    site: Site
    lane: Lane
    draw: int

    @property
    def key(self) -> ReadingKey:
        """Key of the reading."""
        return self.site.transcript_digest, self.site.position, self.lane.value, self.draw


def slots_of(prepared: Prepared, plan: ReadingPlan, first_draw: int = 0) -> Iterator[Slot]:
    """The planned readings of one transcript, by position, then lane, then draw.

    Args:
        prepared: The transcript.
        plan: The reading plan.
        first_draw: Number of the first draw.
    """
    for site in prepared.sites:
        for lane in plan.lanes_of(prepared.row.arm):
            for draw in plan.draws_of(lane, first_draw):
                yield Slot(site, lane, draw)


@dataclass(frozen=True)
class PlannedRun:
    """Every transcript and position of a run, in a fixed order."""

    plan: ReadingPlan
    """With only the lanes that can be read."""
    identity: StoreIdentity
    prepared: tuple[Prepared, ...]
    duplicates: tuple[str, ...] = ()
    """Ids of transcripts with the same content as an earlier one. Only the earlier one is read, under its suite."""
    absent: tuple[Lane, ...] = ()
    """Requested lanes that cannot be read, because the run has no readable transcript of the deployment arm."""

    def keys(self, prepared: Prepared) -> list[ReadingKey]:
        """Keys of all planned readings of one transcript, in the order of `slots_of`."""
        return [slot.key for slot in slots_of(prepared, self.plan)]

    def describe_readings(self, readable: Sequence[Prepared]) -> str:
        """Number of readings of `readable`, by lane, in one clause."""
        by_lane = Counter[str]()
        for p in readable:
            lanes = self.plan.lanes_of(p.row.arm)
            by_lane.update({lane.value: len(p.sites) * len(self.plan.draws_of(lane)) for lane in lanes})
        positions = sum(len(p.sites) for p in readable)
        each = " + ".join(f"{by_lane[lane]} {lane.value}" for lane in self.plan.lanes if LANES[lane].explained)
        draws = f" x {self.plan.draws} draws" if self.plan.draws > 1 else ""
        scored = [lane.value for lane in self.plan.lanes if not LANES[lane].explained]
        beside = f", and scores of {', '.join(scored)}" if scored else ""
        return f"{positions} positions{draws}: {each} = {by_lane.total()} readings{beside}"

    def readable(self, present: Collection[ReadingKey]) -> list[Prepared]:
        """Transcripts to read: prepared without error and not failed in an earlier run.

        Args:
            present: Keys in the store. The key (digest, -1, "measured", 0) marks a transcript that failed.
        """
        return [p for p in self.prepared if p.error is None and (p.digest, -1, Lane.MEASURED.value, 0) not in present]

    def describe(self) -> str:
        """The cost of the run in one line."""
        readable = [p for p in self.prepared if p.error is None]
        tokens = sum(len(p.token_ids) for p in readable)
        lost = sum(p.row.lost_tokens for p in self.prepared)
        parts = [
            f"{len(readable)} transcripts",
            f"{tokens:,} tokens to capture",
            self.describe_readings(readable),
        ]
        if len(readable) < len(self.prepared):
            parts.append(f"{len(self.prepared) - len(readable)} cannot be read")
        if lost:
            parts.append(f"{lost:,} tokens beyond the context")
        if seen := sum(p.row.trained_on is not None for p in self.prepared):
            parts.append(f"{seen} the pack was trained on, left out of rates")
        if self.duplicates:
            parts.append(f"{len(self.duplicates)} duplicates left out")
        return "; ".join(parts)


def differences(run: PlannedRun, instrument: Instrument) -> list[str]:
    """What a planned run does differently from the protocol of its preset, one clause each."""
    planned = [p.row.planned_positions for p in run.prepared if p.error is None]
    pack = instrument.pack
    followed = Followed(run.plan.plain(), pack.id, planned=planned, min_position=pack.min_position)
    return deviations(PRESETS[run.plan.preset], followed)


class NothingToReadError(InputError):
    """The run has no transcripts."""


def plan_run(
    transcripts: Iterable[Transcript], instrument: Instrument, plan: ReadingPlan, progress: Progress = silent
) -> PlannedRun:
    """Replay `transcripts` and choose their positions, one transcript at a time. Only what reading needs is kept.

    Raises:
        NothingToReadError: There are no transcripts.
        InputError: A lane lacks what it needs: donors, a text reader, a probe.
    """
    expect_readers(instrument, plan)
    meter = Meter(progress, "replay", len(transcripts) if isinstance(transcripts, Sized) else None, "transcripts")
    prepared: dict[str, Prepared] = {}
    duplicates: list[str] = []
    for transcript in transcripts:
        if (digest := transcript.digest) in prepared:
            duplicates.append(transcript.id)
        else:
            prepared[digest] = prepare(transcript, instrument, plan)
        meter.advance()
    if not prepared:
        raise NothingToReadError("no transcripts to read; check the source and its filters")
    lend = any(p.sites for p in prepared.values() if p.row.arm == Arm.DEPLOYMENT)
    absent = () if lend else tuple(lane for lane in plan.lanes if LANES[lane].needs is Needs.DONORS)
    readable = replace(plan, lanes=tuple(lane for lane in plan.lanes if lane not in absent))
    return PlannedRun(readable, instrument.identity(plan), tuple(prepared.values()), tuple(duplicates), absent)


def expect_readers(instrument: Instrument, plan: ReadingPlan) -> None:
    """Check that the lanes which the verbalizer does not read have what they need.

    Raises:
        InputError: One line: what a lane lacks and how to get it; or the probe is of another target or layer.
    """
    writes = plan.text_reader is not None or instrument.pack.text_only is not None
    for lane in plan.lanes:
        if LANES[lane].needs is Needs.TEXT_READER and not writes:
            raise InputError(LANES[lane].lacking.format(pack=instrument.pack.id))
        if LANES[lane].needs is Needs.SETTING and instrument.pack.setting is None:
            raise InputError(LANES[lane].lacking.format(pack=instrument.pack.id))
    if plan.probe is not None:
        load_probe(Path(plan.probe)).expect(instrument.target.hash, instrument.pack.layer, instrument.pack.d_model)


def with_setting(plan: ReadingPlan, instrument: Instrument) -> ReadingPlan:
    """`plan` with the setting lane, if its lanes are the default ones and the pack has a setting adapter."""
    if plan.lanes != declared(ReadingPlan)["lanes"][1] or instrument.pack.setting is None:
        return plan
    return replace(plan, lanes=(*plan.lanes, Lane.SETTING))


def prepare(transcript: Transcript, instrument: Instrument, plan: ReadingPlan) -> Prepared:
    """Replay one transcript and choose its positions. A fault of the transcript becomes its `error`."""
    try:
        target = instrument.target
        config = ReplayConfig(max_tokens=target.max_context, window=plan.window)
        replayed = replay(transcript, target.tokenizer, config)
        prepared = prepare_replay(transcript, replayed, instrument, plan)
        if Lane.ASKED not in plan.lanes_of(transcript.arm.value):
            return prepared
        questions = questions_of(transcript, len(replayed), target.tokenizer, target.max_context)
        return replace(prepared, questions=questions)
    except Exception as err:
        if not transcript_fault(err):
            raise
        row = row_of(transcript, None, 0, instrument, plan)
        return Prepared(row, np.empty(0, np.int32), (), fault_line(err))


def prepare_replay(transcript: Transcript, replayed: Replay, instrument: Instrument, plan: ReadingPlan) -> Prepared:
    """Like `prepare`, for a transcript that is already replayed."""
    policy = parse_policy(plan.positions)
    minimum = instrument.pack.min_position
    positions = sample_positions(replayed, policy, seed=plan.seed, min_position=minimum)
    row = row_of(transcript, replayed, len(positions), instrument, plan)
    if not len(positions):
        reason = f"no position to read: {policy} finds none at or after token {minimum} of {len(replayed)}"
        return Prepared(row, replayed.token_ids[:0], (), reason)
    sites = tuple(site_of(row, replayed, int(position)) for position in positions)
    beside = _before_answers(replayed, minimum) if Lane.SETTING in plan.lanes else ()
    end = max(int(positions[-1]), *beside) + 1 if beside else int(positions[-1]) + 1
    return Prepared(row, replayed.token_ids[:end].copy(), sites, boundaries=beside)


def _before_answers(replayed: Replay, minimum: int) -> tuple[int, ...]:
    """The last template token before each assistant message, from token `minimum` on."""
    found = sample_positions(replayed, parse_policy("boundaries"), seed=0, min_position=minimum)
    return tuple(int(at) for at in found if replayed.channel[at] == Channel.TEMPLATE)


def transcript_fault(err: Exception) -> bool:
    """Whether an exception is the fault of one transcript and becomes an ERROR row. Any other exception stops the run.

    Errors of packs, stores, missing packages, memory and devices (OSError, RuntimeError) affect every transcript.
    """
    if isinstance(err, PackError | StoreError | MissingExtraError):
        return False
    return isinstance(err, NlaEvalError | ValueError | TypeError | LookupError | RecursionError)


def fault_line(err: BaseException) -> str:
    """An exception as one line for an ERROR row."""
    text = next(iter(str(err).splitlines()), "")
    return text if isinstance(err, NlaEvalError) else f"{type(err).__name__}: {text}"


def _logged_is_target(transcript: Transcript, instrument: Instrument, plan: ReadingPlan) -> bool:
    return plan.target_is_author or same_model(transcript.provenance.model, instrument.target_name)


def row_of(
    transcript: Transcript, replayed: Replay | None, planned: int, instrument: Instrument, plan: ReadingPlan
) -> TranscriptRow:
    """The store's row about a transcript of which `planned` positions are read; without a replay, it cannot be read."""
    calls = [m.tool_calls or [] for m in transcript.messages if isinstance(m, ChatMessageAssistant)]
    return TranscriptRow(
        transcript_digest=transcript.digest,
        transcript_id=transcript.id,
        suite=transcript.suite,
        arm=transcript.arm.value,
        family=transcript.family,
        variant=transcript.variant,
        outcome=transcript.outcome,
        on_policy=transcript.on_policy,
        planned_positions=planned,
        tokens=len(replayed) if replayed else 0,
        turns=sum(m.role == "user" for m in transcript.messages),
        tool_calls=sum(map(len, calls)),
        lost_tokens=replayed.window.lost_tokens if replayed else 0,
        replay_notes=list(replayed.notes) if replayed else [],
        turn_facts=list(transcript.turn_facts) or None,
        words_by=transcript.provenance.model,
        logged_is_target=_logged_is_target(transcript, instrument, plan),
        run=transcript.metadata.get("run"),
        trained_on=shared_with(instrument.pack.training_hashes, transcript.family, transcript.digest),
        channel_tokens=_strata(replayed, instrument.pack.min_position, plan),
    )


def _strata(replayed: Replay | None, min_position: int, plan: ReadingPlan) -> list[ChannelTokens] | None:
    if replayed is None or parse_policy(plan.positions).name != "stratified":
        return None
    sizes = channel_tokens(replayed, min_position=min_position)
    return [ChannelTokens(channel=channel, tokens=tokens) for channel, tokens in sizes.items()]


def site_of(row: TranscriptRow, replayed: Replay, position: int) -> Site:
    """The site of one token of a replay."""
    start, end = int(replayed.char_start[position]), int(replayed.char_end[position])
    message = int(replayed.message[position])
    token = replayed.text[start:end]
    return Site(
        transcript_digest=row.transcript_digest,
        transcript_id=row.transcript_id,
        suite=row.suite,
        arm=Arm(row.arm),
        family=row.family,
        position=position,
        message=message,
        role=replayed.roles[message] if message >= 0 else "",
        channel=Channel(int(replayed.channel[position])).label,
        turn=int(replayed.turn[position]),
        token=token,
        context=replayed.text[max(0, end - _CONTEXT_CHARS) : end],
        token_class=token_class(token, replayed.text[max(0, start - 1) : start]),
    )
