"""Names of the dtypes that weights are loaded and run in. Does not import torch, so that commands can check names
before they load anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")


def checked_dtype(name: str) -> str:
    """Return `name` if it is a known dtype. Raises InputError if it is not."""
    if name not in DTYPES:
        raise InputError(f"dtype is '{name}'; expected one of {', '.join(DTYPES)}")
    return name


def torch_dtype(name: str, device: str | None = None) -> torch.dtype:
    """The torch dtype called `name`; "auto" is bfloat16 if the processor multiplies in it, else float32.

    Args:
        name: Name of a dtype, or "auto".
        device: Device that computes, "cpu" or "cuda"; None is an accelerator if there is one, else the CPU.
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
    """The name by which `torch_dtype` knows it, e.g. "float32"."""
    return str(dtype).removeprefix("torch.")
