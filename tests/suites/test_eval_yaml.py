"""Our suites in the form of inspect_evals, and the attributes by which Inspect lists them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from inspect_evals.metadata import InternalEvalMetadata

from nla_eval.cards.card import SuiteCard
from nla_eval.cards.eval_yaml import write
from nla_eval.cards.listing import shipped_cards
from nla_eval.cards.needs import Needs

CARDS = {name: SuiteCard.load(path) for name, path in shipped_cards().items()}


def test_every_card_is_an_eval_of_inspect_evals(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert [path.parent.name for path in written] == list(CARDS)
    for path in written:
        found = InternalEvalMetadata.model_validate({"id": path.parent.name, **yaml.safe_load(path.read_text())})
        card = CARDS[path.parent.name]
        assert (found.tasks[0].name, found.tasks[0].dataset_samples) == (card.name, card.count)
        assert found.uses_huggingface == (card.needs is Needs.HUB)
        assert {asset.state.value for asset in found.external_assets} <= {"pinned"}


@pytest.mark.parametrize("name", CARDS)
def test_the_attributes_of_a_task_are_those_of_its_card(name: str) -> None:
    tree = ast.parse(shipped_cards()[name].with_suffix(".py").read_text())
    decorators = [
        call
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for call in node.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "task"
    ]
    (found,) = ({k.arg: ast.literal_eval(k.value) for k in call.keywords} for call in decorators)
    card = CARDS[name]
    assert found == {"name": f"nla_eval/{name}", "arm": card.arm.value, "needs": card.needs.value}
