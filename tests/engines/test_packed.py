"""Packed matrix products equal the layer's output for any number of rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nla_eval.engines import packed
from nla_eval.engines.packed import FEW_ROWS, pack_linears

BF16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (3, 48), (14, 1, 48), (FEW_ROWS, 48), (FEW_ROWS + 1, 48), (2, 200, 48)])
def test_products_are_those_of_the_layer(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(48, 96, bias=bias), nn.SiLU(), nn.Linear(96, 48, bias=bias)).eval().to(dtype)
    rows = torch.randn(shape, dtype=dtype)
    with torch.inference_mode():
        expected = model(rows)
        assert pack_linears(model) == (0 if dtype is torch.bfloat16 and not BF16 else 2)
        assert torch.allclose(model(rows), expected, atol=1e-5 if dtype is torch.float32 else 1e-2)
        assert model(rows).shape == expected.shape


def test_few_rows_do_use_the_packed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = nn.Linear(48, 48).eval(), torch.randn(3, 48)
    with torch.inference_mode():
        expected = model(rows)
        pack_linears(model)
        monkeypatch.setattr(nn.functional, "linear", None)
        assert torch.allclose(model(rows), expected, atol=1e-5)


def test_gradients_take_the_stock_path() -> None:
    model = nn.Linear(8, 8)
    pack_linears(model)
    model(torch.randn(2, 8)).sum().backward()
    assert model.weight.grad is not None


def test_other_dtypes_and_large_models_keep_the_stock_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pack_linears(nn.Linear(8, 8).half()) == 0
    monkeypatch.setattr(packed, "_MOST_BYTES", 8)
    assert pack_linears(nn.Linear(8, 8)) == 0


class Tied(nn.Module):
    """One block and a head whose weights are the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.block, self.head = nn.Embedding(96, 48), nn.Linear(48, 48), nn.Linear(48, 96, bias=False)
        self.head.weight = self.embedding.weight

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.block(self.embedding(ids)))
        return found


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 1000])
def test_dropped_weights_change_no_product_and_the_embedding_keeps_its_own(rows: int) -> None:
    model, ids = Tied().eval(), torch.arange(rows)[None] % 96
    with torch.inference_mode():
        expected = model(ids)
        assert pack_linears(model, drop=True) == 2
        assert torch.allclose(model(ids), expected, atol=1e-5)
    assert model.block.weight is None
    assert model.head.weight is model.embedding.weight
