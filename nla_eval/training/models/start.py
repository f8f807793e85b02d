"""Starts a run from the weights of a pack: to continue training without the old checkpoints, or to try another corpus
or explanation format. In: a pack of adapters or of whole weights. Out: weights in a new AV or AR."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from ...engines.loading import load_av, load_reconstructor
from ...errors import PackError
from ...models.pack import Pack, load_pack
from ...models.pack_meta import ADAPTER, VALUE_HEAD, PackMeta
from ...models.target import Target
from .ar import Reconstructor
from .av import Verbalizer


@dataclass(frozen=True)
class Start:
    """A pack to start from."""

    pack: Pack
    target: Target

    @classmethod
    def of(cls, name: str, target: Target, layer: int) -> Start:
        """Load the pack and check target and layer. Raises PackError if they do not match."""
        pack = load_pack(name)
        pack.check_target(target)
        if pack.layer != layer:
            raise PackError(
                f"start_from: pack '{name}' reads block {pack.layer}, but layer is {layer}; make them equal"
            )
        return cls(pack, target)

    def meta(self, role: str) -> PackMeta:
        """The pack's own sidecar: marker, injection scale and baseline stay the same."""
        return self.pack.av if role == "av" else self.pack.ar

    def check_rank(self, role: str, rank: int) -> None:
        """Check that "av" or "ar" of the pack can start a model of LoRA rank `rank`. Rank 0 can start from any pack;
        an adapter needs an adapter of the same rank. Raises PackError."""
        folder = self.pack.av_path if role == "av" else self.pack.ar_path
        if not rank:
            return
        if not (folder / ADAPTER).is_file():
            raise PackError(
                f"start_from: {role} of pack '{self.pack.name}' is whole weights and {role}.lora_rank {rank}; set it "
                "to 0, or start from a pack of adapters"
            )
        if (theirs := adapter_rank(folder)) != rank:
            raise PackError(
                f"start_from: the {role} adapter has rank {theirs}, the configuration lora_rank {rank}; make them equal"
            )

    def put_av(self, model: Verbalizer) -> None:
        """Load the AV's adapter or whole weights into `model`. Raises PackError if the ranks differ."""
        self.check_rank("av", model.rank)
        if model.rank:
            _put(model.lm, self.pack.av_path)
        else:
            model.lm.load_state_dict(load_av(self.target.path, self.pack.av_path, torch.float32).state_dict())

    def put_ar(self, model: Reconstructor) -> None:
        """Load the AR's adapter or whole weights, and its head, into `model`. Raises PackError if the ranks differ."""
        self.check_rank("ar", model.rank)
        if model.rank:
            _put(model.trunk, self.pack.ar_path)
            head = load_file(self.pack.ar_path / VALUE_HEAD)["weight"]
        else:
            trunk, head = load_reconstructor(self.target.path, self.pack.ar_path, self.pack.layer, torch.float32)
            model.trunk.load_state_dict(trunk.state_dict())
        with torch.no_grad():
            model.head.weight.copy_(head)


def adapter_rank(folder: Path) -> int:
    """Rank of the LoRA adapter in a pack's `av` or `ar` folder; 0 if its configuration names none."""
    return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("r") or 0)


def _put(wrapped: torch.nn.Module, folder: Path) -> None:
    left: Any = set_peft_model_state_dict(wrapped, load_file(folder / ADAPTER))
    if left.unexpected_keys:
        raise PackError(
            f"start_from: the {folder.name} adapter has no place for {left.unexpected_keys[0]}; "
            "give a pack of this target"
        )
