"""A pack for the tiny target, on disk: random but real weights; its AV gives different texts for different vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nla_eval.models.pack import Pack, load_pack
from nla_eval.models.pack_meta import SIDECAR, PackMeta
from nla_eval.models.target import Target, load_target
from tests.tiny_target import write_tiny_target

_AV, _AR = "Say <c>{injection_char}</c>", "Sum up: <t>{explanation}</t> so:"


def write_tiny_pack(folder: Path, *, adapter: bool = False, head_dim: int = 8) -> tuple[Target, Pack]:
    """Target and pack in `folder`; the AV is a full checkpoint, or a LoRA adapter of the target."""
    import torch
    from safetensors.torch import save_file

    plain = write_tiny_target(folder / "target", head_dim=head_dim)
    _write_lively(plain, plain, seed=4)
    target = load_target(str(plain))
    for role in ("av", "ar"):
        (folder / "pack" / role).mkdir(parents=True)
    pack = folder / "pack"
    if adapter:
        _write_adapter(target.path, pack / "av")
    else:
        _write_lively(target.path, pack / "av", seed=5)
    write_tiny_target(pack / "ar", head_dim=head_dim)
    save_file({"weight": torch.eye(16)}, pack / "ar" / "value_head.safetensors")
    meta = _meta(target)
    (pack / "av" / SIDECAR).write_text(meta.to_yaml())
    (pack / "ar" / SIDECAR).write_text(replace(meta, role="ar", injection_scale=None).to_yaml())
    return target, load_pack(str(pack))


def _meta(target: Target) -> PackMeta:
    ids = target.tokenizer.encode(_AV.replace("{injection_char}", "~"), add_special_tokens=False)
    marker = target.tokenizer.encode("~", add_special_tokens=False)
    at = ids.index(marker[0])
    return PackMeta(
        "av", 16, 1, "~", marker[0], ids[at - 1], ids[at + 1], _AV, _AR,
        injection_scale=3.0, mse_scale=4.0, max_new_tokens=16, baseline_variance=0.5,
    )  # fmt: skip


def _write_lively(target: Path, folder: Path, seed: int) -> None:
    """A causal LM whose weights are large enough for its greedy words to depend on its input."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(target, initializer_range=0.6)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(target).save_pretrained(folder)


def _write_adapter(target: Path, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(6)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(target), config).save_pretrained(folder)
