"""One open transcript: its tokens as a page shows them, and all that was read of it.

In: a transcript, a target's tokenizer and a pack's facts. It holds readings, scores and edits, and knows no engine and
no queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from inspect_ai.model import ChatMessageAssistant
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..errors import InputError
from ..models.scores import normalised
from ..pipeline.lanes import ControlLanes, Site
from ..pipeline.plan import Instrument, Prepared, ReadingPlan, row_of, site_of
from ..pipeline.stages import ShuffleReference
from ..printable import plural
from ..readings import Lane, Reading, Score
from ..replay.replay import ReplayConfig, replay
from ..replay.types import Channel, Replay
from ..transcript import Transcript

_ID = 12
"""Digits of a transcript's digest that name it on the page."""


class Scored(BaseModel):
    """What the AR makes of a text at a token."""

    model_config = ConfigDict(frozen=True)

    position: int
    text: str
    of: str
    """Which text it is: "edit", or "empty" for a text without words, the bottom of the scale."""
    lane: Lane | None = None
    draw: int | None = None
    """The explanation that was edited."""
    cos: float
    fve_nrm: float
    fve_meannorm: float
    matched_minus_shuffled: float | None = None
    """Over the other readable tokens of this transcript."""
    rank: int
    """1 if no readable token of this transcript has an activation nearer to the reconstruction."""


@dataclass
class Chat:
    """One open transcript."""

    transcript: Transcript
    replayed: Replay
    prepared: Prepared
    """With every readable token as a site."""
    seed: int
    activations: NDArray[np.float32] | None = None
    """(sites, d_model), once they are captured."""
    readings: dict[tuple[int, Lane, int], Reading] = field(default_factory=dict)
    """By (position, lane, draw)."""
    ranks: dict[tuple[int, Lane, int], int] = field(default_factory=dict)
    scores: dict[tuple[int, Lane], Score] = field(default_factory=dict)
    edits: list[Scored] = field(default_factory=list)
    empty: dict[int, Scored] = field(default_factory=dict)
    """By position: what a text without words scores."""

    @classmethod
    def of(cls, transcript: Transcript, instrument: Instrument, plan: ReadingPlan, most_tokens: int) -> Chat:
        """Replay a transcript. One without an answer is read up to where the target's answer would begin.

        Raises:
            NlaEvalError: The chat template refuses it, or no token in it can be read.
        """
        target, pack = instrument.target, instrument.pack
        answered = any(isinstance(m, ChatMessageAssistant) for m in transcript.messages)
        limit = min(target.max_context, most_tokens)
        config = ReplayConfig(limit, plan.window, add_generation_prompt=not answered)
        replayed = replay(transcript, target.tokenizer, config)
        readable = np.flatnonzero(~replayed.special & (np.arange(len(replayed)) >= pack.min_position))
        if not len(readable):
            raise InputError(
                f"the chat has {plural(len(replayed), 'token')}, and this pack reads from token {pack.min_position} "
                "on; give a longer chat"
            )
        row = row_of(transcript, replayed, len(readable), instrument, plan)
        sites = tuple(site_of(row, replayed, int(position)) for position in readable)
        ids = replayed.token_ids[: int(readable[-1]) + 1].copy()
        return cls(transcript, replayed, Prepared(row, ids, sites), plan.seed)

    @property
    def id(self) -> str:
        """Its name on the page."""
        return self.prepared.digest[:_ID]

    def site(self, position: int) -> Site:
        """The site of a token. Raises InputError if it is none that can be read."""
        if position not in self._index:
            raise InputError(f"token {position} cannot be read: {self._why_not(position)}; choose another")
        return self.prepared.sites[self._index[position]]

    def own(self, position: int) -> NDArray[np.float32]:
        """(d_model,) activation of a readable token, once captured."""
        found: NDArray[np.float32] = self._captured[self._index[position]]
        return found

    @cached_property
    def controls(self) -> ControlLanes:
        """Stand-ins of every lane, made from this transcript's own activations."""
        rows = {site.key: row for site, row in zip(self.prepared.sites, self._captured, strict=True)}
        return ControlLanes(self.prepared.sites, rows, self.seed)

    @cached_property
    def reference(self) -> ShuffleReference | None:
        """All readable tokens of the transcript, with which a reconstruction is compared."""
        return ShuffleReference.of(list(self._captured))

    def rank(self, reconstructed: NDArray[np.float32], position: int) -> int:
        """Place of a token's own activation among all readable tokens, by cosine with a reconstruction (d_model,)."""
        cosines = self._units @ normalised(reconstructed[None])[0]
        return 1 + int((cosines > cosines[self._index[position]]).sum())

    def next_draw(self, position: int, lane: Lane) -> int:
        """Number of the next draw in a lane."""
        return 1 + max((d for p, of, d in self.readings if (p, of) == (position, lane)), default=-1)

    def title(self) -> dict[str, Any]:
        """Its entry in the page's list."""
        return {"id": self.id, "name": self.transcript.id, "tokens": len(self.replayed), "read": len(self._read)}

    def shown(self) -> dict[str, Any]:
        """The whole of it for the page."""
        return {
            **self.title(),
            "notice": self._notice(),
            "from": min(self._index),
            "captured": self.activations is not None,
            "messages": [
                {"role": self.replayed.roles[m] if m >= 0 else "", "index": m, "runs": self._runs(list(positions))}
                for m, positions in groupby(range(len(self.replayed)), key=lambda p: int(self.replayed.message[p]))
            ],
            "readings": [self.entry(key) for key in self.readings],
            "scores": [score.model_dump(mode="json") for score in self.scores.values()],
            "edits": [edit.model_dump(mode="json") for edit in (*self.empty.values(), *self.edits)],
        }

    def entry(self, key: tuple[int, Lane, int]) -> dict[str, Any]:
        """One reading for the page."""
        return {**self.readings[key].model_dump(mode="json", exclude={"context"}), "rank": self.ranks.get(key)}

    def exported(self) -> dict[str, Any]:
        """Everything read of it, as data."""
        return {
            "transcript": self.transcript.model_dump(mode="json", exclude_none=True),
            "digest": self.prepared.digest,
            "tokens": len(self.replayed),
            "lost_tokens": self.replayed.window.lost_tokens,
            "replay_notes": list(self.replayed.notes),
            "readings": [
                {**self.readings[key].model_dump(mode="json"), "rank": self.ranks.get(key)}
                for key in sorted(self.readings)
            ],
            "scores": [self.scores[key].model_dump(mode="json") for key in sorted(self.scores)],
            "edits": [edit.model_dump(mode="json") for edit in (*self.empty.values(), *self.edits)],
        }

    @cached_property
    def _index(self) -> dict[int, int]:
        return {site.position: index for index, site in enumerate(self.prepared.sites)}

    @property
    def _captured(self) -> NDArray[np.float32]:
        if self.activations is None:
            raise RuntimeError("the activations are not captured yet")
        return self.activations

    @cached_property
    def _units(self) -> NDArray[np.float64]:
        return normalised(self._captured)

    @property
    def _read(self) -> set[int]:
        return {position for position, _, _ in self.readings}

    def _why_not(self, position: int) -> str:
        if not 0 <= position < len(self.replayed):
            return f"the chat has {plural(len(self.replayed), 'token')}"
        if self.replayed.special[position]:
            return "it is a special token of the chat template"
        return f"this pack reads from token {min(self._index)} on"

    def _notice(self) -> str:
        window = self.replayed.window
        if not window.lost_tokens:
            return ""
        kept = "its opening and its last turns" if "cut_to_tail" in self.replayed.notes else "its beginning"
        return (
            f"This chat has {window.total_tokens:,} tokens; {window.kept_tokens:,} are read, {kept}. "
            f"{window.lost_tokens:,} tokens are left out."
        )

    def _runs(self, positions: list[int]) -> list[dict[str, Any]]:
        """Tokens of one message, in runs of one channel. A token is [position, text, whether it can be read]."""
        replayed, made = self.replayed, []
        for channel, run in groupby(positions, key=lambda p: int(replayed.channel[p])):
            tokens = [[p, self._text(p), int(p in self._index)] for p in run]
            made.append({"channel": Channel(channel).label, "tokens": tokens})
        return made

    def _text(self, position: int) -> str:
        """The characters that a token adds. Tokens that share a character are one piece: the first has it."""
        start, end = (int(of[position]) for of in (self.replayed.char_start, self.replayed.char_end))
        before = int(self.replayed.char_end[position - 1]) if position else 0
        return self.replayed.text[max(start, before) : end]
