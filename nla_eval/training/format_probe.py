"""What a format is worth before any AR is trained: a ridge regression from the words of its parts to the activation, in
seconds. In: a `Trial`. Out: fve_meannorm on held-out rows, of whole texts and of texts without recent words.

A part is told by the mean of its tokens' input embeddings and by its first token's. An AR reads order and context too,
so what it reaches with enough samples lies above; formats are compared here, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from sklearn.linear_model import RidgeCV

from ..engines.loading import load_embedding
from ..measure.parts import masked
from ..models.scores import Baselines
from .explanations.explanation_parts import parse_part
from .models.ar import mse_nrm

if TYPE_CHECKING:
    from .variants import Trial, Variant

_PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Of the ridge regression; the one of the least leave-one-out error is taken."""


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
        self._table = load_embedding(target.path, trust=target.trust_remote_code)
        unit = torch.nn.functional.normalize(trial.captured["activation"].float(), dim=-1)
        train, held = trial.rows
        self._train, self._held = unit[train], unit[held]
        self._meannorm = Baselines.of(self._train.numpy()).meannorm

    def probed(self, variant: Variant) -> Probed:
        """fve_meannorm of a format."""
        return Probed(str(variant), *(round(self._fve(variant, hide=hide), 3) for hide in (False, True)))

    def _fve(self, variant: Variant, *, hide: bool) -> float:
        train, held = (self._features(variant, rows, hide=hide) for rows in self._trial.rows)
        model = RidgeCV(_PENALTIES).fit(train.numpy(), self._train.numpy())
        predicted = torch.from_numpy(model.predict(held.numpy()))
        return 1.0 - float(mse_nrm(predicted, self._held).mean()) / self._meannorm

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
