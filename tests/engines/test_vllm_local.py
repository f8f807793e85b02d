"""vLLM in this process draws and captures what the transformers engine does. What needs vLLM itself is marked `full`
and skipped by name where it is not installed; the checkpoints and prompts made for it are tested everywhere."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

from nla_eval.engines.base import Captured, CaptureRequest, Draw, Sampling, VerbalizeRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.loading import load_trunk
from nla_eval.engines.vllm.capture import places
from nla_eval.engines.vllm.checkpoints import av_checkpoint, cut_checkpoint, cut_lists
from nla_eval.engines.vllm.local import VllmConfig, VllmEngine, vllm_config
from nla_eval.engines.vllm.prompt import PromptEmbeddings, injected_row, injection_scale
from nla_eval.errors import InputError, MissingExtraError, NlaEvalError
from nla_eval.models.pack import Pack, default_pack
from nla_eval.models.target import Target, load_target
from nla_eval.readings import StopReason
from tests.engines.tiny_pack import write_tiny_pack

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vllm is not installed; see docs/vllm.md")
GREEDY = Sampling(temperature=0.0, max_new_tokens=80)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vllm"


def ids(count: int, vocabulary: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocabulary, count).astype(np.int32)


def test_a_checkpoint_cut_after_block_k_gives_the_targets_activations(cache: Path, tmp_path: Path) -> None:
    target, _ = write_tiny_pack(tmp_path)
    cut = cut_checkpoint(target, 0)
    read = torch.from_numpy(ids(12, 200).astype(np.int64))[None]
    with torch.inference_mode():
        whole, part = (load_trunk(path, 0, torch.float32)(input_ids=read) for path in (target.path, cut))
        logits = AutoModelForCausalLM.from_pretrained(cut)(input_ids=read).logits
    torch.testing.assert_close(whole.last_hidden_state, part.last_hidden_state, rtol=0, atol=0)
    assert logits.shape[-1] == target.config.vocab_size, "vLLM wants a head, though nothing reads it"
    assert cut_checkpoint(target, 0) == cut
    assert [folder.name for folder in cache.iterdir()] == [cut.name], "written once, nothing half-written left"


def test_a_cut_checkpoint_of_several_shards_and_layer_types_loads_whole(cache: Path, tmp_path: Path) -> None:
    target, _ = write_tiny_pack(tmp_path)
    config = Gemma3TextConfig(
        vocab_size=target.config.vocab_size, hidden_size=16, intermediate_size=32, num_hidden_layers=4, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128,
    )  # fmt: skip
    for file in target.path.glob("*.safetensors"):
        file.unlink()
    Gemma3ForCausalLM(config).save_pretrained(target.path, max_shard_size="20kB")
    assert len(list(target.path.glob("*.safetensors"))) > 1
    cut = cut_checkpoint(Target("gemma", target.path), 2)
    model, report = AutoModelForCausalLM.from_pretrained(cut, output_loading_info=True)
    assert model.config.num_hidden_layers == len(model.config.layer_types) == 3
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_every_list_with_one_entry_a_block_is_cut() -> None:
    config = {
        "num_hidden_layers": 3,
        "layer_types": ["a", "b", "c"],
        "no_rope_layers": [1, 1, 0],
        "eos_token_id": [1, 2],
    }
    assert cut_lists(config, 2) == {"num_hidden_layers": 2, "layer_types": ["a", "b"], "no_rope_layers": [1, 1]}


def test_an_adapter_is_merged_once_into_a_checkpoint_that_writes_the_same(cache: Path, tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path, adapter=True)
    merged = av_checkpoint(target, pack, torch.float32)
    assert av_checkpoint(target, pack, torch.float32) == merged
    assert av_checkpoint(target, pack, torch.bfloat16) != merged
    engine = TransformersEngine(target, pack)
    read = torch.from_numpy(ids(9, 200).astype(np.int64))[None]
    with torch.inference_mode():
        ours = engine.decoder.model(input_ids=read).logits
        theirs = AutoModelForCausalLM.from_pretrained(merged)(input_ids=read).logits
    torch.testing.assert_close(ours, theirs)


def test_an_av_that_is_a_checkpoint_is_used_where_it_lies(cache: Path, tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    assert av_checkpoint(target, pack, torch.float32) == pack.av_path
    assert not cache.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_injected_row_is_the_one_both_engines_put_into_the_slot(dtype: torch.dtype, tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    engine = TransformersEngine(target, pack)
    vector = np.random.default_rng(1).standard_normal(16).astype(np.float32)
    whole = PromptEmbeddings(target, pack, engine.prompt, dtype).rows([VerbalizeRequest("a", vector)])
    row = injected_row(vector, injection_scale(pack), dtype)
    torch.testing.assert_close(whole[0, len(engine.prompt.prefix)], row, rtol=0, atol=0)


def test_positions_are_found_once_however_the_prompt_is_chunked() -> None:
    positions = np.array([0, 3, 4, 9])
    chunks = [(0, 4), (4, 1), (5, 5)]
    assert [places(positions, before, count).tolist() for before, count in chunks] == [[0, 3], [0], [4]]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("vllm:http://a:1", "for a server use vllm-server:URL"),
        ("vllm:tensor_parallel_size=0", "tensor_parallel_size is '0'"),
        ("vllm:gpu_memory_utilization=2", "gpu_memory_utilization is '2'"),
        ("vllm:tp=2", "no option 'tp'; known: tensor_parallel_size"),
        ("vllm:data_parallel_size=4", "behind its server only: start 'vllm serve AV .*--data-parallel-size 4'"),
    ],
)
def test_an_engine_name_that_cannot_be_used_is_refused_in_one_line(engine: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as failure:
        vllm_config(engine)
    assert "\n" not in str(failure.value)


def test_options_reach_the_config() -> None:
    config = vllm_config("vllm:tensor_parallel_size=2,one_at_a_time=true")
    assert config == VllmConfig(tensor_parallel_size=2, one_at_a_time=True)
    assert (config.memory_share, VllmConfig().memory_share) == (0.9, 0.45)


@pytest.mark.skipif(INSTALLED, reason="vllm is installed")
def test_without_vllm_the_install_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'nla_eval\[vllm\]'"):
        VllmEngine(*write_tiny_pack(tmp_path))


@pytest.fixture(scope="module")
def real() -> tuple[Target, Pack]:
    try:
        return load_target(), default_pack()
    except NlaEvalError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def plain(real: tuple[Target, Pack]) -> TransformersEngine:
    return TransformersEngine(*real, EngineConfig(dtype=torch.float32, chunk_tokens=512))


@pytest.fixture(scope="module")
def engine(real: tuple[Target, Pack]) -> Iterator[VllmEngine]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    made = VllmEngine(*real, VllmConfig(max_model_len=1536), EngineConfig(dtype=torch.float32))
    yield made
    made.release()


@pytest.fixture(scope="module")
def reads(real: tuple[Target, Pack]) -> list[CaptureRequest]:
    """32 token sequences of a few to 1400 tokens; the last one is longer than a chunk of prefill."""
    lengths = [*np.random.default_rng(0).integers(8, 200, 31).tolist(), 1400]
    vocabulary = real[0].config.vocab_size
    made = []
    for i, length in enumerate(lengths):
        positions = np.unique(np.linspace(3, length - 1, 5).astype(np.int64))
        made.append(CaptureRequest(f"t{i}", ids(length, vocabulary, seed=i), positions))
    return made


@pytest.fixture(scope="module")
def captured(plain: TransformersEngine, reads: list[CaptureRequest]) -> dict[str, Captured]:
    return {c.key: c for c in plain.capture(reads)}


@pytest.fixture(scope="module")
def requests(captured: dict[str, Captured]) -> list[VerbalizeRequest]:
    rows = [captured[f"t{i}"].activations[-1] for i in range(31)]
    return [VerbalizeRequest("silent", None), *(VerbalizeRequest(f"row{i}", row) for i, row in enumerate(rows))]


def by_key(draws: Any) -> dict[str, Draw]:
    return {draw.key: draw for draw in draws}


@pytest.mark.full
@needs_vllm
def test_captured_activations_equal_the_transformers_engines(
    engine: VllmEngine, reads: list[CaptureRequest], captured: dict[str, Captured]
) -> None:
    bad = CaptureRequest("bad", ids(4, 100), np.array([9]))
    found = {c.key: c for c in engine.capture([*reads, bad])}
    assert "outside" in str(found.pop("bad").error)
    assert found.keys() == captured.keys()
    errors = []
    for key, ours in found.items():
        assert ours.error is None
        want = captured[key].activations
        errors.append(np.linalg.norm(ours.activations - want, axis=1) / np.linalg.norm(want, axis=1))
    worst = float(np.concatenate(errors).max())
    print(f"capture: {len(reads)} sequences, {len(np.concatenate(errors))} positions, worst relative error {worst:.2e}")
    assert worst < 1e-4


@pytest.mark.full
@needs_vllm
def test_greedy_draws_in_fp32_equal_the_transformers_engines(
    engine: VllmEngine, plain: TransformersEngine, requests: list[VerbalizeRequest]
) -> None:
    ours, theirs = by_key(engine.verbalize(requests, GREEDY)), by_key(plain.verbalize(requests, GREEDY))
    same = sum(ours[key] == theirs[key] for key in theirs)
    print(f"verbalize: {same}/{len(theirs)} identical, {len({d.text for d in theirs.values()})} different texts")
    assert ours == theirs


@pytest.mark.full
@needs_vllm
def test_sampled_draws_are_functions_of_key_and_seed(engine: VllmEngine, requests: list[VerbalizeRequest]) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=24)
    first = by_key(engine.verbalize(requests[:8], sampling))
    again = by_key(engine.verbalize(list(reversed(requests[:8])), sampling))
    other = by_key(engine.verbalize([VerbalizeRequest(r.key, r.activation, 1) for r in requests[:8]], sampling))
    same = [VerbalizeRequest(f"draw{i}", requests[1].activation) for i in range(8)]
    assert first == again
    assert first != other
    assert len({d.text for d in engine.verbalize(same, sampling)}) > 1, "draws of one activation differ"


@pytest.mark.full
@needs_vllm
def test_a_released_engine_loads_again_and_draws_the_same(engine: VllmEngine, requests: list[VerbalizeRequest]) -> None:
    bad = VerbalizeRequest("bad", np.full(576, np.nan, np.float32))
    before = by_key(engine.verbalize([*requests[:4], bad], GREEDY))
    engine.release()
    assert by_key(engine.verbalize(requests[:4], GREEDY)) == {k: d for k, d in before.items() if k != "bad"}
    assert before["bad"].stop is StopReason.ERROR


@pytest.mark.full
@needs_vllm
def test_the_self_test_passes_through_vllm(engine: VllmEngine) -> None:
    assert engine.self_test().startswith("self-test passed")
