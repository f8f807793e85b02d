"""A pair in training for the tiny target: random but real weights, adapters that already do something.

A random model never writes the fourteen bytes of the close tag, so tests that need closed explanations put a tag of one
letter in its place (`closing_with`)."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch

import nla_eval.engines.decoding as decoding
import nla_eval.models.prompts as prompts
from nla_eval.engines.base import Sampling, VerbalizeRequest
from nla_eval.engines.side_by_side import Split
from nla_eval.models.prompts import av_prompt
from nla_eval.training.joint.rollouts import Rollouts
from nla_eval.training.joint.round_trip import Models
from nla_eval.training.models.ar import Pairs, Reconstructor
from nla_eval.training.models.av import Verbalizer
from nla_eval.training.models.loading import Loading
from tests.engines.tiny_pack import write_tiny_pack

CAP = 12


def tiny_models(folder: Path, rank: int = 4, dtype: torch.dtype = torch.float32, head_dim: int = 8) -> Models:
    """AV and AR of the tiny target with adapters, the same at every call; their files lie below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    target, pack = write_tiny_pack(Path(tempfile.mkdtemp(dir=folder)), head_dim=head_dim)
    prompt = av_prompt(pack.av, target.tokenizer)
    torch.manual_seed(7)
    av = Verbalizer(target.path, prompt, float(pack.av.injection_scale or 0.0), rank, Loading(dtype))
    ar = Reconstructor(target.path, 1, rank, Loading(dtype))
    with torch.no_grad():
        for name, parameter in [*av.named_parameters(), *ar.named_parameters()]:
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return Models(av, ar, pack.ar, target.tokenizer)


def tiny_pairs(rows: int = 6, seed: int = 0) -> Pairs:
    """Random activations with short texts; every other text repeats its recent context."""
    vectors = torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed))
    texts = [f"t{i} ab" for i in range(rows)]
    return Pairs(texts, vectors, recent=["ab cd"] * rows, expected=["x"] * rows)


def requests(pairs: Pairs, samples: int = 4) -> list[VerbalizeRequest]:
    return [
        VerbalizeRequest(f"{row}|{sample}", pairs.activations[row].numpy(), seed=1)
        for row in range(len(pairs.texts))
        for sample in range(samples)
    ]


def closing_with(monkeypatch: pytest.MonkeyPatch, models: Models) -> str:
    """Let a letter close an explanation that the pair writes in about half of its draws; returns the letter."""
    draws = Rollouts(models.av, models.tokenizer, Split()).draw(requests(tiny_pairs(16)), Sampling(1.0, CAP))
    seen = Counter(letter for draw in draws for letter in {c for c in draw.text if c.isascii() and c.isalpha()})
    letter = min(seen, key=lambda c: abs(seen[c] - len(draws) / 2))
    monkeypatch.setattr(prompts, "CLOSE_TAG", letter)
    monkeypatch.setattr(decoding, "CLOSE_TAG", letter)
    return letter
