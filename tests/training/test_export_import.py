"""A pack exported to the public format, or merged, computes what the pack computes; what is imported is checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from nla_eval.commands.pack_files import _left_out
from nla_eval.engines.base import Sampling, VerbalizeRequest
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.loading import load_trunk
from nla_eval.errors import InputError, PackError
from nla_eval.models.pack import Pack, load_pack
from nla_eval.models.pack_meta import SIDECAR
from nla_eval.models.target import Target, load_target
from nla_eval.training.models.whole_weights import Writing
from nla_eval.training.pack.public_format import export, import_, merge
from tests.engines.tiny_pack import write_tiny_pack

TEXTS = ["a walk by the sea", "", "user turn 1; next: the\nafter: go to\nabout: trips"]


def adapter_pack(folder: Path) -> tuple[Target, Pack]:
    """A tiny pack whose AV and AR are both adapters of the target."""
    target, pack = write_tiny_pack(folder, adapter=True)
    for file in pack.ar_path.glob("*"):
        if file.name not in (SIDECAR, "value_head.safetensors"):
            file.unlink()
    torch.manual_seed(9)
    config = LoraConfig(r=2, target_modules=["q_proj", "o_proj", "up_proj"], init_lora_weights=False)
    get_peft_model(load_trunk(target.path, pack.layer, torch.float32), config).save_pretrained(pack.ar_path)
    save_file({"weight": torch.randn(16, 16)}, pack.ar_path / "value_head.safetensors")
    return target, load_pack(str(pack.path))


def outputs(target: Target, pack: Pack) -> tuple[np.ndarray, list[str]]:
    engine = TransformersEngine(target, pack)
    vectors = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    requests = [VerbalizeRequest(str(i), v) for i, v in enumerate(vectors)]
    drawn = {d.key: d.text for d in engine.verbalize(requests, Sampling(0.0, 16))}
    return engine.reconstruct(TEXTS), [drawn[r.key] for r in requests]


def assert_same(target: Target, first: Pack, second: Pack) -> None:
    (vectors, texts), (others, words) = outputs(target, first), outputs(target, second)
    np.testing.assert_allclose(others, vectors, rtol=1e-5, atol=1e-6)
    assert words == texts
    assert len(set(texts)) > 1


@pytest.mark.parametrize("how", [Writing(), Writing(shard="20KB")], ids=["one file", "shards"])
def test_an_exported_pack_taken_in_again_gives_the_same_vectors_and_words(tmp_path: Path, how: Writing) -> None:
    target, pack = adapter_pack(tmp_path)
    exported = export(pack, target, tmp_path / "public", how)
    assert_same(target, pack, exported)
    assert_same(target, pack, import_(str(tmp_path / "public"), target, tmp_path / "taken"))
    shards = list((tmp_path / "public" / "av").glob("model*.safetensors"))
    assert (len(shards) > 1) == (how.shard == "20KB")


def test_a_merged_pack_has_no_adapters_and_says_the_same(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    merged = merge(pack, target, tmp_path / "merged")
    assert not list(merged.path.rglob("adapter*"))
    assert_same(target, pack, merged)


def test_the_public_clients_demands_on_an_exported_pair_are_met(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    made = export(pack, target, tmp_path / "public")
    tokenizer = AutoTokenizer.from_pretrained(made.ar_path)
    assert target.tokenizer.bos_token_id is not None, "the target names a BOS token that it never prepends"
    assert tokenizer.bos_token_id is None or tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    for role in ("av", "ar"):
        config = json.loads((tmp_path / "public" / role / "config.json").read_text())
        assert config["num_hidden_layers"] == (pack.layer + 1 if role == "ar" else 2)
        model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "public" / role, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        with safe_open(tmp_path / "public" / role / "model.safetensors", "pt") as file:
            assert sum(key.endswith("embed_tokens.weight") for key in file.keys()) == 1  # noqa: SIM118
    text = made.ar.ar_template.format(explanation="a text")
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    model.model.norm = torch.nn.Identity()
    head = load_file(made.ar_path / "value_head.safetensors")["weight"]
    with torch.inference_mode():
        theirs = head @ model.model(ids).last_hidden_state[0, -1]
    ours = TransformersEngine(target, pack).reconstruct(["a text"])[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_released_format_is_taken_in_with_its_baseline(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    tiny = shared_data("public_format_tiny")
    target = load_target(str(tiny / "llama-av"))
    source = f"{tiny / 'llama-av'},{tiny / 'llama-ar'}"
    with pytest.raises(InputError, match="--baseline-variance"):
        import_(source, target, tmp_path / "taken")
    taken = import_(source, target, tmp_path / "taken", baseline_variance=0.5)
    assert taken.baselines.variance == 0.5
    assert taken.av.target_hash == target.hash
    golden = np.load(tiny / "llama-golden.npz")
    ours = TransformersEngine(target, taken).reconstruct(golden["texts"].tolist())
    np.testing.assert_allclose(ours, golden["reconstructed"], rtol=1e-4, atol=1e-4)


def test_an_existing_folder_is_never_written_into(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    (tmp_path / "there").mkdir()
    for write in (export, merge):
        with pytest.raises(InputError, match="exists already"):
            write(pack, target, tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


def test_a_stopped_export_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, pack = adapter_pack(tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nla_eval.training.pack.public_format._write_ar", stop)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        export(pack, target, tmp_path / "out" / "public")
    assert not list((tmp_path / "out").iterdir())


def test_a_template_that_the_client_cannot_fill_is_refused(tmp_path: Path) -> None:
    target, pack = adapter_pack(tmp_path)
    odd = replace(pack, ar=replace(pack.ar, ar_template="{x} <t>{explanation}</t> so:"))
    with pytest.raises(PackError, match="braces"):
        export(odd, target, tmp_path / "public")


def test_a_checkpoint_has_the_explanation_adapter_only_and_the_command_says_so(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path, adapter=True)
    named = replace(pack.av, setting="setting", text_only="text_only.safetensors")
    (pack.av_path / SIDECAR).write_text(named.to_yaml())
    assert _left_out(load_pack(str(pack.path))) == "; the explanation adapter only: setting and text_only left out"
    made = export(load_pack(str(pack.path)), target, tmp_path / "out")
    assert made.setting is None
    assert made.text_only is None
