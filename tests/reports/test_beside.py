"""Other readers and other choices in a report: zero gain is said to be zero, and a flipped conclusion is named."""

from __future__ import annotations

from functools import cache
from typing import Any

import polars as pl
import pytest
from nla_eval.reports._beside import gain_sentences, gain_table, sensitivity_sentences
from nla_eval.reports._charts import charts
from nla_eval.reports.build import render
from nla_eval.reports.text import markdown, text
from planted import Arm, planted_frames, with_reader

from nla_eval.judgement import Headline
from nla_eval.stats.interval import Resampling
from nla_eval.store.rows import SCORE_SCHEMA
from nla_eval.tally.published import PublishedTally, published
from nla_eval.tally.readers import Beside, readers_tally
from nla_eval.tally.sensitivity import ReadSet, sensitivity
from nla_eval.tally.tally import TallyOptions, counted_in, tally_of
from nla_eval.tally.types import Tally

OPTIONS = TallyOptions(how=Resampling(resamples=100, seed=3))
ARMS = [
    Arm("office", "evaluation", 12, 1, 0.9, density=0.5, label="belief"),
    Arm("exam", "evaluation", 12, 1, 0.9, density=0.5, label="contrived"),
    Arm("chat", "deployment", 12, 1, 0.0),
]
"""The second suite counts under the headline "broad" alone, so its conclusion hangs on that choice."""


def silent(row: dict[str, Any], own: bool) -> bool:
    return False


def echo(row: dict[str, Any], own: bool) -> bool:
    return own and row["suite"] == "office"


@cache
def counted() -> Tally:
    read = with_reader(planted_frames(ARMS), echo, name="echo@1")
    read = with_reader(read, silent, lane="text_raw", name="silent@1")
    of = counted_in(read, OPTIONS)
    beside = Beside(pl.DataFrame(schema=SCORE_SCHEMA), how=OPTIONS.how)
    definitions, judge = OPTIONS.definitions, "planted@1"
    return tally_of(of, OPTIONS).model_copy(
        update={
            "readers": readers_tally(of.found.frames, definitions, Headline.PAPER, beside),
            "sensitivity": sensitivity([ReadSet(of.found.frames, definitions, judge)], Headline.PAPER, OPTIONS.how),
        }
    )


def test_a_gain_is_over_a_named_reader_and_zero_gain_is_said_to_be_zero() -> None:
    readers = counted().readers
    assert readers is not None
    said = " ".join(gain_sentences(readers))
    assert "office: zero gain over text_only (echo@1): AUROC difference 0.00" in said
    assert "office: privileged gain over text_raw (silent@1): AUROC difference +" in said
    heads, rows = gain_table(readers)
    verdicts = {(row[0], row[1]): row[-1] for row in rows}
    assert verdicts["office", "text only: echo@1"] == "zero gain"
    assert verdicts["office", "text raw: silent@1"] == "gain"
    assert {len(row) for row in rows} == {len(heads)}


def test_a_conclusion_that_hangs_on_a_choice_is_named_with_it() -> None:
    found = counted().sensitivity
    assert found is not None
    said = list(sensitivity_sentences(found))
    assert any(line.startswith("exam: the conclusion") and "flips" in line and "broad" in line for line in said)
    assert any(line.startswith("office: the conclusion") and "flips" not in line.split("broad")[0] for line in said)
    assert any(line.startswith("Not varied here: ") for line in said)
    rows = charts(counted())["sensitivity"].rows
    assert {row[-1] for row in rows if row[0].startswith("exam") and row[1] == "broad"} == {"flips"}


@pytest.mark.parametrize("write", [text, markdown, lambda t, p, c: render(t, p, c, figures=False)])
def test_every_format_has_both_parts_where_they_were_counted_and_neither_elsewhere(write: Any) -> None:
    bare = counted().model_copy(update={"readers": None, "sensitivity": None})
    for part in ("Other readers of the same transcripts", "The headline under other choices", "silent@1"):
        assert part in write(counted(), {}, None)
        assert part not in write(bare, {}, None)
    assert not {"gain", "sensitivity"} & set(charts(bare))


def test_both_parts_come_back_from_the_published_json() -> None:
    found = PublishedTally.model_validate_json(published(counted())).tally
    assert (found.readers, found.sensitivity) == (counted().readers, counted().sensitivity)


def test_their_figures_are_drawn_wide_and_narrow_and_for_print() -> None:
    for name in ("gain", "sensitivity"):
        drawing = charts(counted())[name]
        assert all("<svg" in drawing.inline(narrow) for narrow in (False, True))
        assert drawing.pdf().startswith(b"%PDF")
        assert drawing.pdf() == drawing.pdf()
