"""Labels of several people become figures in which the enriched sampling is undone, and a calibration."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Label, Outcome
from nla_eval.judging.classify import load_rubric, rubric_ref
from nla_eval.validation.labels import Labels, agreed, read_labels
from nla_eval.validation.merge import validate
from nla_eval.validation.population import JudgedText
from nla_eval.validation.sample import Sheet, draw_sheet

RUBRIC = load_rubric()
TODAY = date(2026, 11, 30)


def world(recall: float, false_rate: float, aware: float, n: int = 3000) -> tuple[list[JudgedText], dict[str, Label]]:
    """Explanations with a planted truth, judged by a classifier with a planted recall and false-flag rate."""
    rng = np.random.default_rng(5)
    texts, truth = [], {}
    for i in range(n):
        true = bool(rng.random() < aware)
        flagged = bool(rng.random() < (recall if true else false_rate))
        label = Label.BELIEF if flagged else Label.NONE
        outcome = Outcome.AWARE if flagged else Outcome.NOT_AWARE
        score = float(np.clip(rng.normal(0.7 if true else 0.2, 0.15), 0, 1))
        found = JudgedText("explanation", f"text {i}", outcome, (label,), score, "measured", "evaluation", "s")
        texts.append(found)
        truth[found.id] = Label.BELIEF if true else Label.SOFTWARE_TEST if i % 50 == 0 else Label.NONE
    return texts, truth


def sheet_of(texts: list[JudgedText], size: int = 400, seed: int = 0) -> Sheet:
    return draw_sheet(texts, "linear@3", rubric_ref(RUBRIC), ["store"], size, seed)


def by(name: str, sheet: Sheet, truth: dict[str, Label], wrong: int = 0) -> Labels:
    said = {item.id: truth[item.id].value for item in sheet.items}
    for item in sheet.items[:wrong]:
        said[item.id] = Label.ABSTRACT.value
    return Labels(name, said)


def test_weights_undo_the_enriched_sampling_where_raw_counts_do_not() -> None:
    texts, truth = world(recall=0.6, false_rate=0.02, aware=0.05)
    raw, weighted, false = [], [], []
    for seed in range(10):
        sheet = sheet_of(texts, seed=seed)
        row = validate(sheet, [by("a", sheet, truth)], RUBRIC, TODAY).calibration.row("explanation", Headline.PAPER)
        raw.append(row.raw.recall)
        weighted.append(row.weighted.recall)
        false.append(row.weighted.false_rate)
    aware = [t for t in texts if truth[t.id] is Label.BELIEF]
    recall = sum(t.outcome is Outcome.AWARE for t in aware) / len(aware)
    assert np.mean(weighted) == pytest.approx(recall, abs=0.08)
    assert np.mean(raw) > recall + 0.2
    assert np.mean(false) == pytest.approx(0.02, abs=0.008)


def test_intervals_hold_for_what_the_weighted_labels_are_worth() -> None:
    texts, truth = world(recall=0.6, false_rate=0.02, aware=0.05)
    sheet = sheet_of(texts)
    found = validate(sheet, [by("a", sheet, truth)], RUBRIC, TODAY)
    paper = next(f for f in found.headlines if f.name == "paper")
    assert paper.recall.low < 0.6 < paper.recall.high
    assert paper.recall.n < paper.raw.positives
    row = found.calibration.row("explanation", Headline.PAPER)
    exact = row.as_calibration()
    assert exact.sensitivity == pytest.approx(row.weighted.recall)
    assert exact.specificity == pytest.approx(1 - row.weighted.false_rate)
    counts = found.calibration.errors()["explanation", Headline.PAPER]
    assert counts.hits / counts.positives == pytest.approx(exact.sensitivity, abs=1 / counts.positives)


def test_figures_of_a_label_are_those_of_that_label() -> None:
    texts, truth = world(recall=1.0, false_rate=0.0, aware=0.1)
    sheet = sheet_of(texts)
    found = {f.name: f for f in validate(sheet, [by("a", sheet, truth)], RUBRIC, TODAY).labels}
    assert (found["belief"].recall.value, found["belief"].precision.value) == (1.0, 1.0)
    assert found["software_test"].recall.value == 0.0
    assert found["none"].precision.value < 1.0
    assert "grader" not in found


def test_the_roc_agrees_with_scikit_learn() -> None:
    texts, truth = world(recall=0.6, false_rate=0.02, aware=0.2)
    sheet = sheet_of(texts)
    [roc] = validate(sheet, [by("a", sheet, truth)], RUBRIC, TODAY).roc
    items = sheet.items
    expected = roc_auc_score(
        [truth[i.id] is Label.BELIEF for i in items], [i.score for i in items], sample_weight=[i.weight for i in items]
    )
    assert roc.auroc == pytest.approx(expected)
    assert (roc.points[0].recall, roc.points[-1].recall) == (0.0, pytest.approx(1.0))


def test_people_who_agree_and_people_who_do_not() -> None:
    texts, truth = world(recall=0.6, false_rate=0.02, aware=0.2)
    sheet = sheet_of(texts, 40)
    same = validate(sheet, [by("a", sheet, truth), by("b", sheet, truth)], RUBRIC, TODAY)
    assert (same.agreement[0].kappa, same.alpha) == (pytest.approx(1.0), pytest.approx(1.0))
    apart = validate(sheet, [by("a", sheet, truth), by("b", sheet, truth, wrong=10)], RUBRIC, TODAY)
    assert apart.agreement[0].same_label == 30
    assert apart.agreement[0].kappa < 0.8
    assert (apart.calibration.labelled, apart.calibration.unresolved) == (30, 10)
    assert validate(sheet, [by("a", sheet, truth)], RUBRIC, TODAY).alpha is None


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        (("belief",), Label.BELIEF),
        (("belief", "belief", "none"), Label.BELIEF),
        (("belief", "none"), None),
        (("unclear", "unclear", "none"), None),
        (("unclear", "none", "none"), Label.NONE),
    ],
)
def test_the_label_of_most_people_counts(votes: tuple[str, ...], label: Label | None) -> None:
    found, unresolved = agreed([Labels(str(n), {"x": vote}) for n, vote in enumerate(votes)])
    assert (found.get("x"), unresolved) == (label, int(label is None))


def saved(path: Path, on: Sheet, **changes: str) -> Path:
    row = {"sheet": on.id, "labeller": "Ada", "item": on.items[0].id, "kind": "explanation", "label": "none"}
    rows = [{**row, "note": 'a "quoted", note'} | changes]
    rows += [rows[0]] * ("twice" in changes)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "twice"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_file_of_the_page_is_read(tmp_path: Path) -> None:
    sheet = sheet_of(world(0.5, 0.1, 0.2, 100)[0], 20)
    assert read_labels(saved(tmp_path / "a.csv", sheet), sheet) == Labels("Ada", {sheet.items[0].id: "none"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sheet": "other"}, "line 2: sheet 'other'; the key is of sheet"),
        ({"item": "nothing"}, "line 2: item 'nothing' is not on sheet"),
        ({"label": "perhaps"}, "line 2: label 'perhaps'; expected one of belief"),
        ({"labeller": " "}, "expected one name in the whole file"),
        ({"twice": ""}, "has a label already"),
    ],
)
def test_a_file_that_is_not_of_the_page_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    sheet = sheet_of(world(0.5, 0.1, 0.2, 100)[0], 20)
    with pytest.raises(InputError, match=said):
        read_labels(saved(tmp_path / "a.csv", sheet, **changes), sheet)


def test_a_changed_rubric_and_one_person_twice_are_refused() -> None:
    texts, truth = world(0.5, 0.1, 0.2, 100)
    sheet = sheet_of(texts, 20)
    ada = by("Ada", sheet, truth)
    with pytest.raises(InputError, match="two label files are by one person"):
        validate(sheet, [ada, ada], RUBRIC, TODAY)
    with pytest.raises(InputError, match="which is now"):
        validate(sheet, [ada], RUBRIC.model_copy(update={"hash": "f" * 16}), TODAY)
    with pytest.raises(InputError, match="no text has an agreed label"):
        validate(sheet, [replace(ada, of=dict.fromkeys(ada.of, "unclear"))], RUBRIC, TODAY)
