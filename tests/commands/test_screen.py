"""Every command shows itself: help in one line, options in groups, and two examples that its own parser takes."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
import typer.main

from nla_eval.commands.cli import app
from nla_eval.commands.reference import TREE
from nla_eval.commands.screen import EXAMPLES, GROUPS

COMMANDS = [words for words, command in TREE.items() if words and not command.group]


def command_of(words: tuple[str, ...]) -> object:
    found = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_has_two_examples_that_its_parser_takes(words: tuple[str, ...]) -> None:
    examples = EXAMPLES[" ".join(words)]
    assert len({*examples}) == 2
    for line in examples:
        typed = shlex.split(line.partition(" | ")[0])
        assert tuple(typed[: 1 + len(words)]) == ("nla-eval", *words)
        command_of(words).make_context(words[-1], typed[1 + len(words) :])  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_says_what_it_does_and_what_every_option_means(words: tuple[str, ...]) -> None:
    found = TREE[words]
    assert found.help.endswith(".")
    assert all(parameter.help for parameter in found.parameters)


@pytest.mark.parametrize("words", [("report",), ("read",), ("store", "check")], ids=" ".join)
def test_help_on_the_terminal_has_groups_where_options_are_many_and_ends_in_the_examples(
    words: tuple[str, ...],
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "nla_eval", *words, "-h"], capture_output=True, text=True, check=True, timeout=120
    )
    shown = [line.rstrip() for line in ran.stdout.splitlines()]
    assert shown[-3:] == ["Examples:", *(f"  {line}" for line in EXAMPLES[" ".join(words)])]
    headings = [line.removesuffix(":") for line in shown if line.startswith("Options")]
    if words == ("store", "check"):
        assert headings == ["Options"]
    else:
        assert {"Options: judging", "Options: output"} & {*headings} or "Options: reading" in headings
        assert len(headings) >= 3
    options = {option for option in TREE[words].options if option.startswith("--")}
    spelt = {word for line in shown for word in line.replace(",", " ").split()[:2]}
    assert options <= spelt


def test_groups_name_each_option_once() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len({*names})
