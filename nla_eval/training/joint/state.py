"""Checkpoint, log and snapshots of the joint stage. The checkpoint is one file, replaced whole: both models' parameters
and AdamW moments, and the step. It knows no text and no reward."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ...errors import NlaEvalError
from ...files import whole_folder, write_text, written

BETAS = (0.9, 0.98)
_LARGE = 256 << 20
"""From this many bytes of trained weights on, the checkpoint (three times as large) is not written at every step."""
_SAVE_EVERY_SECONDS = 240.0


class Learner:
    """The trainable parameters of one model, with AdamW.

    Args:
        name: "av" or "ar"; names its tensors in the checkpoint, and the model in errors.
        parameters: Trainable parameters by name.
    """

    def __init__(self, name: str, parameters: dict[str, nn.Parameter]) -> None:
        self.name, self.parameters = name, parameters
        self.tensors = list(parameters.values())
        self._optimizer = torch.optim.AdamW(self.tensors, lr=1.0, weight_decay=0.0, betas=BETAS)

    def update(self, gradients: Sequence[torch.Tensor], lr: float, clip_norm: float) -> float:
        """One AdamW step at `lr`, with gradients clipped to norm `clip_norm`. Returns their norm before clipping.

        Raises:
            NlaEvalError: The gradients are not finite; no weight has changed.
        """
        norm = math.sqrt(sum(float(g.double().pow(2).sum()) for g in gradients))
        if not math.isfinite(norm):
            raise NlaEvalError(f"joint: the gradient of the {self.name} is {norm}; lower its learning rate")
        for parameter, gradient in zip(self.tensors, gradients, strict=True):
            parameter.grad = gradient.mul_(min(1.0, clip_norm / max(norm, 1e-12)))
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters on the CPU, by name."""
        return {name: p.detach().to("cpu", copy=True) for name, p in self.parameters.items()}

    @contextmanager
    def wearing(self, weights: dict[str, torch.Tensor]) -> Iterator[None]:
        """Context manager: swap `weights` in, and swap them out at the end. Holds one extra tensor at a time."""
        self._exchange(weights)
        try:
            yield
        finally:
            self._exchange(weights)

    @torch.no_grad()
    def _exchange(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.parameters.items():
            present = parameter.detach().to("cpu", copy=True)
            parameter.copy_(weights[name])
            weights[name] = present

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters and moments, keyed by this model's name."""
        blob: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            blob[f"{self.name}.param.{name}"] = parameter.detach().contiguous()
            held = self._optimizer.state.get(parameter)
            if held:
                blob[f"{self.name}.updates"] = torch.tensor(float(held["step"]))
                blob[f"{self.name}.m.{name}"] = held["exp_avg"].contiguous()
                blob[f"{self.name}.v.{name}"] = held["exp_avg_sq"].contiguous()
        return blob

    @torch.no_grad()
    def load(self, blob: dict[str, torch.Tensor]) -> None:
        """Restore the output of `state`."""
        for name, parameter in self.parameters.items():
            parameter.copy_(blob[f"{self.name}.param.{name}"])
            if f"{self.name}.m.{name}" in blob:
                first, second = (blob[f"{self.name}.{moment}.{name}"] for moment in ("m", "v"))
                self._optimizer.state[parameter] = {
                    "step": blob[f"{self.name}.updates"].clone(),
                    "exp_avg": first.to(parameter.device, copy=True),
                    "exp_avg_sq": second.to(parameter.device, copy=True),
                }


class JointState:
    """Checkpoint, log and snapshots in a run folder.

    `joint.safetensors` is the checkpoint, `joint.jsonl` the log, `joint/<step>/av.safetensors` and `ar.safetensors`
    copies of the weights in the form of the earlier stages' checkpoints.

    Args:
        folder: The run folder.
        learners: AV and AR.
        writes: Whether this process writes; the other processes only resume.
    """

    def __init__(self, folder: Path, learners: Sequence[Learner], *, writes: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.learners, self.writes = folder, learners, writes
        self.path, self.log_path = folder / "joint.safetensors", folder / "joint.jsonl"
        self.step = 0
        self._last_save = -math.inf

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one. Log lines of later steps are dropped.

        Raises:
            NlaEvalError: The checkpoint belongs to other models.
        """
        if not self.path.is_file():
            if self.writes:
                self.log_path.unlink(missing_ok=True)
            return
        try:
            blob = load_file(self.path)
            for learner in self.learners:
                learner.load(blob)
            self.step = int(blob["step"])
        except (KeyError, RuntimeError, SafetensorError) as err:
            raise NlaEvalError(
                f"{self.path.name} does not fit this configuration ({str(err).splitlines()[0]}); "
                "move it away to restart the joint stage, or restore the configuration that made it"
            ) from err
        if not self.writes:
            return
        lines = self.log_path.read_text().splitlines() if self.log_path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        write_text("".join(line + "\n" for line in kept), self.log_path)

    def save(self, *, now: bool = False) -> None:
        """Replace the checkpoint. A large one is written at most every four minutes, unless `now`."""
        large = sum(t.numel() * t.element_size() for one in self.learners for t in one.tensors) > _LARGE
        if not self.writes or (large and not now and time.monotonic() - self._last_save < _SAVE_EVERY_SECONDS):
            return
        blob = {"step": torch.tensor(self.step)}
        for learner in self.learners:
            blob.update(learner.state())
        with written(self.path) as part:
            save_file(blob, part)
        self._last_save = time.monotonic()

    def snapshot(self) -> None:
        """Save a copy of both models' weights."""
        if not self.writes:
            return
        with whole_folder(self._snapshot, replace=True) as out:
            for learner in self.learners:
                tensors = {f"param.{name}": p.detach().contiguous() for name, p in learner.parameters.items()}
                save_file(tensors, out / f"{learner.name}.safetensors")

    @property
    def has_snapshot(self) -> bool:
        """Whether a snapshot of the current step exists."""
        return self._snapshot.is_dir()

    @property
    def _snapshot(self) -> Path:
        return self.folder / "joint" / f"{self.step:05d}"

    def log(self, **values: Any) -> None:
        """Append one line to the log and print it."""
        if not self.writes:
            return
        line = json.dumps({"step": self.step, **values})
        with self.log_path.open("a") as file:
            file.write(line + "\n")
        print("joint", line, flush=True)


def snapshots(folder: Path) -> list[Path]:
    """The snapshot folders in run folder `folder`, by step. Each is named by its step and holds av.safetensors and
    ar.safetensors."""
    return sorted((folder / "joint").glob("[0-9]*"))


def latest_weights(folder: Path) -> Path | None:
    """The folder of the last snapshot in run folder `folder`; None if there is none."""
    found = snapshots(folder)
    return found[-1] if found else None


def core_hours(folder: Path, until: int | None = None) -> float | None:
    """CPU time of the logged joint steps in run folder `folder`, without evaluations; None without a log.

    Args:
        folder: The run folder.
        until: Last step to count; None: all.
    """
    log = folder / "joint.jsonl"
    if not log.is_file():
        return None
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    spent: list[dict[str, float]] = [line.get("cpu_s", {}) for line in lines if until is None or line["step"] <= until]
    return round(sum(s for step in spent for phase, s in step.items() if phase != "evaluate") / 3600, 2)
