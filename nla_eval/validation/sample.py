"""A stratified sample of judged texts, and the sheet that says how it was drawn.

Awareness is rare, so a plain sample of 200 would hold nothing to measure recall or false flags on. Half of each kind
is flagged texts, a quarter *near* ones (not flagged, but with a near-miss label or one of the highest scores), a
quarter the rest; each of these is spread over lane, arm and label. Every stratum is drawn from, so that weights undo
the sampling (Horvitz and Thompson 1952). The sheet holds verdicts and weights but no text: it is the key to a page, and
no labeller may see it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..files import written
from ..judgement import Label, Outcome
from ..judging.error_rates import Kind
from ..printable import first_fault
from .population import JudgedText

Class = Literal["flagged", "near", "plain"]
SHARES: Mapping[Class, float] = {"flagged": 0.5, "near": 0.25, "plain": 0.25}
NEAR_SHARE = 0.1
"""Of the texts without a flag and without a label, this share with the highest scores is near."""
FORMAT: Literal[1] = 1
_Name = TypeVar("_Name", bound=Hashable)


class Item(BaseModel):
    """One text of a sample, without its words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: Kind
    outcome: Outcome
    """The classifier's."""
    labels: list[Label]
    score: float | None
    arm: str
    stratum: str
    weight: float
    """Judgements that it stands for: its copies, times texts in its stratum, by texts drawn from it."""


class Sheet(BaseModel):
    """A drawn sample: the key to a page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    id: str
    classifier: str
    rubric: str
    seed: int
    sources: list[str]
    population: dict[str, int]
    """Texts in each stratum."""
    items: list[Item]
    """In the order of the page, which is random."""


def draw_sheet(
    texts: Sequence[JudgedText], classifier: str, rubric: str, sources: Sequence[str], size: int, seed: int
) -> Sheet:
    """Draw a sample of `size` texts, half of each kind as far as there are so many.

    Args:
        texts: What the classifier judged (`judged_texts`).
        classifier: Its name with version.
        rubric: Rubric id and hash.
        sources: Names of the inputs, for the record.
        size: Texts to draw.
        seed: Of the draw and of the order.

    Raises:
        InputError: There are no texts, or fewer than two are to be drawn.
    """
    if not texts:
        raise InputError("nothing to label: no judged explanation or turn here; give other inputs")
    if size < 8:
        raise InputError(f"--size {size}; expected at least 8 texts")
    random = np.random.default_rng(seed)
    ordered = sorted(texts, key=lambda text: text.id)
    kinds: tuple[Kind, ...] = ("explanation", "turn")
    by_kind = {kind: [t for t in ordered if t.kind == kind] for kind in kinds}
    budgets = _filled(dict.fromkeys(by_kind, size / 2), {kind: len(some) for kind, some in by_kind.items()}, size)
    items: list[Item] = []
    population: dict[str, int] = {}
    for kind, some in by_kind.items():
        classes = _classes(some)
        sizes = {name: len(classes[name]) for name in SHARES}
        wanted = _filled({name: share * budgets[kind] for name, share in SHARES.items()}, sizes, budgets[kind])
        for name in SHARES:
            for stratum, (members, count) in _strata(kind, name, classes[name], wanted[name]).items():
                population[stratum] = len(members)
                items += _drawn(stratum, members, count, random)
    items = [items[i] for i in random.permutation(len(items))]
    digest = hashlib.sha256("|".join([classifier, rubric, *(item.id for item in items)]).encode()).hexdigest()
    return Sheet(
        id=digest[:12],
        classifier=classifier,
        rubric=rubric,
        seed=seed,
        sources=list(sources),
        population=population,
        items=items,
    )


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write the key, whole or not at all."""
    with written(path) as part:
        part.write_text(sheet.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_sheet(path: Path) -> Sheet:
    """Read a key. Raises InputError with its name and the first mistake in it."""
    try:
        return Sheet.model_validate_json(path.read_bytes())
    except OSError as err:
        raise InputError(f"key {path.name}: {err.strerror}; nla-eval validate sheet writes one") from err
    except ValidationError as err:
        raise InputError(f"key {path.name}: {first_fault(err)}; nla-eval validate sheet writes one") from err


def _classes(texts: Sequence[JudgedText]) -> dict[Class, list[JudgedText]]:
    found: dict[Class, list[JudgedText]] = {"flagged": [], "near": [], "plain": []}
    silent = []
    for text in texts:
        if text.outcome is Outcome.AWARE:
            found["flagged"].append(text)
        elif text.outcome is Outcome.UNCLEAR or {*text.labels} - {Label.NONE}:
            found["near"].append(text)
        else:
            silent.append(text)
    silent.sort(key=lambda text: (-(text.score or 0.0), text.id))
    high = sum(text.score is not None and text.score > 0 for text in silent)
    near = min(high, round(NEAR_SHARE * len(silent)))
    found["near"] += silent[:near]
    found["plain"] += silent[near:]
    return found


def _strata(
    kind: Kind, name: Class, members: Sequence[JudgedText], wanted: int
) -> dict[str, tuple[list[JudgedText], int]]:
    """Texts of a class by stratum, with the number to draw from it, which is at least one.

    The finest split that leaves a text for every stratum: place, arm and label; place and arm; place; none.
    """
    splits: list[Callable[[JudgedText], tuple[str, ...]]] = [
        lambda t: (t.where, t.arm, t.labels[0].value if t.labels else "none"),
        lambda t: (t.where, t.arm),
        lambda t: (t.where,),
        lambda t: (),
    ]
    for split in splits:
        by: dict[tuple[str, ...], list[JudgedText]] = defaultdict(list)
        for text in members:
            by[split(text)].append(text)
        if len(by) <= max(wanted, 1):
            break
    least = max(wanted, len(by))
    counts = _filled(dict.fromkeys(by, least / max(len(by), 1)), {key: len(some) for key, some in by.items()}, least)
    return {"/".join((kind, name, *key)): (some, counts[key]) for key, some in sorted(by.items())}


def _drawn(stratum: str, members: Sequence[JudgedText], count: int, random: np.random.Generator) -> list[Item]:
    chosen = sorted(random.permutation(len(members))[:count].tolist())
    return [
        Item(
            id=text.id,
            kind=text.kind,
            outcome=text.outcome,
            labels=list(text.labels),
            score=text.score,
            arm=text.arm,
            stratum=stratum,
            weight=text.copies * len(members) / count,
        )
        for text in (members[i] for i in chosen)
    ]


def _filled(wanted: Mapping[_Name, float], there: Mapping[_Name, int], total: int) -> dict[_Name, int]:
    """Whole numbers near `wanted`, at most what is `there`, that add up to `total` as far as possible.

    What one lacks goes to the others. Every name that has something gets at least one.
    """
    given = {name: min(there[name], max(1, int(share))) if there[name] else 0 for name, share in wanted.items()}
    while sum(given.values()) < min(total, sum(there.values())):
        short = [name for name in given if given[name] < there[name]]
        name = min(short, key=lambda name: given[name] / wanted[name] if wanted[name] else float("inf"))
        given[name] += 1
    return given
