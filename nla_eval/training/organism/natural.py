"""The natural shift: hidden states of the plain target that was told a fact, minus those of the plain target that was
told something neutral, at the same tokens. In: scenes and wordings. Out: one file of shifts per run.

One pair of wordings moves a hidden state mostly by its own words, so the shift is smoothed (`Expected`). This is
all that an organism learns of being evaluated: no verbalizer, probe or setting adapter takes part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ...files import written
from .prompts import Wordings, composed, notice
from .scenes import Scene, system_ids
from .states import Row, Runner

_TOGETHER = 4
_PART = 48
"""Scenes per part: a stopped run loses less than a minute."""


@dataclass(frozen=True)
class Shift:
    """The natural shift of one scene."""

    shift: torch.Tensor
    """(T, d) told minus untold."""
    middle: torch.Tensor
    """(T, d) mean of the two. The noise of two wordings adds up in the shift and is uncorrelated with this."""


def shifts(
    runner: Runner, tokenizer: Any, scenes: Sequence[Scene], words: Wordings, fact: Sequence[str], seed: int
) -> list[Shift]:
    """The shift of each scene, each under a system message and two pairs of sentences of its own."""
    order = sorted(range(len(scenes)), key=lambda i: len(scenes[i].ids))
    found: dict[int, Shift] = {}
    for start in range(0, len(order), _TOGETHER):
        random = np.random.default_rng([seed, start])
        group = order[start : start + _TOGETHER]
        rows: list[Row] = []
        for i in group:
            message = composed(words, random)
            sides = (notice(tuple(fact), random), notice(words.untold, random))
            rows += [Row(scenes[i], system_ids(tokenizer, message.text(notice=side))) for side in sides]
        with torch.inference_mode():
            states = runner.run(rows).states
        for place, i in enumerate(group):
            told, untold = states[2 * place : 2 * place + 2, : len(scenes[i].ids)]
            found[i] = Shift(told - untold, (told + untold) / 2)
    return [found[i] for i in range(len(scenes))]


def stored_shifts(
    folder: Path, runner: Runner, tokenizer: Any, scenes: Sequence[Scene], words: Wordings, fact: Sequence[str],
    seed: int,
) -> list[Shift]:  # fmt: skip
    """`shifts`, kept in `folder` in parts, so that a stopped run goes on where it was."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Shift] = []
    for start in range(0, len(scenes), _PART):
        path = folder / f"shifts-{start:05}.safetensors"
        part = scenes[start : start + _PART]
        if not path.is_file():
            made = shifts(runner, tokenizer, part, words, fact, seed + start)
            blob = {
                f"{i:05}.{name}": t.half().contiguous() for i, one in enumerate(made) for name, t in vars(one).items()
            }
            with written(path) as scratch:
                save_file(blob, scratch)
            print(f"shifts {start + len(part)} of {len(scenes)}", flush=True)
        tensors = load_file(path)
        found += [Shift(tensors[f"{i:05}.shift"].float(), tensors[f"{i:05}.middle"].float()) for i in range(len(part))]
    return found


def kinds(scene: Scene) -> dict[str, NDArray[np.bool_]]:
    """(T,) marks of the scene's kinds of token."""
    probe = np.arange(len(scene.ids)) >= scene.probe
    other = ~(scene.response | scene.boundary | probe)
    return {"response": scene.response, "boundary": scene.boundary, "probe": probe, "other": other}


def common_norms(scenes: Sequence[Scene], natural: Sequence[Shift]) -> dict[str, float]:
    """Norm of the shift that is common to all scenes and wordings, by kind of token.

    The norm of a mean of noisy vectors is too large; the product of the means of two halves is not."""
    found: dict[str, float] = {}
    for kind in kinds(scenes[0]):
        means = []
        for half in (0, 1):
            rows = [
                of.shift[torch.from_numpy(kinds(one)[kind])]
                for one, of in list(zip(scenes, natural, strict=True))[half::2]
            ]
            means.append(torch.cat(rows).mean(0))
        found[kind] = float((means[0] @ means[1]).clamp(min=0).sqrt())
    return found


class Expected:
    """The shift to be expected at a token, from the plain target's own state there: a ridge regression with one mean
    per kind of token. Its loss has the same expectation as that of the raw shifts, and far less noise.

    Args:
        scenes: The scenes; every fifth is held out to choose the penalty.
        natural: Their shifts.
    """

    def __init__(self, scenes: Sequence[Scene], natural: Sequence[Shift]) -> None:
        rows = [_design(one, of.middle) for one, of in zip(scenes, natural, strict=True)]
        wanted = [of.shift for of in natural]
        fit = [i for i in range(len(rows)) if i % 5]
        self.spread = torch.cat(wanted).std(0)
        self.scale = torch.cat(rows).std(0).clamp_min(1e-6)
        self.scale[-len(_KINDS) :] = 1.0
        self.explained = -math.inf
        """Share of the variance of held-out shifts that is explained, dimensions in their own spreads."""
        held = [i for i in range(len(rows)) if i % 5 == 0]
        for penalty in _PENALTIES:
            weights = self._fitted([rows[i] for i in fit], [wanted[i] for i in fit], penalty)
            left = [(wanted[i] - rows[i] / self.scale @ weights) / self.spread for i in held]
            total = [wanted[i] / self.spread for i in held]
            share = 1.0 - float(torch.cat(left).square().sum() / torch.cat(total).square().sum())
            if share > self.explained:
                self.explained, self.penalty = share, penalty
        self.weights = self._fitted(rows, wanted, self.penalty)

    def _fitted(self, rows: list[torch.Tensor], wanted: list[torch.Tensor], penalty: float) -> torch.Tensor:
        x, y = torch.cat(rows).double() / self.scale.double(), torch.cat(wanted).double()
        ridge = torch.full((x.shape[1],), penalty * len(x), dtype=torch.float64)
        ridge[-len(_KINDS) :] = 1.0
        solved: torch.Tensor = torch.linalg.solve(x.T @ x + torch.diag(ridge), x.T @ y)
        return solved.float()

    def at(self, scene: Scene, states: torch.Tensor) -> torch.Tensor:
        """(T, d) expected shift at the plain target's states (T, d)."""
        return _design(scene, states) / self.scale @ self.weights


_KINDS = ("response", "boundary", "probe", "other")
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0)


def _design(scene: Scene, states: torch.Tensor) -> torch.Tensor:
    """(T, d + 4) the states and the kind of each token."""
    marks = kinds(scene)
    return torch.cat([states, torch.stack([torch.from_numpy(marks[kind]).float() for kind in _KINDS], 1)], 1)
