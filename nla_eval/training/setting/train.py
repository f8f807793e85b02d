"""Trains a pack's setting adapter. In: a configuration and the pack. Out: a checkpoint, a calibration and the adapter,
in a run folder. A stopped run goes on where it was; the same configuration gives the same adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from ...engines.loading import load_lm, load_target_trunk
from ...engines.setting import CLASSES, SettingReader, odds_of
from ...errors import InputError
from ...files import write_text
from ...models.adapter import Declared
from ...models.pack import Pack, load_pack
from ...models.prompts import av_prompt
from ...models.setting import FACTS, UNTOLD_ABOVE, Calibration, SettingClass, SettingFacts
from ...models.target import Target, load_target
from ...stats.auroc import auroc
from ..models.optim import Optimisation, optimise, restore, trainable
from ..organism.lora import adapter_tensors, with_dosed_lora, write_adapter
from .config import Part, SettingConfig
from .rows import Capture, stored_rows, vectors

_WATCHED = 300
_REPORT_EVERY = 400
_ORDINARY = 0.9
"""Share of ordinary rows that have to say nothing."""


@dataclass(frozen=True)
class Matched:
    """Rows of one conversation at one token: told, and the other notices."""

    told: int
    others: tuple[int, ...]


def matched(frame: pl.DataFrame) -> list[Matched]:
    """The matched rows of a frame: of one conversation at one token. A family may have several conversations; each
    begins with its told prompt."""
    told = (frame["group"] == "told").to_list()
    begun: dict[int, int] = {}
    for number, first in zip(frame["prompt"], told, strict=True):
        begun.setdefault(number, len(begun) if first else max(begun.values(), default=0))
    at: dict[tuple[int, int], list[int]] = {}
    for row, (number, tail) in enumerate(frame.select("prompt", "tail").iter_rows()):
        at.setdefault((begun[number], tail), []).append(row)
    found = []
    for rows in at.values():
        first = [row for row in rows if told[row]]
        if first and len(rows) > 1:
            found.append(Matched(first[0], tuple(row for row in rows if not told[row])))
    return found


def class_weights(settings: list[str]) -> torch.Tensor:
    """(4,) weights by which all classes that occur count alike, of mean 1 over the rows."""
    counts = np.array([settings.count(of.value) for of in CLASSES], float)
    return torch.tensor(np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / (counts > 0).sum(), 0.0)).float()


def pair_loss(told: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Mean of softplus(-(told - other)) over matched rows: (n,) log-odds of each side."""
    return functional.softplus(others - told).mean()


def calibrated(
    raw: NDArray[np.float64], told: NDArray[np.bool_], ordinary: NDArray[np.bool_], blank: NDArray[np.float64],
    prompt: NDArray[np.int64], fitted_on: str,
) -> Calibration:  # fmt: skip
    """Slope and bias by logistic regression with equal weight of both sides (Platt 1999). The bias is then lowered
    until blank readings and nine in ten ordinary rows say nothing. The threshold leaves 5 % of the transcripts without
    a told notice above it.

    Args:
        raw: (n,) uncalibrated log-odds.
        told: (n,)
        ordinary: (n,) rows under no notice.
        blank: (m,) uncalibrated log-odds of the mean vector and without injection.
        prompt: (n,) number of the transcript.
        fitted_on: What the rows are, in words.
    """
    fit = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000).fit(raw[:, None], told)
    slope = max(float(fit.coef_[0, 0]), 1e-3)
    most = max(float(np.quantile(raw[ordinary], _ORDINARY)), float(blank.max()))
    bias = min(float(fit.intercept_[0]), -slope * most)
    means = transcript_means(slope * raw + bias, prompt)
    untold = [means[number] for number in set(prompt[~told].tolist())]
    threshold = float(np.quantile(untold, 1 - UNTOLD_ABOVE, method="higher"))
    return Calibration(
        slope=round(slope, 6), bias=round(bias, 6), threshold=round(threshold, 6), fitted_on=fitted_on
    )  # fmt: skip


def transcript_means(scores: NDArray[np.float64], prompt: NDArray[np.int64]) -> dict[int, float]:
    """Mean score of each transcript."""
    return {int(number): float(scores[prompt == number].mean()) for number in np.unique(prompt)}


class SettingRun:
    """One training run in a folder.

    Args:
        config: The settings.
        folder: Folder of rows, checkpoint and adapter.
    """

    def __init__(self, config: SettingConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.pack: Pack = load_pack(config.pack)
        name = config.target or self.pack.av.target
        if name is None:
            raise InputError(f"pack '{self.pack.name}' names no target; give --target")
        self.target: Target = load_target(name)
        self.pack.check_target(self.target)
        folder.mkdir(parents=True, exist_ok=True)
        self._seen: Callable[[], int] = lambda: 0

    @cached_property
    def capture(self) -> Capture:
        """Blocks 0..K of the plain target."""
        other = self.config.compared_layer
        return self.captured_from(self.target, () if other is None else (other,))

    def captured_from(self, target: Target, others: tuple[int, ...] = ()) -> Capture:
        """Blocks 0..K of a target of the same base."""
        return Capture(load_target_trunk(target, self.pack.layer, torch.float32), others)

    def rows(self, part: Part) -> pl.DataFrame:
        """Rows of one part (see `stored_rows`)."""
        done = self.folder / "rows" / f"{part}.parquet"
        if done.is_file():
            return pl.read_parquet(done)
        return stored_rows(self.folder / "rows", self.capture, self.target.tokenizer, self.config, part)

    @cached_property
    def _train(self) -> tuple[pl.DataFrame, torch.Tensor, list[Matched]]:
        frame = self.rows(Part.TRAIN)
        return frame, torch.from_numpy(vectors(frame)), matched(frame)

    @cached_property
    def direction(self) -> torch.Tensor:
        """(d,) one spread of the training rows along the mean difference told minus other at the same token."""
        _, rows, pairs = self._train
        differences = [rows[pair.told] - rows[list(pair.others)].mean(0) for pair in pairs]
        unit = functional.normalize(torch.stack(differences).mean(0), dim=0)
        return unit * float((rows @ unit).std())

    def reader(self, *, trained: bool) -> tuple[SettingReader, Any]:
        """The reader and its LM, with an adapter of strength 1 that is new, or the checkpoint's."""
        lm = load_lm(self.target.path, torch.float32, "eager")
        last = lm.config.num_hidden_layers - 1
        with_dosed_lora(lm, 0, last, self.config.optim.lora_rank, self.config.seed).factor = 1.0
        if trained:
            restore(lm, self.folder / "setting.safetensors")
        facts = SettingFacts.of(self.target.tokenizer, self.target.base_hash, self.pack.layer)
        prompt, scale = av_prompt(self.pack.av, self.target.tokenizer), float(self.pack.av.injection_scale or 0.0)
        return SettingReader(lm, prompt, scale, facts, self.target.tokenizer), lm

    def train(self) -> None:
        """Train to the end of the configuration; resumes. Raises NlaEvalError if the loss is not finite."""
        reader, lm = self.reader(trained=False)
        stage = Optimisation("setting", self.folder, trainable(lm), self.config.optim)
        stage.resume()
        if stage.finished and stage.path.is_file():
            return
        frame, rows, pairs = self._train
        weights, settings = class_weights(frame["setting"].to_list()), frame["setting"].to_list()
        labels = torch.tensor([CLASSES.index(SettingClass(of)) for of in settings])

        def loss_of(batch: list[int]) -> torch.Tensor:
            chosen = [pairs[i] for i in batch]
            index = torch.tensor([row for pair in chosen for row in (pair.told, *pair.others)])
            told = labels[index] == CLASSES.index(SettingClass.TOLD)
            moved = self._moved(stage.seen, batch[0], int(told.sum()))
            given = rows[index].clone()
            given[told] += moved[:, None] * self.direction
            logits = reader.logits(given)
            odds = odds_of(logits)
            group = told.cumsum(0) - 1  # every group begins with its told row
            loss = functional.cross_entropy(logits, labels[index], weight=weights, reduction="none").mean()
            return loss + self.config.pair_weight * pair_loss(odds[told][group[~told]], odds[~told])

        optimise(stage, [1] * len(pairs), loss_of, lambda: self._watch(reader), _REPORT_EVERY)

    def _moved(self, seen: int, first: int, count: int) -> torch.Tensor:
        """(count,) by how many spreads told rows are moved, from a random number per batch; less and less."""
        config = self.config
        left = max(0.0, 1.0 - seen / (config.moved_until * config.optim.samples))
        random = np.random.default_rng([config.seed, 4, seen, first])
        return torch.from_numpy(random.uniform(0.0, config.moved * left, count)).float()

    def _watch(self, reader: SettingReader) -> dict[str, float]:
        frame = self.rows(Part.CALIBRATE)[:_WATCHED]
        reader.forget()
        scores, told = reader.raw(vectors(frame)), (frame["group"] == "told").to_numpy()
        reader.forget()
        means = transcript_means(scores, frame["prompt"].to_numpy())
        side = dict(frame.select("prompt", pl.col("group") == "told").unique().iter_rows())
        return {
            "rows": round(auroc(scores[told].tolist(), scores[~told].tolist()), 3),
            "transcripts": round(
                auroc([m for p, m in means.items() if side[p]], [m for p, m in means.items() if not side[p]]), 3
            ),
        }

    def calibrate(self, reader: SettingReader) -> Calibration:
        """Slope, bias and threshold from the calibration part."""
        frame = self.rows(Part.CALIBRATE)
        rows, group = vectors(frame), frame["group"].to_numpy()
        mean = rows[group != "told"].mean(axis=0, keepdims=True)
        return calibrated(
            reader.raw(rows), group == "told", group == "none", np.concatenate([reader.raw(mean), reader.raw(None)]),
            frame["prompt"].to_numpy(),
            f"{frame['conversation'].n_unique()} conversations that no lesson and no figure uses, each told and under "
            f"other notices: {len(frame)} rows, {frame['prompt'].n_unique()} transcripts",
        )  # fmt: skip

    def export(self) -> Path:
        """Write the adapter of the last checkpoint with its calibration. Returns its folder."""
        reader, lm = self.reader(trained=True)
        folder = self.folder / "adapter"
        tensors = adapter_tensors(lm)
        declared = Declared(base_hash=self.target.base_hash)
        write_adapter(folder, tensors, base=self.target.base_name, factor=1.0, declared=declared)
        facts = reader.facts.model_copy(update={"calibration": self.calibrate(reader)})
        write_text(facts.model_dump_json(indent=2) + "\n", folder / FACTS)
        return folder
