"""A tiny pack with a setting adapter: random but real weights, put in by the command."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from nla_eval.commands.setting import add
from nla_eval.engines.loading import load_lm
from nla_eval.measure.figures import Figure
from nla_eval.measure.setting_card import DEMANDED, Contrast, SettingCard
from nla_eval.models.adapter import Declared
from nla_eval.models.pack import Pack, load_pack
from nla_eval.models.setting import FACTS, Calibration, Setting, SettingFacts
from nla_eval.models.target import Target
from nla_eval.training.organism.lora import adapter_tensors, with_dosed_lora, write_adapter
from tests.engines.tiny_pack import write_tiny_pack


def write_setting(folder: Path, target: Target, layer: int, **calibration: float) -> Setting:
    """A random but real setting adapter."""
    lm = load_lm(target.path, torch.float32, "eager")
    with_dosed_lora(lm, 0, 1, 2, seed=3)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if name.endswith("lora_B"):
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    declared = Declared(base_hash=target.base_hash)
    write_adapter(folder, adapter_tensors(lm), base="tiny", factor=1.0, declared=declared)
    facts = SettingFacts.of(target.tokenizer, target.base_hash, layer)
    facts = facts.model_copy(update={"calibration": Calibration(fitted_on="here", **calibration)})
    (folder / FACTS).write_text(facts.model_dump_json())
    return Setting("pack", folder)


def a_card(setting: Setting, low: float = 0.6, **lows: float) -> SettingCard:
    contrasts = [
        Contrast(
            against=name, reader="setting", where="transcript",
            auroc=Figure(value=0.7, interval=(lows.get(name, low), 0.8), n=9),
        )
        for name in DEMANDED
    ]  # fmt: skip
    return SettingCard(
        reader=setting.id, threshold=setting.facts.calibration.threshold, fitted_on="here", held_out="some",
        trained={"rows": 3}, contrasts=tuple(contrasts), rates=(), blank={"mean vector": -1.0},
    )  # fmt: skip


def pack_with_setting(folder: Path) -> tuple[Target, Pack]:
    """The tiny target, and its pack with a setting adapter."""
    target, pack = write_tiny_pack(folder)
    setting = write_setting(folder / "run" / "adapter", target, pack.layer, slope=2.0, bias=-1.0, threshold=-0.9)
    (folder / "run" / "setting.json").write_text(a_card(setting).model_dump_json())
    (pack.path / "card.json").write_text(json.dumps({"pack": pack.id, "target": "tiny", "layer": pack.layer}))
    add(folder / "run", str(pack.path))
    return target, load_pack(str(pack.path))
