"""One training run: its configuration, its run folder, and the work of each stage. Each stage writes its output to the
run folder, whole or not at all. The order and dependencies of the stages are in `stages`."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl
import torch

from ..engines.base import Sampling, VerbalizeRequest
from ..engines.side_by_side import Split
from ..errors import InputError
from ..files import write_frame, write_text
from ..measure.parts import masked
from ..models.pack_meta import PackMeta
from ..models.prompts import av_prompt, check_ar_prompt
from ..models.scores import Baselines
from ..models.target import Target, load_target
from ..suite import family_bucket
from .config import OptimConfig, TrainConfig
from .data.activations import CaptureJob, capture_all
from .data.chats import chats
from .data.corpus import build_corpus, write_corpus
from .explanations.explain import Vocabulary, expects, moments
from .explanations.resembling import Resembling
from .joint.rollouts import Rollouts
from .joint.round_trip import Models
from .joint.stage import train_joint
from .joint.state import latest_weights
from .models.ar import Pairs, Reconstructor, train_ar
from .models.av import Verbalizer, train_av
from .models.group import Group, launched, placed, reads_weights
from .models.loading import Loading, dtype_of
from .models.marker import injection_marker
from .models.optim import restore
from .models.start import Start
from .models.text_only import TextReader, Windows, train_text_only
from .run_rows import watched
from .writers import WRITERS, Request, Writer, WriterContext

if TYPE_CHECKING:
    from ..engines.vllm.local import VllmConfig
    from .joint.vllm_rollouts import VllmRollouts

AV_TEMPLATE = "Describe what the activation between the tags holds. <concept>{injection_char}</concept>"
AR_TEMPLATE = "Summary of the following text: <text>{explanation}</text> <summary>"
_VOCABULARY_CONVERSATIONS = 3000
_DRAW_BATCH = 128
ModelT = TypeVar("ModelT", Reconstructor, Verbalizer, TextReader)
FEWEST = 256
"""Minimum number of training positions. From fewer, the models would memorise the positions."""


@dataclass(frozen=True)
class Run:
    """A configuration and the folder its stages write to."""

    config: TrainConfig
    folder: Path

    @cached_property
    def target(self) -> Target:
        """The target being read."""
        return load_target(self.config.target, trust_remote_code=self.config.trust_remote_code)

    def corpus(self) -> pl.DataFrame:
        """The conversations, one row each; built if the file is missing."""
        out = self.folder / "corpus.parquet"
        if out.is_file():
            return pl.read_parquet(out)
        frame = write_corpus(build_corpus(self.config.corpus, self.target, self.config.seed), out)
        counts = Counter(frame["split"].to_list()) if len(frame) else Counter()
        positions = frame.filter(pl.col("split") == "train")["positions"].list.len().sum() if len(frame) else 0
        print(f"corpus: {dict(counts)} conversations, {positions} training positions", flush=True)
        if positions < FEWEST or not counts["held_out"]:
            out.unlink()
            raise InputError(
                f"the corpus gives {positions} training positions and {counts['held_out']} held-out conversations; at "
                f"least {FEWEST} and 1 are needed: add a source, or widen buckets_held_out"
            )
        return frame

    def captured(self) -> dict[str, torch.Tensor]:
        """The tensors captured at every position of the corpus, ordered by (row, position). Captures missing shards."""
        config, corpus = self.config, self.folder / "corpus.parquet"
        if not corpus.is_file():
            self.corpus()
        job = CaptureJob(
            target=self.target.path, layer=config.layer, corpus=corpus,
            continuation=config.explanation.continuation, device=config.hardware.device,
            dtype=dtype_of(config.hardware), spread=config.hardware.sharding == "fsdp",
            trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
        return capture_all(job, self.folder / "activations", 1 if job.spread else config.processes)

    def explained(self) -> tuple[pl.DataFrame, torch.Tensor]:
        """(explanations, their activations (N, d_model))."""
        frame = self.explanations()
        return frame, self.captured()["activation"][frame["captured"].to_list()]

    def requests(self) -> Iterator[Request]:
        """Every captured position as a request to the writer, ordered by (row, position)."""
        captured, corpus, tokenizer = self.captured(), self.corpus(), self.target.tokenizer
        starts = np.searchsorted(captured["row"].numpy(), np.arange(len(corpus) + 1))
        most = self.config.explanation.most("like")
        resembling = Resembling.of_checkpoint(self.target, self.vocabulary()) if most else None
        for index, row in enumerate(corpus.iter_rows(named=True)):
            here = slice(int(starts[index]), int(starts[index + 1]))
            further = captured["continuation"][here].tolist() if "continuation" in captured else None
            made = moments(row, captured["next"][here].tolist(), tokenizer, further)
            for number, (position, moment) in enumerate(zip(row["positions"], made, strict=True)):
                told = resembling.completed(moment, most) if resembling else moment
                yield Request(index, position, told, here.start + number, row["split"] != "train")

    def writer(self) -> Writer:
        """The configured writer of explanations."""
        return WRITERS.get(self.config.writer.name)(
            WriterContext(self.config, self.vocabulary, lambda: self.captured()["activation"], self.folder / "written")
        )

    def explanations(self) -> pl.DataFrame:
        """One row per explained position, ordered by (row, position); written if the file is missing.

        Columns: row, position, split, text (the reference explanation), recent (the last 30 context tokens), channel,
        tail (last 400 characters), next (the target's likeliest next token as shown), captured (index into `captured`).
        """
        out = self.folder / "explanations.parquet"
        if out.is_file():
            return pl.read_parquet(out)
        splits = self.corpus()["split"].to_list()
        requests = list(self.requests())
        writer = self.writer()
        print(f"explanations: {writer.cost(requests)}", flush=True)
        records, dropped = [], Counter[str]()
        for index, (request, written) in enumerate(zip(requests, writer.write(requests), strict=True)):
            if written.text is None:
                dropped[written.reason] += 1
                continue
            moment = request.moment
            records.append(
                {
                    "row": request.row, "position": request.position, "split": splits[request.row],
                    "text": written.text, "recent": moment.recent, "channel": moment.channel,
                    "tail": moment.text[-400:], "next": expects(moment), "captured": index,
                }
            )  # fmt: skip
        if dropped:
            print(f"explanations: {dropped.total()} of {len(requests)} positions left out: {dict(dropped)}", flush=True)
        if not records:
            raise InputError(
                f"writer '{self.config.writer.name}' explained none of {len(requests)} positions; "
                "choose another --writer"
            )
        return write_frame(pl.DataFrame(records), out)

    def vocabulary(self) -> Vocabulary:
        """The words that explanations may use, counted over the training conversations of all sources."""
        kept = self.folder / "vocabulary.json"
        config = self.config.corpus
        if kept.is_file():
            return Vocabulary(json.loads(kept.read_text()), config.min_document_frequency)
        texts = (
            "\n".join(m.text for m in chat.messages)
            for source in config.sources
            for chat in islice(chats(source), _VOCABULARY_CONVERSATIONS)
            if family_bucket(chat.family) in config.buckets_train
        )
        made = Vocabulary.of(texts, config.min_document_frequency)
        if not made.idf:
            raise InputError(
                f"no word occurs in {config.min_document_frequency} training conversations; lower "
                "corpus.min_document_frequency or add conversations"
            )
        write_text(json.dumps(made.idf), kept)
        return made

    def pairs(self) -> tuple[Pairs, Pairs]:
        """(train, held-out) reference explanations with their activations; held-out are the rows training evaluates."""
        frame, vectors = self.explained()
        train = (frame["split"] == "train").to_numpy()
        held = np.flatnonzero(~train)
        return (
            _pairs(frame, vectors, np.flatnonzero(train)),
            _pairs(frame, vectors, watched(held)),
        )

    def ar_texts(self, train: Pairs) -> list[str]:
        """The AR's training texts. In `masked_share` of them the words of the recent context are masked."""
        count, share = len(train.texts), self.config.explanation.masked_share
        hide = (np.random.default_rng([self.config.seed, 3]).random(count) < share).tolist()
        return [masked(t, r) if h else t for t, r, h in zip(train.texts, train.recent or (), hide, strict=True)]

    def meta(self, role: str, train: torch.Tensor) -> PackMeta:
        """The sidecar of "av" or "ar", from training activations (N, d_model) and the tokenizer. A run that starts from
        a pack takes the pack's sidecar; only the token cap of an explanation comes from the configuration."""
        if start := self.start():
            return replace(start.meta(role), max_new_tokens=self.config.max_new_tokens)
        norms = train.norm(dim=-1)
        tokenizer = self.target.tokenizer
        scale = self.config.injection_scale or round(float(norms.mean()) / 10) * 10.0 or float(norms.mean())
        width = train.shape[1]
        marker = injection_marker(tokenizer, AV_TEMPLATE)
        made = PackMeta(
            role=role, d_model=width, layer=self.config.layer, injection_char=marker.char,
            injection_token_id=marker.token_id, left_neighbor_id=marker.left, right_neighbor_id=marker.right,
            av_template=AV_TEMPLATE, ar_template=AR_TEMPLATE,
            injection_scale=scale if role == "av" else None, mse_scale=width**0.5,
            min_position=self.config.corpus.min_position, max_new_tokens=self.config.max_new_tokens,
            baseline_variance=Baselines.of(train.numpy()).variance,
            target=self.config.target, target_hash=self.target.hash,
            norm_range=(float(np.quantile(norms.numpy(), 0.01)), float(np.quantile(norms.numpy(), 0.99))),
        )  # fmt: skip
        suffix = check_ar_prompt(made, tokenizer)
        return replace(made, suffix_ids=suffix)

    def start(self) -> Start | None:
        """The pack that AV and AR start from, checked against target and ranks. None: they start from the target."""
        if self.config.start_from is None:
            return None
        start = Start.of(self.config.start_from, self.target, self.config.layer)
        for role in ("av", "ar"):
            start.check_rank(role, getattr(self.config, role).lora_rank)
        return start

    def reconstructor(self, optim: OptimConfig) -> Reconstructor:
        """An AR before training."""
        model = Reconstructor(self.target.path, self.config.layer, optim.lora_rank, self._loading())
        if (start := self.start()) and not model.loading.empty:
            start.put_ar(model)
        return model

    def verbalizer(self, meta: PackMeta) -> Verbalizer:
        """An AV before training, with the prompt and injection scale of its sidecar."""
        prompt = av_prompt(meta, self.target.tokenizer)
        scale = float(meta.injection_scale or 0.0)
        model = Verbalizer(self.target.path, prompt, scale, self.config.av.lora_rank, self._loading())
        if (start := self.start()) and not model.loading.empty:
            start.put_av(model)
        return model

    def train_ar(self) -> None:
        """Train the AR on reference explanations."""
        self._seeded()
        train, held = self.pairs()
        model = self._placed(self.reconstructor(self.config.ar))
        train_ar(
            model, Pairs(self.ar_texts(train), train.activations), held, meta=self.meta("ar", train.activations),
            tokenizer=self.target.tokenizer, config=self.config.ar, folder=self.folder,
        )  # fmt: skip

    def train_av(self) -> None:
        """Train the AV on reference explanations."""
        self._seeded()
        train, held = self.pairs()
        model = self._placed(self.verbalizer(self.meta("av", train.activations)))
        train_av(
            model, train, held, tokenizer=self.target.tokenizer, config=self.config.av, folder=self.folder
        )  # fmt: skip

    def text_reader(self) -> TextReader:
        """A text reader before training. It starts from the target, also where the AV starts from a pack."""
        return TextReader(
            self.target.path,
            av_prompt(self.meta("av", self.pairs()[0].activations), self.target.tokenizer),
            self.config.text_only.lora_rank,
            self._loading(),
        )

    def windows(self) -> tuple[Windows, Windows]:
        """(train, held-out) lessons of the text reader: those of `pairs`, with the tokens up to each position."""
        frame, ids = self.explanations(), self.corpus()["token_ids"].to_list()
        train = (frame["split"] == "train").to_numpy()
        size = self.config.text_only.window
        chosen = np.flatnonzero(train), watched(np.flatnonzero(~train))
        return tuple(Windows.of(frame[rows.tolist()], ids, size) for rows in chosen)  # type: ignore[return-value]

    def train_text_only(self) -> None:
        """Train the text reader on the AV's lessons."""
        self._seeded()
        train, held = self.windows()
        train_text_only(
            self._placed(self.text_reader()), train, held, tokenizer=self.target.tokenizer,
            config=self.config.text_only, folder=self.folder,
        )  # fmt: skip

    def _loading(self) -> Loading:
        """How models are loaded. On a CPU, eager attention: the backward pass of torch's own is slow on short texts."""
        hardware = self.config.hardware
        attention = "eager" if hardware.device == "cpu" else "sdpa"
        dtype, trust = dtype_of(hardware), self.config.trust_remote_code
        return Loading(dtype, attention, trust, empty=not reads_weights(hardware))

    def _placed(self, model: ModelT) -> ModelT:
        """`model`, moved to the device or devices that train it."""
        placed(model, model.blocks, self.config.hardware)
        return model

    def _seeded(self) -> None:
        torch.set_num_threads(self.config.threads)
        torch.manual_seed(self.config.seed)

    def samples(self) -> pl.DataFrame:
        """Explanations that the AV draws for training activations: `greedy_share` of them greedily, the others at
        temperature 1. Columns: index into the train pairs, text."""
        out = self.folder / "samples.parquet"
        if out.is_file():
            return pl.read_parquet(out)
        train, _ = self.pairs()
        rows = np.random.default_rng([self.config.seed, 1]).permutation(len(train.texts))[: self.config.rollouts]
        meta = self.meta("av", train.activations)
        model = self.verbalizer(meta)
        restore(model, self.folder / "av.safetensors")
        sampling = Sampling(temperature=1.0, max_new_tokens=meta.max_new_tokens)
        parts = []
        with self._vllm_rollouts(vllm_drawing(self.config), model, meta) as vllm:
            split = Split(self.config.joint.workers, self.config.joint.threads)
            rollouts = vllm or Rollouts(model.to(self.config.hardware.device), self.target.tokenizer, split)
            for start in range(0, len(rows), _DRAW_BATCH):
                kept = self.folder / "samples" / f"{start:07d}.parquet"
                if not kept.is_file():
                    batch = rows[start : start + _DRAW_BATCH].tolist()
                    requests = [
                        VerbalizeRequest(
                            str(i), train.activations[i].numpy(), self.config.seed, greedy=self._greedily(start + n)
                        )
                        for n, i in enumerate(batch)
                    ]
                    texts = [draw.text for draw in rollouts.draw(requests, sampling)]
                    write_frame(pl.DataFrame({"index": batch, "text": texts}), kept)
                parts.append(pl.read_parquet(kept))
                print(f"samples: {start + len(parts[-1])} of {len(rows)}", flush=True)
        return write_frame(pl.concat(parts), out)

    def _greedily(self, number: int) -> bool:
        """Whether explanation `number` is drawn greedily. Greedy ones are spread evenly."""
        share = self.config.greedy_share
        return math.floor((number + 1) * share) > math.floor(number * share)

    def train_ar_on_samples(self) -> None:
        """Continue the AR on the AV's own explanations and `references_per_rollout` times as many references.

        A pass uses each AV sample once. The references are of other training positions, in a seeded order.
        """
        self._seeded()
        drawn = self.samples()
        train, held = self.pairs()
        rows = drawn["index"].to_list()
        order = np.random.default_rng([self.config.seed, 2]).permutation(len(train.texts))
        others = order[: self.config.references_per_rollout * len(rows)].tolist()
        references = self.ar_texts(train)
        mixed = Pairs(drawn["text"].to_list() + [references[i] for i in others], train.activations[[*rows, *others]])
        model = self.reconstructor(self.config.ar)
        restore(model, self.folder / "ar.safetensors")
        train_ar(
            self._placed(model), mixed, held, meta=self.meta("ar", train.activations),
            tokenizer=self.target.tokenizer, config=self.config.ar_on_samples, folder=self.folder,
            name="ar_on_samples",
        )  # fmt: skip

    def train_joint(self) -> None:
        """Train AV and AR together, from the checkpoints of the earlier stages. Raises as `joint_drawing`."""
        drawing = joint_drawing(self.config)
        self._seeded()
        train, held = self.pairs()
        av = self.verbalizer(self.meta("av", train.activations))
        ar = self.reconstructor(self.config.ar)
        restore(av, self.warm_start("av"))
        restore(ar, self.warm_start("ar"))
        meta, tokenizer = self.meta("ar", train.activations), self.target.tokenizer
        av, ar = self._placed(av), self._placed(ar)
        with self._vllm_rollouts(drawing, av, meta) as vllm:
            train_joint(
                Models(av, ar, meta, tokenizer, vllm), train, held, self.config.joint, self.folder, Group.joined()
            )  # fmt: skip

    @contextmanager
    def _vllm_rollouts(
        self, drawing: VllmConfig | None, av: Verbalizer, meta: PackMeta
    ) -> Iterator[VllmRollouts | None]:
        """vLLM drawing from `av`, released at the end; None if the engine's decoder draws."""
        if drawing is None:
            yield None
            return
        from .joint.vllm_rollouts import VllmRollouts

        cap = max(self.config.joint.max_new_tokens or 0, meta.max_new_tokens)
        vllm = VllmRollouts(av, self.target.tokenizer, drawing, cap)
        try:
            yield vllm
        finally:
            vllm.release()

    def warm_start(self, role: str) -> Path:
        """The checkpoint of "av" or "ar" before the joint stage."""
        adapted = self.folder / f"{role}_on_samples.safetensors"
        return adapted if adapted.is_file() else self.folder / f"{role}.safetensors"

    def weights(self, role: str) -> Path:
        """The latest checkpoint of "av" or "ar"."""
        joint = latest_weights(self.folder)
        return joint / f"{role}.safetensors" if joint else self.warm_start(role)


def joint_drawing(config: TrainConfig) -> VllmConfig | None:
    """`vllm_drawing` for the joint stage. Also raises InputError for sharded weights, and for vLLM in several
    processes."""
    if config.hardware.sharding == "fsdp":
        raise InputError("stage joint cannot shard weights; set hardware.sharding to none, or joint.steps to 0")
    drawing = vllm_drawing(config)
    if drawing and launched() > 1:
        raise InputError("hardware.rollouts vllm needs a single process; start the joint stage without torchrun")
    return drawing


def vllm_drawing(config: TrainConfig) -> VllmConfig | None:
    """vLLM's configuration for drawing; None if the engine's decoder draws.

    Raises:
        InputError: vLLM's engine has no such option.
        MissingExtraError: vLLM is not installed.
    """
    if config.hardware.rollouts == "engine":
        return None
    from ..engines.vllm.local import require_vllm, vllm_config

    options = vllm_config(config.hardware.rollouts)
    require_vllm("hardware.rollouts 'vllm'")
    return options


def _pairs(frame: pl.DataFrame, vectors: torch.Tensor, rows: np.ndarray) -> Pairs:
    kept = rows.tolist()
    texts, recent, expected = (frame[name].to_list() for name in ("text", "recent", "next"))
    return Pairs(
        [texts[i] for i in kept], vectors[kept], recent=[recent[i] for i in kept], expected=[expected[i] for i in kept]
    )
