"""What Inspect imports through the entry point: registers the provider, solvers, scorers and tasks.

Loaded in every Inspect command, so nothing here may import torch or transformers."""

from typing import Any

from inspect_ai import Task

from . import awareness
from ._rooms import load_room
from .cards.listing import local_cards
from .inspect_ext import provider as providers
from .inspect_ext import scorer as scoring
from .suite import get_suite, shipped_suite_names, task

__all__ = ["awareness", "providers", "scoring"]

load_room("suites")


def _offer(name: str) -> None:
    """Register a task `nla_eval/<name>` for a suite with a card in the current folder."""

    @task(name=f"nla_eval/{name}")
    def of_card(**options: Any) -> Task:
        return awareness.awareness_task(get_suite(name), **options)


for _name in {*local_cards()} - {*shipped_suite_names()}:
    _offer(_name)
