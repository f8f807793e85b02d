"""A step of joint training against a plain loop in transformers and peft: `generate` over all rows with unmerged
adapters, and gradients over whole sequences, prompt included."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..engines.base import Draw, Sampling, VerbalizeRequest
from ..engines.decoding import Decoder
from ..models.dtypes import dtype_name
from ..models.pack import Pack
from ..models.prompts import av_prompt
from ..models.target import Target
from ..training.joint.plan import reward
from ..training.joint.round_trip import Models
from ..training.joint.stage import train_joint
from ..training.joint.state import Learner
from ..training.joint_config import JointConfig
from ..training.models.ar import Pairs, Reconstructor, encode, mse_nrm
from ..training.models.av import Verbalizer
from ..training.models.grpo import advantages
from ..training.models.loading import Loading
from ..training.models.optim import trainable
from ..training.models.start import Start, adapter_rank
from .figures import Figure, ratio

_ROWS = 8
"""Sequences per micro-batch of the usual loop: about 800 tokens, as in ours."""


@dataclass(frozen=True)
class TrainingLoad:
    """The timed workload: the rollouts of the shipped configuration. Activations are random and seeded."""

    groups: int = 8
    samples: int = 6
    max_new_tokens: int = 80
    dtype: torch.dtype = torch.float32
    """Dtype of frozen weights and arithmetic, for both sides."""

    def config(self, cores: int) -> JointConfig:
        """Our configuration: one worker per core, without the parts that the usual loop lacks. It runs two steps and
        only the first is timed, because the last one also measures the KL."""
        return JointConfig(
            steps=2, groups=self.groups, samples_per_group=self.samples, max_new_tokens=self.max_new_tokens,
            reference_mix=0.0, references_per_rollout=0.0, workers=cores, threads=1,
            evaluate_every=2, evaluate_rows=1,
        )  # fmt: skip


def steps_per_hour(target: Target, pack: Pack, load: TrainingLoad) -> dict[str, Figure]:
    """Joint steps per hour of ours and of the usual loop, on the same cores and from the same pack."""
    cores = torch.get_num_threads()
    config, models = load.config(cores), trainable_pack(target, pack, load.dtype)
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((load.groups, pack.d_model)).astype(np.float32))
    pairs = Pairs(["a chat"] * load.groups, vectors)
    usual = UsualLoop(models, pairs, config)
    began = time.perf_counter()
    usual.step(0)
    theirs = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        train_joint(models, pairs, pairs, config, Path(folder))
        lines = [json.loads(line) for line in (Path(folder) / "joint.jsonl").read_text().splitlines()]
    ours = sum(next(line["wall_s"] for line in lines if line["step"] == 1).values())
    said = dtype_name(load.dtype)
    how = f"{load.groups} x {load.samples} rollouts of at most {load.max_new_tokens} tokens, {said}, {cores} cores"
    return {"rl_steps_vs_naive": ratio(3600 / ours, 3600 / theirs, "steps/h", how)}


def trainable_pack(target: Target, pack: Pack, dtype: torch.dtype) -> Models:
    """The target with the pack's adapters, made trainable."""
    loading = Loading(dtype)
    prompt, scale = av_prompt(pack.av, target.tokenizer), float(pack.av.injection_scale or 0.0)
    start = Start(pack, target)
    av = Verbalizer(target.path, prompt, scale, adapter_rank(pack.av_path), loading)
    ar = Reconstructor(target.path, pack.layer, adapter_rank(pack.ar_path), loading)
    start.put_av(av)
    start.put_ar(ar)
    return Models(av, ar, pack.ar, target.tokenizer)


class UsualLoop:
    """The same training step with `generate` and whole sequences."""

    def __init__(self, models: Models, pairs: Pairs, config: JointConfig) -> None:
        self.models, self.pairs, self.config = models, pairs, config
        self.av, self.ar = Learner("av", trainable(models.av)), Learner("ar", trainable(models.ar))
        prompt = models.av.prompt
        self.prompt = torch.tensor([*prompt.prefix, *prompt.suffix])
        self.slot = len(prompt.prefix)
        self.naming = Decoder(models.av.lm, models.tokenizer, prompt, models.av.scale)

    def step(self, step: int) -> None:
        """Draw, score, and update both models once."""
        config, samples = self.config, self.config.samples_per_group
        vectors = self.pairs.activations.repeat_interleave(samples, dim=0)
        torch.manual_seed(step)
        draws = self._generated(vectors)
        texts = [draw.text for draw in draws]
        with torch.no_grad():
            errors = torch.cat([self._errors(texts[r], vectors[r]) for r in _runs(len(texts))])
        earned = np.array([reward(d, float(e), config) for d, e in zip(draws, errors, strict=True)])
        advantage = torch.from_numpy(advantages(earned.reshape(-1, samples), "group").reshape(-1))
        for rows in _runs(len(texts)):
            (self._errors(texts[rows], vectors[rows]).sum() / len(texts)).backward()  # type: ignore[no-untyped-call]
        self.ar.update([_gradient(p) for p in self.ar.tensors], config.ar_lr, config.clip_norm)
        tokens = sum(draw.tokens for draw in draws)
        for rows in _runs(len(draws)):
            self._objective(draws[rows], vectors[rows], advantage[rows], tokens).backward()  # type: ignore[no-untyped-call]
        self.av.update([_gradient(p) for p in self.av.tensors], config.av_lr, config.clip_norm)

    def _embeddings(self, ids: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """(B, T, d) embeddings of whole sequences (B, T), with the vectors in the slot."""
        embeddings = self.models.av.lm.get_input_embeddings()(ids).detach().clone()
        slot = vectors * (self.models.av.scale / vectors.norm(dim=-1, keepdim=True))
        embeddings[:, self.slot] = slot.to(embeddings.dtype)
        return torch.as_tensor(embeddings)

    @torch.no_grad()
    def _generated(self, vectors: torch.Tensor) -> list[Draw]:
        """`generate` over all rows, stopped at the close tag as in ours."""
        ids = self.prompt.expand(len(vectors), -1)
        out = self.models.av.lm.generate(
            inputs_embeds=self._embeddings(ids, vectors), attention_mask=torch.ones_like(ids), do_sample=True,
            temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=self.config.max_new_tokens,
            stop_strings=["</explanation>"], tokenizer=self.models.tokenizer,
            pad_token_id=self.models.tokenizer.eos_token_id,
        )  # fmt: skip
        return [self._draw(number, row.tolist()) for number, row in enumerate(out)]

    def _draw(self, number: int, ids: list[int]) -> Draw:
        """The row cut at the point where our decoder would have ended it."""
        sampling = Sampling(1.0, self.config.max_new_tokens or 1)
        end = next((n for n in range(1, len(ids) + 1) if self.naming.is_over(ids[:n], sampling)), len(ids))
        return self.naming.finish(VerbalizeRequest(str(number), None), ids[:end])

    def _errors(self, texts: Sequence[str], vectors: torch.Tensor) -> torch.Tensor:
        return mse_nrm(self.models.ar(*encode(texts, self.models.meta, self.models.tokenizer)), vectors)

    def _objective(
        self, draws: Sequence[Draw], vectors: torch.Tensor, advantage: torch.Tensor, tokens: int
    ) -> torch.Tensor:
        """Policy gradient over whole sequences, with logits of the generated tokens only."""
        longest = max(draw.tokens for draw in draws)
        written = torch.tensor([[*draw.ids, *[0] * (longest - draw.tokens)] for draw in draws])
        known = torch.arange(longest) < torch.tensor([[draw.tokens] for draw in draws])
        ids = torch.cat([self.prompt.expand(len(draws), -1), written], dim=1)
        logits = self.models.av.lm(
            inputs_embeds=self._embeddings(ids, vectors), use_cache=False, logits_to_keep=longest + 1
        ).logits[:, :-1]
        log_probs = logits.float().log_softmax(-1).gather(-1, written[..., None])[..., 0]
        objective: torch.Tensor = (log_probs * advantage[:, None] * known).sum() / tokens
        return -objective


def _runs(count: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    gradient, parameter.grad = parameter.grad, None
    return torch.zeros_like(parameter) if gradient is None else gradient
