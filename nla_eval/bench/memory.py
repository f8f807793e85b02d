"""Peak resident memory of capture by sequence length.

Each measurement is a process of its own. It resets the peak after loading (Linux only), so that loading does not hide
the memory of capture. `python -m nla_eval.bench.memory SHORT LONG TARGET [PACK]` prints the growth in MB as JSON; PACK
"-" means none."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import peak_bytes
from .figures import Figure, apart

_TINY_CONTEXT = 32768


def growth(short: int, long: int, target: str, pack: str | None) -> dict[str, Figure]:
    """Peak memory of capturing `long` tokens minus that of `short` tokens, in bf16."""
    found = apart(__name__, str(short), str(long), target, *([pack] if pack else []))
    return {"rss_growth_2k_8k_mb": Figure(found["growth"], unit="MB", how=f"{short} then {long} tokens, bf16")}


def tiny_growth() -> dict[str, Figure]:
    """The same from 2k to 32k tokens with a tiny model of long context, minus the growth of its KV cache."""
    with tempfile.TemporaryDirectory() as folder:
        found = apart(__name__, "2048", str(_TINY_CONTEXT), _write_tiny(Path(folder)), "-")
    beyond = found["growth"] - found["kv"]
    return {"rss_growth_32k_tiny_mb": Figure(beyond, unit="MB", how=f"2048 then {_TINY_CONTEXT} tokens, bf16")}


def _write_tiny(folder: Path) -> str:
    """Write a random Llama with two blocks and a context of 32k, without a tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=_TINY_CONTEXT,
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM
    model(config).save_pretrained(folder)
    return str(folder)


def _main(short: int, long: int, target: str, pack: str | None) -> None:
    import torch

    from ..engines.base import CaptureRequest
    from ..engines.capture import capture
    from ..engines.config import EngineConfig
    from ..engines.fitting import release_memory
    from ..engines.loading import load_trunk
    from ..models.target import load_target

    if pack == "-":
        path, layer, vocabulary = Path(target), 1, 256
    else:
        from ..models.pack import default_pack, load_pack

        found = load_target(target)
        path, layer = found.path, (load_pack(pack) if pack else default_pack()).layer
        vocabulary = int(found.config.vocab_size)
    trunk = load_trunk(path, layer, torch.bfloat16)
    rng = np.random.default_rng(0)
    peaks = []
    for tokens in (short, long):
        release_memory()
        _forget_peak()
        ids = rng.integers(0, vocabulary, tokens).astype(np.int32)
        request = CaptureRequest(str(tokens), ids, np.array([tokens // 2, tokens - 1]))
        list(capture(trunk, [request], EngineConfig(torch.bfloat16)))
        peaks.append(peak_bytes() / 1e6)
    config = trunk.config
    width = config.num_key_value_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    kv = 2 * 2 * (layer + 1) * width * (long - short) / 1e6
    print(json.dumps({"growth": peaks[1] - peaks[0], "kv": kv}))


def _forget_peak() -> None:
    """Reset this process's peak to its current memory; see proc(5), clear_refs. Raises InputError outside Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as err:
        raise InputError("peak memory by length needs Linux's /proc/self/clear_refs; measure it there") from err


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None)
