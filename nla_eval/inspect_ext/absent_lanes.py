"""Why an Inspect task cannot read a lane that borrows deployment activations, and the command that adds them.

In: the weights, the plan and the store of a task. Out: one line for log, terminal and report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields

from ..engines.kinds import RuntimeSettings
from ..pipeline.options import declared
from ..pipeline.reading_plan import ReadingPlan
from ..readings import Lane

DEPLOYMENT = "real_usage"
"""The deployment suite that the line names: real chats, available offline with the demo's packages."""


def absence(lanes: Sequence[Lane], settings: RuntimeSettings, plan: ReadingPlan, store: str | None) -> str:
    """One line: which lanes are not read, why, and what to run. Empty without such a lane.

    Args:
        lanes: The requested lanes that cannot be read.
        settings: The weights of the task.
        plan: The plan as requested.
        store: URL of the task's store; None if it has none.
    """
    if not lanes:
        return ""
    lacking = "its store has no deployment activations" if store else "it has no store to take deployment ones from"
    words = ["inspect", "eval", f"nla_eval/{DEPLOYMENT}", "--model", f"nla/{settings.target}"]
    given = {f.name: f.default for f in fields(RuntimeSettings)}
    for name, value in settings.model_args().items():
        words += [] if value == given[name] else ["-M", f"{name}={value}"]
    words += ["-T", f"store={store or 'store'}"]
    for name, (what, default) in declared(ReadingPlan).items():
        value = getattr(plan, name)
        words += ["-T", f"{name}={value}"] if what.shared and value != default else []
    again = "run this task again" if store else "run this task again with -T store=store"
    few = "lane" if len(lanes) == 1 else "lanes"
    return f"{few} {', '.join(lanes)} not read by this task: {lacking}. Run: {shlex.join(words)}; then {again}"
