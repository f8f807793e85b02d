"""A LoRA for the tiny target, written by PEFT itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

LINEARS = ["q_proj", "v_proj", "down_proj"]


def write_tiny_adapter(target: Path, folder: Path, rank: int = 3, **config: Any) -> Path:
    """An adapter with random factors on every block of the target at `target`, in `folder`."""
    model = AutoModelForCausalLM.from_pretrained(str(target))
    torch.manual_seed(3)
    adapted = get_peft_model(model, LoraConfig(r=rank, lora_alpha=6, target_modules=LINEARS, **config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    adapted.save_pretrained(str(folder))
    return folder


def declare(folder: Path, **facts: Any) -> None:
    """Write what the adapter says of itself."""
    (folder / "nla_adapter.json").write_text(json.dumps(facts))


def reconfigure(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change entries of the adapter's configuration."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
