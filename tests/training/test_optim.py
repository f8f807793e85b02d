"""A stopped stage resumes to the same weights; the schedule warms up and decays; a NaN touches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nla_eval.errors import NlaEvalError
from nla_eval.training.config import OptimConfig
from nla_eval.training.models.optim import Optimisation, learning_rate, optimise, restore, trainable

CONFIG = OptimConfig(samples=40, batch=4, lr=0.05)


class Toy(nn.Module):
    """One vector pulled towards data."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))


DATA = torch.arange(30, dtype=torch.float32).reshape(10, 3)


def run(folder: Path, stop_after: int | None = None) -> Toy:
    toy = Toy()
    stage = Optimisation("toy", folder, trainable(toy), CONFIG)

    def loss_of(batch: list[int]) -> torch.Tensor:
        if stop_after is not None and stage.seen >= stop_after:
            stage.save()
            raise KeyboardInterrupt
        return ((toy.weight - DATA[batch]) ** 2).mean()

    optimise(stage, [1] * len(DATA), loss_of, dict, report_every=16)
    return toy


def test_a_run_stopped_and_resumed_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_after=20)
    resumed = run(tmp_path / "cut")
    torch.testing.assert_close(resumed.weight, whole.weight)
    again = Toy()
    restore(again, tmp_path / "cut" / "toy.safetensors")
    torch.testing.assert_close(again.weight, whole.weight)


def test_the_rate_warms_up_to_the_peak_and_decays_to_a_tenth() -> None:
    config = OptimConfig(samples=1000, lr=1.0)
    rates = [learning_rate(config, seen) for seen in range(0, 1001, 10)]
    assert rates[0] < 0.1
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] == pytest.approx(0.1, abs=1e-6)


def test_a_nan_loss_stops_before_any_weight_is_touched(tmp_path: Path) -> None:
    toy = Toy()
    stage = Optimisation("toy", tmp_path, trainable(toy), CONFIG)
    with pytest.raises(NlaEvalError, match="stage toy: loss is nan"):
        stage.step([toy.weight.sum() * float("nan")], 4)
    torch.testing.assert_close(toy.weight, torch.zeros(3))
