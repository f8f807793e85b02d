"""A stand-in for vLLM: `LLM` and `SamplingParams` as `VllmRollouts` uses them, implemented with transformers. It always
decodes greedily, and keeps the weights of a checkpoint until it is told to load them again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    seed: int | None
    stop: list[str]
    include_stop_str_in_output: bool
    stop_token_ids: list[int]


class LLM:
    """One model, read from a folder."""

    instances: list[LLM] = []  # noqa: RUF012

    def __init__(self, model: str, **options: Any) -> None:
        self.options, self.stale = options, False
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.reload_weights(model)
        self.stale = False
        self.stopped = False
        core = SimpleNamespace(shutdown=lambda: setattr(self, "stopped", True))
        self.llm_engine = SimpleNamespace(engine_core=core)
        LLM.instances.append(self)

    def reload_weights(self, weights_path: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(weights_path, dtype=self.options["dtype"]).eval()
        self.stale = True

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> list[Any]:
        return [getattr(self, method)(**kwargs)]

    def reset_prefix_cache(self) -> bool:
        self.stale = False
        return True

    def generate(self, prompts: list[dict[str, Any]], params: list[SamplingParams], use_tqdm: bool) -> list[Any]:
        assert not self.stale, "the prefix cache is of former weights"
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=self._greedy(p, how))])
            for p, how in zip(prompts, params, strict=True)
        ]

    @torch.inference_mode()
    def _greedy(self, prompt: dict[str, Any], how: SamplingParams) -> list[int]:
        ids = torch.tensor([prompt["prompt_token_ids"]])
        is_token = torch.tensor(prompt["prompt_is_token_ids"])[None, :, None]
        rows = torch.where(is_token, self.model.get_input_embeddings()(ids), prompt["prompt_embeds"][None])
        written: list[int] = []
        while len(written) < how.max_tokens:
            written.append(int(self.model(inputs_embeds=rows).logits[0, -1].argmax()))
            if written[-1] in how.stop_token_ids or any(s in self.tokenizer.decode(written) for s in how.stop):
                break
            new = self.model.get_input_embeddings()(torch.tensor([[written[-1]]]))
            rows = torch.cat([rows, new], dim=1)
        return written


def plant(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    """Let `import vllm` find this."""
    module: Any = ModuleType("vllm")
    module.LLM, module.SamplingParams, module.__spec__ = LLM, SamplingParams, ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "instances", [])
    return LLM
