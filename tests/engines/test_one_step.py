"""Grouped attention and the roomy cache give what transformers' own path gives, through growth, selection and repeats;
drawing by blocks follows the distribution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache, Gemma3TextConfig, LlamaConfig, Qwen2Config

from nla_eval.engines.one_step import GROUPED, roomy_cache, worth_compacting

SMALL = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
}  # fmt: skip
CONFIGS = [
    LlamaConfig(**SMALL),
    Qwen2Config(**SMALL),
    Gemma3TextConfig(**SMALL, sliding_window=16, layer_types=["sliding_attention", "full_attention", "full_attention"]),
]  # fmt: skip


def pair(config: Any) -> tuple[Any, Any]:
    """The same random weights under transformers' sdpa and under grouped attention."""
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    grouped = AutoModelForCausalLM.from_config(config, attn_implementation=GROUPED).eval()
    grouped.load_state_dict(plain.state_dict())
    return plain, grouped


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model_type)
@torch.inference_mode()
def test_stepwise_logits_equal_the_stock_path_with_padding_and_dropped_rows(config: Any) -> None:
    plain, grouped = pair(config)
    ids = torch.randint(0, 97, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    caches: list[Any] = [DynamicCache(config=config), roomy_cache(config)]
    position = (mask.cumsum(1) - 1).clamp(min=0)
    for step in range(90):
        steps = [
            model(input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True)
            for model, cache in zip((plain, grouped), caches, strict=True)
        ]
        a, b = (out.logits[:, -1] for out in steps)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        ids = a.argmax(-1, keepdim=True)
        if step in (2, 70):
            keep = torch.tensor([0, 1, 3] if step == 2 else [2, 0])
            for cache in caches:
                cache.batch_select_indices(keep)
            ids, mask, position = ids[keep], mask[keep], position[keep]
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        position = position[:, -1:] + 1


@torch.inference_mode()
def test_a_repeated_cache_grows_each_row_on_its_own() -> None:
    config = CONFIGS[0]
    _, grouped = pair(config)
    cache = roomy_cache(config)
    grouped(input_ids=torch.tensor([[3, 4, 5]]), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(2)
    after = grouped(input_ids=torch.tensor([[6], [7]]), past_key_values=cache, use_cache=True).logits[:, -1]
    for row, last in enumerate((6, 7)):
        alone = grouped(input_ids=torch.tensor([[3, 4, 5, last]])).logits[0, -1]
        torch.testing.assert_close(after[row], alone, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_cache_grows_in_place_while_there_is_room() -> None:
    cache = roomy_cache(CONFIGS[0])
    layer: Any = cache.layers[0]
    places = set()
    for _ in range(40):
        layer.update(torch.ones(2, 2, 1, 8), torch.ones(2, 2, 1, 8))
        places.add(layer.keys.data_ptr())
    assert len(places) == 1
    assert layer.keys.shape == (2, 2, 40, 8)


def test_rows_are_dropped_by_the_eighth_and_when_few_are_left() -> None:
    assert not worth_compacting(230, 256)
    assert worth_compacting(224, 256)
    assert worth_compacting(2, 3)
