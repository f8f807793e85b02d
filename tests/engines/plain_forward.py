"""A reference forward of Qwen2, Llama 3 and Gemma 3 in plain tensor operations, from the papers' and model cards'
definitions: no model class, mask or cache of transformers, nothing of this package. One sequence at a time, float32."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import gelu, silu

Tensors = dict[str, torch.Tensor]


def embedded(config: dict[str, Any], weights: Tensors, ids: list[int]) -> torch.Tensor:
    """(T, d) what the first block reads. Gemma multiplies what it looks up by sqrt(d)."""
    rows = weights["model.embed_tokens.weight"][torch.tensor(ids)]
    return rows * math.sqrt(rows.shape[1]) if _gemma(config) else rows


def states(config: dict[str, Any], weights: Tensors, hidden: torch.Tensor, blocks: int) -> list[torch.Tensor]:
    """(T, d) before the first and after each of the first `blocks` blocks: what transformers calls `hidden_states`."""
    found = [hidden]
    for block in range(blocks):
        prefix = f"model.layers.{block}."
        own = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        found.append(_block(config, own, found[-1], block))
    return found


def logits(config: dict[str, Any], weights: Tensors, hidden: torch.Tensor) -> torch.Tensor:
    """(V,) of the word behind the last of (T, d) embeddings."""
    blocks = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("model.layers."))
    last = states(config, weights, hidden, blocks)[-1][-1]
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return head @ _norm(config, last, weights["model.norm.weight"])


def _gemma(config: dict[str, Any]) -> bool:
    return bool(config["model_type"] == "gemma3_text")


def _norm(config: dict[str, Any], rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    scaled = rows * torch.rsqrt(rows.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"])
    return scaled * (1 + weight) if _gemma(config) else scaled * weight


def _block(config: dict[str, Any], own: Tensors, hidden: torch.Tensor, block: int) -> torch.Tensor:
    def norm(rows: torch.Tensor, name: str) -> torch.Tensor:
        return _norm(config, rows, own[f"{name}_layernorm.weight"])

    attended = _attention(config, own, norm(hidden, "input"), block)
    if not _gemma(config):
        hidden = hidden + attended
        return hidden + _feed_forward(own, norm(hidden, "post_attention"), silu)
    hidden = hidden + norm(attended, "post_attention")
    inner = _feed_forward(own, norm(hidden, "pre_feedforward"), lambda rows: gelu(rows, approximate="tanh"))
    return hidden + norm(inner, "post_feedforward")


def _feed_forward(own: Tensors, rows: torch.Tensor, act: Any) -> torch.Tensor:
    gate, up, down = (own[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
    return (act(rows @ gate.T) * (rows @ up.T)) @ down.T


def _attention(config: dict[str, Any], own: Tensors, rows: torch.Tensor, block: int) -> torch.Tensor:
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    length, bias = len(rows), torch.zeros(())

    def projected(name: str, count: int) -> torch.Tensor:
        whole = rows @ own[f"self_attn.{name}_proj.weight"].T + own.get(f"self_attn.{name}_proj.bias", bias)
        return whole.view(length, count, -1).transpose(0, 1)  # (heads, T, head_dim)

    queries, keys, values = projected("q", heads), projected("k", groups), projected("v", groups)
    width, everything = queries.shape[-1], True
    if _gemma(config):
        queries = _norm(config, queries, own["self_attn.q_norm.weight"])
        keys = _norm(config, keys, own["self_attn.k_norm.weight"])
        everything = (block + 1) % config["sliding_window_pattern"] == 0
    angles = torch.outer(torch.arange(length).float(), _frequencies(config, width, everything))
    queries, keys = _turned(queries, angles), _turned(keys, angles)
    keys, values = (t.repeat_interleave(heads // groups, dim=0) for t in (keys, values))
    scale = config["query_pre_attn_scalar"] if _gemma(config) else width
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    seen = (distance >= 0) & (distance < (length if everything else config["sliding_window"]))
    scores = (queries @ keys.transpose(1, 2) / math.sqrt(scale)).masked_fill(~seen, -torch.inf)
    mixed = scores.softmax(-1) @ values
    return mixed.transpose(0, 1).reshape(length, -1) @ own["self_attn.o_proj.weight"].T


def _frequencies(config: dict[str, Any], width: int, everything: bool) -> torch.Tensor:
    """Rotations a position of each pair of dimensions."""
    theta = config["rope_theta"] if everything else config["rope_local_base_freq"]
    plain = theta ** -(torch.arange(0, width, 2).float() / width)
    scaling = config.get("rope_scaling")
    if scaling is None or not everything:
        return torch.as_tensor(plain)
    if scaling["rope_type"] == "linear":
        return torch.as_tensor(plain / scaling["factor"])
    turns = scaling["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return torch.as_tensor(kept * plain + (1 - kept) * plain / scaling["factor"])


def _turned(rows: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    first, second = rows.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
