"""LoRA adapters, learning-rate schedule, and resumable optimisation, for the AR and AV stages. Checkpoints are
safetensors (adapter, AdamW moments, step), never pickle."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ...errors import NlaEvalError
from ...files import written
from ..config import OptimConfig
from .group import Group, part_of, whole

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SAVE_EVERY_SECONDS = 240.0
_BUCKET = 8


def with_lora(model: Any, rank: int) -> Any:
    """`model` with LoRA (peft) of `rank` on every linear of every block; alpha = rank.

    Rank 0 is full fine-tuning: returns `model` itself, with all weights trainable."""
    if rank == 0:
        return model.requires_grad_(True)
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LINEARS)))


def base_of(model: Any) -> Any:
    """The transformers model inside the output of `with_lora`."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def learning_rate(config: OptimConfig, seen: int) -> float:
    """Learning rate after `seen` samples: 3 % linear warm-up, then cosine from the peak to 10 % of it."""
    warm = max(1, int(0.03 * config.samples))
    if seen < warm:
        return config.lr * (seen + 1) / warm
    progress = min(1.0, (seen - warm) / max(1, config.samples - warm))
    return config.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def batches(lengths: Sequence[int], config: OptimConfig) -> Iterator[list[int]]:
    """Endless batches of indices. Samples of a batch have similar lengths, to reduce padding.

    Each epoch has a new seeded order. Every `_BUCKET` batches are sorted by length, then shuffled with the seed.

    Args:
        lengths: Length of each sample, in any unit.
        config: Batch size and seed.
    """
    epoch = 0
    while True:
        random = np.random.default_rng([config.epochs_shuffle_seed, epoch])
        order = random.permutation(len(lengths)).tolist()
        for start in range(0, len(order), config.batch * _BUCKET):
            run = sorted(order[start : start + config.batch * _BUCKET], key=lambda i: lengths[i])
            dealt = [run[s : s + config.batch] for s in range(0, len(run), config.batch)]
            for i in random.permutation(len(dealt)).tolist():
                yield dealt[i]
        epoch += 1


class Optimisation:
    """One resumable optimisation: parameters, AdamW, schedule, log and checkpoint.

    Args:
        name: File stem in `folder`: `<name>.safetensors` and `<name>.jsonl`.
        parameters: The trainable parameters by name.
    """

    def __init__(self, name: str, folder: Path, parameters: dict[str, nn.Parameter], config: OptimConfig) -> None:
        self.config, self.parameters = config, parameters
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.safetensors"
        self.log_path = folder / f"{name}.jsonl"
        self.group = Group.joined()
        self.optimizer = torch.optim.AdamW(parameters.values(), lr=config.lr, weight_decay=0.0, betas=(0.9, 0.98))
        self.seen = 0
        self._last_save = time.monotonic()
        self._started = time.process_time()

    @property
    def finished(self) -> bool:
        """Whether all samples have been seen."""
        return self.seen >= self.config.samples

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if not self.path.is_file():
            return
        with safe_open(self.path, "pt") as saved, torch.no_grad():
            self.seen, known = int(saved.get_tensor("seen")), set(saved.keys())
            for name, parameter in self.parameters.items():
                parameter.copy_(part_of(saved.get_tensor(f"param.{name}"), parameter))
                if f"m.{name}" in known:
                    self.optimizer.state[parameter] = {
                        "step": saved.get_tensor("steps").clone().float(),
                        "exp_avg": part_of(saved.get_tensor(f"m.{name}"), parameter).clone(),
                        "exp_avg_sq": part_of(saved.get_tensor(f"v.{name}"), parameter).clone(),
                    }

    def step(self, losses: Iterable[torch.Tensor], batch: int, clip: float = 1.0) -> float:
        """One update: backward through this process's parts of the loss, sum over processes, clip, AdamW.

        Args:
            losses: Scalars whose sum over all processes is the loss of the batch. Each is freed before the next is
                computed.
            batch: Samples of the batch, over all processes.
            clip: Gradients are scaled down to this L2 norm.

        Returns:
            The loss of the batch.

        Raises:
            NlaEvalError: The loss is not finite; no weight has changed.
        """
        mine = 0.0
        for loss in losses:
            mine += float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
        value = self.group.total(mine)
        if not math.isfinite(value):
            raise NlaEvalError(f"stage {self.path.stem}: loss is {value} after {self.seen} samples; lower its lr")
        self.group.add_gradients(self.parameters.values())
        nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.seen)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.seen += batch
        if self.finished or self.group.agreed(time.monotonic() - self._last_save > _SAVE_EVERY_SECONDS):
            self.save()
        return value

    def save(self) -> None:
        """Write the checkpoint atomically. The first process gathers all tensors; the others hold one at a time."""
        blob: dict[str, torch.Tensor] = {"seen": torch.tensor(self.seen)}
        for name, tensor in self._tensors():
            gathered = whole(tensor)
            if self.group.rank == 0:
                blob[name] = gathered
        if self.group.rank == 0:
            with written(self.path) as part:
                save_file(blob, part)
        self._last_save = time.monotonic()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name in the checkpoint, tensor) of weights and moments, in the same order in every process."""
        for name, parameter in self.parameters.items():
            yield f"param.{name}", parameter.detach()
            if state := self.optimizer.state.get(parameter):
                yield "steps", torch.tensor(float(state["step"]))
                yield f"m.{name}", state["exp_avg"]
                yield f"v.{name}", state["exp_avg_sq"]

    def log(self, **values: float) -> None:
        """Append one line to the log and print it. `cpu_s` is the sum over processes, so every process must call it."""
        spent = self.group.total(time.process_time() - self._started)
        if self.group.rank:
            return
        line = {"seen": self.seen, "cpu_s": round(spent, 1), **values}
        with self.log_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(self.path.stem, json.dumps(line), flush=True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of `model` that require a gradient, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def optimise(
    stage: Optimisation, lengths: Sequence[int], loss_of: Callable[[list[int]], torch.Tensor],
    report: Callable[[], dict[str, float]], report_every: int, weight_of: Callable[[list[int]], float] = len,
) -> None:  # fmt: skip
    """Run `stage` to its end.

    Args:
        stage: Parameters, checkpoint and log.
        lengths: Length of each sample, in any unit.
        loss_of: Mean loss of the samples with these indices.
        report: Held-out figures for the log.
        report_every: Samples between two reports.
        weight_of: Number of terms in the mean of `loss_of`, for the samples with these indices. It makes the loss of a
            batch independent of its division into processes and micro-batches.
    """
    stage.resume()
    if not stage.path.is_file() and stage.finished:
        stage.save()
    passed = 0
    running: list[float] = []
    for batch in batches(lengths, stage.config):
        if stage.finished:
            return
        passed += len(batch)
        if passed <= stage.seen:
            continue
        running.append(stage.step(_parts(stage, batch, loss_of, weight_of), len(batch)))
        if stage.seen % report_every < len(batch) or stage.finished:
            stage.log(train_loss=float(np.mean(running)), **report())
            running = []


def _parts(
    stage: Optimisation,
    batch: list[int],
    loss_of: Callable[[list[int]], torch.Tensor],
    weight_of: Callable[[list[int]], float],
) -> Iterator[torch.Tensor]:
    """This process's parts of a batch's mean loss, one micro-batch at a time."""
    total, mine, size = weight_of(batch), stage.group.share(batch), stage.config.micro_batch
    for part in range(math.ceil(math.ceil(len(batch) / stage.group.size) / size)):
        if some := mine[part * size : (part + 1) * size]:
            yield loss_of(some) * (weight_of(some) / total)
        else:  # with FSDP every process must run every layer equally often
            yield loss_of(batch[:1]) * 0.0


def restore(model: nn.Module, checkpoint: Path) -> None:
    """Load the trained parameters of a stage's checkpoint into `model`, one at a time."""
    with safe_open(checkpoint, "pt") as saved, torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(part_of(saved.get_tensor(f"param.{name}"), parameter))
