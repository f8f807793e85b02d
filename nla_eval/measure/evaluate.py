"""Measures a pack or checkpoint on held-out rows: `measure(subject, held)` gives one typed record.

Explanations are drawn greedily, in one call. The measurements are in `ablation`, `paraphrase`, `tasks`, `pair_tasks`
and `recurrence`. Every figure has controls. Intervals are by conversation or family. The record names what could not be
measured, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Draw, Engine, Sampling, VerbalizeRequest
from ..engines.fitting import release_memory
from ..engines.hf import TransformersEngine
from ..judgement import Classifier
from ..judging.classify import make_classifier
from ..models.scores import Baselines
from ..readings import StopReason
from .ablation import EMPTY, MASKED, REFERENCE, SHUFFLED, TAIL, WHOLE, Ablated, Condition, ablate, variants
from .figures import Figure, Floats, figure, share
from .held_out import HeldOut
from .pair_sets import format_set, hint_set, told_set
from .pair_tasks import PairRows, Spoken, pair_rows, pair_task
from .paraphrase import paraphrased
from .record import HeldOutFacts, Record
from .recurrence import recurrence
from .said import said_claims
from .section import Section
from .tasks import RETRIEVAL, NotEnoughError, Read, Task, held_out_tasks, retrieved, said_next
from .told import ToldJudged, ToldWords, told_judged, told_words

DRAWS = 8
"""Number of explanations per position that are read together. A greedy explanation holds only the likeliest content;
several draws also hold less likely content."""


@dataclass(frozen=True)
class Subject:
    """A pack or checkpoint to measure: its engine and its identity."""

    engine: Engine
    tokenizer: Any
    """The target's."""
    pack: str
    """The pack's id."""
    target: str
    baselines: Baselines
    max_new_tokens: int
    min_position: int
    step: int | None = None
    core_hours: float | None = None


def subject_of(engine: TransformersEngine, step: int | None = None, core_hours: float | None = None) -> Subject:
    """The subject for an engine's pack."""
    pack = engine.pack
    return Subject(
        engine=engine, tokenizer=engine.target.tokenizer, pack=pack.id, target=engine.target.name,
        baselines=pack.baselines, max_new_tokens=pack.max_new_tokens, min_position=pack.min_position,
        step=step, core_hours=core_hours,
    )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A record and its per-row values."""

    record: Record
    explanations: list[str]
    """(n,) greedy explanations, one per held-out row."""
    rows: dict[str, Floats] = field(default_factory=dict)
    """Headline figure to (n,) values, one per held-out row (NaN if undefined), for paired comparison."""


def measure(
    subject: Subject,
    held: HeldOut,
    sections: Sequence[Section] = tuple(Section),
    classifier: Classifier | None = None,
) -> Measured:
    """Verbalize and score every held-out row, its windows and the requested pair sets.

    Args:
        subject: Pack or checkpoint.
        held: Rows from the same target and layer.
        sections: Sections to measure in addition to round trip and ablation.
        classifier: Judges the explanations of the told pairs; None for the classifier that judges runs by default.
    """
    pairs, unread = _pair_sets(subject) if {Section.PAIRS, Section.DRAWS} & set(sections) else ([], {})
    windows = held.windows if Section.RECURRENCE in sections else []
    blocks = [held.activations, *(p.activations for p in pairs), *(w.activations for w in windows)]
    own, *others = greedy(subject.engine, blocks, subject.max_new_tokens)
    of_pairs, of_windows = others[: len(pairs)], others[len(pairs) :]
    texts = [d.text for d in own]
    ablated = ablate(subject.engine, held, variants(held, texts, [d.tokens for d in own]), subject.baselines)
    rows = _headline_rows(held, own, ablated, subject.baselines)
    tasks, why = _tasks(held, texts, ablated) if Section.TASKS in sections else ([], {})
    several: Sequence[Spoken | None] = [None] * len(pairs)
    if Section.DRAWS in sections:
        several = drawn(subject.engine, [p.activations for p in pairs], subject.max_new_tokens)
    for sides, draws, more in zip(pairs, of_pairs, several, strict=True):
        tasks.append(pair_task(sides, spoken(subject.engine, [_texts(draws)]), more))
    judged, unjudged = _told_judged(pairs, of_pairs, classifier)
    record = Record(
        pack=subject.pack,
        target=subject.target,
        layer=subject.engine.layer,
        held_out=_facts(held),
        step=subject.step,
        core_hours=subject.core_hours,
        figures={name: _headline(name, values, held) for name, values in rows.items()},
        conditions=ablated.conditions,
        paraphrase=_paraphrased(subject) if Section.PARAPHRASE in sections else [],
        tasks=tasks,
        not_measured=why | unread | unjudged,
        told=_told(pairs, of_pairs),
        told_judged=judged,
        recurrence=recurrence([_texts(d) for d in of_windows], [w.context for w in windows])
        if len(windows) > 1
        else [],
        said=said_claims(held, texts),
    )
    return Measured(record, texts, rows)


def _pair_sets(subject: Subject) -> tuple[list[PairRows], dict[str, str]]:
    """(captured pair sets, reasons for the ones that could not be captured)."""
    read, why = [], {}
    for pairs in (told_set(), hint_set(), format_set()):
        try:
            read.append(pair_rows(subject.engine, subject.tokenizer, pairs, subject.min_position))
        except NotEnoughError as reason:
            why[pairs.name] = str(reason)
    return read, why


def greedy(engine: Engine, blocks: Sequence[NDArray[np.float32]], max_new_tokens: int) -> list[list[Draw]]:
    """Greedy explanations of each block of activations, from one engine call."""
    return _explained(engine, blocks, Sampling(temperature=0.0, max_new_tokens=max_new_tokens))


def drawn(engine: Engine, blocks: Sequence[NDArray[np.float32]], max_new_tokens: int) -> list[Spoken]:
    """`DRAWS` explanations at temperature 1 of every activation, block by block. One engine call per draw."""
    sampling = Sampling(temperature=1.0, max_new_tokens=max_new_tokens)
    said = [_explained(engine, blocks, sampling, f"-{draw}") for draw in range(DRAWS)]
    return [spoken(engine, [_texts(draws) for draws in of_block]) for of_block in zip(*said, strict=True)]


def _explained(
    engine: Engine, blocks: Sequence[NDArray[np.float32]], sampling: Sampling, mark: str = ""
) -> list[list[Draw]]:
    """One explanation of every activation, block by block, from one engine call. Another `mark` gives other draws."""
    requests = [
        [VerbalizeRequest(f"{block}-{row}{mark}", vector) for row, vector in enumerate(vectors)]
        for block, vectors in enumerate(blocks)
    ]
    found = {d.key: d for d in engine.verbalize([r for block in requests for r in block], sampling)}
    return [[found[r.key] for r in block] for block in requests]


def spoken(engine: Engine, texts: Sequence[Sequence[str]]) -> Spoken:
    """(k, n) explanations, k for each of n positions, with the AR's reconstructions."""
    read = []
    for draw in texts:
        read.append(engine.reconstruct(draw))
        release_memory()  # freed memory of differently sized batches would add up
    vectors = np.mean(read, axis=0)
    return Spoken([" ".join(of_row) for of_row in zip(*texts, strict=True)], vectors)


def _texts(draws: Sequence[Draw]) -> list[str]:
    return [d.text for d in draws]


def _tasks(held: HeldOut, texts: list[str], ablated: Ablated) -> tuple[list[Task], dict[str, str]]:
    names = {"explanation": WHOLE, "shuffled": SHUFFLED, "empty": EMPTY, "text_only": TAIL}
    vectors = {reader: ablated.vectors[condition] for reader, condition in names.items()}
    return held_out_tasks(held, Read(texts, held.others(), held.contexts), vectors)


def _headline_rows(held: HeldOut, draws: Sequence[Draw], ablated: Ablated, baselines: Baselines) -> dict[str, Floats]:
    """The card's headline figures, one value per row."""
    mse = ablated.mse
    own = mse[WHOLE]
    says = [said_next(d.text) == t for d, t in zip(draws, held.next_token, strict=True)]
    size = min(RETRIEVAL, len(held))
    hits, at = retrieved(ablated.vectors[WHOLE], held.activations, size)
    found = np.full(len(held), np.nan)
    found[at] = hits
    rows = {} if held.references is None else {"ar_reference_fve_nrm": 1.0 - mse[REFERENCE] / baselines.variance}
    return rows | {
        "round_trip_fve_nrm": 1.0 - own / baselines.variance,
        "round_trip_fve_meannorm": 1.0 - own / baselines.meannorm,
        "masked_overlap_fve_meannorm": 1.0 - mse[MASKED] / baselines.meannorm,
        "tail_baseline_fve_meannorm": 1.0 - mse[TAIL] / baselines.meannorm,
        f"retrieval_top1_of_{size}": found,
        "beats_shuffled": (own < mse[SHUFFLED]).astype(float),
        "next_token_agreement": np.array(says, float),
        "closed_rate": np.array([d.stop is StopReason.CLOSED for d in draws], float),
    }


def _headline(name: str, values: Floats, held: HeldOut) -> Figure:
    has = np.isfinite(values)
    return (figure if "_fve_" in name else share)(values[has], held.conversation[has])


def _facts(held: HeldOut) -> HeldOutFacts:
    return HeldOutFacts(
        kind=held.kind,
        rows=len(held),
        conversations=len(np.unique(held.conversation)),
        digest=held.digest,
        left_out=held.left_out,
    )


def _paraphrased(subject: Subject) -> list[Condition]:
    return paraphrased(subject.engine, subject.tokenizer, subject.baselines, subject.min_position)


def _told_judged(
    pairs: Sequence[PairRows], draws: Sequence[Sequence[Draw]], classifier: Classifier | None
) -> tuple[ToldJudged | None, dict[str, str]]:
    """(told recall of N, reason why there is none by name of the measurement)."""
    for rows, drawn in zip(pairs, draws, strict=True):
        if rows.name == "told":
            try:
                return told_judged(drawn, rows.positive.tolist(), rows.family, classifier or make_classifier()), {}
            except NotEnoughError as reason:
                return None, {"told recall": str(reason)}
    return None, {}


def _told(pairs: Sequence[PairRows], draws: Sequence[Sequence[Draw]]) -> ToldWords | None:
    for rows, drawn in zip(pairs, draws, strict=True):
        if rows.name == "told":
            return told_words(_texts(drawn), rows.positive.tolist(), rows.family)
    return None
