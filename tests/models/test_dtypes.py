"""Dtypes of weights and arithmetic, by name."""

from __future__ import annotations

import pytest
import torch

from nla_eval.models.dtypes import DTYPES, dtype_name, torch_dtype


@pytest.mark.parametrize(("device", "found"), [("cuda", torch.bfloat16), ("cpu", torch.float32), (None, torch.float32)])
def test_auto_is_settled_by_the_device_that_computes(
    device: str | None, found: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False)
    assert torch_dtype("auto", device) is found
    monkeypatch.setattr(torch.cpu, probe, lambda: True)
    assert torch_dtype("auto", device) is torch.bfloat16
    assert torch_dtype("float32", device) is torch.float32


def test_a_dtype_is_called_what_it_is_asked_for_by() -> None:
    assert [dtype_name(torch_dtype(name)) for name in DTYPES[1:]] == list(DTYPES[1:])
