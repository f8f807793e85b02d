"""One frozen configuration for a training run, read from YAML. Every field has a default; an unknown key is refused.
`smollm2-135m-l20.yaml` beside this file makes the shipped pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..cards.yaml_file import YAMLError, read_yaml
from ..errors import InputError
from ..models.pack_meta import TEXT_WINDOW
from ..printable import first_fault
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
    """Weight of this source in the token budget, relative to the other sources."""
    path: str | None = None
    """File or folder, for sources that take one."""


class CorpusConfig(Frozen):
    """Which conversations and positions are used."""

    sources: tuple[SourceConfig, ...] = (SourceConfig(name="sharegpt"),)
    """Sources of conversations, each with its share."""
    buckets_train: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9)
    """A conversation is used for training only if its family hash modulo 10 is one of these."""
    buckets_held_out: tuple[int, ...] = (1,)
    """Buckets of the conversations held out for the card. Bucket 0 belongs to the shipped real-usage suite."""
    token_budget: int = Field(default=420_000, gt=0)
    """Tokens of replayed training conversations, over all sources."""
    new_to: str | None = None
    """Name or folder of a pack. Conversations that it was not trained on are taken first; the others only if a source
    has no more. A pack that continues training on the same conversations begins to memorise them."""
    held_out_conversations: int = Field(default=72, gt=0)
    """Number of held-out conversations, divided among the sources by share."""
    length_mix: tuple[tuple[int, float], ...] = ((256, 0.55), (640, 0.27), (1536, 0.18))
    """(maximum tokens, share of conversations). A longer conversation is cut at its end."""
    positions_per_conversation: int = Field(default=10, gt=0)
    """Positions drawn by the `stratified` policy over the whole conversation, plus up to two `boundaries`."""
    tokens_per_position: int | None = None
    """Long conversations give at least one position per this many tokens. None: `positions_per_conversation` always."""
    min_position: int = 28
    """First position used: after the target's default system prompt. Becomes the pack's `min_position`."""
    min_document_frequency: int = 40
    """An explanation uses only words that occur in at least this many training conversations: keeps rare names out."""


class ExplanationConfig(Frozen):
    """What a self-supervised explanation says."""

    format: str | None = "present"
    """Name of a format in formats.yaml; None if `lines` are given."""
    lines: tuple[tuple[str, ...], ...] = ()
    """Parts of each line, such as "themes(4)"; filled in from `format`."""
    masked_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the AR's training texts in which every word of the last 30 context tokens is masked. It makes the AR
    use the rest of the explanation too."""

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
        """Largest size of `part` in the format; 0 if the format does not use it."""
        from .explanations.explanation_parts import largest

        return largest(self.lines, part)

    @property
    def continuation(self) -> int:
        """Tokens of the target's own continuation that the format needs: about 1.33 per word, plus a margin."""
        words = self.most("continuation")
        return words + words // 3 + 1 if words else 0


class WriterConfig(Frozen):
    """The writer of the warm-start explanations."""

    name: str = "self_supervised"
    """Registered writer: "self_supervised", "plain", "inspect_model" or "file"."""
    right: float = Field(default=0.85, gt=0, lt=1)
    """For `plain`: a claim is made where a cross-fitted reader of activations is surest, at as many positions as keep
    it right on this share of them."""
    model: str | None = None
    """For `inspect_model`: an Inspect model, such as "openai/gpt-5-mini"."""
    path: str | None = None
    """For `file`: a Parquet or JSON-lines file with row, position and text."""
    connections: int = Field(default=10, gt=0)
    """Concurrent requests."""
    max_tokens: int = Field(default=400, gt=0)
    """Maximum tokens of one answer."""
    context_characters: int = Field(default=6000, gt=0)
    """Characters of context, up to the position, that the model is shown."""


class OptimConfig(Frozen):
    """One optimisation stage."""

    samples: int = Field(ge=0)
    """Training samples seen."""
    batch: int = Field(default=32, gt=0)
    """Samples per update, over all processes."""
    micro_batch: int = Field(default=8, gt=0)
    """Samples in one forward and backward pass, per process; bounds peak memory."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate: 3 % linear warm-up, then cosine to 10 % of the peak."""
    lora_rank: int = Field(default=16, ge=0)
    """LoRA rank. 0 trains every weight: the pack then holds whole checkpoints and is written below the run folder."""
    epochs_shuffle_seed: int = 0


class AVConfig(OptimConfig):
    """The AV's stage."""

    first_line_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of lessons that are the first line of an explanation alone. Such a lesson costs about a third. The text
    reader's lessons are whole."""
    claim_weight: float = Field(default=1.0, gt=0)
    """Weight, in the loss, of tokens that a claim of a plain explanation decides, against 1 of its other tokens."""


class TextOnlyConfig(OptimConfig):
    """The stage that trains the text reader: the AV's lessons, read from the text in place of the activation."""

    samples: int = Field(default=0, ge=0)
    """Training samples seen. 0: no such stage, and the pack has no text_only adapter."""
    window: int = Field(default=TEXT_WINDOW, gt=0)
    """Tokens up to the position that it reads. A shorter window makes a weaker reader and larger gains over it."""


class HardwareConfig(Frozen):
    """The hardware that the stages run on. Only the dtype affects the trained weights, by rounding."""

    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """dtype of frozen weights and arithmetic. Trained weights are always float32, also in full fine-tuning. auto:
    bfloat16 if the device multiplies in it, else float32."""
    sharding: Literal["none", "fsdp"] = "none"
    """fsdp: every process of `torchrun` holds a part of the weights (FSDP 2), and capture spreads one copy over all
    accelerators. none: every process of `torchrun` holds all weights and computes a share of each batch."""
    rollouts: str = Field(default="engine", pattern=r"^(engine|vllm(:.*)?)$")
    """What draws the samples and the joint stage's rollouts: the engine's own decoder, or vLLM in this process, which
    loads the AV's weights at every step. Options as for `--engine`: "vllm:gpu_memory_utilization=0.3"."""


class TrainConfig(Frozen):
    """A whole run: corpus, activations, warm-start explanations, AR, AV, AR on the AV's own samples, joint, pack."""

    name: str = "smollm2-135m-l20"
    """Name of the pack."""
    target: str = "smollm2-135m"
    trust_remote_code: bool = False
    """Run code that comes with the target's checkpoint."""
    layer: int = Field(default=20, ge=0)
    """K: activations are the output of block K."""
    injection_scale: float | None = None
    """L2 norm of the injected vector. None: the mean norm of the training activations, rounded to the nearest ten."""
    seed: int = 0
    processes: int = Field(default=2, gt=0)
    """Single-thread worker processes for capture. A training stage runs in one process with `threads` threads."""
    threads: int = Field(default=1, gt=0)
    start_from: str | None = None
    """Name or folder of the pack that AV and AR start from. Its adapters must have rank `lora_rank`; with lora_rank 0
    any pack works."""
    hardware: HardwareConfig = Field(default_factory=HardwareConfig)
    corpus: CorpusConfig = Field(default_factory=CorpusConfig)
    writer: WriterConfig = Field(default_factory=WriterConfig)
    explanation: ExplanationConfig = Field(default_factory=lambda: ExplanationConfig.model_validate("present"))
    max_new_tokens: int = Field(default=80, gt=0)
    """Maximum tokens of an explanation; becomes the pack's value."""
    ar: OptimConfig = OptimConfig(samples=9_600, lr=1e-3)
    av: AVConfig = AVConfig(samples=14_400, lr=1.5e-3)
    ar_on_samples: OptimConfig = OptimConfig(samples=4_800, lr=5e-4)
    """The AR continues on explanations drawn from the AV, mixed with reference explanations. Without this stage the AR
    is over-confident on AV text (round trip 0.07 against 0.74 on references in a trial). 0 samples: no such stage."""
    references_per_rollout: int = 2
    """Reference explanations per drawn explanation in that mixture. With too few the AR forgets the references."""
    rollouts: int = 2_400
    """Explanations drawn from the AV for that stage."""
    greedy_share: float = Field(default=0.0, ge=0, le=1)
    """Share of them drawn greedily, as in measurement; the others are drawn at temperature 1."""
    text_only: TextOnlyConfig = TextOnlyConfig(lr=1.5e-3)
    """The text reader of the lane text_only; it has the rank of the AV."""
    joint: JointConfig = JointConfig()
    """GRPO on the AV while the AR learns from the same rollouts; begins from `ar_on_samples` where that ran."""

    @model_validator(mode="after")
    def _comparable(self) -> TrainConfig:
        if self.text_only.samples and (not self.av.lora_rank or self.text_only.lora_rank != self.av.lora_rank):
            raise ValueError(
                f"text_only.lora_rank is {self.text_only.lora_rank}; expected {self.av.lora_rank or 'an adapter'}, the "
                "AV's own rank, so that what they read is all that differs"
            )
        return self


def formats() -> dict[str, list[list[str]]]:
    """The named formats of explanations."""
    named: dict[str, list[list[str]]] = read_yaml(FORMATS)
    return named


def load_config(path: Path) -> TrainConfig:
    """Read a YAML training configuration. Raises InputError naming the field."""
    if not path.is_file():
        raise InputError(f"no training configuration '{path}'; give the path of a YAML file")
    try:
        data: Any = read_yaml(path) or {}
    except (OSError, YAMLError) as err:
        raise InputError(f"training config {path.name}: {str(err).splitlines()[0]}; give a readable YAML file") from err
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as err:
        raise InputError(f"training config {path.name}: {first_fault(err)}; see TrainConfig for the fields") from err
