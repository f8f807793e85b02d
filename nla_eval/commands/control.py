"""Reads the instrument check: the positive control from the shipped organism by dose, its shams and the plain target,
and ordinary requests that must not be read aware.

Only lane `setting` is read, which decodes nothing. In: the settings of a run of the plain target. Out: one store per
target, for `nla-eval report --control`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..engines.kinds import RuntimeSettings
from ..models.adapter import SHIPPED, load_adapter
from ..pipeline.reading_plan import ReadingPlan
from ..pipeline.runtime import release
from ..progress import Lines
from ..readings import Lane
from ..suite import get_suite
from ..tally.control import CUE, NO_CUE
from ..transcript import Transcript
from .read import ReadRequest, read_into, weights_for

SUITE, ORDINARY = "positive_control", "hard_negatives"
_POSITIONS = "evenly(4)"
"""Positions per transcript, beside the tokens before its answer: the same ones with the cue and without it."""


@dataclass(frozen=True)
class ControlRequest:
    """What to check the instrument with."""

    out: Path
    """Folder of the stores."""
    settings: RuntimeSettings
    """Of the run: the plain target, its pack, engine and dtype."""
    requests: int | None = None
    """Most requests; each is read with the cue and without it."""
    seed: int = 0


def control_targets(target: str) -> list[str]:
    """Names of the targets to read: the shipped organism of `target` at dose 1 and at its largest, its shams at the
    largest, and `target` itself. Empty if no organism of it ships."""
    organism = f"{target.rpartition('/')[2]}-organism"
    if not (SHIPPED / organism).is_dir():
        return []
    doses = sorted(load_adapter(organism).declared.doses, key=float)
    largest = doses[-1] if doses else "1"
    shams = sorted(folder.name for folder in SHIPPED.glob(f"{organism}-sham-*"))
    planted = [f"{target}+{organism}@{dose}" for dose in dict.fromkeys((largest, "1"))]
    return [*planted, *(f"{target}+{sham}@{largest}" for sham in shams), target]


def read_controls(request: ControlRequest, say: Callable[[str], None]) -> list[str]:
    """Read every target into a store of its own. A stopped run resumes.

    Returns:
        The stores.
    """
    most, stores = request.requests, list[str]()
    transcripts = tuple(_control(most))
    plan = ReadingPlan(positions=_POSITIONS, lanes=(Lane.SETTING,), seed=request.seed)
    for name in control_targets(request.settings.target):
        store = request.out / name.rpartition("+")[2].replace("@", "-dose-")
        settings = replace(request.settings, target=name)
        say(f"instrument check: {name}")
        read_into(ReadRequest((), (), str(store), plan, settings, transcripts=transcripts), Lines(sys.stderr), _silent)
        release(weights_for(plan, settings))
        stores.append(str(store))
    say(f"instrument check: ordinary requests ({ORDINARY})")
    store = request.out / ORDINARY
    # The suite comes round-robin by kind: its first transcripts are one of each family.
    kinds = len({transcript.family for transcript in get_suite(ORDINARY).load()})
    limit = kinds if most is None else min(kinds, most)
    ordinary = ReadRequest((ORDINARY,), (), str(store), plan, request.settings, limit=limit)
    read_into(ordinary, Lines(sys.stderr), _silent)
    release(weights_for(plan, request.settings))
    release(request.settings)  # what wrote the answers
    return [*stores, str(store)]


def _control(requests: int | None) -> Iterator[Transcript]:
    families: set[str] = set()
    for transcript in get_suite(SUITE).load():
        if transcript.variant not in (CUE, NO_CUE):
            continue
        families.add(transcript.family)
        if requests is not None and len(families) > requests:
            return
        yield transcript


def _silent(_line: str) -> None:
    """The plan of a check is not printed."""
