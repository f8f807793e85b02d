"""`suite inspect` and `suite add` read the same options for the data, declared once."""

from __future__ import annotations

import inspect

import pytest

from nla_eval.cards.choices import ReadingChoices
from nla_eval.commands import cli_suite
from nla_eval.commands.source_options import source_request


@pytest.mark.parametrize("command", ["inspect", "add"])
def test_every_choice_of_a_card_is_an_option_of_its_name_and_default(command: str) -> None:
    made = inspect.signature(getattr(cli_suite, f"suite_{command}")).parameters
    for name, field in ReadingChoices.model_fields.items():
        option = made["role" if name == "roles" else name]
        assert option.default == (None if name == "roles" else field.default)


def test_both_commands_have_the_same_options_for_the_data() -> None:
    both = [inspect.signature(command).parameters for command in (cli_suite.suite_inspect, cli_suite.suite_add)]
    shared = inspect.signature(source_request).parameters
    for parameters in both:
        assert [name for name in parameters if name in shared] == list(shared)
