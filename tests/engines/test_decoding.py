"""Draws do not depend on the other rows of a batch: rows join and leave, memory runs out, logits are slightly noisy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from nla_eval.engines.base import Sampling, VerbalizeRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.decoding import Decoder, choose
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.one_step import GROUPED
from nla_eval.engines.side_by_side import Split
from nla_eval.errors import NlaEvalError
from nla_eval.models.prompts import AVPrompt
from tests.engines.tiny_pack import write_tiny_pack

NOISY = Sampling(temperature=1.0, max_new_tokens=14)
FULL = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"


def asked(n: int = 23) -> list[VerbalizeRequest]:
    rng = np.random.default_rng(0)
    return [VerbalizeRequest(f"r{i}", rng.standard_normal(16).astype(np.float32)) for i in range(n)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    return TransformersEngine(*write_tiny_pack(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def windowed(tiny: TransformersEngine) -> Decoder:
    """A random Gemma 3 whose draws outgrow its window of 8 tokens."""
    tokenizer = tiny.target.tokenizer
    torch.manual_seed(3)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"],
        eos_token_id=tokenizer.eos_token_id, initializer_range=0.6,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, attn_implementation=GROUPED).eval()
    return Decoder(model, tokenizer, AVPrompt([5, 6, 7, 8, 9], [10, 11]), 3.0)


@pytest.fixture(params=["tiny", "windowed"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Decoder) else found.decoder


def stopping(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let draws end at many lengths: a random model never writes a close tag."""
    monkeypatch.setattr(decoder, "is_over", lambda ids, sampling: ids[-1] % 7 == 0 or len(ids) >= 14)


@pytest.mark.parametrize("rows", [1, 2, 5, 23, 40])
def test_draws_are_the_same_however_many_rows_share_the_batch(
    decoder: Decoder, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(decoder, monkeypatch)
    alone = {d.key: d for r in asked() for d in decoder.drawn([r], NOISY, 1)}
    together = {d.key: d for d in decoder.drawn(asked(), NOISY, rows)}
    assert together == alone
    assert len({d.tokens for d in alone.values()}) > 3


def test_a_greedy_draw_is_the_same_beside_others_of_a_temperature(decoder: Decoder) -> None:
    requests = [replace(request, greedy=place % 3 == 0) for place, request in enumerate(asked())]
    alone = {draw.key: draw for draw in decoder.draw(asked(), replace(NOISY, temperature=0.0))}
    noisy = {draw.key: draw for draw in decoder.draw(asked(), NOISY)}
    for place, draw in enumerate(decoder.draw(requests, NOISY)):
        assert draw.ids == (noisy if place % 3 else alone)[draw.key].ids


def test_a_draw_is_given_out_when_it_ends(tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping(tiny.decoder, monkeypatch)
    begun: list[str] = []
    begin = tiny.decoder.begin
    monkeypatch.setattr(
        tiny.decoder, "begin", lambda requests: begun.extend(r.key for r in requests) or begin(requests)
    )
    drawn = tiny.decoder.drawn(asked(), NOISY, 4)
    next(drawn)
    assert len(begun) < 12


def test_where_memory_runs_out_half_as_many_go_on_and_none_is_lost(
    tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = tiny.decoder
    stopping(decoder, monkeypatch)
    expected = {d.key: d for d in decoder.drawn(asked(), NOISY, 23)}
    forward, calls = decoder.model.forward, []

    def crowded(*args: Any, **given: Any) -> Any:
        rows = len(given.get("input_ids", given.get("inputs_embeds")))
        calls.append(rows)
        if rows > 6 and len(calls) > 4:
            raise RuntimeError(FULL)
        return forward(*args, **given)

    monkeypatch.setattr(decoder.model, "forward", crowded)
    assert {d.key: d for d in decoder.drawn(asked(), NOISY, 23)} == expected
    assert max(calls[-20:]) <= 6
    assert "explanations at once; going on with" in capsys.readouterr().err


def test_one_draw_that_does_not_fit_is_a_clear_error(tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **given: Any) -> Any:
        raise RuntimeError(FULL)

    monkeypatch.setattr(tiny.decoder.model, "forward", full)
    with pytest.raises(NlaEvalError, match="out of memory for one of the explanations alone"):
        list(tiny.decoder.drawn(asked(), NOISY, 4))


def test_workers_side_by_side_draw_what_one_draws(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    found = []
    for split, rows in ((Split(), 512), (Split(2, 1), 8)):
        engine = TransformersEngine(target, pack, EngineConfig(split=split, verbalize_batch=rows))
        found.append({d.key: d for d in engine.verbalize(asked(70), NOISY)})
    assert found[0] == found[1]
    assert len(found[0]) == 70


def test_few_explanations_are_drawn_in_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(*write_tiny_pack(tmp_path), EngineConfig(split=Split(2, 1)))
    shares: list[int] = []
    drawn = engine.decoder.drawn
    monkeypatch.setattr(
        engine.decoder, "drawn", lambda requests, *given: shares.append(len(requests)) or drawn(requests, *given)
    )
    for count in (23, 70):
        assert len(list(engine.verbalize(asked(count), NOISY))) == count
    assert shares[0] == 23
    assert sorted(shares[1:]) == [35, 35]


@pytest.mark.parametrize("vocabulary", [7, 256, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_choices_follow_the_tempered_distribution(vocabulary: int, temperature: float) -> None:
    logits = torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(2)) * 2
    rng, n = np.random.default_rng(4), 20_000
    chosen = choose(logits.expand(n, -1), temperature, [rng] * n).numpy()
    expected = (logits[0].double() / temperature).softmax(-1).numpy()
    counted = np.bincount(chosen, minlength=vocabulary) / n
    assert len(counted) == vocabulary
    large = expected > 5e-4
    error = np.sqrt(expected * (1 - expected) / n)
    assert np.abs((counted - expected)[large] / error[large]).max() < 4.5
    assert abs(counted[~large].sum() - expected[~large].sum()) < 0.01
    assert choose(logits, 0.0, [rng]).item() == logits.argmax().item()


def test_rounding_noise_seldom_changes_a_choice() -> None:
    """A flat tail of 49,152 tokens, as real models have: a lookup in the cumulative distribution changes more."""
    drawn = torch.Generator().manual_seed(5)
    logits = torch.randn(1, 49_152, generator=drawn) * 2.5
    logits[0, :5] += 14
    other = logits + 5e-5 * torch.randn(logits.shape, generator=drawn)
    changed = 0
    for start in range(0, 4000, 200):
        rngs = [[np.random.default_rng(start + i) for i in range(200)] for _ in range(2)]
        one, two = (choose(x.expand(200, -1), 1.0, r) for x, r in zip((logits, other), rngs, strict=True))
        changed += int((one != two).sum())
    ends = [x[0].double().softmax(-1).cumsum(-1) for x in (logits, other)]
    at = torch.from_numpy(np.random.default_rng(6).random(4000))
    lookups = int((torch.searchsorted(ends[0], at) != torch.searchsorted(ends[1], at)).sum())
    assert changed <= 1
    assert lookups >= 4
