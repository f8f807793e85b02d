"""Writes a pack: adapters or whole weights in bf16, head, sidecars, self-test vectors, hashes of the training
conversations, checksums, and the measured card. The folder is written atomically: no half-written pack is ever
visible."""

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

from ...engines.base import CaptureRequest
from ...engines.config import EngineConfig
from ...engines.hf import TransformersEngine
from ...engines.self_test import VECTORS, KnownVectors, write_known
from ...files import whole_folder
from ...measure.card import card_entries, write_card
from ...measure.evaluate import Measured, measure, subject_of
from ...measure.held_out import HeldOut
from ...measure.regurgitation import longest_shared_run
from ...measure.told import told_pairs
from ...models.pack import PACKS, Pack, load_pack
from ...models.pack_check import write_sums
from ...models.pack_meta import ADAPTER, SIDECAR, TEXT_ONLY, PackMeta
from ...models.trained_on import HASHES, trained_on, training_hashes
from ...replay.positions import parse_policy, sample_positions
from ...replay.replay import ReplayConfig, replay
from ..estimate import said_bytes, whole_bytes
from ..joint.state import core_hours
from ..models.loading import dtype_of
from ..models.optim import restore
from ..models.whole_weights import (
    Writing,
    check_read_back,
    trained_lm,
    write_head,
    write_lm,
    write_reconstructor,
    write_tokenizer,
)
from ..run import Run
from ..run_rows import MONITOR, of_run, windows_of_run

CARD_POSITIONS = 256
WINDOWS = 12
_EXAMPLES = 30
_WRITING = Writing(torch.bfloat16)


@dataclass(frozen=True)
class Weights:
    """The weight files of a run that make a pack or a checkpoint."""

    av: Path
    ar: Path
    text_only: Path | None = None
    """The text reader's, if the run trained one."""

    @classmethod
    def final(cls, run: Run) -> Weights:
        """The weights of the last finished stage."""
        trained = run.folder / "text_only.safetensors" if run.config.text_only.samples else None
        return cls(run.weights("av"), run.weights("ar"), trained)


def write_pack(run: Run, packs: Path | None = None) -> Path:
    """Export the run's AV and AR and measure them. Returns the pack's folder.

    Args:
        run: A run whose stages before `pack` are done.
        packs: Folder in which the pack is written. Default: the shipped packs; for whole weights, which are too large
            for a repository, the run folder.
    """
    large = whole_bytes(run.config, run.target)
    final = (packs or (run.folder / "packs" if large else PACKS)) / run.config.name
    if large:
        print(f"pack: {said_bytes(large)} of whole weights in {final}; keep them outside git", flush=True)
    with whole_folder(final, replace=True) as out:
        corpus = pl.read_parquet(run.folder / "corpus.parquet")
        write_weights(run, Weights.final(run), out)
        _write_hashes(run, corpus, out / HASHES)
        engine = engine_of(run, load_pack(str(out)))
        _write_self_test(run, engine, out)
        print(engine.self_test())
        card = make_card(run, engine, corpus)
        write_card(card, out)
        write_sums(out)
    return final


def write_checkpoint(run: Run, weights: Weights, out: Path) -> Pack:
    """Write a pack without card and checksums, for measurement. Replaces a folder of the same name."""
    with whole_folder(out, replace=True) as folder:
        write_weights(run, weights, folder)
    return load_pack(str(out))


def engine_of(run: Run, pack: Pack) -> TransformersEngine:
    """An engine for a pack of the run, on the run's device and in its dtype."""
    hardware = run.config.hardware
    how = EngineConfig(dtype=dtype_of(hardware), device=hardware.device)
    return TransformersEngine(run.target, pack, how)


def write_weights(run: Run, weights: Weights, out: Path) -> None:
    """Write the AV's and AR's adapters or whole weights, the head and the sidecars to `out/av` and `out/ar`."""
    train = run.pairs()[0].activations
    meta = {role: run.meta(role, train) for role in ("av", "ar")}
    if weights.text_only is not None:
        meta["av"] = replace(meta["av"], text_only=TEXT_ONLY, text_window=run.config.text_only.window)
        _write_text_reader(run, weights.text_only, out / "av")
    _write_av(run, meta["av"], weights.av, out / "av")
    _write_ar(run, weights.ar, out / "ar")
    for role, found in meta.items():
        (out / role / SIDECAR).write_text(found.to_yaml(), encoding="utf-8")
    if not run.config.ar.lora_rank:
        check_read_back(out / "ar", meta["ar"])


def _write_av(run: Run, meta: PackMeta, weights: Path, out: Path) -> None:
    verbalizer = run.verbalizer(meta)
    restore(verbalizer, weights)
    if verbalizer.rank:
        _save_adapter(verbalizer.lm, out, run.config.target)
    else:
        write_lm(verbalizer.lm, out, _WRITING)
        write_tokenizer(run.target, out, public=True)


def _write_text_reader(run: Run, weights: Path, out: Path) -> None:
    reader = run.text_reader()
    restore(reader, weights)
    _save_tensors(reader.lm, out / TEXT_ONLY)


def _write_ar(run: Run, weights: Path, out: Path) -> None:
    reconstructor = run.reconstructor(run.config.ar)
    restore(reconstructor, weights)
    head = reconstructor.head.weight
    if reconstructor.rank:
        _save_adapter(reconstructor.trunk, out, run.config.target)
        write_head(head, out, _WRITING)
    else:
        model = trained_lm(reconstructor.trunk, run.target, run.config.layer)
        write_reconstructor(model, head, out, _WRITING)
        write_tokenizer(run.target, out, public=True)


def _save_adapter(wrapped: Any, out: Path, target: str) -> None:
    """Write an adapter in PEFT's format, in bf16. The base model is given by name, never by a local path."""
    _save_tensors(wrapped, out / ADAPTER)
    config = wrapped.peft_config["default"].to_dict()
    config = {k: (sorted(v) if isinstance(v, set) else v) for k, v in config.items()}
    config.update(base_model_name_or_path=target, inference_mode=True)
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True, default=str) + "\n")


def _save_tensors(wrapped: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in get_peft_model_state_dict(wrapped).items()}
    save_file(tensors, out, metadata={"format": "pt"})


def _write_hashes(run: Run, corpus: pl.DataFrame, out: Path) -> None:
    """Write the first 16 hex digits of the sha256 of each training family and of each training transcript's content. A
    run that started from a pack adds that pack's hashes."""
    train = corpus.filter(pl.col("split") == "train").select("family", "digest")
    start = run.start()
    before = trained_on(start.pack.path) if start else frozenset[str]()
    lines = sorted({line for row in train.iter_rows() for line in training_hashes(*row)} | before)
    out.write_text("\n".join(lines) + "\n")


def _write_self_test(run: Run, engine: TransformersEngine, out: Path) -> None:
    """Write self-test vectors. Their texts are our own (the untold side of the told pairs): no user's text is
    shipped."""
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


def held_out(
    run: Run, corpus: pl.DataFrame, engine: TransformersEngine | None = None, rows: int = CARD_POSITIONS
) -> HeldOut:
    """At most `rows` held-out positions that training did not evaluate. With an engine, also windows of consecutive
    positions."""
    frame, vectors = run.explained()
    held = of_run(frame, corpus, vectors.float().numpy(), monitor=MONITOR, rows=rows)
    if engine is None:
        return held
    return replace(held, windows=windows_of_run(engine, corpus, WINDOWS, run.config.corpus.min_position))


def make_card(run: Run, engine: TransformersEngine, corpus: pl.DataFrame) -> dict[str, Any]:
    """Measure the pack and return the contents of card.json."""
    known = facts_of_run(run, corpus)
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
        **known,
        "measured": time.strftime("%Y-%m-%d"),
        "examples": _examples(held, found),
    }


def facts_of_run(run: Run, corpus: pl.DataFrame) -> dict[str, Any]:
    """The card's facts about the run. Collected before measuring, which takes minutes, so that errors come early."""
    return {
        "data": _data(run, corpus),
        "hours": {**warm_start_hours(run.folder), "joint": core_hours(run.folder)},
        "config": run.config.model_dump(mode="json"),
    }


def _data(run: Run, corpus: pl.DataFrame) -> dict[str, Any]:
    counts = corpus.group_by("split").agg(
        pl.len().alias("conversations"),
        pl.col("token_ids").list.len().sum().alias("tokens"),
        pl.col("positions").list.len().sum().alias("positions"),
        pl.col("token_ids").list.len().median().alias("median_tokens"),
    )
    return {
        "sources": {row["kind"]: row["len"] for row in corpus.group_by("kind").len().sort("kind").to_dicts()},
        "note": "conversations by kind, masked for addresses and keys; none is redistributed",
        "splits": {row.pop("split"): row for row in counts.sort("split").to_dicts()},
        "seed": run.config.seed,
        "split_rule": f"sha256(family) mod 10 in {list(run.config.corpus.buckets_train)} trains",
    }


def warm_start_hours(folder: Path) -> dict[str, float | None]:
    """Core-hours of each stage before the joint stage in run folder `folder`; see `_cpu_hours`."""
    return {name: _cpu_hours(folder / f"{name}.jsonl") for name in ("ar", "av", "ar_on_samples")}


def _cpu_hours(log: Path) -> float | None:
    """Core-hours of a stage from its log, whose clock restarts at every resumption. None if the stage was left out or
    its log has no CPU time."""
    if not log.is_file():
        return None
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
