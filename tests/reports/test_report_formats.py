"""The other formats say what the page says, from the same tally: data with a schema, tables, figures and text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from nla_eval.reports._charts import charts
from nla_eval.reports._format import points, with_interval
from nla_eval.reports.text import markdown, text
from planted import SHOWCASE, Arm, planted_frames
from planted_chats import planted_chats

from nla_eval._rooms import load_room
from nla_eval.errors import InputError
from nla_eval.stats.interval import Resampling
from nla_eval.tally.browse import browse
from nla_eval.tally.published import NAME, VERSION, PublishedTally, schema
from nla_eval.tally.report_registry import REPORTS
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.tidy import COLUMNS, tidy
from nla_eval.tally.types import Tally
from nla_eval.tally.verdicts import verdicts
from nla_eval.tally.where import where

ROOT = Path(__file__).resolve().parents[2]
QUICK = TallyOptions(how=Resampling(resamples=100, seed=3))
NASTY = "# <b>x</b> | `y` \u202e\x1b[31m {}"
PROVENANCE = {"target": "synthetic", "layer": 20}


@cache
def counted(wrap: str = "{}") -> Tally:
    made = planted_chats(SHOWCASE, wrap=wrap)
    return tally(made.frames, QUICK).model_copy(
        update={
            "where": where(verdicts(made.frames, QUICK.definitions), QUICK.primary, QUICK.how),
            "browse": browse(verdicts(made.frames, QUICK.definitions), made.messages),
        }
    )


def written(name: str, out: Path) -> Path:
    load_room("reports")
    return REPORTS.get(name)(counted(), PROVENANCE, {"expresses_belief": True}, out)


@pytest.mark.parametrize(
    ("name", "file"),
    [("json", "r.json"), ("csv", "r.csv"), ("parquet", "r.parquet"), ("md", "r.md"), ("text", "r.txt")],
)
def test_a_format_is_written_beside_the_page_and_its_bytes_repeat(name: str, file: str, tmp_path: Path) -> None:
    first, again = (written(name, tmp_path / folder / "r.html") for folder in ("a", "b"))
    assert first == tmp_path / "a" / file
    assert first.read_bytes() == again.read_bytes()
    assert written(name, tmp_path / "c").name == f"report{Path(file).suffix}", "a folder gets a file"


def test_json_reads_back_as_the_same_tally_without_its_transcripts(tmp_path: Path) -> None:
    data = json.loads(written("json", tmp_path / "r.json").read_text())
    assert (data["format"], data["version"]) == (NAME, VERSION)
    assert "browse" not in data["tally"]
    found = PublishedTally.model_validate(data).tally
    assert found.suites == counted().suites
    assert found.where == counted().where
    assert found.provenance == PROVENANCE


def test_the_published_schema_is_the_one_in_docs() -> None:
    kept = (ROOT / "docs" / "tally.schema.json").read_text()
    assert kept == schema(), "run: python -m nla_eval.tally.published > docs/tally.schema.json"


def test_the_written_json_has_the_fields_that_the_schema_requires(tmp_path: Path) -> None:
    found = json.loads(schema())
    data = json.loads(written("json", tmp_path / "r.json").read_text())
    assert set(found["required"]) <= set(data)
    tallied = found["$defs"]["Tally"]
    assert set(data["tally"]) == set(tallied["properties"])
    assert tallied["additionalProperties"] is False


def test_the_tidy_table_has_every_rate_with_its_interval_and_fixed_columns() -> None:
    table = tidy(counted())
    assert dict(table.schema) == COLUMNS
    for suite in counted().suites:
        lane = suite.under(counted().primary).lane("measured")
        assert lane is not None
        row = table.filter(
            (pl.col("suite") == suite.suite) & (pl.col("headline") == "paper") & (pl.col("lane") == "measured")
            & (pl.col("measure") == "places") & (pl.col("group") == "")
        ).to_dicts()  # fmt: skip
        assert [(r["value"], r["low"], r["n"]) for r in row] == [
            (lane.fraction.value, lane.fraction.low, lane.fraction.n)
        ]
    outcomes = table.filter((pl.col("measure") == "outcomes") & (pl.col("lane") == "measured"))
    assert outcomes["value"].sum() == outcomes.unique("suite")["n"].sum(), "outcomes add up to the one denominator"
    assert dict(tidy(tally(planted_frames([Arm("one", "evaluation", 1, 1, 0)]), QUICK)).schema) == COLUMNS


def test_figures_are_files_with_title_description_and_no_reference_outside(tmp_path: Path) -> None:
    folder = written("svg", tmp_path / "r.html")
    assert folder.name == "r-figures"
    names = {path.stem for path in folder.iterdir()}
    assert names == set(charts(counted()))
    assert {"lanes", "outcomes", "pairs", "k-curve", "where", "recurrence", "score", "key"} <= names
    for path in folder.iterdir():
        root = ElementTree.fromstring(path.read_text())
        kinds = [child.tag.rpartition("}")[2] for child in root]
        assert kinds[:2] == ["title", "desc"]
        assert "var(--" not in path.read_text()
        assert len(path.read_bytes()) < 120_000
        assert all(
            value.startswith("#")
            for node in root.iter()
            for name, value in node.attrib.items()
            if name.endswith("href")
        )


def test_a_png_is_drawn_in_the_light_colours(tmp_path: Path) -> None:
    drawn = charts(counted())["key"].png()
    assert drawn.startswith(b"\x89PNG")
    assert drawn == charts(counted())["key"].png()


def test_every_figure_has_a_data_table_and_no_k_curve_falls() -> None:
    for drawing in charts(counted()).values():
        assert drawing.title
        assert drawing.describe
        assert drawing.rows
        assert {len(row) for row in drawing.rows} == {len(drawing.columns)}
    curves: dict[str, list[float]] = {}
    for name, _, rate, _ in charts(counted())["k-curve"].rows:
        curves.setdefault(name, []).append(float(rate.split("\u202f")[0]))
    assert curves
    assert all(rates == sorted(rates) for rates in curves.values())


def test_text_and_markdown_say_status_numbers_and_limits() -> None:
    for page in (text(counted(), PROVENANCE, None), markdown(counted(), PROVENANCE, None)):
        for part in ("signs that synthetic is aware", "Said", "Read", "Control", "Why not more", "does not show"):
            assert part in page
        assert "0 of 0" not in page


def test_text_and_markdown_explain_their_words_and_give_what_the_status_follows() -> None:
    found = counted()
    for page in (text(found, PROVENANCE, None), markdown(found, PROVENANCE, None)):
        plain = re.sub(r"\s+", " ", page.replace("\\", ""))
        for part in (
            *("puts a model's activations into words", "Headline paper: the text says", "Any of k is no headline here"),
            *("over prompt families where a family has several", "judged by planted@1", "positions stratified(12)"),
            *("Against controls", "measured − donor lane", "suite − ordinary chats", "Holm p", "Read after “"),
        ):
            assert part in plain, part
        for suite in (suite for suite in found.suites if suite.arm == "evaluation"):
            under = suite.under(found.primary)
            assert under.versus_deployment is not None
            assert points(under.versus_deployment.fraction_difference) in plain
            assert points(under.controls[0].fraction_difference) in plain
    status = text(found, PROVENANCE, None).splitlines()[1]
    assert status == "[SIGN, NOT CERTIFIED] in synthetic_office", "a suite keeps its name"


def test_a_rate_of_transcripts_has_an_interval_over_families_where_a_family_has_several() -> None:
    for per_family in (1, 3):
        found = tally(planted_frames([Arm("exam", "evaluation", 12, per_family, 0.5)]), QUICK)
        rate = found.suites[0].under(found.primary).lane("measured")
        assert rate is not None
        assert rate.any_of_k.printed == (rate.any_of_k.rate if per_family == 1 else rate.any_of_k.by_family)
        assert with_interval(rate.any_of_k.printed) in text(found, PROVENANCE, None)


def test_hostile_text_has_no_markup_and_no_escapes() -> None:
    for page in (text(counted(NASTY), PROVENANCE, None), markdown(counted(NASTY), PROVENANCE, None)):
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "⟨U+202E⟩" in page
    said = markdown(counted(NASTY), PROVENANCE, None)
    assert "<b>" not in said.replace("\\<b\\>", "")
    assert not [line for line in said.splitlines() if line.startswith(("# <", "#  <"))]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the report") as caught:
        written("json", tmp_path / "file" / "report.html")
    assert "\n" not in str(caught.value)
