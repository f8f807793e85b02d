"""The `joint` section of a training configuration: rollouts, reward, and the updates of AV and AR. Plain values; it
knows no model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Reward = Literal["mse", "log"]
AdvantageScale = Literal["none", "group", "step"]


class JointConfig(BaseModel):
    """Settings of the joint stage. The defaults suit the small target on two CPU cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=0, ge=0)
    """Number of steps; each one draws, scores and updates. 0: no joint stage."""
    groups: int = Field(default=8, ge=1)
    """Training activations per step, over all processes."""
    samples_per_group: int = Field(default=8, ge=2)
    """Explanations drawn per activation: `greedy_per_group` greedily, the others at temperature 1. The published recipe
    draws 8."""
    learnt_per_group: int | None = Field(default=None, ge=2)
    """Explanations of each group that the AV learns from: those with the most varied rewards. None: all. The AR always
    learns from all."""
    greedy_per_group: int = Field(default=0, ge=0, le=1)
    """How many of `samples_per_group` are drawn greedily. Greedy decoding falls into loops that temperature 1 does not
    show; with a greedy sample in the group, a loop with a low reward is unlearnt. A greedy text is not a sample of the
    policy, so the gradient is biased."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of an explanation; None: the pack's."""
    reward: Reward = "mse"
    """mse: -mse_nrm of the AR's reconstruction. log: -log mse_nrm, which still rewards gains if mse_nrm is small."""
    unclosed_reward: float = -2.0
    """Reward of an explanation without a close tag, or cut at the cap. -2 is the reward of an unrelated vector
    (cos 0)."""
    length_penalty: float = Field(default=0.0, ge=0)
    """Subtracted from the reward for every token beyond `length_free`."""
    length_free: int = Field(default=60, ge=0)
    repeat_penalty: float = Field(default=0.0, ge=0)
    """Penalty for repetition, against lists such as "game, game, gameplay": this factor times the share of words that
    repeat or extend an earlier word of their line is subtracted from the reward."""
    masked_share: float = Field(default=0.0, ge=0, le=1)
    """Share of groups whose explanations the AR reads masked: without the words of the position's last 30 context
    tokens. All rollouts of a group are treated alike, so the group's mean stays a fair baseline."""
    advantage_scale: AdvantageScale = "group"
    """Divisor of (reward - group mean): none, the group's standard deviation, or the standard deviation of all these
    differences in the step."""
    updates_per_step: int = Field(default=1, ge=1, le=8)
    """Updates of the AV on the same rollouts. The first is on-policy; the later ones are clipped."""
    clip_ratio: float = Field(default=0.2, gt=0, lt=1)
    """PPO's clip of the probability ratio; has no effect on the first update of a step."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence, per token, from the AV at the start of the stage (k3 estimator). At 0, KL is only
    measured, at every evaluation. At 0 with all weights trained it is not measured either, because the reference copy
    of the weights in CPU memory is not made."""
    reference_mix: float = Field(default=0.2, ge=0)
    """Weight of the next-token loss on the reference explanations of the same activations. In a trial of 18 steps it
    kept format and length; without it themes shrank to one word in 21 steps."""
    references_per_rollout: float = Field(default=0.25, ge=0)
    """Reference explanations, of other training positions, that the AR learns from per rollout."""
    av_lr: float = Field(default=3e-4, gt=0)
    """Peak learning rate of the AV."""
    ar_lr: float = Field(default=4e-4, ge=0)
    """Peak learning rate of the AR; 0 freezes it."""
    warmup_steps: int = Field(default=3, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up: constant, or cosine to 10 % over the remaining steps."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Maximum L2 norm of each model's gradient."""
    micro_tokens: int = Field(default=256, ge=1)
    """Padded tokens in one forward and backward pass, per worker; bounds peak memory."""
    workers: int = Field(default=1, ge=1)
    """Threads of one process that compute batches in parallel on a CPU; they share the weights."""
    threads: int = Field(default=1, ge=1)
    """Cores per worker."""
    evaluate_every: int = Field(default=10, ge=1)
    """Steps between greedy round trips over the held-out rows. They also run before the first and after the last
    step."""
    evaluate_rows: int = Field(default=128, ge=1)
    snapshot_every: int = Field(default=50, ge=1)
    """Steps between snapshots of the weights, for measurements over training. One is also kept after the last step."""
    seed: int = 0

    @model_validator(mode="after")
    def _checked(self) -> JointConfig:
        if self.learnt_per_group and self.learnt_per_group > self.samples_per_group:
            raise ValueError(f"learnt_per_group {self.learnt_per_group} is above samples_per_group; lower it")
        if self.learnt_per_group and self.kl:
            raise ValueError("kl needs all samples of a group: leave learnt_per_group out, or set kl to 0")
        return self
