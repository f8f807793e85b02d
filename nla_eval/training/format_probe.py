"""What a format is worth before any AR is trained: a ridge regression from the words of its parts to the activation, in
seconds. In: a `Trial`. Out: fve_meannorm on held-out rows, of whole texts and of texts without recent words.

A part is told by the mean of its tokens' input embeddings and by its first token's. An AR reads order and context too,
so what it reaches with enough samples lies above; formats are compared here, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..engines.loading import load_trunk
from ..scores import Baselines
from .ar import mse_nrm
from .explanation_parts import parse_part
from .parts import masked

if TYPE_CHECKING:
    from .variants import Trial, Variant

_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_FOLDS = 5


@dataclass(frozen=True)
class Probed:
    """What the regression finds."""

    variant: str
    whole: float
    """fve_meannorm, learnt and read on whole texts."""
    masked: float
    """The same, both on texts in which every word of the last 30 context tokens is hidden."""


class FormatProbe:
    """Reads the formats of one trial.

    Args:
        trial: Captured activations and the rows to learn from and to hold out.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        target = trial.run.target
        trunk = load_trunk(target.path, 0, torch.float32, trust=target.trust_remote_code)
        self._table = trunk.get_input_embeddings().weight.detach()
        unit = torch.nn.functional.normalize(trial.captured["activation"].float(), dim=-1)
        train, held = trial.rows
        self._train, self._held = unit[train], unit[held]
        self._meannorm = Baselines.of(self._train.numpy()).meannorm

    def probed(self, variant: Variant) -> Probed:
        """fve_meannorm of a format."""
        return Probed(str(variant), *(round(self._fve(variant, hide=hide), 3) for hide in (False, True)))

    def _fve(self, variant: Variant, *, hide: bool) -> float:
        train, held = (self._features(variant, rows, hide=hide) for rows in self._trial.rows)
        middle = train.mean(0)
        kernel, asked = (rows @ (train - middle).T for rows in (train - middle, held - middle))
        fold = torch.arange(len(train)) * _FOLDS // len(train)
        errors = torch.zeros(len(_PENALTIES))
        for out in (fold == f for f in range(_FOLDS)):
            learnt = _Ridge(kernel[~out][:, ~out], self._train[~out])
            errors += torch.tensor([learnt.error(kernel[out][:, ~out], self._train[out], p) for p in _PENALTIES])
        best = _PENALTIES[int(errors.argmin())]
        return 1.0 - _Ridge(kernel, self._train).error(asked, self._held, best) / self._meannorm

    def _features(self, variant: Variant, rows: Sequence[int], *, hide: bool) -> torch.Tensor:
        """(rows, parts x (2 d_model + 1))."""
        names = [parse_part(part).name for line in variant.explanation.lines for part in line]
        found = torch.zeros(len(rows), len(names), 2 * self._table.shape[1] + 1)
        for number, row in enumerate(rows):
            recent = self._trial.requests[row].moment.recent
            for line in self._trial.pieces(variant, row):
                for piece in line:
                    ids = self._ids(masked(piece.text, recent) if hide else piece.text)
                    if ids:
                        said = self._table[ids]
                        found[number, names.index(piece.part)] = torch.cat([said.mean(0), said[0], torch.ones(1)])
        spread = found[..., :-1].std()
        found[..., :-1] /= spread.clamp_min(1e-9)
        return found.flatten(1)

    def _ids(self, text: str) -> list[int]:
        tokenizer: Any = self._trial.run.target.tokenizer
        ids: list[int] = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        return ids


class _Ridge:
    """Ridge regression in its dual form, for there are more features than rows: one decomposition serves all penalties.

    Args:
        kernel: (n, n) products of the rows that are learnt from, centred.
        answers: (n, d_model).
    """

    def __init__(self, kernel: torch.Tensor, answers: torch.Tensor) -> None:
        self._origin = answers.mean(0)
        self._values, self._vectors = torch.linalg.eigh(kernel)
        self._turned = self._vectors.T @ (answers - self._origin)

    def error(self, kernel: torch.Tensor, actual: torch.Tensor, penalty: float) -> float:
        """Mean mse_nrm on (m, n) products with other rows, whose activations are `actual`."""
        weights = self._vectors @ (self._turned / (self._values + penalty)[:, None])
        return float(mse_nrm(kernel @ weights + self._origin, actual).mean())
