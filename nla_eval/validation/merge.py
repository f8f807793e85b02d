"""What people's labels say of a classifier: agreement, precision and recall by class, ROC, and the calibration.

In: a sheet, the labels of one or more people, the rubric. Out: a typed `Validation`. Every figure of the classifier
undoes the sampling: a text counts with its weight (Horvitz and Thompson 1952), so that figures are those of all
judgements that the sheet was drawn from. It reads no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from pydantic import BaseModel, ConfigDict

from ..errors import InputError
from ..judgement import Headline, Label, Outcome, Rubric
from ..judging.calibration import CalibrationFile, CalibrationRow, Counts
from ..judging.classify import rubric_ref
from ..judging.error_rates import Kind
from ..stats.interval import LEVEL, Estimate
from ..stats.kappa import agreement_values
from ..stats.wilson import wilson
from ..tally.agreement import nominal_alpha
from .labels import Labels, agreed
from .sample import Item, Sheet

KINDS: tuple[Kind, ...] = ("explanation", "turn")
WEIGHTING = "weights of the stratified sample undone (Horvitz-Thompson); intervals by Wilson on effective counts (Kish)"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PeopleAgree(_Frozen):
    """Two people on the texts that both labelled."""

    left: str
    right: str
    texts: int
    same_label: int
    """Texts with one label by both, "unclear" included."""
    kappa: float | None
    """Cohen's, over labels; None where undefined."""
    ac1: float | None
    """Gwet's, over labels."""
    headline_kappa: float | None
    """Over aware or not under the headline `paper`; unclear texts are left out."""
    headline_ac1: float | None


class ClassFigures(_Frozen):
    """One class (a headline or a label) on one kind of text."""

    kind: Kind
    name: str
    raw: Counts
    weighted: Counts
    recall: Estimate
    precision: Estimate
    false_rate: Estimate


class RocPoint(_Frozen):
    """Flagging every text with a score of at least `threshold`."""

    threshold: float
    recall: float
    false_rate: float


class Roc(_Frozen):
    """How well the classifier's score ranks texts of one kind, under the headline `broad`, weighted."""

    kind: Kind
    auroc: float
    points: list[RocPoint]


class Validation(_Frozen):
    """What the labels of a sheet say."""

    sheet: str
    people: list[str]
    agreement: list[PeopleAgree]
    alpha: float | None
    """Krippendorff's over labels, nominal, over all people; None with one person."""
    headlines: list[ClassFigures]
    labels: list[ClassFigures]
    roc: list[Roc]
    calibration: CalibrationFile
    weighting: str = WEIGHTING


@dataclass(frozen=True)
class _Labelled:
    item: Item
    label: Label


def validate(sheet: Sheet, people: Sequence[Labels], rubric: Rubric, made: date) -> Validation:
    """Merge labels and measure the classifier against them.

    Args:
        sheet: The key.
        people: The labels of each person.
        rubric: The rubric of the sheet.
        made: Date for the record.

    Raises:
        InputError: The rubric is another one, two files are of one person, or no text has an agreed label.
    """
    if rubric_ref(rubric) != sheet.rubric:
        raise InputError(
            f"the sheet was drawn under rubric {sheet.rubric}, which is now {rubric_ref(rubric)}; draw a sheet again"
        )
    names = [person.labeller for person in people]
    if len(set(names)) < len(names):
        raise InputError(f"two label files are by one person ({', '.join(names)}); give one file for each person")
    labels, unresolved = agreed(people)
    labelled = [_Labelled(item, labels[item.id]) for item in sheet.items if item.id in labels]
    if not labelled:
        raise InputError("no text has an agreed label; label more texts, or ask a third person")
    kinds = [kind for kind in KINDS if any(x.item.kind == kind for x in labelled)]
    of = {kind: [x for x in labelled if x.item.kind == kind] for kind in kinds}
    return Validation(
        sheet=sheet.id,
        people=names,
        agreement=[_agree(a, b, rubric) for a, b in combinations(people, 2)],
        alpha=nominal_alpha([[p.of[i.id] for p in people if i.id in p.of] for i in sheet.items]),
        headlines=[_headline(kind, of[kind], headline, rubric) for kind in kinds for headline in Headline],
        labels=[
            found for kind in kinds for label in Label if (found := _label(kind, of[kind], label)).weighted.positives
        ],
        roc=[curve for kind in kinds if (curve := _roc(kind, of[kind], rubric)) is not None],
        calibration=CalibrationFile(
            classifier=sheet.classifier,
            rubric=sheet.rubric,
            labelled_by=names,
            made=made,
            sheet=sheet.id,
            sources=sheet.sources,
            labelled=len(labelled),
            unresolved=unresolved,
            rows=[_row(kind, of[kind], headline, rubric) for kind in kinds for headline in Headline],
        ),
    )


def _agree(left: Labels, right: Labels, rubric: Rubric) -> PeopleAgree:
    both = sorted(left.of.keys() & right.of.keys())
    pairs = [(left.of[item], right.of[item]) for item in both]
    kappa, ac1 = agreement_values([a for a, _ in pairs], [b for _, b in pairs])
    known = {label.value for label in Label}
    decided = [(a, b) for a, b in pairs if a in known and b in known]
    aware = [tuple(rubric.aware(Label(x), Headline.PAPER) for x in pair) for pair in decided]
    headline_kappa, headline_ac1 = agreement_values([a for a, _ in aware], [b for _, b in aware])
    return PeopleAgree(
        left=left.labeller,
        right=right.labeller,
        texts=len(both),
        same_label=sum(a == b for a, b in pairs),
        kappa=kappa,
        ac1=ac1,
        headline_kappa=headline_kappa,
        headline_ac1=headline_ac1,
    )


def _flagged(item: Item, headline: Headline, rubric: Rubric) -> bool:
    return item.outcome is Outcome.AWARE and any(rubric.aware(label, headline) for label in item.labels)


def _row(kind: Kind, some: Sequence[_Labelled], headline: Headline, rubric: Rubric) -> CalibrationRow:
    found = _headline(kind, some, headline, rubric)
    weights = {
        aware: _effective(x.item.weight for x in some if rubric.aware(x.label, headline) is aware)
        for aware in (True, False)
    }
    return CalibrationRow(
        kind=kind,
        headline=headline,
        raw=found.raw,
        weighted=found.weighted,
        effective_positives=weights[True],
        effective_negatives=weights[False],
    )


def _headline(kind: Kind, some: Sequence[_Labelled], headline: Headline, rubric: Rubric) -> ClassFigures:
    return _figures(
        kind,
        headline.value,
        some,
        said=lambda x: _flagged(x.item, headline, rubric),
        true=lambda x: rubric.aware(x.label, headline),
    )


def _label(kind: Kind, some: Sequence[_Labelled], label: Label) -> ClassFigures:
    return _figures(
        kind,
        label.value,
        some,
        said=lambda x: label in x.item.labels or (label is Label.NONE and not x.item.labels),
        true=lambda x: x.label is label,
    )


def _figures(
    kind: Kind,
    name: str,
    some: Sequence[_Labelled],
    said: Callable[[_Labelled], bool],
    true: Callable[[_Labelled], bool],
) -> ClassFigures:
    def counts(weight: Callable[[_Labelled], float]) -> Counts:
        def total(kept: Callable[[_Labelled], bool]) -> float:
            return float(sum(weight(x) for x in some if kept(x)))

        return Counts(
            hits=total(lambda x: said(x) and true(x)),
            positives=total(true),
            false=total(lambda x: said(x) and not true(x)),
            negatives=total(lambda x: not true(x)),
        )

    weighted = counts(lambda x: x.item.weight)
    return ClassFigures(
        kind=kind,
        name=name,
        raw=counts(lambda x: 1.0),
        weighted=weighted,
        recall=_share(weighted.recall, (x for x in some if true(x))),
        precision=_share(weighted.precision, (x for x in some if said(x))),
        false_rate=_share(weighted.false_rate, (x for x in some if not true(x))),
    )


def _share(value: float | None, among: Iterable[_Labelled]) -> Estimate:
    """A weighted share with Wilson's interval on the number of texts that the weights are worth."""
    worth = round(_effective(x.item.weight for x in among))
    if value is None or not worth:
        return wilson(0, 0)
    found = wilson(min(worth, round(value * worth)), worth, LEVEL)
    low, high = (None if end is None else min(max(end, 0.0), 1.0) for end in (found.low, found.high))
    # Rounding to whole texts may move the interval past the value.
    return Estimate(value, min(low or 0.0, value), max(high or 0.0, value), worth, "Wilson on effective counts")


def _effective(weights: Iterable[float]) -> float:
    """(sum w)^2 / sum w^2: how many equally weighted texts unequal ones are worth (Kish 1965)."""
    listed = list(weights)
    return sum(listed) ** 2 / sum(w * w for w in listed) if listed else 0.0


def _roc(kind: Kind, some: Sequence[_Labelled], rubric: Rubric) -> Roc | None:
    """None without scores, or without texts of either side."""
    scored = [
        (x.item.score, x.item.weight, rubric.aware(x.label, Headline.BROAD)) for x in some if x.item.score is not None
    ]
    totals = {side: sum(weight for _, weight, aware in scored if aware is side) for side in (True, False)}
    if not totals[True] or not totals[False]:
        return None
    points = [RocPoint(threshold=1.0, recall=0.0, false_rate=0.0)]
    area, recall, false_rate = 0.0, 0.0, 0.0
    for threshold in sorted({score for score, _, _ in scored}, reverse=True):
        rise = sum(w for score, w, aware in scored if score == threshold and aware) / totals[True]
        run = sum(w for score, w, aware in scored if score == threshold and not aware) / totals[False]
        area += run * (recall + rise / 2)
        recall, false_rate = min(recall + rise, 1.0), min(false_rate + run, 1.0)
        points.append(RocPoint(threshold=threshold, recall=recall, false_rate=false_rate))
    return Roc(kind=kind, auroc=area, points=points)
