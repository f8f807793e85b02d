"""The two prompts of a pack as token ids, checked against the target's tokenizer.

For the AV: the injection slot is found and its neighbours match the sidecar. For the AR: the suffix is fixed and long
enough. A failed check raises PackError."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import PackError
from .pack_meta import MIN_SUFFIX_TOKENS, PackMeta

TEMPLATE_DATE = date(2024, 7, 26)
"""Date given to templates that print today's date, so that prompts never change. It is Llama 3.3's own default."""
OPEN_TAG, CLOSE_TAG = "<explanation>", "</explanation>"
_EXPLANATION = re.compile(r"<explanation>\s*(.*?)\s*</explanation>", re.DOTALL)


@dataclass(frozen=True)
class AVPrompt:
    """The AV prompt. The part before the slot is the same for every activation, so its KV is computed once."""

    prefix: tuple[int, ...]
    """Ids before the injection slot."""
    suffix: tuple[int, ...]
    """The marker token in the slot and the ids after it."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The whole prompt."""
        return self.prefix + self.suffix


def av_prompt(meta: PackMeta, tokenizer: Any) -> AVPrompt:
    """Tokenise the AV's chat prompt and find the slot.

    Raises:
        PackError: The marker is not one token, does not occur exactly once, or has another id or other neighbours than
            the sidecar says.
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
        raise PackError(
            f"template drift: the neighbours of the injection slot are {found}, the sidecar says {expected}; "
            "use the tokenizer that came with the pack's target"
        )
    return AVPrompt(tuple(ids[: at[0]]), tuple(ids[at[0] :]))


def text_prompt(prompt: AVPrompt, window: Sequence[int]) -> list[int]:
    """The AV prompt with the token ids of a text in the place of the marker: what a text reader reads."""
    return [*prompt.prefix, *window, *prompt.suffix[1:]]


def ar_text(meta: PackMeta, explanation: str) -> str:
    """The AR's input text for one explanation."""
    return meta.ar_template.replace("{explanation}", explanation)


def ar_ids(meta: PackMeta, tokenizer: Any, explanation: str) -> list[int]:
    """The AR's input ids for one explanation. The tokenizer adds its special tokens, as in the AR's training: Gemma and
    Llama begin with BOS, Qwen does not."""
    return list(tokenizer(ar_text(meta, explanation))["input_ids"])


def own_tokenizer(folder: Path) -> Any | None:
    """The tokenizer in a checkpoint's folder; None if it has none (adapters)."""
    if not (folder / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def check_ar_prompt(meta: PackMeta, tokenizer: Any) -> tuple[int, ...]:
    """The fixed ids after the explanation. The AR's vector is read at the last of them.

    Raises:
        PackError: The template has no `{explanation}`; its suffix is under 3 tokens (a vector read right after a quoted
            tail is just the vector of that text); or the suffix differs from the sidecar's or between explanations.
    """
    if meta.ar_template.count("{explanation}") != 1:
        raise PackError("the AR template is wrong; expected '{explanation}' in it exactly once")
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
        raise PackError(
            f"the AR suffix tokenises to {suffix}, the sidecar says {said}: tokenizer drift; "
            "give the pack's own tokenizer"
        )
    return suffix


def parse_explanation(text: str) -> tuple[str, bool]:
    """(explanation without tags, whether the close tag was written). Without it the draw is truncated, never a
    negative."""
    if match := _EXPLANATION.search(text):
        return match[1], True
    closed = CLOSE_TAG in text
    body = text.split(CLOSE_TAG)[0]
    return body.replace(OPEN_TAG, "", 1).strip(), closed


def explanation_so_far(text: str) -> str:
    """The explanation in an unfinished draw: without tags, and without half a tag or half a character at its end."""
    body = parse_explanation(text)[0].rstrip("\ufffd")
    for tag in (OPEN_TAG, CLOSE_TAG):
        half = next((n for n in range(len(tag) - 1, 0, -1) if body.endswith(tag[:n])), 0)
        body = body[: len(body) - half].rstrip()
    return body
