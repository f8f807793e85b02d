"""Code shared by both vLLM engines: the AV's prompt as embeddings without loading the AV's blocks, the seed and stop
tokens of each draw, and a `Draw` from returned token ids. This module does not import vLLM and knows no server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from transformers import AutoConfig, GenerationConfig

from ...errors import PackError
from ...models.pack import Pack
from ...models.pack_meta import ADAPTER
from ...models.prompts import CLOSE_TAG, AVPrompt, parse_explanation
from ...models.target import Target
from ...readings import StopReason
from ..base import Draw, Sampling, VerbalizeRequest
from ..decoding import Decoder
from ..loading import load_av, load_trunk


class PromptEmbeddings:
    """The AV prompt as embeddings, with the rescaled activation in its slot.

    Args:
        target: The pack's target. If the AV is an adapter that does not change embeddings, the target's are used.
        pack: The pack with the AV.
        prompt: The AV prompt.
        dtype: Dtype of the embeddings; use the dtype in which the AV runs.

    Raises:
        PackError: The pack states no injection scale.
    """

    def __init__(self, target: Target, pack: Pack, prompt: AVPrompt, dtype: torch.dtype) -> None:
        table = _embedding_table(target.path, pack.av_path, dtype)
        self._suffix = Decoder(table, target.tokenizer, prompt, injection_scale(pack))
        with torch.inference_mode():
            self._prefix = table.get_input_embeddings()(torch.tensor(prompt.prefix))

    @torch.inference_mode()
    def rows(self, requests: Sequence[VerbalizeRequest]) -> torch.Tensor:
        """Embeddings (B, S, d) of the whole prompt for each request."""
        prefix = self._prefix.expand(len(requests), -1, -1)
        return torch.cat([prefix, self._suffix.embeddings(requests)], dim=1)


def injection_scale(pack: Pack) -> float:
    """L2 norm of the injected vector. Raises PackError if the sidecar states none."""
    if pack.av.injection_scale is None:
        raise PackError(f"pack '{pack.name}' states no injection_scale; add it to the AV's nla_meta.yaml")
    return pack.av.injection_scale


def injected_row(activation: NDArray[np.float32], scale: float, dtype: torch.dtype) -> torch.Tensor:
    """The activation (d,) rescaled to the injection norm, as in `Decoder.embeddings`."""
    vector = torch.from_numpy(np.asarray(activation, np.float32))
    return torch.as_tensor(vector / (vector.norm().clamp_min(1e-12) / scale), dtype=dtype)


def mixed_prompt(
    prompt: AVPrompt, activation: NDArray[np.float32] | None, scale: float, dtype: torch.dtype
) -> dict[str, Any]:
    """The AV's prompt for vLLM: one embedding row in the slot; the rest are token ids, which vLLM embeds."""
    ids, slot = [*prompt.prefix, *prompt.suffix], len(prompt.prefix)
    if activation is None:
        return {"prompt_token_ids": ids}
    rows = torch.zeros(len(ids), len(activation), dtype=dtype)
    rows[slot] = injected_row(activation, scale, dtype)
    return {
        "prompt_token_ids": ids,
        "prompt_embeds": rows,
        "prompt_is_token_ids": [place != slot for place in range(len(ids))],
    }


def draw_settings(request: VerbalizeRequest, sampling: Sampling, stops: Sequence[int]) -> dict[str, Any]:
    """Arguments of vLLM's `SamplingParams` for one draw."""
    temperature = sampling.temperature_of(request)
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": temperature,
        "seed": draw_seed(request) if temperature > 0 else None,
        "stop": [CLOSE_TAG],
        "include_stop_str_in_output": True,
        "stop_token_ids": list(stops),
    }


def stop_tokens(target: Target, pack: Pack) -> list[int]:
    """Ids that end an explanation: the end tokens of the AV and of its tokenizer."""
    folder = target.path if (pack.av_path / ADAPTER).is_file() else pack.av_path
    try:
        config = GenerationConfig.from_pretrained(str(folder))
    except OSError:
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(str(folder)))
    return end_tokens(config, target.tokenizer)


def end_tokens(config: Any, tokenizer: Any) -> list[int]:
    """Ids that end a text, from a model's generation config and the tokenizer."""
    ends = config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    return sorted({*ends, tokenizer.eos_token_id} - {None})


def draw_seed(request: VerbalizeRequest) -> int:
    """Seed of 63 bits, a function of the request's key and seed alone."""
    digest = hashlib.sha256(f"{request.seed}|{request.key}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def finished_draw(request: VerbalizeRequest, ids: Sequence[int], tokenizer: Any) -> Draw:
    """Make the draw with tokens `ids`. Without a close tag it is TRUNCATED, whatever ended it."""
    text, closed = parse_explanation(tokenizer.decode(list(ids), skip_special_tokens=True))
    stop = StopReason.CLOSED if closed else StopReason.TRUNCATED
    return Draw(request.key, text, stop, len(ids), ids=tuple(ids))


def failed_draw(request: VerbalizeRequest, error: str) -> Draw:
    """Make an ERROR draw."""
    return Draw(request.key, "", StopReason.ERROR, 0, error)


def parted(requests: Sequence[VerbalizeRequest]) -> tuple[list[VerbalizeRequest], list[Draw]]:
    """Split into (requests that can be drawn, ERROR draws for requests with a non-finite activation)."""
    sound, broken = [], []
    for request in requests:
        if request.activation is None or np.isfinite(request.activation).all():
            sound.append(request)
        else:
            broken.append(failed_draw(request, "the activation is not finite"))
    return sound, broken


def _embedding_table(base: Path, av: Path, dtype: torch.dtype) -> Any:
    """Load a model without blocks, for its input embeddings; the whole AV if its adapter trains embeddings."""
    adapter = av / ADAPTER
    if not adapter.is_file():
        return load_trunk(av, -1, dtype)
    with safe_open(adapter, "pt") as tensors:
        trained = any("embed" in key or "wte" in key for key in tensors.keys())  # noqa: SIM118
    return load_av(base, av, dtype) if trained else load_trunk(base, -1, dtype)
