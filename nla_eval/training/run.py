"""Runs the stages of `nla-eval train` in order: corpus, activations, explanations, AR and AV (side by side), the
AV's own samples, AR on those, card, pack. Each stage leaves a file in the run folder and is not run again."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch

from ..engines.base import Sampling, VerbalizeRequest
from ..engines.decoding import Decoder
from ..errors import NlaEvalError
from ..pack_meta import PackMeta
from ..prompts import av_prompt, check_ar_prompt
from ..scores import Baselines
from ..suite import family_bucket
from ..target import Target, load_target
from .activations import capture_all
from .ar import Pairs, Reconstructor, train_ar
from .av import Verbalizer, train_av
from .chats import conversations
from .config import TrainConfig, load_config
from .corpus import build_corpus, write_corpus
from .explain import Vocabulary, expects, explain, moments
from .joint import train_joint
from .joint_state import latest_weights
from .optim import restore
from .round_trip import Models
from .world import World

AV_TEMPLATE = "Describe what the activation between the tags holds. <concept>{injection_char}</concept>"
AR_TEMPLATE = "Summary of the following text: <text>{explanation}</text> <summary>"
INJECTION_CHAR = "─"
_VOCABULARY_CONVERSATIONS = 3000
_DRAW_BATCH = 64
MONITOR = 128
"""Held-out positions looked at during training; the card uses the others."""


@dataclass(frozen=True)
class Run:
    """A configuration and the folder its stages write to."""

    config: TrainConfig
    folder: Path

    @cached_property
    def target(self) -> Target:
        """The target being read."""
        return load_target(self.config.target)

    def activations(self) -> dict[str, torch.Tensor]:
        """Captured rows; runs the corpus and capture stages if they have not run."""
        corpus = self.folder / "corpus.parquet"
        if not corpus.is_file():
            write_corpus(build_corpus(self.config.corpus, self.target, self.config.seed), corpus)
        return capture_all(
            self.target.path, self.config.layer, corpus, self.folder / "activations", self.config.processes
        )

    def explanations(self) -> pl.DataFrame:
        """One row per captured position: row, position, split, text (the reference explanation)."""
        out = self.folder / "explanations.parquet"
        if out.is_file():
            return pl.read_parquet(out)
        captured = self.activations()
        corpus = pl.read_parquet(self.folder / "corpus.parquet")
        vocabulary = Vocabulary.of(self._vocabulary_texts(), self.config.corpus.min_document_frequency)
        tokenizer = self.target.tokenizer
        records = []
        for index, row in enumerate(corpus.iter_rows(named=True)):
            ahead = captured["next"][captured["row"] == index].tolist()
            for position, moment in zip(row["positions"], moments(row, ahead, tokenizer), strict=True):
                records.append(
                    {
                        "row": index, "position": position, "split": row["split"],
                        "text": explain(moment, vocabulary), "channel": moment.channel,
                        "tail": moment.text[-400:], "next": expects(moment),
                    }
                )  # fmt: skip
        frame = pl.DataFrame(records)
        frame.write_parquet(out)
        return frame

    def _vocabulary_texts(self) -> list[str]:
        config = self.config.corpus
        chats = conversations(Path(config.path) if config.path else None)
        return [
            "\n".join(m.text for m in messages)
            for family, messages in islice(chats, _VOCABULARY_CONVERSATIONS)
            if family_bucket(family) in config.buckets_train
        ]

    def pairs(self) -> tuple[Pairs, Pairs]:
        """(train, held-out monitor) reference explanations with their activations."""
        frame, vectors = self.explanations(), self.activations()["activation"]
        train = (frame["split"] == "train").to_numpy()
        texts = frame["text"].to_list()
        held = [i for i in range(len(texts)) if not train[i]][:: max(1, int((~train).sum()) // MONITOR)][:MONITOR]
        kept = [i for i in range(len(texts)) if train[i]]
        recent, expected = self._recent(frame), frame["next"].to_list()

        def pairs(rows: list[int]) -> Pairs:
            return Pairs(
                [texts[i] for i in rows], vectors[rows], [recent[i] for i in rows], [expected[i] for i in rows]
            )

        return pairs(kept), pairs(held)

    def _recent(self, frame: pl.DataFrame) -> list[str]:
        """The last 30 context tokens of each position, as text."""
        corpus = pl.read_parquet(self.folder / "corpus.parquet")
        rows = corpus.select("text", "char_start", "char_end").to_dicts()
        return [
            rows[row]["text"][rows[row]["char_start"][max(0, position - 29)] : rows[row]["char_end"][position]]
            for row, position in zip(frame["row"], frame["position"], strict=True)
        ]

    def meta(self, role: str) -> PackMeta:
        """The sidecar, from the captured activations and the live tokenizer."""
        frame, vectors = self.explanations(), self.activations()["activation"]
        train = vectors[(frame["split"] == "train").to_numpy()]
        norms = train.norm(dim=-1)
        tokenizer = self.target.tokenizer
        scale = self.config.injection_scale or round(float(norms.mean()) / 10) * 10.0
        width = vectors.shape[1]
        marker = tokenizer.encode(INJECTION_CHAR, add_special_tokens=False)
        content = AV_TEMPLATE.replace("{injection_char}", INJECTION_CHAR)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True, return_dict=False
        )
        at = ids.index(marker[0])
        made = PackMeta(
            role=role, d_model=width, layer=self.config.layer, injection_char=INJECTION_CHAR,
            injection_token_id=marker[0], left_neighbor_id=ids[at - 1], right_neighbor_id=ids[at + 1],
            av_template=AV_TEMPLATE, ar_template=AR_TEMPLATE,
            injection_scale=scale if role == "av" else None, mse_scale=width**0.5,
            min_position=self.config.corpus.min_position, max_new_tokens=80,
            baseline_variance=Baselines.of(train.numpy()).variance,
            target=self.config.target, target_hash=self.target.hash,
            norm_range=(float(norms.quantile(0.01)), float(norms.quantile(0.99))),
        )  # fmt: skip
        suffix = check_ar_prompt(made, tokenizer)
        return PackMeta(**{**made.__dict__, "suffix_ids": suffix})

    def train_ar(self) -> None:
        """The AR on reference explanations."""
        torch.set_num_threads(self.config.threads)
        torch.manual_seed(self.config.seed)
        train, held = self.pairs()
        model = Reconstructor(self.target.path, self.config.layer, self.config.ar.lora_rank)
        train_ar(model, train, held, meta=self.meta("ar"), tokenizer=self.target.tokenizer, config=self.config.ar,
                 folder=self.folder)  # fmt: skip

    def train_av(self) -> None:
        """The AV on reference explanations."""
        torch.set_num_threads(self.config.threads)
        torch.manual_seed(self.config.seed)
        train, held = self.pairs()
        model = self.verbalizer()
        train_av(model, train, held, tokenizer=self.target.tokenizer, config=self.config.av, folder=self.folder)

    def verbalizer(self) -> Verbalizer:
        """An AV at its start: the target with fresh adapters."""
        meta = self.meta("av")
        prompt = av_prompt(meta, self.target.tokenizer)
        return Verbalizer(self.target.path, prompt, float(meta.injection_scale or 0.0), self.config.av.lora_rank)

    def samples(self) -> pl.DataFrame:
        """Explanations the AV draws at temperature 1 for training activations: index into the train pairs, text."""
        out = self.folder / "samples.parquet"
        if out.is_file():
            return pl.read_parquet(out)
        train, _ = self.pairs()
        rows = np.random.default_rng([self.config.seed, 1]).permutation(len(train.texts))[: self.config.rollouts]
        model = self.verbalizer()
        restore(model, self.folder / "av.safetensors")
        meta = self.meta("av")
        merged = model.lm.merge_and_unload().eval().requires_grad_(False)
        decoder = Decoder(merged, self.target.tokenizer, model.prompt, float(meta.injection_scale or 0.0))
        sampling = Sampling(temperature=1.0, max_new_tokens=meta.max_new_tokens)
        texts: list[str] = []
        for start in range(0, len(rows), _DRAW_BATCH):
            batch = rows[start : start + _DRAW_BATCH].tolist()
            requests = [VerbalizeRequest(str(i), train.activations[i].numpy(), self.config.seed) for i in batch]
            texts += [draw.text for draw in decoder.draw(requests, sampling)]
            print(f"samples: {len(texts)} of {len(rows)}", flush=True)
        frame = pl.DataFrame({"index": rows, "text": texts})
        frame.write_parquet(out)
        return frame

    def train_ar_on_samples(self) -> None:
        """The AR goes on with the AV's own explanations, mixed with `references_per_rollout` times as many references.

        Each sample of the AV is seen once per pass; the references are other training positions, in a seeded order.
        """
        torch.set_num_threads(self.config.threads)
        torch.manual_seed(self.config.seed)
        drawn = self.samples()
        train, held = self.pairs()
        rows = drawn["index"].to_list()
        order = np.random.default_rng([self.config.seed, 2]).permutation(len(train.texts))
        others = order[: self.config.references_per_rollout * len(rows)].tolist()
        mixed = Pairs(drawn["text"].to_list() + [train.texts[i] for i in others], train.activations[[*rows, *others]])
        model = Reconstructor(self.target.path, self.config.layer, self.config.ar.lora_rank)
        restore(model, self.folder / "ar.safetensors")
        train_ar(model, mixed, held, meta=self.meta("ar"), tokenizer=self.target.tokenizer,
                 config=self.config.ar_on_samples, folder=self.folder, name="ar_on_samples")  # fmt: skip

    def train_joint(self) -> None:
        """Both models together, from where the earlier stages left them."""
        torch.manual_seed(self.config.seed)
        train, held = self.pairs()
        av, ar = self.verbalizer(), Reconstructor(self.target.path, self.config.layer, self.config.ar.lora_rank)
        restore(av, self.warm_start("av"))
        restore(ar, self.warm_start("ar"))
        models = Models(av, ar, self.meta("ar"), self.target.tokenizer)
        train_joint(models, train, held, self.config.joint, self.folder, World.joined())

    def warm_start(self, role: str) -> Path:
        """The checkpoint of "av" or "ar" from before the joint stage."""
        adapted = self.folder / f"{role}_on_samples.safetensors"
        return adapted if adapted.is_file() else self.folder / f"{role}.safetensors"

    def weights(self, role: str) -> Path:
        """The checkpoint of "av" or "ar" as it was trained last."""
        joint = latest_weights(self.folder)
        return joint / f"{role}.safetensors" if joint else self.warm_start(role)


def _in_process(config: TrainConfig, folder: Path, stage: str) -> None:
    getattr(Run(config, folder), stage)()


def side_by_side(run: Run, stages: tuple[str, ...]) -> None:
    """Run stages as processes of their own, one core each."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_in_process, args=(run.config, run.folder, stage)) for stage in stages]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise NlaEvalError(f"a training stage of {', '.join(stages)} stopped; run the same command again to resume")


def main(path: Path, folder: Path | None = None) -> Path:
    """Run every stage of the configuration at `path`; return the pack's folder.

    Args:
        path: YAML configuration.
        folder: Run folder for checkpoints and captured activations; `runs/<name>` beside the current folder if None.
    """
    from .export import write_pack

    config = load_config(path)
    run = Run(config, folder or Path("runs") / config.name)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.explanations()
    side_by_side(run, ("train_ar", "train_av"))
    if config.ar_on_samples.samples:
        side_by_side(run, ("train_ar_on_samples",))
    if config.joint.steps:
        side_by_side(run, ("train_joint",))
    return write_pack(run)
