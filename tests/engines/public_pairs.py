"""Tiny random pairs with their targets, written by hand in the files of the released ones: config.json as transformers
4.5x wrote it, tensor names of the family, sidecars in the released spelling, a value head beside a reconstructor
without final norm and head. No model class of transformers takes part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from transformers import AutoTokenizer

from nla_eval.models.target import Target, load_target
from tests.engines.public_tokenizers import GEMMA_MARKER, QWEN_MARKER, write_gemma, write_llama, write_qwen

WIDTH, INNER, HEADS, GROUPS = 32, 48, 4, 2
AV_TEMPLATE = (
    "Say what the vector between the tags means.\n\n<concept>{injection_char}</concept>\n\nUse explanation tags."
)
AR_TEMPLATE = "Summary of the following text: <text>{explanation}</text> <summary>"
SHARD = "model-{:05d}-of-00002.safetensors"
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Family:
    """A family and the released pair it stands for."""

    name: str
    pair: str
    layer: int
    blocks: int
    scale: float
    marker: str
    write_tokenizer: Callable[[Path], None]
    config: dict[str, Any]
    head_dim: int = 8
    tied: bool = False
    nested: str = ""
    """Which of "target", "av", "ar" lie in multimodal checkpoints."""


_COMMON: dict[str, Any] = {
    "attention_dropout": 0.0,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 1024,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.57.1",
    "use_cache": True,
}
_QWEN = _COMMON | {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "max_window_layers": 28,
    "model_type": "qwen2",
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "use_sliding_window": False,
}
_LLAMA = _COMMON | {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "head_dim": 8,
    "hidden_act": "silu",
    "mlp_bias": False,
    "model_type": "llama",
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
}
_GEMMA = _COMMON | {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "head_dim": 12,
    "hidden_activation": "gelu_pytorch_tanh",
    "model_type": "gemma3_text",
    "query_pre_attn_scalar": 10,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "rope_theta": 1000000.0,
    "sliding_window": 24,
    "sliding_window_pattern": 6,
}

_GEMMA_FAMILY: dict[str, Any] = {
    "layer": 6, "blocks": 8, "marker": GEMMA_MARKER, "write_tokenizer": write_gemma, "head_dim": 12, "tied": True,
}  # fmt: skip
"""Block 5 sees everything, block 6 a window, as blocks 29 and 32 of the 12B model."""
FAMILIES = {
    family.name: family
    for family in (
        Family("qwen2", "qwen2.5-7b-l20", 2, 4, 150.0, QWEN_MARKER, write_qwen, _QWEN),
        Family("qwen2-tied", "qwen2.5-7b-l20", 1, 3, 150.0, QWEN_MARKER, write_qwen, _QWEN, tied=True),
        Family("gemma3", "gemma3-12b-l32", scale=80000.0, nested="target", config=_GEMMA, **_GEMMA_FAMILY),
        Family(
            "gemma3-nested",
            "gemma3-27b-l41",
            scale=60000.0,
            nested="target av ar",
            config=_GEMMA | {"sliding_window": 1024},
            **_GEMMA_FAMILY,
        ),
        Family("llama3", "llama3.3-70b-l53", 2, 4, 30.0, QWEN_MARKER, write_llama, _LLAMA),
    )
}


@dataclass(frozen=True)
class Written:
    """Where a family's target and pair lie, and the weights by plain names ("model.layers.0...")."""

    family: Family
    target: Target
    av: Path
    ar: Path
    weights: dict[str, Tensors]
    """Of "target", "av" and "ar"; float32 of what the files hold in bfloat16."""
    head: torch.Tensor

    @property
    def pack(self) -> str:
        """As a user names the two folders."""
        return f"{self.av},{self.ar}"


def write_public_pair(folder: Path, family: Family) -> Written:
    """Target, AV and AR of `family` in `folder`."""
    weights = {}
    for seed, role in enumerate(("target", "av", "ar")):
        blocks = family.layer + 1 if role == "ar" else family.blocks
        family.write_tokenizer(folder / role)
        words = len(AutoTokenizer.from_pretrained(folder / role))
        weights[role] = _weights(family, blocks, words, seed, whole=role != "ar")
        config = family.config | {
            "num_hidden_layers": blocks, "vocab_size": words, "tie_word_embeddings": family.tied,
        }  # fmt: skip
        _write_checkpoint(folder / role, config, weights[role], nested=role in family.nested.split())
        ends = AutoTokenizer.from_pretrained(folder / role).eos_token_id
        (folder / role / "generation_config.json").write_text(json.dumps({"eos_token_id": [ends]}))
    head = (torch.eye(WIDTH) + 0.1 * torch.randn(WIDTH, WIDTH, generator=_generator(9))).bfloat16()
    save_file({"weight": head}, folder / "ar" / "value_head.safetensors")
    for role in ("av", "ar"):
        (folder / role / "nla_meta.yaml").write_text(released_sidecar(family, role, folder / role))
    plain = {role: {name: t.float() for name, t in found.items()} for role, found in weights.items()}
    return Written(family, load_target(str(folder / "target")), folder / "av", folder / "ar", plain, head.float())


def released_sidecar(family: Family, role: str, folder: Path) -> str:
    """`nla_meta.yaml` as the released pairs have it: K at top level, and under `critic` in the AR's only."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    filled = tokenizer.encode(AV_TEMPLATE.replace("{injection_char}", family.marker), add_special_tokens=False)
    (marker,) = tokenizer.encode(family.marker, add_special_tokens=False)
    at = filled.index(marker)
    suffix = tokenizer.encode("</text> <summary>", add_special_tokens=False)[1:]
    data = {
        "schema_version": 2,
        "kind": "nla_model",
        "role": role,
        "stage": "rl",
        "d_model": WIDTH,
        "extraction_layer_index": family.layer,
        "extraction": {"injection_scale": family.scale if role == "av" else None, "mse_scale": WIDTH**0.5},
        "tokens": {
            "injection_char": family.marker,
            "injection_token_id": marker,
            "injection_left_neighbor_id": filled[at - 1],
            "injection_right_neighbor_id": filled[at + 1],
            "critic_suffix_ids": suffix if role == "ar" else None,
        },
        "prompt_templates": {"av": AV_TEMPLATE, "ar": AR_TEMPLATE},
    }
    if role == "ar":
        data["critic"] = {"extraction_layer_index": family.layer}
    return str(yaml.safe_dump(data, allow_unicode=True))


def _weights(family: Family, blocks: int, words: int, seed: int, *, whole: bool) -> Tensors:
    shapes = {"model.embed_tokens.weight": (words, WIDTH)}
    for block in range(blocks):
        shapes |= {f"model.layers.{block}.{name}": shape for name, shape in _block_shapes(family).items()}
    if whole:
        shapes["model.norm.weight"] = (WIDTH,)
        if not family.tied:
            shapes["lm_head.weight"] = (words, WIDTH)
    generator = _generator(seed)
    return {name: _random(name, shape, generator) for name, shape in shapes.items()}


def _block_shapes(family: Family) -> dict[str, tuple[int, ...]]:
    queries, keys = HEADS * family.head_dim, GROUPS * family.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (queries, WIDTH),
        "self_attn.k_proj.weight": (keys, WIDTH),
        "self_attn.v_proj.weight": (keys, WIDTH),
        "self_attn.o_proj.weight": (WIDTH, queries),
        "mlp.gate_proj.weight": (INNER, WIDTH),
        "mlp.up_proj.weight": (INNER, WIDTH),
        "mlp.down_proj.weight": (WIDTH, INNER),
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    kind = family.config["model_type"]
    if kind == "qwen2":
        shapes |= {f"self_attn.{p}_proj.bias": (queries if p == "q" else keys,) for p in "qkv"}
    if kind == "gemma3_text":
        shapes |= {f"self_attn.{p}_norm.weight": (family.head_dim,) for p in "qk"}
        shapes |= {f"{p}_feedforward_layernorm.weight": (WIDTH,) for p in ("pre", "post")}
    return shapes


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    spread = 0.1 if "embed" in name else 0.5 if "norm" in name or "bias" in name else 0.3
    return (spread * torch.randn(shape, generator=generator)).bfloat16()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _write_checkpoint(folder: Path, config: dict[str, Any], weights: Tensors, *, nested: bool) -> None:
    if nested:
        config = _multimodal(config)
        weights = {f"language_{name.replace('model.', 'model.model.', 1)}": t for name, t in weights.items()}
        weights |= _vision_tower()
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    names = sorted(weights)
    parts = (names[: len(names) // 2], names[len(names) // 2 :])
    placed = {}
    for number, part in enumerate(parts, start=1):
        file = SHARD.format(number)
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(t.numel() * 2 for t in weights.values())}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _multimodal(text: dict[str, Any]) -> dict[str, Any]:
    """As google/gemma-3-12b-it nests its language model."""
    top = ("architectures", "torch_dtype", "transformers_version", "use_cache")
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 5,
        "eoi_token_index": 6,
        "image_token_index": 7,
        "initializer_range": 0.02,
        "mm_tokens_per_image": 4,
        "model_type": "gemma3",
        "text_config": {name: value for name, value in text.items() if name not in top},
        "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0",
        "vision_config": {
            "hidden_size": 16, "image_size": 28, "intermediate_size": 16, "model_type": "siglip_vision_model",
            "num_attention_heads": 2, "num_hidden_layers": 1, "patch_size": 14, "vision_use_head": False,
        },
    }  # fmt: skip


def _vision_tower() -> Tensors:
    """Some of the tensors that a reader of text leaves alone; one has the name of a text tensor at its end."""
    generator = _generator(7)
    shapes = {
        "multi_modal_projector.mm_input_projection_weight": (16, WIDTH),
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight": (16, 16),
        "vision_tower.vision_model.post_layernorm.weight": (16,),
    }
    return {name: _random(name, shape, generator) for name, shape in shapes.items()}
