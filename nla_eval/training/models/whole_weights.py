"""Writes AV and AR as whole checkpoints in the public layout: transformers' own, the AR's with K + 1 layers and its
head beside it. In: models and the target they come from. Out: files in a folder that is there already.

The layout is that of github.com/kitft/natural_language_autoencoders (`nla_inference.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoTokenizer

from ...engines.loading import cast_weights, load_cut_lm
from ...errors import PackError
from ...models.pack_meta import VALUE_HEAD, PackMeta
from ...models.prompts import check_ar_prompt
from ...models.target import Target

SHARD = "5GB"


@dataclass(frozen=True)
class Writing:
    """How plain weights are written."""

    dtype: torch.dtype = torch.float32
    """float32 reproduces the pack exactly; bfloat16 is half as large, as released pairs are."""
    shard: str = SHARD
    """Largest file, as transformers spells it."""


def write_lm(model: Any, out: Path, how: Writing) -> None:
    """The AV. Its weights are converted in place."""
    cast_weights(model, how.dtype).save_pretrained(out, max_shard_size=how.shard)


def write_reconstructor(model: Any, head: torch.Tensor, out: Path, how: Writing) -> None:
    """The AR, from what `load_cut_lm` gives, and its (d_model, d_model) head."""
    write_lm(model, out, how)
    write_head(head, out, how)


def write_head(head: torch.Tensor, out: Path, how: Writing) -> None:
    """The AR's (d_model, d_model) head, beside adapters or whole weights."""
    save_file({"weight": head.detach().to(how.dtype).contiguous()}, out / VALUE_HEAD)


def trained_lm(trunk: Any, target: Target, layer: int) -> Any:
    """A trunk that trained, as `load_cut_lm` of its target with its weights. Of the final norm, which no AR applies,
    the target's is kept.

    Raises:
        PackError: The trunk has not the target's blocks.
    """
    model = load_cut_lm(target.path, layer, torch.float32, trust=target.trust_remote_code)
    left = model.get_decoder().load_state_dict(trunk.state_dict(), strict=False)
    wrong = [*left.unexpected_keys, *(name for name in left.missing_keys if not name.startswith("norm."))]
    if wrong:
        raise PackError(f"the trained AR and target '{target.name}' differ in {wrong[0]}; it is another model's")
    return model


def write_tokenizer(target: Target, out: Path, *, public: bool) -> None:
    """The target's tokenizer.

    Args:
        target: Whose.
        out: Folder of AV or AR.
        public: Forget a BOS token that it names and does not prepend: the public client refuses such an AR, and
            prepending it would change what the AR was trained on.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(target.path), trust_remote_code=target.trust_remote_code)
    probe = tokenizer("x")["input_ids"]
    if public and tokenizer.bos_token_id is not None and probe[0] != tokenizer.bos_token_id:
        tokenizer.bos_token = None
    tokenizer.save_pretrained(out)


def check_read_back(ar: Path, meta: PackMeta) -> None:
    """The tokenizer that was written encodes the AR's prompt as its sidecar says, and the layers are what was meant.
    Raises PackError."""
    check_ar_prompt(meta, AutoTokenizer.from_pretrained(str(ar)))
    layers = AutoConfig.from_pretrained(str(ar)).num_hidden_layers
    if layers != meta.layer + 1:
        raise PackError(f"the exported AR has {layers} layers, expected {meta.layer + 1}")
