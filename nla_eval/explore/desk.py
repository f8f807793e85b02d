"""What one explorer does: opens chats, and gives the engine its jobs: capture, draw, score.

In: a runtime with its weights and a plan. Every job runs in the runtime's one worker thread, after the jobs before it.
An explanation is the one that `nla-eval read` would draw: same key, same seed, same functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np

from ..errors import InputError
from ..models.scores import Vectors
from ..pipeline.asked import questions_of
from ..pipeline.microbatch import BatchError
from ..pipeline.plan import ReadingPlan, expect_readers, fault_line, transcript_fault
from ..pipeline.readers import Readers, asked_scores, readers_for, vector_scores, written_readings
from ..pipeline.runtime import Runtime
from ..pipeline.stages import Draft, Drawn, Scoring, capture_stage, draft_of, drawn_stream, reading_of, score_stage
from ..printable import one_line, plural
from ..provenance import command, versions
from ..readings import LANES, READABLE, Lane, Needs, Reading, Score, StopReason
from .chat import Chat, Scored
from .line import CancelledJobError, Job, Line
from .opening import Opened, open_bytes, open_file, open_pasted

MOST_DRAWS = 8
"""Explanations of one token and lane that one request may ask for."""
MOST_TEXT = 4_000
"""Characters of a text that the AR is asked about."""
_MOST_CHATS = 50
_EMPTY = "empty"
_SCHEMA = "nla_eval.explore/1"
_PICKED = "picked"
"""Stands in readings for the position policy: the tokens are picked by hand, so no rate may be computed of them."""


def offered(runtime: Runtime, probe: str | None) -> tuple[Lane, ...]:
    """The lanes that can be read at a token of a single chat with this pack: no donors, because they come from other
    transcripts; texts only if the pack has its own text reader; a probe only if one is named."""
    lacking = {Needs.DONORS, Needs.PREFIX}
    if runtime.pack.text_only is None:
        lacking.add(Needs.TEXT_READER)
    if probe is None:
        lacking.add(Needs.PROBE)
    if runtime.pack.setting is None:
        lacking.add(Needs.SETTING)
    return tuple(lane for lane in READABLE if LANES[lane].needs not in lacking)


@dataclass
class Desk:
    """One explorer's state."""

    runtime: Runtime
    plan: ReadingPlan
    """With the lanes that are offered."""
    most_tokens: int
    """Tokens of a chat that are read."""
    line: Line = field(default_factory=Line)
    chats: dict[str, Chat] = field(default_factory=dict)
    """By id, what was opened last first. Only the event loop changes them."""
    readers: Readers = field(init=False)

    def __post_init__(self) -> None:
        expect_readers(self.runtime.instrument, self.plan)
        self.readers = readers_for(self.runtime, self.plan)
        identity = self.runtime.instrument.identity(self.plan)
        self.identity = identity.model_copy(update={"positions": _PICKED})

    def about(self) -> dict[str, Any]:
        """What a page needs to know first."""
        pack = self.runtime.pack
        lanes = [
            {"lane": lane.value, "meaning": LANES[lane].meaning, "explained": LANES[lane].explained}
            for lane in self.plan.lanes
        ]
        return {
            "target": self.runtime.target_name,
            "pack": pack.id,
            "layer": pack.layer,
            "lanes": lanes,
            "most_draws": MOST_DRAWS,
            "most_text": MOST_TEXT,
            "chats": [chat.title() for chat in self.chats.values()],
        }

    async def open_pasted(self, text: str) -> dict[str, Any]:
        """Open a pasted chat. Raises NlaEvalError with one line if it is none."""
        return await self._open(partial(open_pasted, text))

    async def open_bytes(self, data: bytes, name: str) -> dict[str, Any]:
        """Open a file that a page sent. Raises NlaEvalError with one line if it holds no usable transcript."""
        return await self._open(partial(open_bytes, data, name))

    async def open_file(self, path: Path) -> dict[str, Any]:
        """Open a file or folder. Raises NlaEvalError with one line if it holds no usable transcript."""
        return await self._open(partial(open_file, path))

    def chat(self, chat_id: str) -> Chat:
        """An open chat. Raises InputError if it is not open."""
        if chat_id not in self.chats:
            raise InputError("this chat is not open; open it again")
        return self.chats[chat_id]

    def capture(self, chat_id: str) -> Job:
        """Queue the capture of a chat, so that the first token that is picked need not wait. Raises InputError."""
        return self.line.join(partial(self._capture, self.chat(chat_id)))

    def read(self, chat_id: str, position: int, lanes: Sequence[str], draws: int) -> Job:
        """Queue the drawing of `draws` further explanations of one token in each of `lanes`.

        Raises:
            InputError: The chat is not open, the token cannot be read, or a lane or number is none that is offered.
        """
        chat = self.chat(chat_id)
        chat.site(position)
        if not 1 <= draws <= MOST_DRAWS:
            raise InputError(f"draws is {draws}; expected 1 to {MOST_DRAWS}")
        wanted = [lane for lane in self.plan.lanes if lane.value in lanes]
        if unknown := sorted(set(lanes) - {lane.value for lane in wanted}):
            raise InputError(f"lane '{unknown[0]}' is not offered here; choose among {', '.join(self.plan.lanes)}")
        if not wanted:
            raise InputError(f"no lane was named; choose among {', '.join(self.plan.lanes)}")
        return self.line.join(partial(self._read, chat, position, wanted, draws))

    def score(self, chat_id: str, position: int, text: str, lane: str, draw: int) -> Job:
        """Queue the AR's score of an edited explanation against one token's activation.

        Raises:
            InputError: The chat is not open, the token cannot be read, there is no such explanation, or the text is too
                long.
        """
        chat = self.chat(chat_id)
        chat.site(position)
        key = next((key for key in chat.readings if (key[0], key[1].value, key[2]) == (position, lane, draw)), None)
        if key is None:
            raise InputError(f"token {position} has no draw {draw} in lane '{lane}' to edit; read it first")
        if len(text) > MOST_TEXT:
            raise InputError(f"the text has {len(text):,} characters; the AR reads {MOST_TEXT:,} at most; shorten it")
        return self.line.join(partial(self._score, chat, key, text))

    def exported(self, chat_id: str) -> dict[str, Any]:
        """Everything read of a chat, with what read it."""
        chat = self.chat(chat_id)
        return {
            "schema": _SCHEMA,
            "instrument": self.identity.model_dump(mode="json"),
            "target_name": self.runtime.target_name,
            "readers": self.readers.facts(),
            "settings": self.runtime.settings.facts(),
            "versions": versions(),
            "command": command(),
            **chat.exported(),
        }

    async def _open(self, found: Callable[[], Opened]) -> dict[str, Any]:
        opened, chats, notes = await anyio.to_thread.run_sync(partial(self._opened, found))
        self.chats = dict(islice(({chat.id: chat for chat in chats} | self.chats).items(), _MOST_CHATS))
        return {"chat": chats[0].id, "opened": len(chats), "notes": [*opened.notes, *notes]}

    def _opened(self, found: Callable[[], Opened]) -> tuple[Opened, list[Chat], list[str]]:
        """Read and replay, off the event loop. Raises the first reason if no transcript can be replayed."""
        opened = found()
        chats, refused = [], []
        for transcript in opened.transcripts:
            try:
                chats.append(Chat.of(transcript, self.runtime.instrument, self.plan, self.most_tokens))
            except Exception as err:
                if not transcript_fault(err):
                    raise
                refused.append(one_line(fault_line(err)))
        if not chats:
            raise InputError(refused[0])
        return opened, chats, [f"{plural(len(refused), 'chat')} cannot be read: {refused[0]}"] if refused else []

    # What follows runs as jobs, one after the other.

    async def _capture(self, chat: Chat, job: Job) -> None:
        if chat.activations is not None:
            return
        job.tell("capturing", tokens=len(chat.prepared.token_ids))
        captured = await self._work(partial(self._captured, chat))
        chat.activations = captured

    def _captured(self, chat: Chat) -> Vectors:
        (found,) = capture_stage(self.runtime.engine, [chat.prepared])
        if found.error is not None:
            raise InputError(f"the target cannot read this chat: {found.error}; give another")
        return found.activations

    async def _read(self, chat: Chat, position: int, lanes: Sequence[Lane], draws: int, job: Job) -> None:
        await self._capture(chat, job)
        job.go_on()
        drafts = [
            draft_of(chat.site(position), lane, draw, chat.controls)
            for lane in lanes
            if LANES[lane].verbalized
            for draw in self._next(chat, position, lane, draws)
        ]
        if drafts:
            await self._work(partial(self._verbalize, chat, drafts, job))
        for lane in lanes:
            job.go_on()
            await self._read_without_vector(chat, position, lane, draws, job)

    def _verbalize(self, chat: Chat, drafts: Sequence[Draft], job: Job) -> None:
        """Draw, tell the words as they come, then score."""

        def heard(draft: Draft, text: str) -> None:
            job.go_on()
            job.tell("words", lane=draft.lane.value, draw=draft.draw, position=draft.site.position, text=text)

        done: list[Drawn] = []
        try:
            for drawn in drawn_stream(self.runtime.engine, drafts, self.identity, heard):
                done.append(drawn)
                job.soon(self._keep, chat, reading_of(drawn, self.identity), None, job)
                job.go_on()
        except CancelledJobError:
            self._scored(chat, done, job)  # what was drawn to its end is kept
            raise
        self._scored(chat, done, job)

    def _scored(self, chat: Chat, done: Sequence[Drawn], job: Job) -> None:
        """Score what was drawn, and rank it among the tokens of the chat if it is of the token's own activation."""
        engine = self.runtime.engine
        readings = score_stage(engine, done, self.identity, Scoring(self.runtime.scorer, chat.reference))
        own = [r for r in readings if r.lane is Lane.MEASURED and r.stop is StopReason.CLOSED]
        vectors = engine.reconstruct([r.explanation for r in own]) if own else ()
        ranks = {_key(r): chat.rank(vector, r.position) for r, vector in zip(own, vectors, strict=True)}
        for reading in readings:
            job.soon(self._keep, chat, reading, ranks.get(_key(reading)), job)

    async def _read_without_vector(self, chat: Chat, position: int, lane: Lane, draws: int, job: Job) -> None:
        """The lanes that the verbalizer does not read."""
        if LANES[lane].needs is Needs.TEXT_READER:
            site = chat.site(position)
            pairs = [(chat.prepared, Draft(site, lane, d, None)) for d in self._next(chat, position, lane, draws)]
            for reading in await written_readings(pairs, self.readers, self.identity):
                self._keep(chat, reading, None, job)
        elif lane in self.readers.vectors:
            self._keep_scores(chat, await self._vector_scores(chat, position, lane), job)
        elif lane is Lane.ASKED:
            self._keep_scores(chat, await self._asked(chat), job)

    async def _vector_scores(self, chat: Chat, position: int, lane: Lane) -> list[Score]:
        """The score of one token in a lane that reads its activation; with the reason if the lane does not read it."""
        site, reader = chat.site(position), self.readers.vectors[lane]
        alone = replace(self.readers, vectors={lane: reader})
        found = await vector_scores(replace(chat.prepared, sites=(site,)), {site.key: chat.own(position)}, alone)
        unread = "this lane does not read such tokens; choose one of an answer"
        return found or [
            Score(transcript_digest=site.transcript_digest, position=position, lane=lane, reader=reader.id, score=None,
                  error=unread)
        ]  # fmt: skip

    async def _asked(self, chat: Chat) -> list[Score]:
        """The target's own answer after the chat, asked once."""
        if known := [score for (_, of), score in chat.scores.items() if of is Lane.ASKED]:
            return known
        target = self.runtime.target
        rendered = partial(questions_of, chat.transcript, len(chat.replayed), target.tokenizer, target.max_context)
        asked = replace(chat.prepared, questions=await self._work(rendered))
        found = await asked_scores([asked], self.readers)
        await self._work(self.readers.done)  # a second copy of the target's weights is not kept
        return found

    async def _score(self, chat: Chat, key: tuple[int, Lane, int], text: str, job: Job) -> None:
        await self._capture(chat, job)
        job.go_on()
        for scored in await self._work(partial(self._reconstructed, chat, key, text)):
            if scored.of == _EMPTY:
                chat.empty[scored.position] = scored
            else:
                chat.edits.append(scored)
            job.tell("scored", **scored.model_dump(mode="json"))

    def _reconstructed(self, chat: Chat, key: tuple[int, Lane, int], text: str) -> list[Scored]:
        """The scores of a text, and once for each token those of a text without words."""
        position, lane, draw = key
        own, reference = chat.own(position)[None], chat.reference
        texts = {"edit": text} if position in chat.empty else {_EMPTY: "", "edit": text}
        made = []
        for of, vector in zip(texts, self.runtime.engine.reconstruct(list(texts.values())), strict=True):
            scores = self.runtime.scorer(vector[None], own)
            beside = None
            if reference is not None:
                (beside,) = reference.matched_minus_shuffled(vector[None], own, np.array([True]))
            made.append(
                Scored(
                    position=position,
                    text=texts[of],
                    of=of,
                    lane=None if of == _EMPTY else lane,
                    draw=None if of == _EMPTY else draw,
                    cos=float(scores.cos[0]),
                    fve_nrm=float(scores.fve_nrm[0]),
                    fve_meannorm=float(scores.fve_meannorm[0]),
                    matched_minus_shuffled=beside,
                    rank=chat.rank(vector, position),
                )
            )
        return made

    async def _work(self, function: Callable[[], Any]) -> Any:
        """Run a function in the worker thread that owns the weights."""
        try:
            return await self.runtime.call("explore", function)
        except BatchError as err:
            raise err.__cause__ or err from None

    @staticmethod
    def _next(chat: Chat, position: int, lane: Lane, draws: int) -> range:
        """Numbers of the next draws. A lane whose draws do not differ has one."""
        first = chat.next_draw(position, lane)
        return range(first, first + draws) if LANES[lane].repeats else range(first, 1)

    @staticmethod
    def _keep(chat: Chat, reading: Reading, rank: int | None, job: Job) -> None:
        chat.readings[_key(reading)] = reading
        if rank is not None:
            chat.ranks[_key(reading)] = rank
        job.tell("reading", **chat.entry(_key(reading)))

    @staticmethod
    def _keep_scores(chat: Chat, scores: Sequence[Score], job: Job) -> None:
        for score in scores:
            chat.scores[score.position, score.lane] = score
            job.tell("score", **score.model_dump(mode="json"))


def _key(reading: Reading) -> tuple[int, Lane, int]:
    return reading.position, reading.lane, reading.draw
