"""Which suites lack the donor lane, and the command that adds it, from the command that an artefact records.

In: a recorded command, or what is gathered for a report. Out: lines for the terminal and the report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..inspect_ext.absent_lanes import DEPLOYMENT
from ..pipeline.options import declared
from ..pipeline.reading_plan import ReadingPlan
from ..readings import LANES, Lane
from .next_step import next_step

if TYPE_CHECKING:
    from ..tally.gather import Gathered


def with_donors(command: str) -> str:
    """A command `nla-eval read ...` once more, with a deployment suite; empty for any other command.

    Readings that exist are not made again, so it reads the deployment arm and the lanes that borrow from it.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if "read" not in words[1:4]:
        return ""
    given = [word for word in words[words.index("read") + 1 :] if word != "--plan"]
    return next_step("nla-eval", "read", DEPLOYMENT, *given)


def lacking_donors(gathered: Gathered) -> list[str]:
    """One line for all suites that were read without the donor lane, with the commands that add it."""
    import polars as pl

    read = gathered.readings.filter(pl.col("position") >= 0).select("transcript_digest", "lane").unique()
    arms = gathered.transcripts.select("transcript_digest", "suite", "arm").unique()
    found = arms.join(read, on="transcript_digest").filter(~pl.col("arm").is_in(sorted(LANES[Lane.DONOR].not_in)))
    with_lane = set(found.filter(pl.col("lane") == Lane.DONOR.value)["suite"])
    lacking = sorted(set(found["suite"]) - with_lane)
    if not lacking:
        return []
    told = "; ".join(dict.fromkeys(filter(None, map(_adding, gathered.provenance.values()))))
    mend = f"To add it: {told}" if told else f"To add it, read them together with {DEPLOYMENT} into one store"
    return [f"the donor lane was not read for {', '.join(lacking)}, so nothing shows its false positives. {mend}"]


def _adding(provenance: Any) -> str:
    facts = provenance if isinstance(provenance, Mapping) else {}
    if "task" not in facts:
        return with_donors(str(facts.get("command", "")))
    options, target = dict(facts.get("options") or {}), str(facts.get("target"))
    if str(facts["task"]).endswith(f"/{DEPLOYMENT}"):
        return ""
    shared = {name for name, (what, _) in declared(ReadingPlan).items() if what.shared} | {"store"}
    options.setdefault("store", "store")
    first = {name: value for name, value in options.items() if name in shared}
    deployment = _inspect_eval(f"nla_eval/{DEPLOYMENT}", target, first)
    return f"{deployment}, then {_inspect_eval(str(facts['task']), target, options)}"


def _inspect_eval(task: str, model: str, options: Mapping[str, Any]) -> str:
    words = [word for name, value in options.items() for word in ("-T", f"{name}={_typed(value)}")]
    return next_step("inspect", "eval", task, "--model", model, *words)


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)
