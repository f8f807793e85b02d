"""Out of memory halves the batch and goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.capture import capture
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.fitting import fitting, out_of_memory
from nla_eval.errors import NlaEvalError

CPU_SAYS = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError(CPU_SAYS), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(err: Exception, told: bool) -> None:
    assert out_of_memory(err) is told


def test_a_batch_too_large_is_halved_until_it_fits_and_keeps_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []

    def run(items: list[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > 3:
            raise RuntimeError(CPU_SAYS)
        return [10 * i for i in items]

    assert fitting(run, range(11), "explanations") == [10 * i for i in range(11)]
    assert max(size for size in sizes if size <= 3) == 3
    assert "out of memory with 11 explanations at once; going on with 6" in capsys.readouterr().err


def test_one_item_that_does_not_fit_is_a_clear_error() -> None:
    def run(items: list[int]) -> list[int]:
        raise MemoryError

    with pytest.raises(NlaEvalError, match="out of memory for one of the explanations alone; close other programs"):
        fitting(run, [1, 2], "explanations")


def test_other_errors_pass() -> None:
    def run(items: list[int]) -> list[int]:
        raise ValueError("a fault of its own")

    with pytest.raises(ValueError, match="a fault of its own"):
        fitting(run, [1, 2], "explanations")


class Trunk:
    """Gives each token's id and its position as the activation; has room for `room` padded tokens at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.config = SimpleNamespace(hidden_size=2)
        self.read: list[tuple[int, int]] = []

    def __call__(self, input_ids: torch.Tensor, use_cache: bool, past_key_values: Any = None) -> Any:
        if input_ids.numel() > self.room:
            raise RuntimeError(CPU_SAYS)
        self.read.append((input_ids.shape[0], input_ids.shape[1]))
        hidden = torch.stack([input_ids.float(), input_ids.float() + 0.5], dim=-1)
        return SimpleNamespace(last_hidden_state=hidden)


def requests(*lengths: int) -> list[CaptureRequest]:
    return [
        CaptureRequest(f"r{i}", np.arange(1, n + 1, dtype=np.int32), np.array([0, n - 1]))
        for i, n in enumerate(lengths)
    ]


@pytest.mark.parametrize("room", [100_000, 1100, 300])
def test_capture_gives_the_same_rows_with_less_room(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr("nla_eval.engines.capture.DynamicCache", lambda config: None)
    trunk = Trunk(room)
    found = {c.key: c for c in capture(trunk, requests(400, 500, 1000, 7), EngineConfig(batch_tokens=4096))}
    for request in requests(400, 500, 1000, 7):
        assert found[request.key].error is None
        assert found[request.key].activations[:, 0].tolist() == [1.0, float(len(request.token_ids))]
    assert all(rows * tokens <= room for rows, tokens in trunk.read)


def test_a_transcript_that_does_not_fit_in_the_shortest_chunks_is_its_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nla_eval.engines.capture.DynamicCache", lambda config: None)
    found = {c.key: c for c in capture(Trunk(100), requests(1000, 50), EngineConfig())}
    assert "out of memory for 1000 tokens in chunks of 256" in str(found["r0"].error)
    assert found["r1"].error is None
