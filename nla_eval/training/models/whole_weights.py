"""Writes AV and AR as whole checkpoints in the public layout: transformers checkpoints; the AR's has K + 1 layers, with
its head in a separate file. In: models and their target. Out: files in an existing folder.

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
    """Options for writing whole weights."""

    dtype: torch.dtype = torch.float32
    """float32 reproduces the pack exactly; bfloat16 is half as large, as released pairs are."""
    shard: str = SHARD
    """Maximum file size, in transformers' notation."""


def write_lm(model: Any, out: Path, how: Writing) -> None:
    """Write the AV. Its weights are converted in place."""
    cast_weights(model, how.dtype).save_pretrained(out, max_shard_size=how.shard)


def write_reconstructor(model: Any, head: torch.Tensor, out: Path, how: Writing) -> None:
    """Write the AR, a model from `load_cut_lm`, and its (d_model, d_model) head."""
    write_lm(model, out, how)
    write_head(head, out, how)


def write_head(head: torch.Tensor, out: Path, how: Writing) -> None:
    """Write the AR's (d_model, d_model) head."""
    save_file({"weight": head.detach().to(how.dtype).contiguous()}, out / VALUE_HEAD)


def trained_lm(trunk: Any, target: Target, layer: int) -> Any:
    """The target's `load_cut_lm` with the weights of a trained trunk. The final norm, which no AR applies, stays the
    target's.

    Raises:
        PackError: The trunk's blocks do not match the target's.
    """
    model = load_cut_lm(target.path, layer, torch.float32, trust=target.trust_remote_code)
    left = model.get_decoder().load_state_dict(trunk.state_dict(), strict=False)
    wrong = [*left.unexpected_keys, *(name for name in left.missing_keys if not name.startswith("norm."))]
    if wrong:
        raise PackError(f"the trained AR and target '{target.name}' differ in {wrong[0]}; give the AR's own target")
    return model


def write_tokenizer(target: Target, out: Path, *, public: bool) -> None:
    """Write the target's tokenizer.

    Args:
        target: The target.
        out: Folder of AV or AR.
        public: Remove a BOS token that the tokenizer names but does not prepend. The public client refuses such an AR,
            and prepending the token would change the AR's input.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(target.path), trust_remote_code=target.trust_remote_code)
    probe = tokenizer("x")["input_ids"]
    if public and tokenizer.bos_token_id is not None and probe[0] != tokenizer.bos_token_id:
        tokenizer.bos_token = None
    tokenizer.save_pretrained(out)


def check_read_back(ar: Path, meta: PackMeta) -> None:
    """Check that the written tokenizer encodes the AR's prompt as the sidecar says, and that the number of layers is
    right. Raises PackError if not."""
    check_ar_prompt(meta, AutoTokenizer.from_pretrained(str(ar)))
    layers = AutoConfig.from_pretrained(str(ar)).num_hidden_layers
    if layers != meta.layer + 1:
        raise PackError(f"the exported AR has {layers} layers, expected {meta.layer + 1}")
