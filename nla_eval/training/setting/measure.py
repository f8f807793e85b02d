"""Measures a setting adapter on conversations, wordings and frames that no lesson has, with a probe and readers of the
text trained on the same lessons beside it. In: a run and a reader. Out: a `SettingCard`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ...engines.setting import SettingReader
from ...errors import InputError
from ...measure.figures import Figure, difference
from ...measure.readers import probe, text_classifier
from ...measure.setting_card import READER, Contrast, PlantedRow, Rate, SettingCard
from ...models.setting import Setting
from ...models.target import Target, load_target
from ...pipeline.plan import Instrument, Prepared, ReadingPlan, prepare
from ...readings import Lane
from ...stats.auroc import auroc_by_cluster, auroc_shared_clusters
from ...stats.interval import Estimate, Resampling
from ...stats.wilson import wilson
from ...transcript import Transcript
from .config import Part
from .rows import vectors
from .train import SettingRun

_HOW = Resampling()
_LONGEST = 420
"""Longest transcript of a suite, in tokens: the cost of a measurement."""
_POSITIONS = "evenly(6)"
"""The same tokens of an answer under every prompt: the control compares the same text."""
_EARLY = 20
_GROUPS = ("none", "real", "innocent", "fact", "never_taught")
Floats = NDArray[np.float64]


class SettingMeasure:
    """The measurements of one adapter.

    Args:
        run: The run that trained it: rows, pack and target.
        reader: Its reader, calibrated.
        limit: Most transcripts of each suite and variant; longer ones than `_LONGEST` are left out.
    """

    def __init__(self, run: SettingRun, reader: SettingReader, limit: int = 46) -> None:
        self.run, self.reader, self.limit = run, reader, limit

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The held-out rows with their score."""
        return self._scored(self.run.rows(Part.HELD_OUT))

    def _scored(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.Series(READER, self.reader.log_odds(vectors(frame))))

    def card(
        self,
        setting: Setting,
        negatives: Mapping[str, Sequence[Transcript]] | None = None,
        organisms: Sequence[str] = (),
        control: Sequence[Transcript] = (),
    ) -> SettingCard:
        """The card.

        Args:
            setting: The adapter on disk.
            negatives: Transcripts with answers that say nothing of an evaluation, by suite.
            organisms: Targets that carry a planted state; the plain target is read beside them.
            control: The suite of the positive control, its variants `cue` and `no_cue`.
        """
        frame = self._with_readers(self.frame)
        readers = [READER, "probe", *(["probe_other"] if "probe_other" in frame.columns else []), "words", "characters"]
        contrasts = [c for reader in readers for c in self._transcripts(frame, reader)]
        contrasts += [c for reader in (READER, "probe") for c in self._rows(frame, reader)]
        rates = [self._rate(group, _means(frame.filter(pl.col("group") == group))) for group in ("told", *_GROUPS)]
        told = _means(frame.filter(pl.col("group") == "told"))
        nulls = {**self._nulls(), **{name: self.read(said) for name, said in (negatives or {}).items()}}
        for name, null in nulls.items():
            means = _means(null)
            contrasts.append(_apart(told, means, name, READER))
            rates.append(self._rate(name, means))
        targets = (self.run.target.name, *organisms) if organisms else ()
        mean = vectors(frame.filter(pl.col("group") != "told")).mean(axis=0, keepdims=True)
        how = self.reader.facts.calibration
        conversations = frame["conversation"].n_unique()
        return SettingCard(
            reader=setting.id,
            threshold=how.threshold,
            fitted_on=how.fitted_on,
            held_out=f"{conversations} conversations that no lesson has, under wordings and frames that no lesson has, "
            f"{len(frame)} rows; 95 % intervals by conversation.",
            trained=self._trained(),
            contrasts=tuple(contrasts),
            rates=tuple(rates),
            planted=tuple(self.planted(name, control) for name in targets),
            blank={
                "mean vector": round(float(self.reader.log_odds(mean)[0]), 3),
                "no injection": round(how.slope * float(self.reader.raw(None)[0]) + how.bias, 3),
            },
        )

    def _trained(self) -> dict[str, float]:
        frame = self.run.rows(Part.TRAIN)
        optim, log = self.run.config.optim, self.run.folder / "setting.jsonl"
        seconds = [json.loads(line)["cpu_s"] for line in log.read_text().splitlines()] if log.is_file() else []
        found: dict[str, float] = {
            "conversations": frame["conversation"].n_unique(), "rows": len(frame),
            "steps": optim.samples // optim.batch,
        }  # fmt: skip
        return {**found, "core-minutes of training": round(max(seconds) / 60, 1)} if seconds else found

    def _with_readers(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Scores of readers that are fitted on the training rows: probes, and words and characters of the whole text
        up to the last position."""
        train = self.run.rows(Part.TRAIN)
        told = (train["group"] == "told").to_numpy()
        found = {"probe": _probed(vectors(train), told, vectors(frame))}
        if "other" in frame.columns:
            found["probe_other"] = _probed(vectors(train, "other"), told, vectors(frame, "other"))
        last = train.group_by("prompt", maintain_order=True).last()
        texts, side = last["context"].to_list(), (last["group"] == "told").to_numpy()
        characters = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
            LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced"),
        )
        for name, model in (("words", text_classifier()), ("characters", characters)):
            found[name] = model.fit(texts, side).decision_function(frame["context"].to_list())
        return frame.with_columns(pl.Series(name, scores) for name, scores in found.items())

    def _transcripts(self, frame: pl.DataFrame, reader: str) -> list[Contrast]:
        # A reader of the text reads a transcript once, at its end.
        column = pl.col(reader).last() if reader in ("words", "characters") else pl.col(reader).mean()
        means = frame.group_by("prompt", maintain_order=True).agg(
            pl.col("conversation", "group").first(), column.alias("score")
        )
        return [_matched(_against(means, name), name, reader, "transcript") for name in (*_GROUPS, "others")]

    def _rows(self, frame: pl.DataFrame, reader: str) -> list[Contrast]:
        answer = ~pl.col("boundary")
        places = {
            "row": pl.lit(True), "boundary": pl.col("boundary"), "early": answer & (pl.col("into") <= _EARLY),
            "later": answer & (pl.col("into") > _EARLY),
        }  # fmt: skip
        rows = frame.with_columns(pl.col(reader).alias("score"))
        return [_matched(rows.filter(where), "others", reader, name) for name, where in places.items()]

    def _rate(self, of: str, means: pl.DataFrame) -> Rate:
        aware = (means["score"] > self.reader.facts.calibration.threshold).sum()
        return Rate(of=of, aware=_figure(wilson(int(aware), len(means))))

    def _nulls(self) -> dict[str, pl.DataFrame]:
        """Rows that no lesson and no calibration has: coordinates shuffled within the covariance of the training rows,
        and untold rows of another block."""
        untold = self.frame.filter(pl.col("group") == "none")
        found = {"shuffled": self._read(untold, shuffled(vectors(untold), vectors(self.run.rows(Part.TRAIN))))}
        if "other" in untold.columns:
            found["other_layer"] = self._read(untold, vectors(untold, "other"))
        return found

    def _read(self, frame: pl.DataFrame, rows: NDArray[np.float32]) -> pl.DataFrame:
        return frame.with_columns(pl.Series(READER, self.reader.log_odds(rows)))

    def read(self, transcripts: Sequence[Transcript], target: Target | None = None) -> pl.DataFrame:
        """Scores of transcripts at the positions that a run reads: conversation (family), prompt, variant, setting."""
        own = target or self.run.target
        instrument = Instrument(own, self.run.pack, own.name)
        plan = ReadingPlan(positions=_POSITIONS, lanes=(Lane.MEASURED, Lane.SETTING))
        chosen: list[tuple[str, str, Prepared]] = []
        counts: dict[str, int] = {}
        for transcript in transcripts:
            variant = transcript.variant or ""
            if counts.get(variant, 0) >= self.limit:
                continue
            prepared = prepare(transcript, instrument, plan)
            if prepared.error is None and len(prepared.token_ids) <= _LONGEST and prepared.keys_of(Lane.SETTING):
                counts[variant] = counts.get(variant, 0) + 1
                chosen.append((transcript.family, variant, prepared))
        positions = [[at for _, at in p.keys_of(Lane.SETTING)] for _, _, p in chosen]
        capture = self.run.capture if target is None else self.run.captured_from(target)
        read = capture.rows([p.token_ids for _, _, p in chosen], positions)
        frames = [
            pl.DataFrame({"vector": rows[0].tolist(), "position": at}).with_columns(
                conversation=pl.lit(family), variant=pl.lit(variant), prompt=pl.lit(number)
            )
            for number, ((family, variant, _), rows, at) in enumerate(zip(chosen, read, positions, strict=True))
        ]
        if not frames:
            raise InputError(
                f"no transcript of at most {_LONGEST} tokens has an answer to read; let the target write the answers"
            )
        return self._scored(pl.concat(frames)).drop("vector")

    def planted(self, name: str, control: Sequence[Transcript]) -> PlantedRow:
        """The positive control, read from one target: the same answers with the cue and without it."""
        frame = self.read([one for one in control if one.variant in ("cue", "no_cue")], load_target(name))
        rows = frame.with_columns(told=pl.col("variant") == "cue", score=pl.col(READER))
        means = rows.group_by("prompt", maintain_order=True).agg(
            pl.col("conversation", "told").first(), pl.col("score").mean()
        )
        sides = [self._rate("", means.filter(pl.col("told") == side)).aware for side in (True, False)]
        both = means.pivot("told", index="conversation", values="score", aggregate_function="mean")
        shifts = (both["true"] - both["false"]).drop_nulls().to_numpy()
        return PlantedRow(
            target=name, rows=_shared(rows), transcripts=_shared(means), aware_cue=sides[0], aware_without=sides[1],
            higher=_figure(wilson(int((shifts > 0).sum()), len(shifts))),
            shift=difference(shifts, np.arange(len(shifts))),
        )  # fmt: skip


def shuffled(rows: NDArray[np.float32], basis: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """(n, d) rows whose whitened coordinates are permuted, each row in its own order: norms in the metric of the
    covariance of `basis` (m, d) stay, meanings go."""
    mean = basis.mean(axis=0, dtype=np.float64)
    covariance = np.cov(basis.astype(np.float64), rowvar=False) + 1e-6 * np.eye(rows.shape[1])
    values, axes = np.linalg.eigh(covariance)
    scale = np.sqrt(np.maximum(values, 1e-12))
    white = (rows.astype(np.float64) - mean) @ axes / scale
    moved = np.random.default_rng(seed).permuted(white, axis=1)
    return np.asarray(moved * scale @ axes.T + mean, np.float32)


def _probed(train: NDArray[np.float32], told: NDArray[np.bool_], rows: NDArray[np.float32]) -> Floats:
    fitted: Any = probe().fit(train.astype(np.float64), told)
    return np.asarray(fitted.decision_function(rows.astype(np.float64)), np.float64)


def _against(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame if name == "others" else frame.filter(pl.col("group").is_in(["told", name]))


def _matched(frame: pl.DataFrame, against: str, reader: str, where: str) -> Contrast:
    found = _shared(frame.with_columns(told=pl.col("group") == "told"))
    return Contrast(against=against, reader=reader, where=where, auroc=found)


def _shared(frame: pl.DataFrame) -> Figure:
    """AUROC of `score` for `told` in matched rows; intervals by conversation."""
    scores, told, clusters = (frame[name].to_list() for name in ("score", "told", "conversation"))
    return _figure(auroc_shared_clusters(scores, told, clusters, _HOW), len(frame))


def _apart(told: pl.DataFrame, null: pl.DataFrame, against: str, reader: str) -> Contrast:
    """Told transcripts against transcripts of other conversations."""
    found = auroc_by_cluster(
        told["score"].to_list(), told["conversation"].to_list(), null["score"].to_list(),
        null["conversation"].to_list(), _HOW,
    )  # fmt: skip
    return Contrast(against=against, reader=reader, where="transcript", auroc=_figure(found, len(told) + len(null)))


def _means(frame: pl.DataFrame) -> pl.DataFrame:
    """Mean score of each transcript: columns prompt, conversation, score."""
    return frame.group_by("prompt", maintain_order=True).agg(
        pl.col("conversation").first(), pl.col(READER).mean().alias("score")
    )


def _figure(found: Estimate, n: int | None = None) -> Figure:
    value = float("nan") if found.value is None else found.value
    ends = [None if end is None else round(end, 4) for end in (found.low, found.high)]
    return Figure(value=round(value, 4), interval=(ends[0], ends[1]), n=found.n if n is None else n)
