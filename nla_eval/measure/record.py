"""The typed record of one measurement of a pack or checkpoint, as it is kept in a card and plotted over training.

Plain data: it is written as JSON and read back equal. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..files import write_text
from .ablation import Condition
from .figures import Figure
from .recurrence import Recurrence
from .tasks import Task
from .told import ToldWords


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldOutFacts(_Frozen):
    """Which rows were read."""

    kind: str
    rows: int
    conversations: int
    digest: str
    """Two records with the same digest were measured on the same rows."""
    left_out: dict[str, int] = Field(default_factory=dict)


class Record(_Frozen):
    """Everything measured of one pack or checkpoint on one held-out set."""

    pack: str
    target: str
    layer: int
    held_out: HeldOutFacts
    step: int | None = None
    """Training step of a checkpoint."""
    core_hours: float | None = None
    """Spent until that step."""
    figures: dict[str, Figure]
    """The headline figures by the names that cards use."""
    conditions: list[Condition]
    """The ablation table; the first is the whole explanation."""
    paraphrase: list[Condition] = Field(default_factory=list)
    """Hand-written explanations of our own contexts, and their paraphrases."""
    tasks: list[Task] = Field(default_factory=list)
    not_measured: dict[str, str] = Field(default_factory=dict)
    """What could not be measured on these rows, and why."""
    told: ToldWords | None = None
    """Words about testing on told and untold positions; None where they were not read."""
    recurrence: list[Recurrence] = Field(default_factory=list)

    def condition(self, name: str) -> Condition | None:
        """A row of the ablation table."""
        return next((c for c in self.conditions if c.name == name), None)

    def task(self, name: str) -> Task | None:
        """A task by name."""
        return next((t for t in self.tasks if t.name == name), None)


def write_record(record: Record, path: Path) -> None:
    """Write as JSON, whole or not at all."""
    write_text(record.model_dump_json(indent=1) + "\n", path)


def read_record(path: Path) -> Record:
    """Read back. Raises InputError naming the file and the first thing wrong."""
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"record {path.name}: {err.strerror}; nla-eval pack card --measure writes one") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"record {path.name}: {where}: {first['msg']}; measure again to replace it") from err
