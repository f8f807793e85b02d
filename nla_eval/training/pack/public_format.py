"""Packs as whole checkpoints: `merge` folds the adapters into the weights, `export` writes a pack in the public NLA
format, `import_` makes a pack from a folder in that format.

The public format (github.com/kitft/natural_language_autoencoders, `nla_inference.py`) is two transformers checkpoints
in safetensors, each with its tokenizer and `nla_meta.yaml`. The AR's config states K + 1 layers; its head is in
`value_head.safetensors` beside it. The public client fills templates with `str.format` and refuses an AR whose
tokenizer names a BOS token without prepending it. Folders are written whole or not at all."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file

from ...engines.loading import load_av, load_cut_lm
from ...engines.self_test import FILE as SELF_TEST
from ...errors import InputError, PackError
from ...files import whole_folder
from ...models.pack import Pack, load_pack
from ...models.pack_check import write_sums
from ...models.pack_meta import ADAPTER, SIDECAR, VALUE_HEAD, PackMeta
from ...models.target import Target
from ...models.trained_on import HASHES
from ..models.whole_weights import Writing, check_read_back, write_lm, write_reconstructor, write_tokenizer

_BESIDE = (SELF_TEST, HASHES)
"""Files that a converted pack keeps, because its vectors are the same. The card is dropped: the weights' hash
changes."""


def merge(pack: Pack, target: Target, out: Path, how: Writing | None = None) -> Pack:
    """Write the pack with its adapters merged into whole checkpoints, to a new folder `out`.

    Raises:
        InputError: `out` exists.
        PackError: The pack does not belong to the target.
    """
    return _written(pack, target, out, how or Writing(), public=False)


def export(pack: Pack, target: Target, out: Path, how: Writing | None = None) -> Pack:
    """Write the pack in the public format, to `out/av` and `out/ar`. The public client and this package can read it.

    Raises:
        InputError: `out` exists.
        PackError: The pack does not belong to the target, or the client cannot read its templates or tokenizer.
    """
    _check_templates(pack)
    return _written(pack, target, out, how or Writing(), public=True)


def import_(source: str, target: Target, out: Path, baseline_variance: float | None = None) -> Pack:
    """Make a pack from a pair in the public format. The pair is checked against the target. Sidecars are rewritten with
    target and baseline, and checksums are added. Weights are copied, never converted.

    Args:
        source: A folder with `av/` and `ar/`, or "AV,AR".
        target: The model it belongs to.
        out: The pack's folder, which must not exist.
        baseline_variance: Variance of L2-normalised training activations; used if the sidecars give none.

    Raises:
        InputError: `out` exists, or no baseline is known.
        PackError: `source` is not a pair, or belongs to another target.
    """
    pack = load_pack(source)
    pack.check_target(target)
    variance = pack.ar.baseline_variance or pack.av.baseline_variance or baseline_variance
    if variance is None:
        raise InputError(
            f"'{source}' states no baseline variance, which FVE needs; give --baseline-variance, the variance of "
            "L2-normalised training activations"
        )
    with whole_folder(out) as folder:
        for role, path, meta in (("av", pack.av_path, pack.av), ("ar", pack.ar_path, pack.ar)):
            shutil.copytree(path, folder / role)
            known = replace(meta, baseline_variance=variance, target=target.name, target_hash=target.hash)
            (folder / role / SIDECAR).write_text(known.to_yaml(), encoding="utf-8")
        _keep_beside(pack, folder)
        write_sums(folder)
    return load_pack(str(out))


def _written(pack: Pack, target: Target, out: Path, how: Writing, *, public: bool) -> Pack:
    pack.check_target(target)
    with whole_folder(out) as folder:
        write_lm(load_av(target.path, pack.av_path, how.dtype), folder / "av", how)
        _write_ar(pack, target, folder / "ar", how)
        for role, meta in (("av", pack.av), ("ar", pack.ar)):
            write_tokenizer(target, folder / role, public=public)
            _write_sidecar(meta, pack, folder / role)
        _keep_beside(pack, folder)
        check_read_back(folder / "ar", pack.ar)
        write_sums(folder)
    return load_pack(str(out))


def _write_ar(pack: Pack, target: Target, out: Path, how: Writing) -> None:
    adapted = (pack.ar_path / ADAPTER).is_file()
    source, dtype = (target.path, torch.float32) if adapted else (pack.ar_path, how.dtype)
    model = load_cut_lm(source, pack.layer, dtype, trust=target.trust_remote_code)
    if adapted:
        PeftModel.from_pretrained(model.get_decoder(), str(pack.ar_path)).merge_and_unload()
    write_reconstructor(model, load_file(pack.ar_path / VALUE_HEAD)["weight"], out, how)


def _write_sidecar(meta: PackMeta, pack: Pack, out: Path) -> None:
    scale = meta.mse_scale or math.sqrt(pack.d_model)
    # Only the explanation adapter is in the checkpoint; the others are adapters of the target.
    known = replace(meta, mse_scale=scale, baseline_variance=pack.baselines.variance, text_only=None, setting=None)
    (out / SIDECAR).write_text(known.to_yaml(), encoding="utf-8")


def _keep_beside(pack: Pack, folder: Path) -> None:
    for name in _BESIDE:
        if (pack.path / name).is_file():
            shutil.copy2(pack.path / name, folder / name)


def _check_templates(pack: Pack) -> None:
    """Refuse templates with other braces: the public client uses `str.format`, which takes them for fields."""
    for name, template, slot in (
        ("av", pack.av.av_template, "{injection_char}"),
        ("ar", pack.ar.ar_template, "{explanation}"),
    ):
        if "{" in (rest := template.replace(slot, "")) or "}" in rest:
            raise PackError(
                f"the {name} template has braces other than {slot}; the public client cannot fill it; "
                "write it without them"
            )
