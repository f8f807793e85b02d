"""A sheet is enriched with what is rare, draws from every stratum, and its weights undo that."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from planted import Arm, planted_frames

from nla_eval.errors import InputError
from nla_eval.judgement import Label, Outcome
from nla_eval.validation.population import JudgedText, judged_texts
from nla_eval.validation.sample import Sheet, draw_sheet, read_sheet, write_sheet

NEAR = (Label.SOFTWARE_TEST, Label.ABSTRACT, Label.USER_PROBE)


def text(number: int, kind: str = "explanation", label: Label = Label.NONE, score: float = 0.01) -> JudgedText:
    return JudgedText(
        kind=kind,
        text=f"{kind} {number} {label}",
        outcome=Outcome.AWARE if label is Label.BELIEF else Outcome.NOT_AWARE,
        labels=(label,),
        score=score,
        where=("measured", "donor")[number % 2] if kind == "explanation" else "text",
        arm=("evaluation", "deployment")[number % 3 == 0],
        suite="s",
    )


def population() -> list[JudgedText]:
    plain = [text(i, kind, score=i / 10_000) for kind in ("explanation", "turn") for i in range(2000)]
    near = [text(i, kind, label) for kind in ("explanation", "turn") for label in NEAR for i in range(20)]
    flagged = [text(i, kind, Label.BELIEF, 0.9) for kind in ("explanation", "turn") for i in range(60)]
    return plain + near + flagged


def drawn(texts: list[JudgedText], size: int = 200, seed: int = 0) -> Sheet:
    return draw_sheet(texts, "linear@3", "strict@0", ["store"], size, seed)


def test_half_is_flagged_and_a_quarter_near_though_both_are_rare() -> None:
    counts = Counter((item.kind, item.stratum.split("/")[1]) for item in drawn(population()).items)
    for kind in ("explanation", "turn"):
        assert counts[kind, "flagged"] == 50
        assert counts[kind, "near"] == counts[kind, "plain"] == 25


def test_every_stratum_is_drawn_from_so_that_weights_add_up_to_all_judgements() -> None:
    texts = [replace(t, copies=3) for t in population()]
    sheet = drawn(texts)
    assert set(sheet.population) == {item.stratum for item in sheet.items}
    assert sum(item.weight for item in sheet.items) == pytest.approx(3 * len(texts))
    near = {item.stratum.split("/")[-1] for item in sheet.items if item.stratum.startswith("explanation/near")}
    assert near >= {label.value for label in NEAR}


@pytest.mark.parametrize("size", [8, 9, 50, 300])
def test_a_sheet_has_the_size_asked_for_with_each_text_once(size: int) -> None:
    items = drawn(population(), max(size, 20)).items
    assert len(items) == max(size, 20)
    assert len({item.id for item in items}) == len(items)
    assert len(drawn([text(i) for i in range(5)], size).items) == 5


def test_it_depends_on_the_seed_and_not_on_the_order_of_the_inputs() -> None:
    texts = population()
    assert drawn(texts) == drawn(sorted(texts, key=lambda t: t.id))
    assert drawn(texts).items != drawn(texts, seed=1).items


def test_the_order_of_the_page_tells_nothing_of_the_verdicts() -> None:
    flagged = [item.outcome is Outcome.AWARE for item in drawn(population()).items]
    assert 30 < sum(flagged[:100]) < 70


def test_a_text_counts_with_its_copies_and_stands_in_its_first_place() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 4, 1, aware=1.0, donor=True, verbalized=1.0)])
    same = frames.readings.with_columns(explanation=pl.lit("the same words"))
    texts = judged_texts(replace(frames, readings=same))
    explanations = [t for t in texts if t.kind == "explanation"]
    assert [(t.copies, t.where) for t in explanations] == [(frames.readings.height, "measured")]


def test_what_was_not_judged_is_not_labelled() -> None:
    frames = planted_frames([Arm("exam", "evaluation", 4, 1, aware=1.0, truncated=0.5)])
    cut = frames.judgements.with_columns(outcome=pl.lit("UNPARSED"))
    assert [t for t in judged_texts(replace(frames, judgements=cut)) if t.kind == "explanation"] == []
    closed = frames.readings.filter(pl.col("stop") == "closed")
    found = judged_texts(frames)
    assert sum(t.copies for t in found if t.kind == "explanation") == closed.height


def test_a_key_holds_no_text_and_survives_its_file(tmp_path: Path) -> None:
    sheet = drawn([replace(text(i), text=f"secret words {i}") for i in range(30)])
    write_sheet(tmp_path / "k.json", sheet)
    assert "secret" not in (tmp_path / "k.json").read_text()
    assert read_sheet(tmp_path / "k.json") == sheet


@pytest.mark.parametrize(
    ("texts", "size", "said"), [([], 50, "nothing to label"), ([text(1)], 3, "--size 3; expected at least 8")]
)
def test_what_cannot_be_drawn_is_refused(texts: list[JudgedText], size: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        drawn(texts, size)


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("{}", "Field required"), ("[", "JSON")])
def test_a_key_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "k.json").write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_sheet(tmp_path / "k.json")
    assert "\n" not in str(caught.value)
