"""The page names every world and estimate; the committed one is of this code."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nla_eval.commands.cli import app
from nla_eval.simulate.coverage import SECTIONS, Plan, run
from nla_eval.simulate.page import page
from nla_eval.simulate.pools import Pools
from nla_eval.stats.interval import Resampling

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"


@pytest.fixture(scope="module")
def once(pools: Pools):
    plan = Plan(replications=1, processes=1, how=Resampling(resamples=100))
    return plan, run(pools, plan)


def test_the_page_has_a_row_for_each_estimate_of_each_world(once, pools: Pools) -> None:
    plan, results = once
    text = page(pools, plan, results, [])
    for section in SECTIONS[:-1]:
        for line in results[section]:
            assert line.name in text
            assert line.world in text


def test_the_committed_page_is_of_the_worlds_and_estimates_of_this_code(once) -> None:
    text, (_, results) = COMMITTED.read_text(encoding="utf-8"), once
    missing = {x for section in SECTIONS[:-1] for line in results[section] for x in (line.name, line.world)}
    assert [x for x in sorted(missing) if x not in text] == []


def test_no_line_of_the_committed_page_misses_its_bar() -> None:
    assert "| missed |\n" not in COMMITTED.read_text(encoding="utf-8").partition("## Estimates")[2]


def test_a_wrong_number_of_replications_is_refused_in_one_line() -> None:
    done = CliRunner().invoke(app, ["simulate", "--replications", "0"])
    assert done.exit_code != 0
    assert "replications" in str(done.exception)


@pytest.mark.full
def test_the_command_writes_the_page_with_the_real_classifier(tmp_path: Path) -> None:
    out = tmp_path / "coverage.md"
    done = CliRunner().invoke(app, ["simulate", "--replications", "2", "--processes", "1", "--write", str(out)])
    assert done.exit_code == 0, done.output
    assert "judged once by `linear@" in out.read_text(encoding="utf-8")
