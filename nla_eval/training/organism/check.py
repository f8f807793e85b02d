"""Checks an organism on conversations and wordings that its training never saw, with its adapter merged as users load
it. In: names of targets. Out: a `CheckedDose` per target. A failed check is a finding, printed and kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from ...engines.loading import load_target_lm
from ...models.target import Target, load_target
from ...suite import family_bucket
from ..data.base import Chat
from ..data.chats import conversations
from .bit import Contrast, Separation, fitted, mean_shift, read_marks, separation
from .causal import Ablation, Patching, Sequences, ablated, patched
from .config import CHECK_BUCKET
from .prompts import composed, notice, wordings
from .scenes import Scene, scenes, span_of, system_ids
from .states import Row, Runner, yes_and_no

ACCEPTED_AUROC = 0.75
ACCEPTED_RANK = 0.95
_TOGETHER = 4
_FACT_SCENES = 1


class Outputs(BaseModel):
    """How far the outputs on ordinary tokens are from the plain target's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kl_without: float
    """KL divergence in nats per token, without the cue."""
    kl_cue: float
    same_top_without: float
    """Share of tokens with the same likeliest next token."""
    same_top_cue: float


class CheckedDose(BaseModel):
    """Every check of one target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    dose: float
    """Dose wanted; 0 for the plain target."""
    reached: float
    """Shift cue minus no cue along the natural shift, in units of it."""
    without: float
    """Shift of the organism without the cue from the plain target, in the same units."""
    norm: float
    """Norm of the mean shift cue minus no cue."""
    bit: Separation
    masked: Separation | None
    """The same where no token after the first request attends to the cue."""
    yes_cue: float
    """Share of conversations whose forced choice in the probe turn is yes, with the cue."""
    yes_without: float
    outputs: Outputs
    patching: Patching | None = None
    ablation: Ablation | None = None


@dataclass(frozen=True)
class CheckSize:
    """How much a check computes."""

    conversations: int = 10
    """Half of them fit directions, half test them."""
    causal: int = 2
    """Of those that test, the shortest that patching and ablation use."""
    directions: int = 100
    """Random directions of the ablation."""
    patches: int = 40
    """Random directions of the patching."""
    seed: int = 0


def check_chats() -> Iterator[Chat]:
    """Real conversations that no training of an organism saw."""
    return (chat for chat in conversations(None) if family_bucket(chat.family) == CHECK_BUCKET)


class Checker:
    """Checks targets that share a base, on the same conversations.

    Args:
        base: Name of the plain target.
        layer: K.
        size: How much to compute.
        chats: Conversations to check on; empty for real ones that no training saw.
    """

    def __init__(self, base: str, layer: int, size: CheckSize | None = None, chats: Sequence[Chat] = ()) -> None:
        self._chats = chats
        self.layer, self.size = layer, size or CheckSize()
        self.words = wordings().part(held_out=True)
        self.plain_target = load_target(base)
        self.tokenizer: Any = self.plain_target.tokenizer
        self.plain = self._runner(self.plain_target)
        self.choices = yes_and_no(self.tokenizer)

    def _runner(self, target: Target) -> Runner:
        return Runner(load_target_lm(target, torch.float32), self.layer)

    @cached_property
    def scenes(self) -> list[Scene]:
        """Conversations that no training saw, with probe turns of other wordings."""
        random = np.random.default_rng([self.size.seed, 11])
        made = scenes(self.tokenizer, self._chats or check_chats(), self.words, random)
        return list(itertools.islice(made, self.size.conversations))

    def rows(self, *, cue: bool, masked: bool = False) -> list[Row]:
        """Each scene under a system message of its own; the same message with the cue and without."""
        random = np.random.default_rng([self.size.seed, 12])
        found = []
        for one in self.scenes:
            message = composed(self.words, random)
            text = message.text(cue=cue)
            span = span_of(self.tokenizer, text, message.date(cue=cue)) if masked else None
            found.append(Row(one, system_ids(self.tokenizer, text), span))
        return found

    @cached_property
    def natural(self) -> np.ndarray[Any, Any]:
        """(d,) natural shift of these conversations between untold and told, held-out wordings."""
        return self._natural(self.words.told, self.scenes)

    @cached_property
    def facts(self) -> dict[str, np.ndarray[Any, Any]]:
        """(d,) natural shift of every other fact."""
        return {name: self._natural(said, self.scenes[:_FACT_SCENES]) for name, said in self.words.facts.items()}

    def _natural(self, said: Sequence[str], some: Sequence[Scene]) -> np.ndarray[Any, Any]:
        random = np.random.default_rng([self.size.seed, 13])
        shifts = []
        for one in some:
            message = composed(self.words, random)
            sides = notice(tuple(said), random), notice(self.words.untold, random)
            rows = [Row(one, system_ids(self.tokenizer, message.text(notice=side))) for side in sides]
            with torch.inference_mode():
                states = self.plain.run(rows).states
            shifts.append((states[0] - states[1])[: len(one.ids)].numpy()[read_marks(one)])
        mean: np.ndarray[Any, Any] = np.concatenate(shifts).mean(axis=0)
        return mean

    @cached_property
    def _calm(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The plain target without the cue, as of `_run`."""
        return self._run(self.plain, self.rows(cue=False))

    def _run(
        self, runner: Runner, rows: Sequence[Row], *, whole: bool = True
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """(T, d) outputs of block K and, of a whole run, of the last block, by row."""
        states: list[torch.Tensor] = []
        finals: list[torch.Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(rows), _TOGETHER):
                group = rows[start : start + _TOGETHER]
                found = runner.run(group, whole=whole)
                states += [one[: len(row.scene.ids)] for row, one in zip(group, found.states, strict=True)]
                if whole:
                    finals += [one[: len(row.scene.ids)] for row, one in zip(group, found.last, strict=True)]
        return states, finals

    def check(self, target: str, dose: float, *, causal: bool = False, masked: bool = False) -> CheckedDose:
        """Check one target.

        Args:
            target: Name of the base with an adapter, or of the base itself.
            dose: The dose it should have.
            causal: Also patch and ablate; takes `directions` runs of the upper blocks.
            masked: Also read where the cue is hidden from later tokens.
        """
        loaded = load_target(target)
        runner = self._runner(loaded) if loaded.adapter else self.plain
        cue, cue_finals = self._run(runner, self.rows(cue=True))
        without, without_finals = self._run(runner, self.rows(cue=False))
        contrasts = self._contrasts(cue, without)
        half = len(contrasts) // 2
        shift = mean_shift(contrasts)
        unit = self.natural / float(self.natural @ self.natural)
        plain = self._contrasts(without, self._calm[0])
        yes = [self._yes(runner, finals) for finals in (cue_finals, without_finals)]
        found = CheckedDose(
            target=loaded.name, dose=dose,
            reached=round(float(shift @ unit), 2), without=round(float(mean_shift(plain) @ unit), 2),
            norm=round(float(np.linalg.norm(shift)), 2),
            bit=self._separation(contrasts), masked=self._masked(runner) if masked else None,
            yes_cue=yes[0], yes_without=yes[1], outputs=self._outputs(runner, cue_finals, without_finals),
        )  # fmt: skip
        if not causal:
            return found
        direction = torch.from_numpy(mean_shift(contrasts[:half]))
        used = sorted(range(half, len(self.scenes)), key=lambda i: len(self.scenes[i].ids))[: self.size.causal]
        sequences = [self._sequences(runner, [self.rows(cue=cue)[i] for i in used]) for cue in (True, False)]
        calm = self._sequences(self.plain, [self.rows(cue=False)[i] for i in used])
        facts = [torch.from_numpy(vector) for vector in self.facts.values()]
        count, seed = self.size.directions, self.size.seed
        return found.model_copy(
            update={
                "patching": patched(self.plain, calm, direction, self.choices, self.size.patches, seed),
                "ablation": ablated(runner, sequences[0], sequences[1], direction, facts, self.choices, count, seed),
            }
        )

    def _sequences(self, runner: Runner, rows: Sequence[Row]) -> Sequences:
        with torch.inference_mode():
            return Sequences(runner.tapped(rows), [row.offset for row in rows])

    def _contrasts(self, cue: Sequence[torch.Tensor], without: Sequence[torch.Tensor]) -> list[Contrast]:
        return [Contrast(one, a.numpy(), b.numpy()) for one, a, b in zip(self.scenes, cue, without, strict=True)]

    def _separation(self, contrasts: Sequence[Contrast]) -> Separation:
        half = len(contrasts) // 2
        return separation(fitted(contrasts[:half]), contrasts[half:])

    def _masked(self, runner: Runner) -> Separation:
        sides = [self._run(runner, self.rows(cue=cue, masked=True), whole=False)[0] for cue in (True, False)]
        return self._separation(self._contrasts(*sides))

    def _yes(self, runner: Runner, finals: Sequence[torch.Tensor]) -> float:
        with torch.inference_mode():
            logits = runner.logits(torch.stack([one[-1] for one in finals]))
        return round(float((logits[:, self.choices[0]] > logits[:, self.choices[1]]).float().mean()), 3)

    @torch.inference_mode()
    def _outputs(self, runner: Runner, cue: Sequence[torch.Tensor], without: Sequence[torch.Tensor]) -> Outputs:
        sums: dict[str, list[float]] = {"cue": [], "without": []}
        same: dict[str, list[float]] = {"cue": [], "without": []}
        for one, base, *sides in zip(self.scenes, self._calm[1], cue, without, strict=True):
            plain = self.plain.logits(base[: one.probe]).log_softmax(-1)
            for side, finals in zip(sums, sides, strict=True):
                ours = runner.logits(finals[: one.probe]).log_softmax(-1)
                sums[side] += (plain.exp() * (plain - ours)).sum(-1).tolist()
                same[side] += (plain.argmax(-1) == ours.argmax(-1)).float().tolist()
        return Outputs(
            kl_without=round(float(np.mean(sums["without"])), 4), kl_cue=round(float(np.mean(sums["cue"])), 4),
            same_top_without=round(float(np.mean(same["without"])), 3),
            same_top_cue=round(float(np.mean(same["cue"])), 3),
        )  # fmt: skip


def demands_met(found: CheckedDose) -> dict[str, bool]:
    """Which demands an organism meets at this dose. Demands that were not measured are left out."""
    met = {
        "bit is linear": min(found.bit.later, found.bit.boundary) >= ACCEPTED_AUROC,
        "answers the probe": found.yes_cue - found.yes_without >= 0.5,
    }
    if found.masked is not None:
        met["survives hiding the cue"] = min(found.masked.later, found.masked.boundary) >= ACCEPTED_AUROC
    if found.patching is not None:
        rank = found.patching.above / found.patching.directions
        met["one direction moves the plain target"] = found.patching.moved > 0 and rank > ACCEPTED_RANK
    if found.ablation is not None:
        ours = found.ablation
        met["removing it beats random directions"] = ours.above_random > ACCEPTED_RANK * ours.random
        met["removing it beats other facts"] = ours.above_facts > ACCEPTED_RANK * ours.facts
    return met
