"""The typed record of one measurement of a pack or checkpoint, stored in cards and plotted over training.

Plain data: written as JSON and read back equal. Computes nothing."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..files import write_text
from ..printable import first_fault
from .ablation import Condition
from .figures import Figure
from .recurrence import Recurrence
from .said import SaidClaim
from .tasks import Task
from .told import ToldJudged, ToldWords


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldOutFacts(_Frozen):
    """The held-out rows of a measurement."""

    kind: str
    rows: int
    conversations: int
    digest: str
    """Records with equal digests were measured on the same rows."""
    left_out: dict[str, int] = Field(default_factory=dict)


class Record(_Frozen):
    """All measurements of one pack or checkpoint on one held-out set."""

    pack: str
    target: str
    layer: int
    held_out: HeldOutFacts
    step: int | None = None
    """Training step of a checkpoint."""
    core_hours: float | None = None
    """Core-hours spent up to that step."""
    figures: dict[str, Figure]
    """The headline figures by their names in cards."""
    conditions: list[Condition]
    """The ablation table; its first row is the whole explanation."""
    paraphrase: list[Condition] = Field(default_factory=list)
    """Hand-written explanations of our own contexts, and their paraphrases."""
    tasks: list[Task] = Field(default_factory=list)
    not_measured: dict[str, str] = Field(default_factory=dict)
    """Measurements that could not be made on these rows, with the reason."""
    told: ToldWords | None = None
    """Words about testing on told and untold positions; None if not measured."""
    told_judged: ToldJudged | None = None
    """The same explanations judged as those of a run: told recall of N; None if not measured."""
    recurrence: list[Recurrence] = Field(default_factory=list)
    said: list[SaidClaim] = Field(default_factory=list)
    """Claims of plain explanations held against their contexts; empty if the explanations are of another form."""

    def condition(self, name: str) -> Condition | None:
        """The row of the ablation table called `name`."""
        return next((c for c in self.conditions if c.name == name), None)

    def task(self, name: str) -> Task | None:
        """The task called `name`."""
        return next((t for t in self.tasks if t.name == name), None)


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(record.model_dump_json(indent=1) + "\n", path)


def read_record(path: Path) -> Record:
    """Read a record. Raises InputError naming the file and the first fault."""
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"record {path.name}: {err.strerror}; nla-eval pack card --measure writes one") from err
    except ValidationError as err:
        raise InputError(f"record {path.name}: {first_fault(err)}; measure again to replace it") from err
