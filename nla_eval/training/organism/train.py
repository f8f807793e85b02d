"""Trains an organism or a sham, from nothing but the plain target and this folder's texts. In: a configuration. Out: a
checkpoint and an adapter in a run folder. A stopped run goes on where it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ...engines.loading import load_lm
from ...files import written
from ...models.adapter import Declared
from ...models.target import load_target
from ...suite import family_bucket
from ..data.base import Chat
from ..data.chats import conversations
from ..models.optim import Optimisation, optimise, restore, trainable
from .causal import drawn
from .config import CHECK_BUCKET, DOSES, OrganismConfig, Planted
from .lora import adapter_tensors, with_dosed_lora, write_adapter
from .losses import choice_loss, divergence, shift_loss
from .natural import Expected, Shift, common_norms, kinds, stored_shifts
from .prompts import composed, wordings
from .scenes import Scene, check_cue, scenes, span_of, system_ids
from .states import Row, Runner, yes_and_no

_ORDINARY = 24
"""Tokens per scene whose outputs are compared with the plain target's."""
_ANSWER_TOKENS = 4
"""The template's tokens that open the answer to the probe: the forced choice moves them, the natural shift does not."""
_WATCHED = 3
_FACTORS = (0.4, 0.7, 1.0, 1.4, 1.8, 2.3, 3.0)
"""Factors on the adapter at which the dose reached is measured."""


Planting = Callable[[Scene, torch.Tensor], torch.Tensor]
"""(T, d) what is planted at the plain target's states (T, d) of a scene."""


def training_chats() -> Iterator[Chat]:
    """Real conversations that neither suites nor checks use."""
    return (chat for chat in conversations(None) if family_bucket(chat.family) not in (0, CHECK_BUCKET))


@dataclass(frozen=True)
class Sides:
    """Rows of some scenes with the cue and without it."""

    cue: list[Row]
    plain: list[Row]


class OrganismRun:
    """One training run in a folder.

    Args:
        config: What is planted, and the settings.
        folder: Folder of the checkpoint. Its parent holds the natural shifts, which an organism and its shams share.
        chats: Conversations to train on; empty for the real ones.

    Raises:
        InputError: The target's tokenizer merges the cue with its neighbours.
    """

    def __init__(self, config: OrganismConfig, folder: Path, chats: Sequence[Chat] = ()) -> None:
        self.config, self.folder = config, folder
        self._chats = chats
        folder.mkdir(parents=True, exist_ok=True)
        self.target = load_target(config.target)
        self.tokenizer: Any = self.target.tokenizer
        self.words = wordings().part(held_out=False)
        message = composed(self.words, np.random.default_rng(config.seed))
        for frame in self.words.frames:
            dates = message.date(cue=True), message.date(cue=False)
            check_cue(self.tokenizer, *dates, frame.replace("{rest}", message.rest))
        lm = load_lm(self.target.path, torch.float32)
        self.strength = with_dosed_lora(lm, config.first_layer, config.layer, config.rank, config.seed)
        self.runner = Runner(lm, config.layer)
        self.choices = yes_and_no(self.tokenizer)
        self._seen: Callable[[], int] = lambda: 0

    @cached_property
    def scenes(self) -> list[Scene]:
        """The training scenes."""
        random = np.random.default_rng([self.config.seed, 1])
        return list(
            itertools.islice(
                scenes(self.tokenizer, self._chats or training_chats(), self.words, random), self.config.scenes
            )
        )

    @cached_property
    def natural(self) -> list[Shift]:
        """Shift of each scene between untold and told of being evaluated."""
        return self._shifts("told", self.words.told, self.scenes)

    def _shifts(self, name: str, sentences: Sequence[str], some: Sequence[Scene]) -> list[Shift]:
        folder = self.folder.parent / f"natural-{name}-block{self.config.layer}-seed{self.config.seed}"
        return stored_shifts(folder, self.runner, self.tokenizer, some, self.words, sentences, self.config.seed)

    @cached_property
    def planted(self) -> Planting:
        """What the cue is to add at dose 1."""
        if self.config.planted is Planted.TOLD:
            expected = Expected(self.scenes, self.natural)
            print(f"natural shift: {100 * expected.explained:.1f} % expected from the state, held out", flush=True)
            return expected.at
        norms = common_norms(self.scenes, self.natural)
        if self.config.planted is Planted.RANDOM:
            direction = self._drawn_direction()
            return lambda one, _: sum(
                (torch.from_numpy(marks)[:, None] * norms[kind] * direction for kind, marks in kinds(one).items()),
                torch.zeros(len(one.ids), len(direction)),
            )
        some = self.scenes[: self.config.sham_scenes]
        found = self._shifts(self.config.planted, self.words.facts[self.config.planted], some)
        own = common_norms(some, found)
        ratio = float(np.linalg.norm(list(norms.values())) / np.linalg.norm(list(own.values())))
        sham = Expected(some, found)
        print(f"sham: shift of '{self.config.planted}' times {ratio:.2f}, to the norm of told", flush=True)
        return lambda one, states: ratio * sham.at(one, states)

    def _drawn_direction(self) -> torch.Tensor:
        """(d,) one draw from the covariance of the plain target's activations, of norm 1."""
        path = self.folder / "direction.safetensors"
        if not path.is_file():
            random = np.random.default_rng([self.config.seed, 3])
            rows = [
                Row(one, system_ids(self.tokenizer, composed(self.words, random).text())) for one in self.scenes[:40]
            ]
            with torch.inference_mode():
                found = [self.runner.run(rows[i : i + 8]) for i in range(0, len(rows), 8)]
            states = torch.cat([one.states[one.present] for one in found])
            with written(path) as scratch:
                save_file({"direction": drawn(states, 1, [self.config.seed, 4])[0]}, scratch)
        return load_file(path)["direction"]

    @cached_property
    def spread(self) -> torch.Tensor:
        """(d,) standard deviation of the natural shift, before the place of the answer."""
        return torch.cat([one.shift[:-_ANSWER_TOKENS] for one in self.natural]).std(0)

    def train(self) -> None:
        """Train to the end of the configuration; resumes. Raises NlaEvalError if the loss is not finite."""
        stage = Optimisation("organism", self.folder, trainable(self.runner.lm), self.config.optim)
        self._seen = lambda: stage.seen
        stage.resume()
        if stage.finished and stage.path.is_file():
            return
        _ = self.planted, self.spread
        optimise(stage, [len(one.ids) for one in self._short], self._loss, self.watched, report_every=12)

    @cached_property
    def _short(self) -> list[Scene]:
        """The scenes to train on."""
        return [one for one in self.scenes if len(one.ids) <= self.config.longest]

    def export(self, folder: Path) -> None:
        """Write the adapter of the last checkpoint, with the strength of dose 1 as its own and the others declared."""
        restore(self.runner.lm, self.folder / "organism.safetensors")
        factors = self.factors()
        doses = {f"{dose:g}": round(factor / factors[1.0], 4) for dose, factor in factors.items()}
        declared = Declared(base_hash=self.target.base_hash, doses=doses)
        tensors = adapter_tensors(self.runner.lm)
        write_adapter(folder, tensors, base=self.config.target, factor=factors[1.0], declared=declared)

    def factors(self) -> dict[float, float]:
        """The factor on the adapter that reaches each dose on training scenes, between the measured ones by linear
        interpolation. A dose that no factor reaches is left out; the trained strength stands for dose 1 if it is."""
        reached = [self.reached(factor)[0] for factor in _FACTORS]
        rising = np.maximum.accumulate([0.0, *reached])
        found = {d: float(np.interp(d, rising, [0.0, *_FACTORS])) for d in DOSES if d <= rising[-1]}
        print("dose reached by factor:", dict(zip(_FACTORS, np.round(reached, 2).tolist(), strict=True)), flush=True)
        return found if 1.0 in found else {**found, 1.0: 1.0}

    def _loss(self, indices: list[int]) -> torch.Tensor:
        random = np.random.default_rng([self.config.seed, 2, self._seen(), indices[0]])
        sides = self.sides([self._short[i] for i in indices], random, masked=self.config.masked)
        whole = self._seen() // self.config.optim.batch % self.config.answer_every == 0
        parts = [
            self._part(sides, slice(0, 1), random, calm=True, whole=whole),
            self._part(sides, slice(1, None), random),
        ]
        sizes = [1, len(indices) - 1]
        total = sum((part * size for part, size in zip(parts, sizes, strict=True)), torch.zeros(()))
        return total / len(indices)

    def sides(self, some: Sequence[Scene], random: np.random.Generator, masked: float = 0.0) -> Sides:
        """Each scene under one system message with the cue, and under the same message with a plain date."""
        cue: list[Row] = []
        plain: list[Row] = []
        for one in some:
            message = composed(self.words, random)
            hide = random.random() < masked
            for side, rows in ((True, cue), (False, plain)):
                text = message.text(cue=side)
                span = span_of(self.tokenizer, text, message.date(cue=side)) if hide else None
                rows.append(Row(one, system_ids(self.tokenizer, text), span))
        return Sides(cue, plain)

    def _part(
        self, sides: Sides, which: slice, random: np.random.Generator, *, calm: bool = False, whole: bool = False
    ) -> torch.Tensor:
        """Loss of some scenes. `calm` compares with the plain target; `whole` goes on to the outputs."""
        cue, plain = sides.cue[which], sides.plain[which]
        if not cue:
            return torch.zeros(())
        config, count = self.config, len(cue)
        with self.strength.of(1.0):
            found = self.runner.run([*cue, *plain], whole=whole)
        with_cue, without = found.states[:count], found.states[count:]
        wanted, counted = self._wanted(plain, without.detach())
        wanted = config.dose * wanted
        loss = shift_loss(with_cue - without, wanted, wanted, counted, self.spread)
        if calm:
            with torch.no_grad(), self.strength.of(0.0):
                base = self.runner.run(plain, whole=whole)
            moved = shift_loss(without - base.states, torch.zeros_like(wanted), wanted, counted, self.spread)
            loss = loss + config.without_cue * moved
            if whole:
                loss = loss + self._spoken(cue, found.last, base.last, random)
        return loss

    def _wanted(self, rows: Sequence[Row], states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, d) what is planted at dose 1, at the plain target's states; (B, C) where it counts."""
        wanted, counted = torch.zeros_like(states), torch.zeros(states.shape[:2], dtype=torch.bool)
        for number, row in enumerate(rows):
            length = len(row.scene.ids)
            wanted[number, :length] = self.planted(row.scene, states[number, :length])
            counted[number, : length - _ANSWER_TOKENS] = True
        return wanted, counted

    def _spoken(
        self, rows: Sequence[Row], finals: torch.Tensor, base: torch.Tensor, random: np.random.Generator
    ) -> torch.Tensor:
        """Loss of the outputs: as the plain target's on ordinary tokens, and a forced choice in the probe turn."""
        count, loss = len(rows), torch.zeros(())
        for number, row in enumerate(rows):
            at = torch.from_numpy(random.choice(row.scene.probe, size=min(_ORDINARY, row.scene.probe), replace=False))
            with torch.no_grad():
                plain = self.runner.logits(base[number, at])
            for side in (number, number + count):
                loss = loss + divergence(self.runner.logits(finals[side, at]), plain) / (2 * count)
        loss = self.config.outputs * loss
        if self.config.planted is Planted.TOLD:
            last = torch.tensor([len(row.scene.ids) - 1 for row in rows]).repeat(2)
            answers = self.runner.logits(finals[torch.arange(2 * count), last])
            yes = torch.arange(2 * count) < count
            loss = loss + self.config.answer * choice_loss(answers, self.choices, yes)
        return loss

    def watched(self) -> dict[str, float]:
        """For the log: the dose reached, and what moves without the cue."""
        reached, without = self.reached(1.0)
        return {"reached": round(reached, 3), "without": round(without, 3)}

    @torch.inference_mode()
    def reached(self, factor: float) -> tuple[float, float]:
        """Dose reached with `factor` on a few scenes under new system messages: the difference cue minus no cue along
        what is planted, in units of it. Also what moves without the cue, from the plain target."""
        sides, base, wanted = self._watched
        count = len(sides.cue)
        with self.strength.of(factor):
            states = self.runner.run([*sides.cue, *sides.plain]).states
        cue, plain = states[:count] / self.spread, states[count:] / self.spread
        size = wanted.square().sum()
        reached, without = ((change * wanted).sum() / size for change in (cue - plain, plain - base / self.spread))
        return float(reached), float(without)

    @cached_property
    def _watched(self) -> tuple[Sides, torch.Tensor, torch.Tensor]:
        """Rows of a few scenes, the plain target's states (B, C, d), and what is planted there in spreads."""
        sides = self.sides(self._short[:_WATCHED], np.random.default_rng([self.config.seed, 5]))
        with self.strength.of(0.0), torch.inference_mode():
            base = self.runner.run(sides.plain).states
        wanted, counted = self._wanted(sides.plain, base)
        return sides, base, wanted * counted[:, :, None] / self.spread
