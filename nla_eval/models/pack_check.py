"""Checks a pack's files before any weights run: checksums, size, tensor shapes against the target's weights, finite
numbers. In: a pack and its target. Out: one line per passed check; a `PackError` at the first failed one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import PackError
from .adapter import WEIGHTS
from .pack import Pack
from .pack_meta import ADAPTER, VALUE_HEAD
from .setting import checked_setting
from .target import Target

SUMS = "SHA256SUMS"
"""File of checksums, one line per file, in the format of `sha256sum`."""
LARGEST = 25 * 1000 * 1000
"""Largest size in bytes of a pack of adapters, so that it fits in a repository."""
_LORA = (".lora_A.weight", ".lora_B.weight")
Shapes = Mapping[str, tuple[int, ...]]


def write_sums(folder: Path) -> None:
    """Write the checksums of every file of a pack's folder."""
    lines = [f"{_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in _files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_files(pack: Pack, target: Target) -> Iterator[str]:
    """Yield one line for each passed check.

    Raises:
        PackError: The first failed check: the file, what was expected and how to fix it.
    """
    yield _check_sums(pack)
    yield _check_size(pack)
    yield _check_head(pack)
    base = _shapes(sorted(target.path.glob("*.safetensors")))
    for folder in (pack.av_path, pack.ar_path):
        if (folder / ADAPTER).is_file():
            yield _check_adapter(folder / ADAPTER, base)
        else:
            yield _check_plain(folder, base)
    if pack.text_only is not None:
        yield _check_adapter(pack.text_only, base)
    if pack.setting is not None:
        yield _check_setting(pack, target, base)


def _check_setting(pack: Pack, target: Target, base: Shapes) -> str:
    setting = pack.setting
    assert setting is not None, "asked for only if there is one"
    setting.check(target.base_hash, pack.layer)
    setting.facts.first_tokens(target.tokenizer)
    checked_setting(setting)
    return _check_adapter(setting.path / WEIGHTS, base)


def _check_sums(pack: Pack) -> str:
    """Check the checksums if the pack has them, else the content hash in its card."""
    sums = pack.path / SUMS
    if sums.is_file():
        lines = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            file = pack.path / line[-1]
            if len(line) != 2 or not file.is_file() or _sha256(file) != line[0]:
                raise PackError(f"pack '{pack.name}': {line[-1]} is not the file that {SUMS} names; restore the pack")
        return f"checksums: {len(lines)} files as in {SUMS}"
    said = (pack.card or {}).get("pack")
    if said is None:
        return f"checksums: none to check (no {SUMS}, no card)"
    if said != pack.id:
        raise PackError(f"pack '{pack.name}' is {pack.id}, but its card was measured on {said}; measure it again")
    return f"checksums: content is {pack.id}, as the card says"


def _check_size(pack: Pack) -> str:
    total = sum(file.stat().st_size for file in {*_files(pack.path), *_files(pack.av_path), *_files(pack.ar_path)})
    adapters = (pack.av_path / ADAPTER).is_file() and (pack.ar_path / ADAPTER).is_file()
    if adapters and total > LARGEST:
        raise PackError(
            f"pack '{pack.name}' has {total / 1e6:.1f} MB, a shipped one at most {LARGEST / 1e6:.0f} MB; lower the "
            "rank of its adapters, or store them in bf16"
        )
    return f"size: {total / 1e6:.1f} MB" + ("" if adapters else " (plain weights, no limit)")


def _check_head(pack: Pack) -> str:
    path = pack.ar_path / VALUE_HEAD
    if not path.is_file():
        raise PackError(
            f"AR folder '{pack.ar_path.name}' has no {VALUE_HEAD}; without its head it cannot reconstruct; "
            "restore the file"
        )
    wanted = (pack.d_model, pack.d_model)
    found = _shapes([path]).get("weight")
    if found != wanted:
        raise PackError(f"{VALUE_HEAD} holds weight {found}, expected {wanted}; it belongs to another target")
    _check_finite(path)
    return f"head: {wanted[0]} x {wanted[1]}"


def _check_adapter(path: Path, base: Shapes) -> str:
    """Check the shape of each LoRA pair against the target's matrix of the same name."""
    said = f"{path.parent.name}/{path.name}"
    pairs = 0
    for name, shape in _shapes([path]).items():
        end = next((e for e in _LORA if name.endswith(e)), None)
        if end is None:
            continue
        layer = name.removesuffix(end).split("layers.", 1)[-1]
        matrix = next((s for key, s in base.items() if key.endswith(f"layers.{layer}.weight")), None)
        if matrix is None:
            raise PackError(f"{said}: '{name}' adapts no matrix of the target; give the pack's target")
        own = matrix[1] if end == _LORA[0] else matrix[0]
        if shape[1 if end == _LORA[0] else 0] != own:
            raise PackError(f"{said}: '{name}' is {shape}, the target's matrix is {matrix}; give the pack's target")
        pairs += end == _LORA[0]
    _check_finite(path)
    name = path.parent.name if path.name == ADAPTER else said
    return f"{name}: {pairs} adapted matrices fit the target"


def _check_plain(folder: Path, base: Shapes) -> str:
    """Check plain weights: every tensor that also exists in the target must have the target's shape."""
    files = [f for f in sorted(folder.glob("*.safetensors")) if f.name != VALUE_HEAD]
    if not files:
        raise PackError(f"folder '{folder.name}' has neither {ADAPTER} nor other safetensors weights; restore it")
    shapes = _shapes(files)
    shared = [name for name in shapes if name in base]
    if wrong := next((name for name in shared if shapes[name] != base[name]), None):
        raise PackError(
            f"{folder.name}: '{wrong}' is {shapes[wrong]}, the target's is {base[wrong]}; give the pack's target"
        )
    for file in files:
        _check_finite(file)
    return f"{folder.name}: {len(shapes)} tensors, {len(shared)} as the target's"


def _check_finite(path: Path) -> None:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            if not torch.isfinite(file.get_tensor(name)).all():
                raise PackError(f"{path.name}: '{name}' holds numbers that are not finite; train or restore the pack")


def _shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as err:
            raise PackError(f"{path.name} is not a whole safetensors file ({err}); restore it") from err
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file() and f.name != SUMS and "__pycache__" not in f.parts)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
