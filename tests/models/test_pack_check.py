"""A pack's files are checked before use: a damaged or foreign file is named in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nla_eval.errors import PackError
from nla_eval.models.pack import Pack, load_pack
from nla_eval.models.pack_check import check_files, write_sums
from nla_eval.models.pack_meta import ADAPTER, VALUE_HEAD
from nla_eval.models.target import Target
from tests.training.test_export_import import adapter_pack

Damage = Callable[[Pack], None]


def lines(pack: Pack, target: Target) -> list[str]:
    return list(check_files(load_pack(str(pack.path)), target))


def test_a_sound_pack_passes_every_check(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    write_sums(pack.path)
    found = lines(pack, target)
    assert "files as in SHA256SUMS" in found[0]
    assert "head: 16 x 16" in found
    assert "av: 6 adapted matrices fit the target" in found
    assert "ar: 6 adapted matrices fit the target" in found


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def narrow(pack: Pack) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: t[:, :7].contiguous() for name, t in tensors.items() if "lora_A" in name})

    rewrite(pack.av_path / ADAPTER, change)


def renamed(pack: Pack) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        name = next(iter(tensors))
        tensors[name.replace("layers.0", "layers.9")] = tensors.pop(name)

    rewrite(pack.av_path / ADAPTER, change)


def not_a_number(pack: Pack) -> None:
    rewrite(pack.ar_path / ADAPTER, lambda t: next(iter(t.values())).fill_(float("nan")))


def other_head(pack: Pack) -> None:
    save_file({"weight": torch.eye(8)}, pack.ar_path / VALUE_HEAD)


def cut_off(pack: Pack) -> None:
    path = pack.av_path / ADAPTER
    path.write_bytes(path.read_bytes()[:-100])


def no_weights(pack: Pack) -> None:
    (pack.av_path / ADAPTER).unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (narrow, "the target's matrix is"),
        (renamed, "adapts no matrix of the target"),
        (not_a_number, "not finite"),
        (other_head, "expected \\(16, 16\\)"),
        (cut_off, "not a whole safetensors file"),
        (no_weights, "has neither"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, damage: Damage, says: str) -> None:
    target, pack = adapter_pack(tmp_path)
    damage(pack)
    with pytest.raises(PackError, match=says):
        lines(pack, target)


def test_a_changed_file_is_found_by_its_checksum(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    write_sums(pack.path)
    rewrite(pack.av_path / ADAPTER, lambda t: next(iter(t.values())).add_(1))
    with pytest.raises(PackError, match="is not the file"):
        lines(pack, target)


def test_a_card_measured_on_other_weights_is_found(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    (pack.path / "card.json").write_text('{"pack": "pack@000000000000"}')
    with pytest.raises(PackError, match="its card was measured on"):
        lines(pack, target)


def test_a_pack_of_adapters_may_not_outgrow_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, pack = adapter_pack(tmp_path)
    monkeypatch.setattr("nla_eval.models.pack_check.LARGEST", 1000)
    with pytest.raises(PackError, match="lower the rank"):
        lines(pack, target)
