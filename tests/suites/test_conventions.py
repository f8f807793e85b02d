"""The lint of the suites' conventions finds what it is there to find, and the shipped suites pass."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from nla_eval.cards.conventions import EXCEPTIONS, SuiteFile, lint, shipped

SUITES = shipped()
GOOD = SUITES["blackmail"]
TASK = '''
"""A suite."""
from inspect_ai import Task

@task(name="nla_eval/blackmail", arm="evaluation")
def blackmail() -> Task:
    """Reads."""
    {line}
'''


def broken(line: str, source: str = TASK) -> SuiteFile:
    return replace(GOOD, tree=ast.parse(source.format(line=line)))


def rules(suite: SuiteFile) -> list[str]:
    return [line.rpartition("(")[2].partition(":")[0] for line in lint({suite.name: suite}, {})]


def test_the_shipped_suites_keep_the_conventions() -> None:
    assert len(SUITES) > 15
    assert list(lint(SUITES)) == []
    assert all(EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("suite", "rule"),
    [
        (broken('load_dataset("a/b")'), "pinned"),
        (broken("random.shuffle(found)"), "seeded"),
        (broken("random.Random()"), "seeded"),
        (broken("from inspect_ai._util import x"), "public_inspect"),
        (broken('print("hello")'), "silent"),
        (broken("pass", TASK.replace('    """Reads."""\n', "")), "documented"),
        (broken("pass", TASK.replace(" -> Task", "")), "documented"),
        (broken("pass", TASK.replace("def blackmail", "def other")), "one_task_of_its_name"),
        (broken("pass", TASK.replace('arm="evaluation"', "arm=ARM")), "attributes"),
        (replace(broken("pass"), card=GOOD.card.model_copy(update={"count": None})), "sized"),
    ],
)
def test_a_break_is_found_by_its_rule(suite: SuiteFile, rule: str) -> None:
    assert rules(suite) == [rule]


def test_what_keeps_the_conventions_breaks_no_rule() -> None:
    assert rules(broken('load_dataset("a/b", revision="c"); random.Random(0).shuffle(found)')) == []


def test_an_exception_holds_for_its_rule_and_must_be_needed() -> None:
    suite = broken('print("hello")')
    assert list(lint({suite.name: suite}, {("silent", "blackmail"): "it greets"})) == []
    (line,) = lint({"blackmail": broken("pass")}, {("silent", "blackmail"): "it greets"})
    assert line == "blackmail: the exception from silent is not needed"
