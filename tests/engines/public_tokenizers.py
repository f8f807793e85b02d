"""Tiny tokenizers in the files, special tokens and BOS habits of the families that have released pairs: Qwen2.5 has no
BOS, Gemma 3 and Llama 3 prepend one to plain text and write one in their chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from tests.chat_templates import CHATML_TOOLS, GEMMA3, LLAMA3

QWEN_MARKER, GEMMA_MARKER = "\u320e", "\u321c"
"""The released pairs' injection characters: one token each."""
_QWEN_TEMPLATE = (
    "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nYou are a tiny model.<|im_end|>\\n' }}{%- endif %}"
    + CHATML_TOOLS
)
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
_BPE: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def write_qwen(folder: Path) -> None:
    """Qwen2.5's manner: byte-level, no BOS, a system message of its own where the chat has none."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    raw = _byte_level(QWEN_MARKER, special)
    _write(
        folder,
        raw,
        _QWEN_TEMPLATE,
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
        },
    )


def write_llama(folder: Path) -> None:
    """Llama 3's manner: byte-level, BOS before any plain text, BOS and a date in the chat template."""
    special = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    raw = _byte_level(QWEN_MARKER, special)
    _prepend(raw, "<|begin_of_text|>")
    _write(
        folder,
        raw,
        LLAMA3,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def write_gemma(folder: Path) -> None:
    """Gemma 3's manner: spaces written as a low line, bytes as a last resort, BOS as Llama has it."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    singles = [*(chr(c) for c in range(33, 127)), "\u2581", "\n", GEMMA_MARKER]
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *singles, "</", ".</"]
    vocabulary = {name: i for i, name in enumerate(names)}
    raw = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=[("<", "/"), (".", "</")], fuse_unk=True, unk_token="<unk>", byte_fallback=True
        )
    )
    raw.normalizer = normalizers.Replace(" ", "\u2581")
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    raw.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    raw.add_special_tokens([AddedToken(t, special=True) for t in (*special, "<start_of_turn>", "<end_of_turn>")])
    _prepend(raw, "<bos>")
    _write(
        folder,
        raw,
        GEMMA3,
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
    )


def _byte_level(marker: str, special: tuple[str, ...]) -> Tokenizer:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    first, second, third = level.pre_tokenize_str(marker)[0][0]
    merges = [(first, second), (first + second, third), ("<", "/"), (".", "</")]
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    raw = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=merges, fuse_unk=False, **_BPE))
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_WORDS), "isolated"), level])
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in special])
    return raw


def _prepend(raw: Tokenizer, bos: str) -> None:
    raw.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, raw.token_to_id(bos))]
    )


def _write(folder: Path, raw: Tokenizer, template: str, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 131072}))
