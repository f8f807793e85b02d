"""Capture reads the output of block K and nothing else, whatever the batch or chunk plan."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from chat_templates import CHATML_TOOLS
from qwen_tokenizer import qwen_tokenizer
from replay_chats import LONG, assistant, transcript, user
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from nla_eval.engines import loading
from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.capture import chunks
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.loading import load_trunk
from nla_eval.engines.side_by_side import Split
from nla_eval.replay.replay import replay
from nla_eval.replay.types import Channel

LAYER = 2
COMMON: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**COMMON)),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, head_dim=8, sliding_window=16, query_pre_attn_scalar=8)),
}


class CaptureOnly(TransformersEngine):
    """The engine without a pack: capture needs none."""

    def __init__(self, path: Path, layer: int, d_model: int, config: EngineConfig) -> None:
        self.target = SimpleNamespace(path=path, trust_remote_code=False, adapter=None)  # type: ignore[assignment]
        self.layer, self.d_model, self.config = layer, d_model, config


@pytest.fixture(params=sorted(FAMILIES))
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    make, config = FAMILIES[request.param]
    torch.manual_seed(0)
    model = make(config).eval()
    model.save_pretrained(tmp_path)
    return tmp_path, model


def requests_of(lengths: list[int]) -> list[CaptureRequest]:
    rng = np.random.default_rng(0)
    return [
        CaptureRequest(
            f"r{i}",
            rng.integers(3, 128, n).astype(np.int32),
            np.unique(rng.integers(0, n, 5)).astype(np.int64),
        )
        for i, n in enumerate(lengths)
    ]


def expected(model: Any, request: CaptureRequest) -> np.ndarray:
    ids = torch.from_numpy(request.token_ids.astype(np.int64))[None]
    with torch.inference_mode():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    return states[LAYER + 1][0, torch.from_numpy(request.positions)].numpy()


@pytest.mark.parametrize(("batch_tokens", "chunk_tokens"), [(256, 512), (40, 512), (256, 17)])
def test_activations_equal_hidden_states_k_plus_1(
    saved: tuple[Path, Any], batch_tokens: int, chunk_tokens: int
) -> None:
    path, model = saved
    engine = CaptureOnly(path, LAYER, 32, EngineConfig(batch_tokens=batch_tokens, chunk_tokens=chunk_tokens))
    made = requests_of([9, 50, 23, 70, 12])
    found = {c.key: c for c in engine.capture(made)}
    assert set(found) == {r.key for r in made}
    for request in made:
        want = expected(model, request)
        error = np.linalg.norm(found[request.key].activations - want) / np.linalg.norm(want)
        assert error < 1e-4, (request.key, error)


def test_a_trunk_holds_no_later_block_and_no_head(saved: tuple[Path, Any]) -> None:
    path, model = saved
    trunk = load_trunk(path, LAYER, torch.float32)
    assert len(trunk.layers) == LAYER + 1
    assert not any("lm_head" in name for name, _ in trunk.named_parameters())
    assert sum(p.numel() for p in trunk.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_request_that_cannot_be_read_comes_back_with_its_error(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    engine = CaptureOnly(path, LAYER, 32, EngineConfig())
    good = requests_of([9])[0]
    outside = CaptureRequest("outside", good.token_ids, np.array([9]))
    empty = CaptureRequest("empty", good.token_ids, np.array([], np.int64))
    found = {c.key: c for c in engine.capture([outside, good, empty])}
    assert found["r0"].error is None
    assert "outside the 9 tokens" in str(found["outside"].error)
    assert "no positions" in str(found["empty"].error)


def test_a_non_finite_activation_is_an_error_not_a_vector(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    engine = CaptureOnly(path, LAYER, 32, EngineConfig())
    with torch.no_grad():
        engine.trunk.get_input_embeddings().weight[5] = float("nan")
    bad = CaptureRequest("bad", np.array([4, 5, 6], np.int32), np.array([2]))
    found = next(iter(engine.capture([bad])))
    assert found.activations.shape == (0, 32)
    assert "non-finite" in str(found.error)


def test_a_feed_forward_layer_in_slices_gives_what_it_gives_in_one_piece(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = saved
    monkeypatch.setattr(loading, "_ROWS", 7)
    engine = CaptureOnly(path, LAYER, 32, EngineConfig())
    for request in requests_of([9, 50, 50]):
        found = next(iter(engine.capture([request]))).activations
        np.testing.assert_allclose(found, expected(model, request), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("end", "chunk", "expected"),
    [
        (5, 8, [(0, 5)]),
        (8, 8, [(0, 8)]),
        (9, 8, [(0, 8), (8, 9)]),
        (32768, 8192, [(0, 8192), *((s, s + 256) for s in range(8192, 32768, 256))]),
    ],
)
def test_chunks_cover_a_transcript_and_masks_stay_small(end: int, chunk: int, expected: list[tuple[int, int]]) -> None:
    assert list(chunks(end, chunk)) == expected


def test_few_transcripts_are_shared_among_the_workers(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    engine = CaptureOnly(path, LAYER, 32, EngineConfig(split=Split(2, 1)))
    batches: list[int] = []
    forward = engine.trunk.forward

    def noted(input_ids: torch.Tensor, **given: Any) -> Any:
        batches.append(input_ids.shape[0])
        return forward(input_ids=input_ids, **given)

    engine.trunk.forward = noted
    assert len(list(engine.capture(requests_of([50] * 8)))) == 8
    assert batches == [4, 4]


def test_activations_are_those_of_the_token_that_holds_a_composed_character(tmp_path: Path) -> None:
    """Qwen's real tokenizer on random weights: the positions of decomposed words are the model's own tokens."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHATML_TOOLS
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**{**COMMON, "vocab_size": len(tokenizer)})).eval()
    model.save_pretrained(tmp_path)
    chat = transcript(user("cafe\u0301 \u1112\u1161\u11ab?"), assistant("Voila\u0300"))
    got = replay(chat, tokenizer, LONG)
    positions = np.flatnonzero(got.channel == Channel.RESPONSE)
    assert "".join(got.token_text(int(p)) for p in positions) == "Voila\u0300"
    engine = CaptureOnly(tmp_path, LAYER, COMMON["hidden_size"], EngineConfig(torch.float32))
    captured = next(iter(engine.capture([CaptureRequest("k", got.token_ids, positions)])))
    own = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.text} for m in chat.messages], tokenize=True, return_dict=False
    )
    with torch.inference_mode():
        expected = model(torch.tensor([own]), output_hidden_states=True).hidden_states[LAYER + 1][0]
    np.testing.assert_allclose(captured.activations, expected[positions].numpy(), atol=1e-5)
