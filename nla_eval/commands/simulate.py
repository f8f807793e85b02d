"""The command `nla-eval simulate`: runs the planted worlds and writes or prints the page about them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ..files import written
from ..progress import Lines
from ..simulate.coverage import Plan
from ..simulate.coverage import run as replicated
from ..simulate.page import page
from ..simulate.pools import load_pools
from ..simulate.whole import worlds


@dataclass(frozen=True)
class SimulateRequest:
    """What to run."""

    write: Path | None
    replications: int
    seed: int = 0
    processes: int | None = None


def run(request: SimulateRequest) -> None:
    """Judge the pools once, run every world, and make the page."""
    plan = Plan(request.replications, request.seed)
    if request.processes is not None:
        plan = replace(plan, processes=request.processes)
    pools = load_pools()
    whole = list(worlds(pools, plan.seed))
    text = page(pools, plan, replicated(pools, plan, Lines(sys.stderr)), whole)
    if request.write is None:
        print(text)
        return
    with written(request.write) as part:
        part.write_text(text, encoding="utf-8")
    print(f"wrote {request.write}")
