"""Rows of different length, prefilled in parts and decoded in one batch, give the same result as each row alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from nla_eval.engines.one_step import GROUPED
from nla_eval.engines.ragged import GroupCache, row_runs

SMALL = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
}  # fmt: skip


@pytest.mark.parametrize("config", [LlamaConfig(**SMALL), Qwen2Config(**SMALL)], ids=lambda c: c.model_type)
@pytest.mark.parametrize("spare", [3, 40])
@torch.inference_mode()
def test_rows_of_a_group_go_on_as_they_would_alone(config: Any, spare: int) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=GROUPED).eval()
    drawn = torch.Generator().manual_seed(1)
    prompts = [torch.randint(0, 97, (n,), generator=drawn) for n in (40, 33, 12, 3)]
    further = torch.randint(0, 97, (4, 12), generator=drawn)
    group = GroupCache(config, [len(p) for p in prompts], 12 if spare < 12 else spare)
    for start in (0, 2):
        padded = torch.nn.utils.rnn.pad_sequence(prompts[start : start + 2], batch_first=True)
        model(input_ids=padded, past_key_values=group.part(start, start + 2), use_cache=True)
    cache = group.whole()
    rows = [0, 1, 2, 3]
    for step in range(12):
        if step in (3, 7):
            kept = [3, 1, 2] if step == 3 else [1, 2]
            cache.keep(kept)
            rows = [rows[i] for i in kept]
        logits = model(input_ids=further[rows, step][:, None], **cache.step()).logits[:, -1]
        for place, row in enumerate(rows):
            alone = model(input_ids=torch.cat([prompts[row], further[row, : step + 1]])[None]).logits[0, -1]
            torch.testing.assert_close(logits[place], alone, rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60))
def test_runs_tile_the_rows_and_none_is_cut_short(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    runs = row_runs(lengths)
    assert [row for start, stop, _ in runs for row in range(start, stop)] == list(range(len(lengths)))
    assert all(longest == max(lengths[start:stop]) for start, stop, longest in runs)
    assert sum((stop - start) * longest for start, stop, longest in runs) <= 1.25 * sum(lengths)
