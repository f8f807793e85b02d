"""Text that the target generates: batching never changes it, and every setting has its effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.engines.fitting import slices
from nla_eval.engines.generation import GenerateRequest, Generator, choose_token
from nla_eval.engines.one_step import GROUPED
from nla_eval.engines.recorded import Tap
from tests.tiny_target import write_tiny_target


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = write_tiny_target(tmp_path_factory.mktemp("target"))
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=GROUPED).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The same target under transformers' own attention."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = write_tiny_target(tmp_path_factory.mktemp("target"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def requests(tokenizer: Any, n: int = 7, **settings: Any) -> list[GenerateRequest]:
    texts = ["<|im_start|>user\n" + "ab " * (3 + 11 * i) + "<|im_end|>\n<|im_start|>assistant\n" for i in range(n)]
    settings = {"max_new_tokens": 12, "temperature": 0.9, "seed": 3} | settings
    return [GenerateRequest(np.array(tokenizer(t).input_ids, np.int32), **settings) for t in texts]


def test_an_answer_does_not_depend_on_its_batch(parts: tuple[Any, Any]) -> None:
    asked = requests(parts[1])
    alone = [Generator(*parts, max_batch_tokens=1)([r])[0] for r in asked]
    together = Generator(*parts, max_batch_tokens=100_000)(asked)
    in_threes = Generator(*parts, max_batch_tokens=400)(list(reversed(asked)))[::-1]
    assert alone == together == in_threes
    assert len({a.text for a in alone}) > 1


@pytest.fixture(scope="module")
def sliding(parts: tuple[Any, Any]) -> tuple[Any, Any]:
    """A random Gemma 3 with a window of 16 tokens, under the same tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma3TextConfig

    tokenizer = parts[1]
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=16, layer_types=["sliding_attention", "full_attention"],
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval(), tokenizer


@pytest.mark.parametrize("kind", ["parts", "stock", "sliding"])
def test_greedy_equals_transformers_own_greedy(kind: str, request: pytest.FixtureRequest) -> None:
    import torch

    model, tokenizer = request.getfixturevalue(kind)
    asked = requests(tokenizer, n=3, temperature=0.0)
    ours = Generator(model, tokenizer, 10_000)(asked)
    for one, answer in zip(asked, ours, strict=True):
        ids = torch.tensor(one.token_ids[None].astype(np.int64))
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
        assert answer.text == tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True)


def test_the_seed_and_the_prompt_both_key_the_draw(parts: tuple[Any, Any]) -> None:
    generator = Generator(*parts, max_batch_tokens=10_000)
    base = generator(requests(parts[1]))
    assert generator(requests(parts[1])) == base
    assert generator(requests(parts[1], seed=4)) != base


def test_a_row_that_ends_early_leaves_the_others_unchanged(parts: tuple[Any, Any]) -> None:
    model, tokenizer = parts
    asked = requests(tokenizer, n=4, max_new_tokens=30)
    whole = Generator(model, tokenizer, 100_000)(asked)
    stop = whole[1].text[5]
    stopped = Generator(model, tokenizer, 100_000)(
        [asked[0], *requests(tokenizer, n=2, max_new_tokens=30, stop_texts=(stop,))[1:], *asked[2:]]
    )
    assert stopped[1].text == whole[1].text.split(stop)[0]
    assert stopped[1].stop == "stop"
    assert [stopped[i] for i in (0, 2, 3)] == [whole[i] for i in (0, 2, 3)]


def test_the_end_token_stops_and_is_not_part_of_the_text(parts: tuple[Any, Any]) -> None:
    model, tokenizer = parts
    generator = Generator(model, tokenizer, 10_000)
    request = requests(tokenizer, n=1, temperature=0.0)[0]
    first = generator([request])[0].text[0]
    generator._ends = frozenset(tokenizer(first).input_ids)
    answer = generator([request])[0]
    assert (answer.text, answer.tokens, answer.stop) == ("", 1, "stop")


def test_the_cap_is_reported_as_a_cap(parts: tuple[Any, Any]) -> None:
    answer = Generator(*parts, max_batch_tokens=1)(requests(parts[1], n=1, max_new_tokens=3))[0]
    assert (answer.tokens, answer.stop) == (3, "max_tokens")


def test_a_tapped_block_gives_what_a_plain_forward_gives_there(parts: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = parts
    asked = requests(tokenizer, max_new_tokens=9)
    plain = Generator(model, tokenizer, 400)(asked)
    tapped = Generator(model, tokenizer, 400, tap=Tap(model.get_decoder().layers[0]))(asked)
    assert tapped == plain
    assert all(answer.activations is None for answer in plain)
    for answer in tapped:
        ids = torch.from_numpy(answer.token_ids[None].astype(np.int64))
        with torch.inference_mode():
            expected = model(ids, output_hidden_states=True).hidden_states[1][0]
        assert answer.activations is not None
        assert answer.activations.shape == (len(answer.token_ids) - 1, model.config.hidden_size)
        np.testing.assert_allclose(answer.activations, expected[:-1].numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_read_after_an_answers_end_is_not_kept(parts: tuple[Any, Any]) -> None:
    model, tokenizer = parts
    generator = Generator(model, tokenizer, 100_000, tap=Tap(model.get_decoder().layers[0]))
    asked = requests(tokenizer, n=4, max_new_tokens=30) * 5  # so many that one ended row stays in the batch
    stop = generator(asked)[1].text[5]
    asked[1] = requests(tokenizer, n=2, max_new_tokens=30, stop_texts=(stop,))[1]
    answers = generator(asked)
    assert answers[1].tokens < 30
    for answer in answers:
        assert answer.activations is not None
        assert len(answer.activations) == len(answer.token_ids) - 1


@given(sizes=st.lists(st.integers(1, 40), max_size=30), bound=st.integers(1, 120), padded=st.booleans())
def test_slices_tile_what_they_part_within_the_bound(sizes: list[int], bound: int, padded: bool) -> None:
    parts = [sizes[part] for part in slices(sizes, bound, padded=padded)]
    assert [size for part in parts for size in part] == sizes
    assert all(len(p) == 1 or (len(p) * max(p) if padded else sum(p)) <= bound for p in parts)


LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def frequencies(request: GenerateRequest, n: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.bincount([choose_token(LOGITS, request, rng) for _ in range(n)], minlength=4) / n


def asking(**settings: Any) -> GenerateRequest:
    return GenerateRequest(np.zeros(1, np.int32), 1, **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [0.685, 0.247, 0.062, 0.007]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.8}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [0.526, 0.316, 0.158, 0]),
        ({"top_p": 0.1}, [1, 0, 0, 0]),
    ],
)
def test_sampling_follows_temperature_top_k_and_top_p(settings: dict[str, Any], expected: list[float]) -> None:
    assert frequencies(asking(**settings)) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("spread", "step"), [(2, 0), (0.5, 0.25)], ids=["no ties", "ties, as of bf16"])
def test_a_draw_is_the_same_whether_the_head_or_all_tokens_are_sorted(spread: float, step: float) -> None:
    logits = np.random.default_rng(0).normal(0, spread, 3000).astype(np.float32)
    if step:
        logits = np.round(logits / np.float32(step)) * np.float32(step)
    ordered = np.argsort(-logits.astype(np.float64), kind="stable")
    mass = np.cumsum(np.exp(logits[ordered].astype(np.float64)))
    for seed in range(300):
        expected = ordered[np.searchsorted(mass / mass[-1], np.random.default_rng(seed).random(), side="right")]
        assert choose_token(logits, asking(), np.random.default_rng(seed)) == expected


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0, 3), st.floats(0.01, 1), st.integers(0, 25))
def test_any_settings_choose_a_token_of_the_vocabulary(logits: list[float], t: float, p: float, k: int) -> None:
    token = choose_token(
        np.array(logits, np.float32), asking(temperature=t, top_p=p, top_k=k), np.random.default_rng(1)
    )
    assert 0 <= token < len(logits)
