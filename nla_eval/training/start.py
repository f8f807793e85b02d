"""Begins a run with the adapters of a pack: a run whose checkpoints are gone goes on from the last pack that was kept,
and another corpus or explanation can be tried from there. In: a pack of LoRA adapters. Out: weights in a fresh AV or
AR."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from ..engines.loading import ADAPTER, VALUE_HEAD
from ..errors import PackError
from ..pack import Pack, load_pack
from ..pack_meta import PackMeta
from ..target import Target
from .ar import Reconstructor
from .av import Verbalizer


@dataclass(frozen=True)
class Start:
    """A pack to begin with."""

    pack: Pack

    @classmethod
    def of(cls, name: str, target: Target, layer: int) -> Start:
        """Find the pack and check that it fits. Raises PackError when it does not."""
        pack = load_pack(name)
        pack.check_target(target)
        if pack.layer != layer:
            raise PackError(f"start_from: pack '{name}' reads block {pack.layer}, the configuration block {layer}")
        for folder in (pack.av_path, pack.ar_path):
            if not (folder / ADAPTER).is_file():
                raise PackError(
                    f"start_from: {folder.name} of pack '{name}' holds no adapter ({ADAPTER}); only those resume"
                )
        return cls(pack)

    def meta(self, role: str) -> PackMeta:
        """The pack's own sidecar: marker, injection scale and baseline stay as they were."""
        return self.pack.av if role == "av" else self.pack.ar

    def put_av(self, model: Verbalizer) -> None:
        """The AV's adapter. Raises PackError when its rank is another."""
        _put(model.lm, self.pack.av_path)

    def put_ar(self, model: Reconstructor) -> None:
        """The AR's adapter and head."""
        _put(model.trunk, self.pack.ar_path)
        with torch.no_grad():
            model.head.weight.copy_(load_file(self.pack.ar_path / VALUE_HEAD)["weight"])


def adapter_rank(folder: Path) -> int:
    """The rank of the LoRA adapter in a pack's `av` or `ar`; 0 where its configuration names none."""
    return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("r") or 0)


def _put(wrapped: torch.nn.Module, folder: Path) -> None:
    rank = adapter_rank(folder)
    ours = getattr(wrapped, "peft_config", {}).get("default")
    if ours is None or ours.r != rank:
        has = ours.r if ours else 0
        raise PackError(
            f"start_from: the {folder.name} adapter has rank {rank}, the configuration lora_rank {has}; make them equal"
        )
    left: Any = set_peft_model_state_dict(wrapped, load_file(folder / ADAPTER))
    if left.unexpected_keys:
        raise PackError(f"start_from: the {folder.name} adapter has no place for {left.unexpected_keys[0]}")
