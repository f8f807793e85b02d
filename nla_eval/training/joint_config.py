"""The joint stage's section of a training configuration: what is drawn, how it is rewarded, how AV and AR learn.
Plain values; it knows no model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Reward = Literal["mse", "log"]
AdvantageScale = Literal["none", "group", "step"]


class JointConfig(BaseModel):
    """One joint stage. Defaults are those of the small target on two CPU cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=0, ge=0)
    """Steps of draw, score and update; 0 leaves the stage out."""
    groups: int = Field(default=8, ge=1)
    """Training activations of one step, over all processes."""
    samples_per_group: int = Field(default=8, ge=2)
    """Explanations drawn for each, at temperature 1 unless greedily; the published recipe draws 8."""
    learnt_per_group: int | None = Field(default=None, ge=2)
    """The AV learns from so many of each group's explanations, those whose rewards vary most; None: from all. The AR
    learns from all of them."""
    greedy_per_group: int = Field(default=0, ge=0, le=1)
    """Of `samples_per_group`, how many are drawn greedily. Greedy texts fall into loops that draws at temperature 1
    do not; a loop that earns less than its group is then unlearnt. Such a text is no draw of the policy, so the
    gradient is no longer unbiased."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Cap of one explanation in tokens; None takes the pack's."""
    reward: Reward = "mse"
    """mse: -mse_nrm of the AR's reconstruction; log: -log mse_nrm, which goes on paying where it is good already."""
    unclosed_reward: float = -2.0
    """Of an explanation without its close tag, or cut at the cap. -2 is what an unrelated vector (cos 0) gets."""
    length_penalty: float = Field(default=0.0, ge=0)
    """Taken from the reward for every token beyond `length_free`."""
    length_free: int = Field(default=60, ge=0)
    repeat_penalty: float = Field(default=0.0, ge=0)
    """Times the share of an explanation's words that stand earlier on the same line already, also with something glued
    to them, taken from the reward: against lists such as "game, game, gameplay"."""
    masked_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the rollouts whose text the AR sees with every word masked that also stands in the position's last 30
    context tokens. Chosen by group: within one, all are scored alike and the baseline stays fair."""
    advantage_scale: AdvantageScale = "group"
    """What rewards less their group's mean are divided by: nothing, the group's standard deviation, or that of all
    these differences of the step."""
    updates_per_step: int = Field(default=1, ge=1, le=8)
    """Updates of the AV on the same rollouts. The first is on-policy; further ones are clipped."""
    clip_ratio: float = Field(default=0.2, gt=0, lt=1)
    """PPO's clip of the probability ratio; without effect on the first update of a step."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the AV at the start of the stage, per token, k3 estimator. At 0 it is only
    measured, at every evaluation, and where the AV trains all weights not even that: the copy of them that it is
    measured from, kept in the CPU's memory, is then not made."""
    reference_mix: float = Field(default=0.2, ge=0)
    """Weight of the next-token loss on the reference explanations of the same activations. In a trial of 18 steps it
    kept the format and the length; without it themes shrank to one word in 21 steps."""
    references_per_rollout: float = Field(default=0.25, ge=0)
    """Reference explanations of other training positions the AR learns from, for each rollout."""
    av_lr: float = Field(default=3e-4, gt=0)
    """Peak rate of the AV's AdamW."""
    ar_lr: float = Field(default=4e-4, ge=0)
    """Peak rate of the AR's; 0 freezes the AR."""
    warmup_steps: int = Field(default=3, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up: stay, or fall to 10 % over the remaining steps."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients of either model are scaled down to this L2 norm."""
    micro_tokens: int = Field(default=256, ge=1)
    """Padded tokens that pass through a model together with gradient, in each worker: bounds peak memory."""
    workers: int = Field(default=1, ge=1)
    """Batches side by side on a CPU, in threads of one process; they share the weights."""
    threads: int = Field(default=1, ge=1)
    """Cores of each worker."""
    evaluate_every: int = Field(default=10, ge=1)
    """Steps between greedy round trips over the held-out rows; also before the first and after the last."""
    evaluate_rows: int = Field(default=128, ge=1)
    snapshot_every: int = Field(default=50, ge=1)
    """Steps between copies of the weights that are kept, for measurements over training; also after the last."""
    seed: int = 0

    @model_validator(mode="after")
    def _checked(self) -> JointConfig:
        if self.learnt_per_group and self.learnt_per_group > self.samples_per_group:
            raise ValueError(f"learnt_per_group {self.learnt_per_group} is above samples_per_group")
        if self.learnt_per_group and self.kl:
            raise ValueError("kl is of all that was drawn: leave learnt_per_group out, or set kl to 0")
        return self
