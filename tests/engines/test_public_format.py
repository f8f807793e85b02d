"""A pair in the public checkpoint format computes what the public single-file client computed on it (golden file)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from nla_eval.engines.base import Draw, Sampling, VerbalizeRequest
from nla_eval.engines.decoding import Decoder
from nla_eval.engines.loading import load_av, load_reconstructor
from nla_eval.models.pack import Pack, load_pack
from nla_eval.models.prompts import ar_text, av_prompt, check_ar_prompt
from nla_eval.models.scores import Baselines, ar_scores
from nla_eval.readings import StopReason

NEAR_TIE = 0.05
"""Greedy ids may part where the two best logits are closer than this: another attention kernel rounds otherwise."""


@pytest.fixture(scope="module")
def tiny(shared_data: Callable[[str], Path]) -> Path:
    return shared_data("public_format_tiny")


@pytest.fixture(scope="module")
def pack(tiny: Path) -> Pack:
    return load_pack(f"{tiny / 'llama-av'},{tiny / 'llama-ar'}")


@pytest.fixture(scope="module")
def golden(tiny: Path) -> dict[str, np.ndarray]:
    return dict(np.load(tiny / "llama-golden.npz"))


@pytest.fixture(scope="module")
def decoder(pack: Pack) -> Decoder:
    tokenizer = AutoTokenizer.from_pretrained(pack.av_path)
    model = load_av(pack.av_path, pack.av_path, torch.float32)
    return Decoder(model, tokenizer, av_prompt(pack.av, tokenizer), float(pack.av.injection_scale or 0))


def requests_of(golden: dict[str, np.ndarray]) -> list[VerbalizeRequest]:
    return [VerbalizeRequest(str(i), v) for i, v in enumerate(golden["vectors"])]


def test_the_prompt_and_the_injected_embeddings_are_exactly_the_clients(
    decoder: Decoder, golden: dict[str, np.ndarray]
) -> None:
    prompt = decoder.prompt
    assert [*prompt.prefix, *prompt.suffix] == golden["prompt_ids"].tolist()
    ours = decoder.embeddings(requests_of(golden)).numpy()
    np.testing.assert_array_equal(ours, golden["injected"][:, len(prompt.prefix) :])


def test_greedy_ids_are_the_clients_up_to_near_ties(decoder: Decoder, golden: dict[str, np.ndarray]) -> None:
    for row, ids in enumerate(golden["greedy_ids"]):
        embeddings = torch.from_numpy(golden["injected"][row : row + 1])
        for step, want in enumerate(ids.tolist()):
            with torch.inference_mode():
                best = decoder.model(inputs_embeds=embeddings).logits[0, -1].topk(2)
            if int(best.indices[0]) != want:
                assert float(best.values[0] - best.values[1]) < NEAR_TIE, (row, step)
                assert int(best.indices[1]) == want
            step_embedding = decoder.model.get_input_embeddings()(torch.tensor([[want]]))
            embeddings = torch.cat([embeddings, step_embedding], dim=1)


def test_batched_decoding_with_a_shared_prefix_equals_plain_generate(
    decoder: Decoder, golden: dict[str, np.ndarray]
) -> None:
    drawn = decoder.draw(requests_of(golden), Sampling(temperature=0.0, max_new_tokens=24))
    for row, draw in enumerate(drawn):
        plain = decoder.model.generate(
            inputs_embeds=torch.from_numpy(golden["injected"][row : row + 1]), max_new_tokens=24, do_sample=False
        )
        assert draw.text == decoder.tokenizer.decode(plain[0], skip_special_tokens=True).strip()
        assert draw.stop is StopReason.TRUNCATED, "random weights never write the close tag"


def test_the_reconstructor_computes_the_clients_vectors_and_scores(pack: Pack, golden: dict[str, np.ndarray]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(pack.ar_path)
    assert len(check_ar_prompt(pack.ar, tokenizer)) >= 3
    trunk, head = load_reconstructor(pack.ar_path, pack.ar_path, pack.layer, torch.float32)
    rows = []
    for text in golden["texts"].tolist():
        ids = torch.tensor([tokenizer(ar_text(pack.ar, text))["input_ids"]])
        with torch.inference_mode():
            rows.append((trunk(input_ids=ids).last_hidden_state[0, -1] @ head.float().T).numpy())
    ours = np.stack(rows)
    np.testing.assert_allclose(ours, golden["reconstructed"], rtol=1e-4, atol=1e-4)
    scores = ar_scores(ours, np.repeat(golden["vectors"][:1], len(ours), axis=0), Baselines(0.5))
    np.testing.assert_allclose(scores.cos, golden["cos"], atol=1e-5)
    np.testing.assert_allclose(scores.mse_nrm, golden["mse"], atol=1e-5)


def texts_of(draws: list[Draw]) -> dict[str, str]:
    return {d.key: d.text for d in draws}


def test_a_draw_does_not_depend_on_its_batch(decoder: Decoder, golden: dict[str, np.ndarray]) -> None:
    sampling = Sampling(temperature=1.0, max_new_tokens=12)
    requests = requests_of(golden)
    together = texts_of(decoder.draw(requests, sampling))
    alone = texts_of([decoder.draw([r], sampling)[0] for r in reversed(requests)])
    assert together == alone
    other_seed = [VerbalizeRequest(r.key, r.activation, seed=1) for r in requests]
    assert texts_of(decoder.draw(other_seed, sampling)) != together


def test_no_injection_leaves_the_marker_and_gives_another_text(decoder: Decoder, golden: dict[str, np.ndarray]) -> None:
    silent = VerbalizeRequest("silent", None)
    marker = decoder.model.get_input_embeddings()(torch.tensor([decoder.prompt.suffix]))
    torch.testing.assert_close(decoder.embeddings([silent]), marker)
    sampling = Sampling(temperature=0.0, max_new_tokens=12)
    drawn = texts_of(decoder.draw([silent, *requests_of(golden)], sampling))
    assert drawn.pop("silent") not in drawn.values()


def test_a_non_finite_activation_is_an_error_row_and_the_others_are_drawn(
    decoder: Decoder, golden: dict[str, np.ndarray]
) -> None:
    broken = VerbalizeRequest("broken", np.full(32, np.nan, np.float32))
    drawn = {d.key: d for d in decoder.draw([broken, *requests_of(golden)], Sampling(0.0, 4))}
    assert drawn["broken"].stop is StopReason.ERROR
    assert "not finite" in str(drawn["broken"].error)
    assert drawn["0"].text
