"""An audited variant is a base with a LoRA: PEFT's own merge is met, and a wrong adapter is named in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.engines.loading import load_target_lm, load_target_trunk, load_trunk
from nla_eval.engines.vllm.checkpoints import cut_checkpoint
from nla_eval.errors import InputError, NlaEvalError
from nla_eval.inspect_ext.target_api import NLATargetAPI
from nla_eval.models.adapter import load_adapter
from nla_eval.models.pack import Pack
from nla_eval.models.target import Target, load_target, public_name, with_places
from nla_eval.pipeline.plan import Instrument, ReadingPlan
from tests.engines.tiny_pack import write_tiny_pack
from tests.models.tiny_adapter import declare, reconfigure, write_tiny_adapter

IDS = torch.arange(40, 60)[None]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    return write_tiny_pack(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def adapter(pair: tuple[Target, Pack], tmp_path: Path) -> Path:
    return write_tiny_adapter(pair[0].path, tmp_path / "audited")


def variant(target: Target, folder: Path, dose: str = "") -> Target:
    return load_target(f"{target.path}+{folder}{dose}")


def peft_logits(target: Target, folder: Path) -> torch.Tensor:
    """(T, V) from PEFT's own wrapper."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(str(target.path)), str(folder)).eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(IDS).logits[0]
    return logits


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize(
    "config", [{}, {"use_rslora": True}, {"layers_to_transform": [1]}], ids=["plain", "rs", "some"]
)
def test_the_merged_weights_answer_as_peft_does(
    pair: tuple[Target, Pack], tmp_path: Path, rank: int, config: dict[str, object]
) -> None:
    folder = write_tiny_adapter(pair[0].path, tmp_path / "a", rank, **config)
    merged = load_target_lm(variant(pair[0], folder), torch.float32)
    with torch.inference_mode():
        found = merged(IDS).logits[0]
        plain = load_target_lm(pair[0], torch.float32)(IDS).logits[0]
    torch.testing.assert_close(found, peft_logits(pair[0], folder), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_the_trunk_that_is_read_has_the_adapter_and_the_av_has_not(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path, adapter=True)
    adapter = write_tiny_adapter(target.path, tmp_path / "audited")
    audited = variant(target, adapter)
    request = CaptureRequest("k", IDS[0].numpy().astype(np.int32), np.array([5, 19]))
    rows = [next(iter(TransformersEngine(t, pack).capture([request]))).activations for t in (target, audited)]
    with torch.inference_mode():
        whole = load_target_lm(audited, torch.float32).model
        whole.norm = torch.nn.Identity()
        states = whole(IDS).last_hidden_state
    np.testing.assert_allclose(rows[1], states[0, [5, 19]].numpy(), atol=1e-3, rtol=1e-4)
    assert np.abs(rows[1] - rows[0]).max() > 0.01
    engines = [TransformersEngine(t, pack) for t in (target, audited)]
    with torch.inference_mode():
        logits = [engine.decoder.model(IDS).logits for engine in engines]
    assert torch.equal(logits[0], logits[1])


def test_the_checkpoint_for_vllm_has_the_merged_weights(
    pair: tuple[Target, Pack], adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    audited = variant(pair[0], adapter)
    cut = load_trunk(cut_checkpoint(audited, 0), 0, torch.float32)
    ours = load_target_trunk(audited, 0, torch.float32)
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in cut.state_dict().items())
    assert cut_checkpoint(audited, 0) != cut_checkpoint(pair[0], 0)


def test_readings_of_a_variant_never_mix_with_those_of_its_base(pair: tuple[Target, Pack], adapter: Path) -> None:
    target, pack = pair
    declare(adapter, doses={"1": 0.5, "2": 1.0})
    found = [Instrument(t, pack).identity(ReadingPlan(lanes=["measured"])).target for t in (
        target, variant(target, adapter), variant(target, adapter, "@1"), variant(target, adapter, "@2")
    )]  # fmt: skip
    assert len(set(found)) == 3, "the adapter as it is and dose 2 are the same weights"
    assert found[1] == found[3]
    assert {t.base_hash for t in (target, variant(target, adapter))} == {target.hash}


def test_provenance_states_the_adapter(pair: tuple[Target, Pack], adapter: Path) -> None:
    facts = RuntimeSettings(f"{pair[0].path}+{adapter}@0.5").facts()
    assert facts["target"] == f"{pair[0].path.name}+audited@0.5"
    assert "rank 3, blocks 0-1, factor 0.5" in facts["adapter"]
    assert "adapter" not in RuntimeSettings(str(pair[0].path)).facts()


@pytest.mark.parametrize(("dose", "times"), [("@0.5", 0.5), ("@2", 2.0), ("", 1.0)])
def test_a_dose_multiplies_the_change(pair: tuple[Target, Pack], adapter: Path, dose: str, times: float) -> None:
    plain, found = load_adapter(str(adapter)), load_adapter(f"{adapter}{dose}")
    torch.testing.assert_close(found.change(found.matrices[0]), times * plain.change(plain.matrices[0]))


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def renamed(old: str, new: str) -> Callable[[Path], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if old in name]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return lambda folder: rewritten(folder, change)


def widened(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "q_proj.lora_A" in name)
    tensors[name] = torch.zeros(3, 24)


def infinite(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values())).fill_(float("inf"))


def lone(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(next(iter(tensors)))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another base, by its hash": (
        lambda f: declare(f, base_hash="0123456789abcdef"), "declares base 0123456789abcdef, but"
    ),
    "a block that the base lacks": (renamed("layers.1.", "layers.7."), "changes block 7, but .* has blocks 0 to 1"),
    "another width": (lambda f: rewritten(f, widened), "q_proj' changes a matrix of .16, 24., which in .* is .16, 16."),
    "numbers that are not finite": (lambda f: rewritten(f, infinite), "not finite"),
    "half a pair": (lambda f: rewritten(f, lone), "one of its two factors"),
    "a matrix that the base lacks": (renamed("q_proj", "query"), "self_attn.query' .* is not there"),
    "a matrix of another shape": (
        renamed("mlp.down_proj", "mlp.up_proj"), r"up_proj' .*\(16, 32\), which .* \(32, 16\)"
    ),
    "embeddings": (renamed("self_attn.q_proj.lora_A", "embed_tokens.lora_embedding_A"), "is no LoRA factor of a block"),
    "a torn file": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x09\x00\x00\x00\x00\x00\x00\x00{"), "cannot be read"
    ),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), "expected a folder in PEFT's format"),
    "a torn configuration": (lambda f: (f / "adapter_config.json").write_text("{"), "is not JSON"),
    "another kind": (lambda f: reconfigure(f, {"peft_type": "IA3"}), "is of type IA3, expected LORA"),
    "DoRA": (lambda f: reconfigure(f, {"use_dora": True}), "uses DoRA"),
    "a declaration with a typing mistake": (lambda f: declare(f, bse_hash="x"), "nla_adapter.json: bse_hash"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_adapter_is_one_line_that_names_it(pair: tuple[Target, Pack], adapter: Path, mistake: str) -> None:
    damage, said = MISTAKES[mistake]
    damage(adapter)
    with pytest.raises(InputError, match=said) as caught:
        variant(pair[0], adapter)
    assert "\n" not in str(caught.value)
    assert "'audited'" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "no adapter 'nowhere'; expected a folder"),
        ("{folder}@strong", "dose 'strong' is unknown; expected a positive number"),
        ("{folder}@-1", "dose '-1' is unknown"),
        ("{folder}@0", "dose '0' is unknown"),
    ],
)
def test_a_missing_adapter_or_dose_is_named(adapter: Path, place: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_adapter(place.format(folder=adapter))


def test_declared_doses_are_the_only_ones(adapter: Path) -> None:
    declare(adapter, doses={"0.5": 0.41, "1": 0.58})
    assert load_adapter(f"{adapter}@0.5").factor == 0.41
    with pytest.raises(InputError, match=r"dose '3' is unknown; expected one of 0\.5, 1"):
        load_adapter(f"{adapter}@3")


def test_an_adapter_above_the_layer_read_is_said_or_refused(pair: tuple[Target, Pack], tmp_path: Path) -> None:
    both = load_adapter(str(write_tiny_adapter(pair[0].path, tmp_path / "both")))
    assert both.check_layer(1) == ""
    assert "also changes blocks 1-1, above block 0" in both.check_layer(0)
    above = load_adapter(str(write_tiny_adapter(pair[0].path, tmp_path / "above", layers_to_transform=[1])))
    with pytest.raises(InputError, match="changes only blocks 1-1, above block 0 that the pack reads"):
        above.check_layer(0)


def test_a_pack_reads_its_base_with_an_adapter_but_no_other_base(pair: tuple[Target, Pack], adapter: Path) -> None:
    target, pack = pair
    own = replace(pack, av=replace(pack.av, target_hash=target.hash))
    own.check_target(variant(target, adapter))
    with pytest.raises(NlaEvalError, match="hashes to"):
        replace(own, av=replace(own.av, target_hash="0" * 16)).check_target(variant(target, adapter))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("smollm2-135m+{folder}", "smollm2-135m+audited"),
        ("{folder}+{folder}@0.5", "audited+audited@0.5"),
        ("owner/name+{folder}", "owner/name+audited"),
        ("{folder}", "audited"),
    ],
)
def test_no_path_enters_an_artefact(adapter: Path, name: str, shown: str) -> None:
    assert public_name(name.format(folder=adapter)) == shown


@pytest.fixture
def at_home(adapter: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(adapter.parent)
    yield adapter.parent
    os.chdir(before)


@pytest.mark.parametrize("name", ["smollm2-135m+audited", "smollm2-135m+audited@0.5"])
def test_inspect_finds_an_adapter_from_the_users_folder(
    at_home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", str(at_home))
    assert NLATargetAPI(name).runtime.settings.target == name.replace("audited", str(at_home / "audited"))


def test_a_folder_with_a_plus_in_its_name_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a+b").mkdir()
    assert with_places(str(tmp_path / "a+b"), str.upper) == str(tmp_path / "a+b").upper()
