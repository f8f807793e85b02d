"""Loads a causal LM or parts of it: the trunk (embeddings and blocks 0..K, no final norm, no head) or the whole model.

Checkpoints are safetensors. A trunk reads only the tensors it keeps. Used by the engine and by training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from ..errors import PackError
from ..models.adapter import Adapter
from ..models.pack_meta import ADAPTER, VALUE_HEAD
from ..models.target import Target

_ROWS = 2048
_TEXT_NAMES = {
    r"^language_model\.lm_head\.": "lm_head.",
    r"^(?:model\.)?language_model\.(?:model\.)?": "model.",
}
"""Maps tensor names of the language model in multimodal checkpoints to those of the text model. Gemma 3's hub files use
`language_model.model.layers`. transformers renames them only for the multimodal class; for the text model it silently
leaves the weights random."""
_FINAL_NORM = frozenset({"norm.weight", "model.norm.weight"})


def frozen(model: Any) -> Any:
    """Put `model` in eval mode, without gradients."""
    return model.eval().requires_grad_(False)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Suppress progress bars and load reports, because a trunk leaves later blocks unread on purpose."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


def text_config(path: Path, *, trust: bool = False) -> Any:
    """Configuration of the language model in the checkpoint at `path`; in multimodal checkpoints it is nested."""
    return AutoConfig.from_pretrained(str(path), trust_remote_code=trust).get_text_config()


def trunk_config(path: Path, layer: int, *, trust: bool = False) -> Any:
    """Configuration of the language model in the checkpoint at `path`, cut to blocks 0..`layer`."""
    config = text_config(path, trust=trust)
    config.num_hidden_layers = layer + 1
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: layer + 1]
    return config


def load_trunk(
    path: Path, layer: int, dtype: torch.dtype, attention: str = "sdpa", *, trust: bool = False, empty: bool = False
) -> Any:
    """Load blocks 0..`layer` of the checkpoint at `path`, in eval mode, with the identity as final norm.

    Its `last_hidden_state` is the output of block `layer`, which transformers calls `hidden_states[layer + 1]`.
    `empty` makes the same modules on torch's meta device, without reading weights.

    Raises:
        PackError: The checkpoint lacks weights of these blocks.
    """
    model = _model(AutoModel, path, trunk_config(path, layer, trust=trust), dtype, attention, trust, empty)
    model.norm = nn.Identity()
    slice_feed_forward(model)
    return frozen(model)


def slice_feed_forward(model: Any) -> None:
    """Make the feed-forward layers of a decoder run over `_ROWS` rows at a time, which bounds their memory."""
    for block in model.layers:
        if isinstance(getattr(getattr(block, "mlp", None), "down_proj", None), nn.Linear):
            block.mlp.forward = partial(_sliced, block.mlp.forward)


def load_embedding(path: Path, *, trust: bool = False) -> torch.Tensor:
    """Input embedding (V, d_model) float32 of the checkpoint at `path`. Raises PackError."""
    trunk = load_trunk(path, 0, torch.float32, trust=trust)
    return torch.as_tensor(trunk.get_input_embeddings().weight.detach())


def _sliced(forward: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    """Run a feed-forward layer over `_ROWS` rows at a time, because its inner tensor is the widest in a trunk."""
    if hidden.numel() <= _ROWS * hidden.shape[-1]:
        return forward(hidden)
    parts = [forward(rows) for rows in torch.split(hidden.flatten(0, -2), _ROWS)]
    return torch.cat(parts).view_as(hidden)


def load_lm(
    path: Path, dtype: torch.dtype, attention: str = "sdpa", *, trust: bool = False, empty: bool = False
) -> Any:
    """Load the whole causal LM, in eval mode and frozen; from a multimodal checkpoint only the language model.

    `empty` makes the modules on torch's meta device, without weights.

    Raises:
        PackError: The checkpoint lacks weights of the model.
    """
    return frozen(_model(AutoModelForCausalLM, path, text_config(path, trust=trust), dtype, attention, trust, empty))


def load_cut_lm(path: Path, layer: int, dtype: torch.dtype, *, trust: bool = False) -> Any:
    """Load a causal LM of blocks 0..`layer`. Its head, which no AR uses, is tied to the embeddings, so it takes no
    memory and loading finds every tensor. Raises PackError."""
    config = trunk_config(path, layer, trust=trust)
    config.tie_word_embeddings = True
    return frozen(_model(AutoModelForCausalLM, path, config, dtype, "sdpa", trust, False))


def _refuse_pickles(path: Path) -> None:
    """Raise PackError if a folder's weights are pickles, which can run code when they are loaded."""
    if any(path.glob("*.safetensors")):
        return
    if pickles := sorted(file.name for end in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in path.glob(end)):
        raise PackError(
            f"checkpoint '{path.name}' holds its weights in {pickles[0]}, a pickle, which can run code; convert "
            "it where you trust it: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...) writes safetensors"
        )


def _model(
    kind: Any, path: Path, config: Any, dtype: torch.dtype, attention: str, trust: bool, empty: bool
) -> Any:  # fmt: skip
    """Load the text model as class `kind`. Raises PackError if a tensor would keep its random initial value. The final
    norm may be missing, because reconstructors are saved without it."""
    how: dict[str, Any] = {"dtype": dtype, "attn_implementation": attention, "trust_remote_code": trust}
    with quiet_loading():
        if empty:
            with torch.device("meta"):
                return kind.from_config(config, **how)
        _refuse_pickles(path)
        model, found = kind.from_pretrained(
            str(path), config=config, key_mapping=_TEXT_NAMES, output_loading_info=True, use_safetensors=True, **how
        )
    if lacking := sorted(set(found["missing_keys"]) - _FINAL_NORM):
        raise PackError(
            f"checkpoint '{path.name}' lacks {len(lacking)} tensors of its {config.num_hidden_layers} blocks "
            f"('{lacking[0]}', ...), which would be random; fetch it again, or mend its config.json"
        )
    model._weight_conversions = None  # otherwise saving would restore the multimodal names
    return model


def cast_weights(model: Any, dtype: torch.dtype) -> Any:
    """Cast the parameters of `model` to `dtype`, in place. Buffers are not cast: `Module.to` would also round the
    rotary frequencies to bf16, which shifts angles at position 200 by up to 0.28 rad (64 wide heads, rope_theta
    1e5)."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def load_target_trunk(target: Target, layer: int, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """`load_trunk` of a target. An adapter is merged in float32, then the weights are cast."""
    return _with_adapter(target, dtype, lambda used: load_trunk(
        target.path, layer, used, attention, trust=target.trust_remote_code
    ))  # fmt: skip


def load_target_lm(target: Target, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """`load_lm` of a target. An adapter is merged in float32, then the weights are cast."""
    return _with_adapter(target, dtype, lambda used: load_lm(
        target.path, used, attention, trust=target.trust_remote_code
    ))  # fmt: skip


def _with_adapter(target: Target, dtype: torch.dtype, load: Callable[[torch.dtype], Any]) -> Any:
    if target.adapter is None:
        return load(dtype)
    return cast_weights(merge_adapter(load(torch.float32), target.adapter), dtype)


@torch.no_grad()
def merge_adapter(model: Any, adapter: Adapter) -> Any:
    """Add an adapter's changes to the weights of `model`, in place. Blocks that a trunk lacks are left out."""
    blocks = model.model.layers if hasattr(model, "lm_head") else model.layers
    for matrix in adapter.matrices:
        if matrix.layer < len(blocks):
            weight = blocks[matrix.layer].get_submodule(matrix.name).weight
            weight += adapter.change(matrix).to(weight.dtype)
    return model


def load_av(base: Path, av: Path, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """Load the AV: a full checkpoint at `av`, or the target at `base` with the LoRA adapter at `av` merged in."""
    if not (av / ADAPTER).is_file():
        return load_lm(av, dtype, attention)
    return cast_weights(_merged(load_lm(base, torch.float32, attention), av), dtype)


def load_text_reader(base: Path, av: Path, adapter: Path, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """Load the target at `base` with the adapter file `adapter` merged in, under the configuration of the AV's adapter
    in `av`.

    Raises:
        PackError: The AV is no adapter, or the file does not fit its configuration.
    """
    if not (av / ADAPTER).is_file():
        raise PackError(f"{adapter.name} needs an AV that is an adapter, and '{av.name}' holds whole weights")
    model = get_peft_model(load_lm(base, torch.float32, attention), LoraConfig.from_pretrained(str(av)))
    placed: Any = set_peft_model_state_dict(model, load_file(adapter))
    if placed.unexpected_keys:
        raise PackError(
            f"{adapter.name} does not fit {av.name}/adapter_config.json ({placed.unexpected_keys[0]}); "
            "restore the files of the pack"
        )
    return cast_weights(frozen(model.merge_and_unload()), dtype)


def load_reconstructor(
    base: Path, ar: Path, layer: int, dtype: torch.dtype, attention: str = "sdpa"
) -> tuple[Any, torch.Tensor]:
    """Load the AR as (trunk, head): its blocks 0..`layer` with adapters merged, and its bias-free (d_model, d_model)
    head.

    Raises:
        PackError: There is no value_head.safetensors, or it has keys other than `weight`.
    """
    path = ar / VALUE_HEAD
    if not path.is_file():
        raise PackError(
            f"AR folder '{ar.name}' has no {VALUE_HEAD}; without its head it cannot reconstruct; "
            "fetch the checkpoint again"
        )
    tensors = load_file(path)
    if "weight" not in tensors:
        raise PackError(f"{ar.name}/{VALUE_HEAD} holds {sorted(tensors)}, expected 'weight'")
    if (ar / ADAPTER).is_file():
        trunk = cast_weights(_merged(load_trunk(base, layer, torch.float32, attention), ar), dtype)
    else:
        trunk = load_trunk(ar, layer, dtype, attention)
    return trunk, tensors["weight"]


def _merged(model: Any, adapter: Path) -> Any:
    wrapped = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
    return frozen(wrapped.merge_and_unload())
