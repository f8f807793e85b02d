"""Problems that would stop a run are reported first: template, marker, layer, architecture, start pack, disk."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nla_eval.training.check as check_module
from nla_eval.errors import InputError, NlaEvalError, PackError
from nla_eval.models.target import load_target
from nla_eval.training.check import check
from nla_eval.training.config import TrainConfig
from nla_eval.training.models.marker import injection_marker
from nla_eval.training.models.start import Start
from nla_eval.training.run import AR_TEMPLATE, AV_TEMPLATE, Run
from tests.tiny_target import write_tiny_target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_target(tmp_path / "target")
    return tmp_path


def run_of(folder: Path, **given: Any) -> Run:
    config = {"target": str(folder / "target"), "layer": 1, **given}
    return Run(TrainConfig.model_validate(config), folder / "run")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_target_that_can_be_trained_passes(folder: Path) -> None:
    check(run_of(folder))


def test_a_target_without_a_chat_template_is_refused(folder: Path) -> None:
    (folder / "target" / "chat_template.jinja").unlink(missing_ok=True)
    edit(folder / "target" / "tokenizer_config.json", chat_template=None)
    with pytest.raises(InputError, match="has no chat template"):
        check(run_of(folder))


def test_a_layer_the_target_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"layer 2: target .* has blocks 0 to 1"):
        check(run_of(folder, layer=2))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2},
            r"\(gpt2\) has no .*choose a target with Llama's modules",
        ),
        ({"model_type": "no_such_model"}, "no_such_model"),
    ],
)
def test_an_unknown_architecture_is_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    edit(folder / "target" / "config.json", **changes)
    with pytest.raises(NlaEvalError, match=says):
        check(run_of(folder))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_embeddings_pass(folder: Path, tied: bool) -> None:
    edit(folder / "target" / "config.json", tie_word_embeddings=tied)
    check(run_of(folder))


def test_a_joint_stage_of_sharded_weights_is_refused(folder: Path) -> None:
    hardware = {"sharding": "fsdp"}
    check(run_of(folder, hardware=hardware))
    with pytest.raises(InputError, match="stage joint cannot shard weights"):
        check(run_of(folder, hardware=hardware, joint={"steps": 1}))


def test_all_weights_need_room_for_their_checkpoints(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(check_module.shutil, "disk_usage", lambda _: usage(1, 1, (1 << 30) + 150_000))
    small = {"corpus": {"token_budget": 100}}
    check(run_of(folder, **small, ar={"samples": 0, "lora_rank": 1}, av={"samples": 0, "lora_rank": 1}))
    with pytest.raises(InputError, match="the run needs about"):
        check(run_of(folder, **small, ar={"samples": 0, "lora_rank": 0}, av={"samples": 0, "lora_rank": 0}))


def test_a_full_disk_is_refused_with_what_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(check_module.shutil, "disk_usage", lambda _: usage(1, 1, 1 << 20))
    with pytest.raises(InputError, match=r"has 0\.0 GiB free and the run needs about"):
        check(run_of(folder))


def test_an_injection_character_of_several_tokens_is_passed_over_for_another(folder: Path) -> None:
    tokenizer = load_target(str(folder / "target")).tokenizer
    found = injection_marker(tokenizer, AV_TEMPLATE)  # one byte is one token here
    assert found.char == "~"
    assert tokenizer.decode([found.left, found.token_id, found.right]) == ">~<"


def test_a_tokenizer_that_splits_every_candidate_is_refused_naming_them(folder: Path) -> None:
    tokenizer = load_target(str(folder / "target")).tokenizer
    with pytest.raises(InputError, match="'─' is 3 tokens, '<' occurs 3 times in the prompt"):
        injection_marker(tokenizer, AV_TEMPLATE, ("─", "<"))


def write_adapters(folder: Path, rank: int = 2) -> Path:
    """A pack of adapters for the tiny target as `write_pack` lays one out, with weights that are not zero."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from nla_eval.models.pack_meta import SIDECAR, PackMeta
    from nla_eval.models.prompts import av_prompt, check_ar_prompt
    from nla_eval.training.models.ar import Reconstructor
    from nla_eval.training.models.av import Verbalizer

    target = load_target(str(folder / "target"))
    marker = injection_marker(target.tokenizer, AV_TEMPLATE)
    meta = PackMeta(
        "av", 16, 1, marker.char, marker.token_id, marker.left, marker.right, AV_TEMPLATE, AR_TEMPLATE,
        injection_scale=3.0, mse_scale=4.0, max_new_tokens=16, baseline_variance=0.5,
    )  # fmt: skip
    meta = replace(meta, suffix_ids=check_ar_prompt(meta, target.tokenizer))
    torch.manual_seed(3)
    models = {
        "av": Verbalizer(target.path, av_prompt(meta, target.tokenizer), 3.0, rank).lm,
        "ar": Reconstructor(target.path, 1, rank).trunk,
    }
    for role, model in models.items():
        out = folder / "pack" / role
        out.mkdir(parents=True)
        state = {k: torch.randn_like(v) for k, v in get_peft_model_state_dict(model).items()}
        save_file(state, out / "adapter_model.safetensors")
        kept = {k: (sorted(v) if isinstance(v, set) else v) for k, v in model.peft_config["default"].to_dict().items()}
        (out / "adapter_config.json").write_text(json.dumps(kept, default=str))
        (out / SIDECAR).write_text(replace(meta, role=role, injection_scale=3.0 if role == "av" else None).to_yaml())
    save_file({"weight": torch.randn(16, 16)}, folder / "pack" / "ar" / "value_head.safetensors")
    return folder / "pack"


def test_a_run_can_begin_with_the_adapters_of_a_pack(folder: Path) -> None:
    from nla_eval.training.models.ar import Reconstructor

    pack = write_adapters(folder)
    run = run_of(folder, start_from=str(pack), ar={"samples": 0, "lora_rank": 2}, av={"samples": 0, "lora_rank": 2})
    check(run)
    model = run.reconstructor(run.config.ar)
    assert isinstance(model, Reconstructor)
    torch.testing.assert_close(model.head.weight, load_file(pack / "ar" / "value_head.safetensors")["weight"])
    kept = load_file(pack / "ar" / "adapter_model.safetensors")
    name = next(k for k in kept if "q_proj.lora_A" in k)
    ours = dict(model.trunk.named_parameters())[name.replace("lora_A.weight", "lora_A.default.weight")]
    torch.testing.assert_close(ours, kept[name])
    start = run.start()
    assert start is not None
    config = run.config.model_copy(update={"max_new_tokens": 7})
    meta = replace(run, config=config).meta("av", torch.ones(4, 16))
    assert (meta.injection_scale, meta.max_new_tokens) == (3.0, 7)
    assert replace(meta, max_new_tokens=start.meta("av").max_new_tokens) == start.meta("av")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layer": 0}, "reads block 1, but layer is 0"),
        (
            {"av": {"samples": 0, "lora_rank": 2}, "ar": {"samples": 0, "lora_rank": 4}},
            "the ar adapter has rank 2, the configuration lora_rank 4",
        ),
        ({"start_from": "no-such-pack"}, "no pack 'no-such-pack'"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused(folder: Path, given: dict[str, Any], says: str) -> None:
    pack = write_adapters(folder)
    run = run_of(folder, **{"start_from": str(pack), **given})
    with pytest.raises(PackError, match=says):
        run.reconstructor(run.config.ar)


def test_adapters_do_not_begin_with_whole_checkpoints(folder: Path) -> None:
    pack = write_adapters(folder)
    (pack / "av" / "adapter_model.safetensors").unlink()
    with pytest.raises(PackError, match=r"av of pack .* is whole weights and av\.lora_rank 2; set it to 0"):
        Start.of(str(pack), load_target(str(folder / "target")), 1).check_rank("av", 2)
