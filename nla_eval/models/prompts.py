"""The two prompts of a pack as token ids, checked against the live tokenizer: where the AV's injection slot is and that
its neighbours match; that the AR's suffix is fixed and long enough. Fails closed with a PackError."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import PackError
from .pack_meta import MIN_SUFFIX_TOKENS, PackMeta

TEMPLATE_DATE = date(2024, 7, 26)
"""What templates that print today's date are told: Llama 3.3's own default, so that prompts are the same every day."""
CLOSE_TAG = "</explanation>"
_EXPLANATION = re.compile(r"<explanation>\s*(.*?)\s*</explanation>", re.DOTALL)


@dataclass(frozen=True)
class AVPrompt:
    """The AV prompt: everything before the slot is the same for every activation, so its KV is computed once."""

    prefix: tuple[int, ...]
    """Ids before the injection slot."""
    suffix: tuple[int, ...]
    """The marker token in the slot, then the ids behind it."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The whole prompt."""
        return self.prefix + self.suffix


def av_prompt(meta: PackMeta, tokenizer: Any) -> AVPrompt:
    """Tokenise the AV's chat prompt and find the slot.

    Raises:
        PackError: The marker is not one token, its id or a neighbour drifted, or it does not occur exactly once.
    """
    marker = tokenizer.encode(meta.injection_char, add_special_tokens=False)
    if marker != [meta.injection_token_id]:
        raise PackError(
            f"tokenizer drift: the injection character gives ids {marker}, the sidecar says "
            f"[{meta.injection_token_id}]; use the tokenizer that came with the pack's target"
        )
    content = meta.av_template.replace("{injection_char}", meta.injection_char)
    ids = list(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=False,
            date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
            strftime_now=TEMPLATE_DATE.strftime,
        )
    )
    at = [i for i, token in enumerate(ids) if token == meta.injection_token_id]
    if len(at) != 1 or not 0 < at[0] < len(ids) - 1:
        raise PackError(f"the injection marker occurs {len(at)} times in the AV prompt, expected once, inside it")
    found = (ids[at[0] - 1], ids[at[0] + 1])
    expected = (meta.left_neighbor_id, meta.right_neighbor_id)
    if found != expected:
        raise PackError(f"neighbours of the injection slot are {found}, the sidecar says {expected}: template drift")
    return AVPrompt(tuple(ids[: at[0]]), tuple(ids[at[0] :]))


def ar_text(meta: PackMeta, explanation: str) -> str:
    """The AR's input text for one explanation."""
    return meta.ar_template.replace("{explanation}", explanation)


def ar_ids(meta: PackMeta, tokenizer: Any, explanation: str) -> list[int]:
    """The AR's input ids for one explanation. Special tokens are added as the tokenizer does, which is how
    reconstructors are trained: Gemma and Llama begin with BOS, Qwen has none."""
    return list(tokenizer(ar_text(meta, explanation))["input_ids"])


def own_tokenizer(folder: Path) -> Any | None:
    """The tokenizer beside a checkpoint's weights; None where there is none (adapters)."""
    if not (folder / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def check_ar_prompt(meta: PackMeta, tokenizer: Any) -> tuple[int, ...]:
    """The fixed ids behind the explanation, which the AR reads from.

    Raises:
        PackError: No `{explanation}`, a suffix under 3 tokens (reading right after a quoted tail merely re-runs the
            text), or a suffix that differs from the sidecar's or changes with the explanation.
    """
    if meta.ar_template.count("{explanation}") != 1:
        raise PackError("the AR template must hold '{explanation}' exactly once")
    tail = meta.ar_template.split("{explanation}")[1]
    if not tail.strip():
        raise PackError("the AR template ends right after {explanation}; it needs a fixed suffix of at least 3 tokens")
    encoded = [ar_ids(meta, tokenizer, probe) for probe in ("One thing.", "quoted words and", "x = 3;\n")]
    common = 0
    while common < min(map(len, encoded)) and len({e[len(e) - 1 - common] for e in encoded}) == 1:
        common += 1
    if common < MIN_SUFFIX_TOKENS:
        raise PackError(f"the AR suffix keeps only {common} fixed tokens; at least {MIN_SUFFIX_TOKENS} are needed")
    suffix = tuple(encoded[0][len(encoded[0]) - common :])
    said = meta.suffix_ids
    if said and said != suffix[len(suffix) - len(said) :]:
        raise PackError(f"the AR suffix tokenises to {suffix}, the sidecar says {said}: tokenizer drift")
    return suffix


def parse_explanation(text: str) -> tuple[str, bool]:
    """(explanation without tags, whether the close tag was written). Unclosed is a truncation, never a negative."""
    if match := _EXPLANATION.search(text):
        return match[1], True
    closed = CLOSE_TAG in text
    body = text.split(CLOSE_TAG)[0]
    return body.replace("<explanation>", "", 1).strip(), closed
