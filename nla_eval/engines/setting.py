"""Reads activations with a setting adapter: one forward over the prompt with the vector in its slot and the opening of
the line, then the logits of the classes' first tokens. Nothing is decoded. In: (n, d_model) activations. Out: log-odds
of told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ..errors import PackError
from ..models.pack import Pack
from ..models.prompts import AVPrompt, av_prompt
from ..models.setting import Setting, SettingClass, SettingFacts
from ..models.target import Target
from .loading import cast_weights, load_lm, merge_adapter
from .side_by_side import Split, in_order, measured_split

CLASSES = tuple(SettingClass)
_TOLD = CLASSES.index(SettingClass.TOLD)
_BATCH = 64
"""Activations per forward: about 800 tokens, enough for products at full rate, with 0.14 GB of keys and values for
SmolLM2-135M in float32."""

Prefix = list[tuple[torch.Tensor, torch.Tensor]]


class SettingReader:
    """A causal LM with the setting adapter in its weights.

    Args:
        lm: The LM. In training its adapter has gradients.
        prompt: The AV's prompt.
        scale: L2 norm of the injected vector.
        facts: Opening, classes and calibration.
        tokenizer: The target's.
        split: How batches share the CPU's cores.

    Raises:
        PackError: Two classes share their first token.
    """

    def __init__(
        self, lm: Any, prompt: AVPrompt, scale: float, facts: SettingFacts, tokenizer: Any, split: Split | None = None
    ) -> None:
        self.lm, self.prompt, self.scale, self.facts = lm, prompt, scale, facts
        self.split = split or Split()
        first = facts.first_tokens(tokenizer)
        self._first = torch.tensor([first[of] for of in CLASSES])
        self._suffix = torch.tensor([*prompt.suffix, *facts.opening_ids(tokenizer)])
        self._kept: Prefix | None = None

    def prefix(self) -> Prefix:
        """Keys and values of the prompt before the slot, with gradient if the LM has one."""
        cache = DynamicCache(config=self.lm.config)
        ids = torch.tensor([self.prompt.prefix], device=self._device)
        self.lm.model(input_ids=ids, past_key_values=cache, use_cache=True)
        layers: Any = cache.layers
        return [(layer.keys, layer.values) for layer in layers]

    def logits(self, vectors: torch.Tensor | None, prefix: Prefix | None = None) -> torch.Tensor:
        """(n, 4) float32 logits of the first tokens, in the order of `CLASSES`.

        Args:
            vectors: (n, d_model) raw activations; None reads the plain marker token once (no injection).
            prefix: Output of `prefix`; None computes it.
        """
        device = self._device
        ids = self._suffix.to(device)[None].expand(1 if vectors is None else len(vectors), -1)
        embeddings = self.lm.get_input_embeddings()(ids)
        if vectors is not None:
            own = vectors.to(device).float()
            slot = own * (self.scale / own.norm(dim=-1, keepdim=True).clamp_min(1e-12))
            embeddings = torch.cat([slot.to(embeddings.dtype)[:, None], embeddings[:, 1:]], dim=1)
        cache = DynamicCache(config=self.lm.config)
        for layer, (keys, values) in enumerate(prefix or self.prefix()):
            rows = (len(ids), -1, -1, -1)
            cache.update(keys.expand(rows), values.expand(rows), layer)
        hidden = self.lm.model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True).last_hidden_state
        head = self.lm.get_output_embeddings().weight[self._first.to(device)]
        logits: torch.Tensor = (hidden[:, -1] @ head.T).float()
        return logits

    def forget(self) -> None:
        """Drop what is kept of the prompt, because the weights have changed."""
        self._kept = None

    @torch.inference_mode()
    def raw(self, vectors: NDArray[np.float32] | None) -> NDArray[np.float64]:
        """(n,) uncalibrated log-odds of told against the other classes; (1,) without vectors (no injection)."""
        self._kept = self._kept or self.prefix()
        if vectors is None:
            return self._odds(None)
        # No larger than an equal share, so that no worker is left without a batch.
        size = max(1, min(_BATCH, -(-len(vectors) // self.split.workers)))
        jobs = [partial(self._odds, vectors[start : start + size]) for start in range(0, len(vectors), size)]
        return np.concatenate([np.empty(0), *in_order(jobs, self.split)])

    @torch.inference_mode()
    def _odds(self, vectors: NDArray[np.float32] | None) -> NDArray[np.float64]:
        rows = None if vectors is None else torch.from_numpy(vectors)
        return odds_of(self.logits(rows, self._kept)).double().cpu().numpy()

    def log_odds(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) calibrated `setting_log_odds` of (n, d_model) raw activations."""
        how = self.facts.calibration
        return how.slope * self.raw(vectors) + how.bias

    def read(self, requests: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        """`log_odds` of several groups of rows, read together."""
        if not requests:
            return []
        found = self.log_odds(np.concatenate(requests))
        return np.split(found, np.cumsum([len(rows) for rows in requests])[:-1])

    @property
    def _device(self) -> torch.device:
        return torch.as_tensor(self.lm.get_input_embeddings().weight).device


def odds_of(logits: torch.Tensor) -> torch.Tensor:
    """(n,) log-odds of told against the other classes, from (n, 4) logits."""
    others = [i for i in range(logits.shape[-1]) if i != _TOLD]
    return logits[..., _TOLD] - logits[..., others].logsumexp(-1)


def load_setting_reader(target: Target, pack: Pack, dtype: torch.dtype, device: str = "cpu") -> SettingReader:
    """The plain base of `target` with the pack's setting adapter merged in float32, then cast.

    Raises:
        PackError: The pack has no setting adapter, or one of another target or block.
    """
    setting = expected_setting(pack, target)
    lm = cast_weights(merge_adapter(load_lm(target.path, torch.float32), setting.adapter), dtype)
    prompt = av_prompt(pack.av, target.tokenizer)
    scale = float(pack.av.injection_scale or 0.0)
    split = measured_split(lm, torch.get_num_threads()) if device == "cpu" else None
    return SettingReader(lm.to(device), prompt, scale, setting.facts, target.tokenizer, split)


def expected_setting(pack: Pack, target: Target) -> Setting:
    """The pack's setting adapter, checked. Raises PackError."""
    if pack.setting is None:
        raise PackError(
            f"pack '{pack.name}' has no setting adapter; leave lane setting out, or train one with nla-eval setting "
            "train"
        )
    pack.setting.check(target.base_hash, pack.layer)
    return pack.setting
