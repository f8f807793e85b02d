"""The joint stage trains AV and AR together. In: a pair after its warm start, and activations with reference
explanations. Out: both models' weights, and a log.

Each step draws several explanations per training activation from the current AV. The AR reconstructs the activation
from each; the error gives the reward. Updates: AV: GRPO plus cross-entropy on references, to prevent format drift.
AR: regression of the activations from the same explanations.

TRL's GRPOTrainer is not used. Its `generate` and its log-probabilities take token ids, so both would have to be
overridden to inject an embedding per sample. It also trains only one model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engines.base import Draw, Sampling, VerbalizeRequest
from ...engines.fitting import release_memory
from ...engines.side_by_side import Split
from ...errors import NlaEvalError
from ...measure.parts import masked
from ...models.scores import Baselines
from ...readings import StopReason
from ..joint_config import JointConfig
from ..models.ar import Pairs
from ..models.av import answer_ids
from ..models.group import Group
from ..models.grpo import Floats, advantages, k3, widest
from ..models.optim import trainable
from ..models.passes import Answer, Layout, Objective, Scored, answers_pass, texts_pass
from .plan import learning_rate, masked_groups, reward, rows_of
from .rollouts import Rollouts
from .round_trip import Models, RoundTrip
from .state import JointState, Learner

_SILENT_STEPS = 3
"""The stage stops with an error after this many steps in a row without a closed explanation."""


def train_joint(
    models: Models, train: Pairs, held_out: Pairs, config: JointConfig, folder: Path, together: Group | None = None
) -> None:
    """Run the joint stage to its end, from its checkpoint in `folder` if there is one.

    A run that is stopped at any moment and resumed ends with the same weights as an uninterrupted run (in float32).

    Args:
        models: The pair at its warm start, also when the stage resumes.
        train: Reference explanations with their activations; with `recent` if `masked_share` is above 0.
        held_out: The held-out rows that training evaluates.
        config: The `joint` section of the configuration.
        folder: Run folder; `JointState` says what is written there.
        together: The processes that train together; this one alone by default.

    Raises:
        NlaEvalError: A loss or gradient is not finite, no explanation was closed for several steps, or the checkpoint
            belongs to another configuration. The last checkpoint stays unchanged.
    """
    if config.masked_share and train.recent is None:
        raise NlaEvalError("joint: masked_share needs the recent text of every training position; set it to 0")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        _JointStage(models, train, held_out, config, folder, together or Group()).run()
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Rollout:
    """One drawn explanation."""

    row: int
    draw: Draw
    read: str
    """The text that the AR reads: the explanation, masked or not."""
    masked: bool

    @property
    def closed(self) -> bool:
        return self.draw.stop is StopReason.CLOSED


@dataclass
class _Clock:
    """Seconds by phase. Each phase returns its freed memory at its end, so that peaks do not add up."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        release_memory()
        self.wall[name] = round(self.wall.get(name, 0.0) + time.perf_counter() - wall, 2)
        self.cpu[name] = round(self.cpu.get(name, 0.0) + time.process_time() - cpu, 2)


class _JointStage:
    def __init__(
        self, models: Models, train: Pairs, held_out: Pairs, config: JointConfig, folder: Path, together: Group
    ) -> None:  # fmt: skip
        self.models, self.train, self.config, self.together = models, train, config, together
        self.av, self.ar = Learner("av", trainable(models.av)), Learner("ar", trainable(models.ar))
        self.warm_start = self.av.weights() if config.kl or models.av.rank else None
        self.state = JointState(folder, [self.av, self.ar], writes=together.rank == 0)
        split = Split(config.workers, config.threads)
        self.layout = Layout(split, config.micro_tokens)
        self.rollouts = models.rollouts or Rollouts(models.av, models.tokenizer, split)
        self.cap = config.max_new_tokens or models.meta.max_new_tokens
        variance = models.meta.baseline_variance
        self.baselines = Baselines(variance) if variance else Baselines.of(train.activations.numpy())
        self.round_trip = RoundTrip(
            models, self.rollouts, held_out, self.baselines, self.layout, together, self.cap
        )  # fmt: skip
        self.silent = 0

    def run(self) -> None:
        self.state.resume()
        if self.state.step == 0 and self.config.steps:
            self.rollouts.sync()
            self.state.log(held_out=self.round_trip.measure(self.config.evaluate_rows))
        while self.state.step < self.config.steps:
            self._step()
        if self.config.steps and not self.state.has_snapshot:  # resumed at or after the configured last step
            self.state.snapshot()

    def _step(self) -> None:
        """Run one step, log it, then save the checkpoint."""
        step, config, clock = self.state.step, self.config, _Clock()
        ending = step + 1 == config.steps
        looked_at = ending or (step + 1) % config.evaluate_every == 0
        with clock.phase("sync"):
            self.rollouts.sync()
        with clock.phase("draw"):
            rollouts = self._drawn(step)
        with clock.phase("ar"):
            errors, ar_gradients, ar_loss = self._read(step, rollouts)
        rewards = self._rewards(rollouts, errors)
        with clock.phase("av"):
            learned = self._learn_av(step, rollouts, rewards, measure_kl=looked_at)
        if ar_gradients:
            norm = self.ar.update(ar_gradients, learning_rate(config.ar_lr, step, config), config.clip_norm)
            learned["ar_grad_norm"] = round(norm, 5)
        self.state.step += 1
        found: dict[str, Any] = {**self._told(rollouts, errors, rewards), "ar_loss": round(ar_loss, 5), **learned}
        if looked_at:
            with clock.phase("evaluate"):
                self.rollouts.sync()
                found["held_out"] = self.round_trip.measure(self.config.evaluate_rows)
        cpu = {name: round(self.together.total(seconds), 2) for name, seconds in clock.cpu.items()}
        self.state.log(**found, wall_s=clock.wall, cpu_s=cpu)
        self.state.save(now=ending)
        if ending or self.state.step % config.snapshot_every == 0:
            self.state.snapshot()

    def _drawn(self, step: int) -> list[list[_Rollout]]:
        """This process's groups of rollouts."""
        config, train = self.config, self.train
        hidden = masked_groups(step, config.groups, config.masked_share, config.seed)
        rows = rows_of(step, config.groups, len(train.texts), (config.seed, 3))
        mine = self.together.share(list(enumerate(rows)))
        requests = [
            VerbalizeRequest(
                f"{step}|{group}|{sample}",
                train.activations[row].numpy(),
                config.seed,
                greedy=sample < config.greedy_per_group,
            )
            for group, row in mine
            for sample in range(config.samples_per_group)
        ]
        draws = iter(self.rollouts.draw(requests, Sampling(1.0, self.cap)))
        return [
            [self._rollout(row, next(draws), group in hidden) for _ in range(config.samples_per_group)]
            for group, row in mine
        ]

    def _rollout(self, row: int, draw: Draw, hide: bool) -> _Rollout:
        recent = self.train.recent
        read = masked(draw.text, recent[row]) if hide and recent is not None else draw.text
        return _Rollout(row, draw, read, hide)

    def _read(self, step: int, groups: list[list[_Rollout]]) -> tuple[Floats, list[torch.Tensor], float]:
        """(mse_nrm, gradients, loss) of the AR: mse_nrm of every rollout (groups, samples), NaN if unclosed; gradients
        and loss summed over all processes. No gradients if the AR is frozen or no rollout is closed."""
        config, train = self.config, self.train
        closed = [r for group in groups for r in group if r.closed]
        count = round(config.references_per_rollout * config.groups * config.samples_per_group)
        others = rows_of(step, count, len(train.texts), (config.seed, 5)) if count else []
        mine = self.together.share(others)
        texts = [r.read for r in closed] + [train.texts[row] for row in mine]
        total = self.together.total(float(len(texts)))
        errors = np.full((len(groups), config.samples_per_group), np.nan)
        parameters = self.ar.tensors if config.ar_lr and total else []
        gradients, loss = [torch.zeros_like(p) for p in parameters], 0.0
        if texts:
            rows = [r.row for r in closed] + mine
            weights = torch.full((len(texts),), 1.0 / total)
            scored = Scored(texts, train.activations[rows], weights, self.models.meta, self.models.tokenizer)
            passed = texts_pass(self.models.ar, parameters, scored, self.layout)
            gradients, loss = passed.gradients, passed.loss
            where = np.array([[r.closed for r in group] for group in groups], bool)
            errors[where] = [float(value) for value in passed.values[: len(closed)]]
        loss = self.together.total(loss)
        if not math.isfinite(loss):
            raise NlaEvalError(f"joint: the AR's loss is {loss} at step {step}; lower ar_lr")
        return errors, self.together.summed(gradients) if gradients else [], loss

    def _rewards(self, groups: list[list[_Rollout]], errors: Floats) -> Floats:
        """Rewards (groups, samples) of all processes."""
        rewards = [
            [reward(rollout.draw, float(error), self.config) for rollout, error in zip(group, row, strict=True)]
            for group, row in zip(groups, errors, strict=True)
        ]
        return np.array(self.together.gathered(rewards)).reshape(-1, errors.shape[1])

    def _learn_av(
        self, step: int, groups: list[list[_Rollout]], rewards: Floats, *, measure_kl: bool
    ) -> dict[str, Any]:
        """Update the AV and return values for the log. No update if all rewards are equal within every group."""
        config, together = self.config, self.together
        kept = widest(rewards, config.learnt_per_group or rewards.shape[1])
        advantage = advantages(rewards, config.advantage_scale, kept)
        if not advantage.any():
            return {"av_skipped": True}
        with_kl = self.warm_start is not None and (bool(config.kl) or measure_kl)
        mine = slice(together.rank, None, together.size)
        answers = self._answers(groups, advantage[mine], with_kl)
        references = self._references(groups)
        lengths = np.array([[r.draw.tokens for r in group] for group in groups]).reshape(-1, rewards.shape[1])
        tokens = [float(lengths.sum()), float(lengths[kept[mine]].sum()), float(sum(len(a.ids) for a in references))]
        drawn, learnt, referred = together.summed([torch.tensor(tokens, dtype=torch.float64)])[0].tolist()
        objective = Objective(learnt, max(1.0, referred), config.clip_ratio, config.kl, config.reference_mix)
        rate, found = learning_rate(config.av_lr, step, config), dict[str, Any]()
        for update in range(config.updates_per_step):
            passed = answers_pass(self.models.av, self.av.tensors, [*answers, *references], objective, self.layout)
            loss = together.total(passed.loss)
            if not math.isfinite(loss):
                raise NlaEvalError(f"joint: the AV's loss is {loss} at step {step}; lower av_lr")
            if update == 0:
                answers = [replace(a, old=lp) for a, lp in zip(answers, passed.values, strict=False)]
                found = {"av_loss": round(loss, 5), **(self._divergence(answers, drawn) if with_kl else {})}
            norm = self.av.update(together.summed(passed.gradients), rate, config.clip_norm)
            found.setdefault("av_grad_norm", round(norm, 5))
        return found

    def _answers(self, groups: list[list[_Rollout]], advantage: Floats, with_kl: bool) -> list[Answer]:
        """The rollouts to learn from. Without KL, rollouts with advantage 0 have no gradient and are left out."""
        answers = [
            Answer(r.draw.ids, self.train.activations[r.row], float(a))
            for group, row in zip(groups, advantage, strict=True)
            for r, a in zip(group, row, strict=True)
            if a or with_kl
        ]
        if not with_kl or self.warm_start is None:
            return answers
        with self.av.wearing(self.warm_start):
            found = answers_pass(self.models.av, (), answers, Objective(1.0, 1.0), self.layout).values
        return [replace(answer, reference=log_probs) for answer, log_probs in zip(answers, found, strict=True)]

    def _references(self, groups: list[list[_Rollout]]) -> list[Answer]:
        """The reference explanations of the groups' activations."""
        train, tokenizer = self.train, self.models.tokenizer
        rows = [group[0].row for group in groups] if self.config.reference_mix else []
        return [Answer(tuple(answer_ids(train.texts[row], tokenizer)), train.activations[row]) for row in rows]

    def _divergence(self, answers: Sequence[Answer], tokens: float) -> dict[str, float]:
        """Mean KL per token from the AV at the start of the stage."""
        pairs = [(a.old, a.reference) for a in answers if a.old is not None and a.reference is not None]
        return {"kl": round(self.together.total(sum(float(k3(old, ref).sum()) for old, ref in pairs)) / tokens, 5)}

    def _told(self, groups: list[list[_Rollout]], errors: Floats, rewards: Floats) -> dict[str, Any]:
        """Log values over the rollouts of all processes. Raises NlaEvalError after several steps without a closed
        rollout."""
        mine = [
            (r.closed, r.draw.tokens, r.masked, float(error))
            for group, row in zip(groups, errors, strict=True)
            for r, error in zip(group, row, strict=True)
        ]
        drawn = [row for part in self.together.gathered([mine]) for row in part]
        closed = float(np.mean([row[0] for row in drawn]))
        self.silent = 0 if closed else self.silent + 1
        if self.silent >= _SILENT_STEPS:
            raise NlaEvalError(
                f"joint: no explanation of {self.silent} steps in a row was closed within {self.cap} tokens; raise "
                "max_new_tokens, or train the AV longer before the joint stage"
            )
        return {
            "reward": round(float(rewards.mean()), 5),
            "reward_std_in_group": round(float(rewards.std(axis=1).mean()), 5),
            "fve_nrm": self._fve([row[3] for row in drawn if not row[2]]),
            "fve_nrm_masked": self._fve([row[3] for row in drawn if row[2]]),
            "closed": round(closed, 4),
            "tokens": round(float(np.mean([row[1] for row in drawn])), 2),
        }

    def _fve(self, errors: Sequence[float]) -> float | None:
        """Mean fve_nrm of the closed rollouts."""
        known = [error for error in errors if not math.isnan(error)]
        return round(1.0 - float(np.mean(known)) / self.baselines.variance, 4) if known else None
