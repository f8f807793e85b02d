"""What weights are held and multiplied in, by name. Imports no torch: commands check names before loading anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")


def checked_dtype(name: str) -> str:
    """`name` if a dtype is called that. Raises InputError."""
    if name not in DTYPES:
        raise InputError(f"dtype is '{name}'; expected one of {', '.join(DTYPES)}")
    return name


def torch_dtype(name: str, device: str | None = None) -> torch.dtype:
    """The torch dtype called `name`; "auto" is bfloat16 where the processor multiplies in it, else float32.

    Args:
        name: Or "auto".
        device: "cpu" or "cuda", which is to compute; None: an accelerator where there is one.
    """
    import torch

    if name != "auto":
        found: torch.dtype = getattr(torch, name)
        return found
    if torch.cuda.is_available() if device is None else device == "cuda":
        return torch.bfloat16
    fast = any(
        getattr(torch.cpu, probe, lambda: False)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return torch.bfloat16 if fast else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """What `torch_dtype` calls it: "float32"."""
    return str(dtype).removeprefix("torch.")
