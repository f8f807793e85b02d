"""One frozen configuration for a training run, read from YAML. Every field has a default; an unknown key is refused.
`smollm2-135m-l20.yaml` beside this file makes the shipped pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from .joint_config import JointConfig

FORMATS = Path(__file__).with_name("formats.yaml")


class Frozen(BaseModel):
    """Base of every section."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(Frozen):
    """One kind of training text."""

    name: str
    """Registered training source: "sharegpt", "installed_packages", "repair_sessions" or "desk_sessions"."""
    share: float = Field(default=1.0, gt=0)
    """Part of the token budget, relative to the other sources'."""
    path: str | None = None
    """File or folder, for sources that take one."""


class CorpusConfig(Frozen):
    """Which conversations are read, and where."""

    sources: tuple[SourceConfig, ...] = (SourceConfig(name="sharegpt"),)
    """What is read, each with its share."""
    buckets_train: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9)
    """Conversations whose family hash modulo 10 is in here train; the rest never do."""
    buckets_held_out: tuple[int, ...] = (1,)
    """Conversations held out for the card. Bucket 0 belongs to the shipped real-usage suite."""
    token_budget: int = Field(default=420_000, gt=0)
    """Tokens of replayed training conversations, all sources together."""
    new_to: str | None = None
    """A pack (its name or folder): conversations that it was not trained on come first, and those it knows only where
    a source has no others. What goes on with the same conversations begins to learn them by heart."""
    held_out_conversations: int = Field(default=72, gt=0)
    """Of each source as many as its share of these."""
    length_mix: tuple[tuple[int, float], ...] = ((256, 0.55), (640, 0.27), (1536, 0.18))
    """(maximum tokens, share of conversations): longer ones are cut there, at their end."""
    positions_per_conversation: int = Field(default=10, gt=0)
    """Drawn by the `stratified` policy over the whole conversation, plus up to two `boundaries`."""
    tokens_per_position: int | None = None
    """Long conversations give one position for so many tokens where that is more; None: never more."""
    min_position: int = 28
    """First readable token: behind the target's default system prompt. Becomes the pack's `min_position`."""
    min_document_frequency: int = 40
    """A word of an explanation must stand in at least this many training conversations: keeps rare names out."""


class ExplanationConfig(Frozen):
    """What a self-supervised explanation says."""

    format: str | None = "present"
    """A named format of formats.yaml; None where `lines` are written out."""
    lines: tuple[tuple[str, ...], ...] = ()
    """Parts of each line, such as "themes(4)"; filled in from `format`."""
    masked_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the AR's training texts in which every word of the last 30 context tokens is hidden, so that the AR
    learns to read the rest of the explanation too."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, data: Any) -> Any:
        given = {"format": data} if isinstance(data, str) else dict(data)
        if given.get("lines"):
            return {**given, "format": given.get("format")}
        named = formats()
        name = given.get("format", cls.model_fields["format"].default)
        if name not in named:
            raise ValueError(f"unknown format '{name}'; known: {', '.join(sorted(named))}; or give `lines`")
        return {**given, "format": name, "lines": named[name]}

    @model_validator(mode="after")
    def _checked(self) -> ExplanationConfig:
        from .explanations.explanation_parts import parse_part

        for line in self.lines:
            for part in line:
                try:
                    parse_part(part)
                except InputError as err:
                    raise ValueError(str(err)) from err
        return self

    def most(self, part: str) -> int:
        """The size that `part` has in the format, 0 without it."""
        from .explanations.explanation_parts import largest

        return largest(self.lines, part)

    @property
    def continuation(self) -> int:
        """Tokens of the target's own continuation that the format needs: a word takes one and a third, and spaces."""
        words = self.most("continuation")
        return words + words // 3 + 1 if words else 0


class WriterConfig(Frozen):
    """Who writes the warm-start explanations."""

    name: str = "self_supervised"
    """Registered writer: "self_supervised", "inspect_model" or "file"."""
    model: str | None = None
    """Inspect model of `inspect_model`, such as "openai/gpt-5-mini"."""
    path: str | None = None
    """Parquet or JSON lines with row, position and text, for `file`."""
    connections: int = Field(default=10, gt=0)
    """Requests at a time."""
    max_tokens: int = Field(default=400, gt=0)
    """Cap on one answer."""
    context_characters: int = Field(default=6000, gt=0)
    """Characters before the position that the model is shown."""


class OptimConfig(Frozen):
    """One optimisation stage."""

    samples: int = Field(ge=0)
    """Training samples seen."""
    batch: int = Field(default=32, gt=0)
    """Samples of one update, over all processes."""
    micro_batch: int = Field(default=8, gt=0)
    """Samples that pass through the model together with gradient, in each process: bounds peak memory."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak rate; 3 % linear warm-up, then cosine to 10 %."""
    lora_rank: int = Field(default=16, ge=0)
    """0 trains every weight: the pack then holds whole checkpoints, and is written below the run folder."""
    epochs_shuffle_seed: int = 0


class HardwareConfig(Frozen):
    """What the stages run on. Nothing here is part of what is trained, apart from the dtype's rounding."""

    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of frozen weights and arithmetic; trained weights are float32, those of full fine-tuning too. auto: bfloat16
    where the device multiplies in it, else float32."""
    sharding: Literal["none", "fsdp"] = "none"
    """fsdp: every process of `torchrun` holds a part of the weights (FSDP 2), and capture spreads one copy over all
    accelerators. none: under `torchrun` every process holds all weights and a share of each batch."""
    rollouts: str = Field(default="engine", pattern=r"^(engine|vllm(:.*)?)$")
    """Who draws the samples and the joint stage's rollouts: the engine's own decoder, or vLLM in this process, which
    takes up the AV's weights at every step. Options as for `--engine`: "vllm:gpu_memory_utilization=0.3"."""


class TrainConfig(Frozen):
    """A whole run: corpus, activations, warm-start explanations, AR, AV, AR on the AV's own samples, joint, pack."""

    name: str = "smollm2-135m-l20"
    """Name of the pack."""
    target: str = "smollm2-135m"
    trust_remote_code: bool = False
    """Run code that comes with the target's checkpoint."""
    layer: int = Field(default=20, ge=0)
    """K: the output of block K is read."""
    injection_scale: float | None = None
    """L2 norm of the injected vector; None takes the mean norm of the training activations, rounded to ten."""
    seed: int = 0
    processes: int = Field(default=2, gt=0)
    """Single-thread worker processes for capture; training stages run one process of `threads` threads."""
    threads: int = Field(default=1, gt=0)
    start_from: str | None = None
    """A pack (its name or folder) that AV and AR start from: adapters of the same rank, or with lora_rank 0 any."""
    hardware: HardwareConfig = Field(default_factory=HardwareConfig)
    corpus: CorpusConfig = Field(default_factory=CorpusConfig)
    writer: WriterConfig = Field(default_factory=WriterConfig)
    explanation: ExplanationConfig = Field(default_factory=lambda: ExplanationConfig.model_validate("present"))
    max_new_tokens: int = Field(default=80, gt=0)
    """Cap on an explanation; becomes the pack's."""
    ar: OptimConfig = OptimConfig(samples=9_600, lr=1e-3)
    av: OptimConfig = OptimConfig(samples=14_400, lr=1.5e-3)
    ar_on_samples: OptimConfig = OptimConfig(samples=4_800, lr=5e-4)
    """The AR continues on explanations the AV drew, mixed with reference ones: without it the AR is
    over-confident on AV text (round trip 0.07 against 0.74 on references in a trial). 0 samples leave it out."""
    references_per_rollout: int = 2
    """Reference explanations in that mixture for each drawn one; with too few the AR forgets the references."""
    rollouts: int = 2_400
    """Explanations the AV draws for that stage."""
    greedy_share: float = Field(default=0.0, ge=0, le=1)
    """Share of them drawn greedily, as explanations are read; the others at temperature 1."""
    joint: JointConfig = JointConfig()
    """GRPO on the AV while the AR learns from the same rollouts; begins from `ar_on_samples` where that ran."""


def formats() -> dict[str, list[list[str]]]:
    """The named formats of explanations."""
    named: dict[str, list[list[str]]] = yaml.safe_load(FORMATS.read_text(encoding="utf-8"))
    return named


def load_config(path: Path) -> TrainConfig:
    """Read a YAML training configuration. Raises InputError naming the field."""
    if not path.is_file():
        raise InputError(f"no training configuration '{path}'; give the path of a YAML file")
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as err:
        raise InputError(f"training config {path.name}: {str(err).splitlines()[0]}") from err
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"training config {path.name}: {where}: {first['msg']}; see TrainConfig for the fields"
        ) from err
