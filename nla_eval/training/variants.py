"""Compares formats of explanations before a pack is trained on one: for each, an AR alone is trained on reference
explanations of the same captured activations, and read with parts of its text hidden.

    python -m nla_eval.training.variants CONFIG --variants present,balanced,balanced:0.5 --samples 1920

A variant is a format of formats.yaml; `:share` hides the words of the recent context in that share of the AR's training
texts. It knows nothing of AVs: what it measures bounds what a pack of that format can be worth."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError, NlaEvalError
from ..files import write_text
from ..measure.card import shown
from ..measure.figures import Figure, figure
from ..measure.parts import masked
from ..models.scores import Baselines
from .config import ExplanationConfig, formats, load_config
from .explanations.explain import Vocabulary
from .explanations.explanation_parts import Piece, joined, pieces
from .format_probe import FormatProbe
from .models.ar import Pairs, Reconstructor, mse_nrm, predict, train_ar
from .run import Run
from .writers import Request

HELD_OUT = 256
PART_ROWS = 128
"""Held-out rows on which parts are left out one by one: each takes a reading of all of them."""


@dataclass(frozen=True)
class Variant:
    """A format with the share of masked texts. `str()` is how it is written."""

    format: str
    masked_share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Variant:
        """ "balanced" or "balanced:0.5". Raises InputError."""
        name, _, share = text.strip().partition(":")
        if name not in formats():
            raise InputError(f"unknown format '{name}'; known: {', '.join(sorted(formats()))}")
        try:
            made = cls(name, float(share or 0))
        except ValueError:
            raise InputError(f"variant '{text}': the masked share is a number such as 0.5") from None
        if not 0 <= made.masked_share <= 1:
            raise InputError(f"variant '{text}': the masked share lies between 0 and 1")
        return made

    def __str__(self) -> str:
        return self.format + (f":{self.masked_share:g}" if self.masked_share else "")

    @cached_property
    def explanation(self) -> ExplanationConfig:
        """As a section of a configuration."""
        return ExplanationConfig.model_validate({"format": self.format, "masked_share": self.masked_share})


@dataclass(frozen=True)
class Trial:
    """What all variants share: captured activations, positions, and how many samples an AR sees."""

    run: Run
    samples: int

    @cached_property
    def rows(self) -> tuple[list[int], list[int]]:
        """(training, held-out) rows of what was captured, seeded, the same for every variant."""
        splits = np.array(self.run.corpus()["split"].to_list())[self.captured["row"].numpy()]
        random = np.random.default_rng([self.run.config.seed, 4])
        train, held = np.flatnonzero(splits == "train"), np.flatnonzero(splits != "train")
        kept = (random.permutation(train)[: self.samples], random.permutation(held)[:HELD_OUT])
        return sorted(kept[0].tolist()), sorted(kept[1].tolist())

    @cached_property
    def captured(self) -> dict[str, torch.Tensor]:
        """What was captured."""
        return self.run.captured()

    @cached_property
    def requests(self) -> list[Request]:
        """Every captured position."""
        return list(self.run.requests())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words that may be used."""
        return self.run.vocabulary()

    def measured(self, variant: Variant, folder: Path) -> dict[str, Any]:
        """Train and measure one variant; kept in `folder`, so that it is not done twice."""
        stage = self.run.config.ar.model_copy(update={"samples": self.samples})
        facts = [variant.explanation.model_dump(), stage.model_dump(), self.run.config.layer, HELD_OUT]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        out = folder / f"{str(variant).replace(':', '-')}-{key}.json"
        if out.is_file():
            found: dict[str, Any] = json.loads(out.read_text())
            return found
        started = time.process_time()
        train, held = self.rows
        said = {i: self.pieces(variant, i) for i in (*train, *held)}
        hide = np.random.default_rng([self.run.config.seed, 3]).random(len(train)) < variant.masked_share
        texts = [self._text(said[i], i, hidden=h) for i, h in zip(train, hide.tolist(), strict=True)]
        vectors = self.captured["activation"]
        meta, tokenizer = self.run.meta("ar", vectors[train]), self.run.target.tokenizer
        torch.manual_seed(self.run.config.seed)
        model = Reconstructor(self.run.target.path, self.run.config.layer, stage.lora_rank)
        whole = Pairs([joined(said[i]) for i in held], vectors[held])
        train_ar(
            model, Pairs(texts, vectors[train]), whole, meta=meta, tokenizer=tokenizer, config=stage,
            folder=folder, name=out.stem,
        )  # fmt: skip
        baselines = Baselines(float(meta.baseline_variance or 1.0))
        measure = _Measure(model, meta, tokenizer, baselines, vectors, self.captured["row"].numpy())
        tokens = [len(tokenizer(joined(said[i]), add_special_tokens=False)["input_ids"]) for i in held]
        result = {
            "variant": str(variant),
            "lines": [list(line) for line in variant.explanation.lines],
            "samples": self.samples,
            "tokens": round(float(np.mean(tokens)), 1),
            "whole": measure.of(held, [joined(said[i]) for i in held]),
            "masked": measure.of(held, [self._text(said[i], i, hidden=True) for i in held]),
            "shuffled": measure.of(held, [joined(said[i]) for i in np.roll(held, len(held) // 2).tolist()]),
            "empty": measure.of(held[:PART_ROWS], [""] * len(held[:PART_ROWS])),
            "without": self._without(said, held[:PART_ROWS], measure),
            "core_hours": round((time.process_time() - started) / 3600, 3),
            "example": joined(said[held[len(held) // 2]]),
        }
        write_text(json.dumps(result, indent=1, ensure_ascii=False), out)
        return result

    def pieces(self, variant: Variant, i: int) -> list[list[Piece]]:
        """What each part of a format says at row `i` of what was captured."""
        return pieces(self.requests[i].moment, self.vocabulary, variant.explanation.lines)

    def _text(self, said: list[list[Piece]], i: int, *, hidden: bool) -> str:
        text = joined(said)
        return masked(text, self.requests[i].moment.recent) if hidden else text

    def _without(
        self, said: dict[int, list[list[Piece]]], rows: list[int], measure: _Measure
    ) -> dict[str, dict[str, Any]]:
        """Each part left out; `loss` is by how much fve_meannorm falls on the same rows."""
        names = dict.fromkeys(piece.part for i in rows for line in said[i] for piece in line)
        whole = measure.of(rows, [joined(said[i]) for i in rows])["fve_meannorm"]["value"]
        found = {}
        for name in names:
            got = measure.of(rows, [joined(said[i], without=name) for i in rows])
            found[name] = {**got, "loss": round(whole - got["fve_meannorm"]["value"], 4)}
        return found


@dataclass(frozen=True)
class _Measure:
    model: Reconstructor
    meta: Any
    tokenizer: Any
    baselines: Baselines
    vectors: torch.Tensor
    conversation: np.ndarray[Any, np.dtype[np.int64]]

    def of(self, rows: Sequence[int], texts: Sequence[str]) -> dict[str, Any]:
        """fve_nrm and fve_meannorm of `texts` for these rows, with intervals by conversation."""
        predicted = predict(self.model, texts, self.meta, self.tokenizer)
        error = mse_nrm(predicted, self.vectors[list(rows)]).double().numpy()
        clusters = self.conversation[list(rows)]
        return {
            "fve_nrm": figure(1 - error / self.baselines.variance, clusters).as_dict(),
            "fve_meannorm": figure(1 - error / self.baselines.meannorm, clusters).as_dict(),
        }


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown, one row per variant."""
    lines = [
        "| variant | tokens | fve_nrm | fve_meannorm | masked: fve_nrm | masked: fve_meannorm | shuffled | empty | "
        "loss of fve_meannorm without |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for r in results:
        cells = [shown(Figure.read(r[k][f])) for k in ("whole", "masked") for f in ("fve_nrm", "fve_meannorm")]
        cells += [f"{r[k]['fve_meannorm']['value']:.3f}" for k in ("shuffled", "empty")]
        parts = sorted(r["without"].items(), key=lambda kv: -kv[1]["loss"])
        cells.append(", ".join(f"{name} {got['loss']:.3f}" for name, got in parts))
        lines.append(f"| {r['variant']} | {r['tokens']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.training.variants", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file of a run")
    parser.add_argument("--variants", required=True, help="formats, with commas; format:share hides recent words")
    parser.add_argument("--samples", type=int, default=1920, help="training samples each AR sees")
    parser.add_argument("--run-folder", type=Path, help="corpus and activations; made there if missing")
    parser.add_argument("--probe", action="store_true", help="a ridge regression instead of an AR: seconds a format")
    parser.add_argument("--json", type=Path, help="write all results there too")
    given = parser.parse_args(argv)
    config = load_config(given.config)
    chosen = [Variant.parse(text) for text in given.variants.split(",")]
    needed = {"lines": [line for variant in chosen for line in variant.explanation.lines]}
    config = config.model_copy(update={"explanation": ExplanationConfig.model_validate(needed)})
    run = Run(config, given.run_folder or Path("runs") / f"{config.name}-variants")
    torch.set_num_threads(config.threads)
    trial, results = Trial(run, given.samples), []
    if given.probe:
        probe = FormatProbe(trial)
        for found in map(probe.probed, chosen):
            print(
                f"{found.variant}: fve_meannorm {found.whole:.3f}, recent words masked {found.masked:.3f}", flush=True
            )
        return
    has = trial.captured["continuation"].shape[1] if "continuation" in trial.captured else 0
    if has < config.explanation.continuation:
        print(
            f"variants: the captured continuations have {has} of {config.explanation.continuation} tokens", flush=True
        )
    for variant in chosen:
        results.append(trial.measured(variant, run.folder / "variants"))
        print(table(results), flush=True)
    if given.json:
        write_text(json.dumps(results, indent=1, ensure_ascii=False), given.json)


if __name__ == "__main__":
    try:
        main()
    except NlaEvalError as err:
        print(f"variants: {' '.join(str(err).split())}", file=sys.stderr)
        raise SystemExit(2) from None
