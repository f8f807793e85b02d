"""Writes checkpoints that vLLM can load into the cache, once each: the target cut after block K, and an AV with its
adapter merged. In: folders and tensors. Out: a folder. This module does not import vLLM."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ...errors import InputError, NlaEvalError
from ...models.adapter import Adapter
from ...models.pack import DEFAULT_PACK, Pack, load_pack
from ...models.pack_meta import ADAPTER
from ...models.target import DEFAULT_TARGET, Target, cache_dir, load_target
from ..loading import load_av

_COMPLETE = "complete.json"
_INDEX = "model.safetensors.index.json"
_BLOCK = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d+)\.")
"""Matches the blocks of the language model. Blocks of a vision tower have other names and are kept."""


def cut_checkpoint(target: Target, layer: int) -> Path:
    """Folder with blocks 0..`layer` of the target in its own dtype, its adapter merged, and its embeddings, final norm
    and head.

    Raises:
        InputError: The target's folder has no safetensors.
    """
    return _once(f"{target.hash}-blocks{layer + 1}", lambda folder: _cut(target, layer, folder))


def av_checkpoint(target: Target, pack: Pack, dtype: torch.dtype) -> Path:
    """Folder with the AV as a full checkpoint: its own folder, or the target with the AV's adapter merged, in
    `dtype`."""
    if not (pack.av_path / ADAPTER).is_file():
        return pack.av_path
    name = f"{pack.id.replace('/', '-')}-av-{str(dtype).removeprefix('torch.')}"

    def merge(folder: Path) -> None:
        load_av(target.path, pack.av_path, dtype).save_pretrained(folder)
        target.tokenizer.save_pretrained(folder)

    return _once(name, merge)


def _once(name: str, write: Callable[[Path], None]) -> Path:
    """The cached folder `name`. The first time, `write` fills it under a temporary name."""
    final = cache_dir() / "vllm" / name
    if (final / _COMPLETE).is_file():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=".writing-"))
    try:
        write(scratch)
        (scratch / _COMPLETE).write_text("{}")
        if not (final / _COMPLETE).is_file():
            shutil.rmtree(final, ignore_errors=True)
            scratch.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final


def _cut(target: Target, layer: int, folder: Path) -> None:
    shards = sorted(target.path.glob("*.safetensors"))
    if not shards:
        raise InputError(f"target '{target.name}' has no *.safetensors; convert it with transformers' save_pretrained")
    for file in target.path.iterdir():
        if file.suffix in (".json", ".jinja", ".model", ".txt") and file.name not in ("config.json", _INDEX, _COMPLETE):
            shutil.copyfile(file, folder / file.name)
    config = json.loads((target.path / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config", config)
    text.update(cut_lists(text, layer + 1))
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    placed: dict[str, str] = {}
    for shard in shards:
        with safe_open(shard, "pt") as tensors:
            kept = {name: tensors.get_tensor(name) for name in tensors.keys() if _kept(name, layer)}  # noqa: SIM118
        if target.adapter is not None:
            _add(kept, target.adapter)
        if kept:
            save_file(kept, folder / shard.name, metadata={"format": "pt"})
            placed.update(dict.fromkeys(kept, shard.name))
    if len(shards) > 1:
        (folder / _INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def _add(tensors: dict[str, torch.Tensor], adapter: Adapter) -> None:
    """Add an adapter's changes to a shard's tensors, in float32."""
    for matrix in adapter.matrices:
        ending = f"layers.{matrix.layer}.{matrix.name}.weight"
        name = next((name for name in tensors if name.endswith(ending) and _BLOCK.match(name)), None)
        if name is not None:
            tensors[name] = (tensors[name].float() + adapter.change(matrix)).to(tensors[name].dtype)


def cut_lists(config: dict[str, Any], blocks: int) -> dict[str, Any]:
    """Changes to a config for `blocks` blocks: the number of blocks, and every list with one entry per block."""
    before = config["num_hidden_layers"]
    lists = {name: value[:blocks] for name, value in config.items() if isinstance(value, list) and len(value) == before}
    return {**lists, "num_hidden_layers": blocks}


def _kept(name: str, layer: int) -> bool:
    match = _BLOCK.match(name)
    return match is None or int(match[1]) <= layer


def main() -> None:
    """Print the folder of a pack's AV as a full checkpoint. Merges the adapter the first time."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.engines.vllm.checkpoints", description=main.__doc__)
    parser.add_argument("--target", default=DEFAULT_TARGET)
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    args = parser.parse_args()
    try:
        print(av_checkpoint(load_target(args.target), load_pack(args.pack), getattr(torch, args.dtype)))
    except NlaEvalError as err:
        raise SystemExit(f"vllm_checkpoints: {err}") from None


if __name__ == "__main__":
    main()
