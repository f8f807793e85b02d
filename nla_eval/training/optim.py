"""What the AR and AV stages share: LoRA adapters, the learning-rate schedule, and checkpoints that a stopped run
resumes from. Checkpoints are safetensors (adapter, AdamW moments, step): no pickle anywhere."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from .config import OptimConfig

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SAVE_EVERY_SECONDS = 240.0
_BUCKET = 8


def with_lora(model: Any, rank: int) -> Any:
    """`model` wrapped by peft with LoRA of `rank` on every linear of every block; alpha = rank."""
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LINEARS)))


def learning_rate(config: OptimConfig, seen: int) -> float:
    """3 % linear warm-up, then cosine from the peak to 10 % of it."""
    warm = max(1, int(0.03 * config.samples))
    if seen < warm:
        return config.lr * (seen + 1) / warm
    progress = min(1.0, (seen - warm) / max(1, config.samples - warm))
    return config.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def batches(lengths: Sequence[int], config: OptimConfig) -> Iterator[list[int]]:
    """Batches of indices without end, of similar length so that little is padding.

    Each epoch has a new seeded order. Runs of `_BUCKET` batches are sorted by length and dealt out in seeded order.

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


class Stage:
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
        saved = load_file(self.path)
        self.seen = int(saved["seen"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(saved[f"param.{name}"])
                if f"m.{name}" in saved:
                    self.optimizer.state[parameter] = {
                        "step": saved["steps"].clone().float(),
                        "exp_avg": saved[f"m.{name}"].clone(),
                        "exp_avg_sq": saved[f"v.{name}"].clone(),
                    }

    def step(self, loss: torch.Tensor, batch: int, clip: float = 1.0) -> float:
        """Backward, clip, update. Raises FloatingPointError on a NaN loss, before any weight is touched."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.path.stem}: loss is {value} after {self.seen} samples; lower its lr")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.seen)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.seen += batch
        if self.finished or time.monotonic() - self._last_save > _SAVE_EVERY_SECONDS:
            self.save()
        return value

    def save(self) -> None:
        """Write the checkpoint atomically."""
        blob: dict[str, torch.Tensor] = {"seen": torch.tensor(self.seen)}
        for name, parameter in self.parameters.items():
            blob[f"param.{name}"] = parameter.detach().contiguous()
            state = self.optimizer.state.get(parameter)
            if state:
                blob["steps"] = torch.tensor(float(state["step"]))
                blob[f"m.{name}"], blob[f"v.{name}"] = state["exp_avg"].contiguous(), state["exp_avg_sq"].contiguous()
        save_file(blob, str(self.path) + ".part")
        Path(str(self.path) + ".part").rename(self.path)
        self._last_save = time.monotonic()

    def log(self, **values: float) -> None:
        """Append one line to the stage's log and print it."""
        line = {"seen": self.seen, "cpu_s": round(time.process_time() - self._started, 1), **values}
        with self.log_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(self.path.stem, json.dumps(line), flush=True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of `model` that require a gradient, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def run_stage(
    stage: Stage, lengths: Sequence[int], loss_of: Callable[[list[int]], torch.Tensor],
    report: Callable[[], dict[str, float]], report_every: int,
) -> None:  # fmt: skip
    """Run `stage` to its end over samples of these lengths; `report` gives held-out figures every `report_every`."""
    stage.resume()
    passed = 0
    running: list[float] = []
    for batch in batches(lengths, stage.config):
        if stage.finished:
            return
        passed += len(batch)
        if passed <= stage.seen:
            continue
        running.append(stage.step(loss_of(batch), len(batch)))
        if stage.seen % report_every < len(batch) or stage.finished:
            stage.log(train_loss=float(np.mean(running)), **report())
            running = []


def restore(model: nn.Module, checkpoint: Path) -> None:
    """Load the trained parameters of a stage's checkpoint into `model`."""
    saved = load_file(checkpoint)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(saved[f"param.{name}"])
