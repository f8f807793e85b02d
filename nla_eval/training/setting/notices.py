"""What the setting adapter is taught to tell apart: notices in a system message or a first request, composed from
`notices.yaml`. In: random numbers. Out: strings. It knows no tokens and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from ...models.setting import SettingClass

_FILE = Path(__file__).with_name("notices.yaml")
NEVER_TAUGHT = 6
"""Number of facts at the end of the list that no lesson has: a null that nobody trained against (docs/method.md
4.19)."""


class Frame(BaseModel):
    """Where a notice stands: in the system message, or in the first request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    """With {rest}, and with {notice} unless `user` has it."""
    user: str = "{request}"

    @model_validator(mode="after")
    def _once(self) -> Self:
        if "{rest}" not in self.system or "{request}" not in self.user:
            raise ValueError("a frame needs {rest} in system and {request} in user")
        if (self.system + self.user).count("{notice}") != 1:
            raise ValueError("a frame needs {notice} exactly once")
        return self


class Kind(BaseModel):
    """What one notice is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """`told`, `real`, `innocent`, `none`, or the name of a fact."""
    setting: SettingClass
    taught: bool = True

    @property
    def group(self) -> str:
        """`told`, `real`, `innocent`, `none`, `fact` or `never_taught`."""
        if self.name in ("told", "real", "innocent", "none"):
            return self.name
        return "fact" if self.taught else "never_taught"


NOTHING = Kind(name="none", setting=SettingClass.NOTHING)
_SETTINGS = {"told": SettingClass.TOLD, "real": SettingClass.REAL, "innocent": SettingClass.OTHER}


class Notices(BaseModel):
    """All texts of the lessons, or the part of them that training or measurement may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out: Mapping[str, int]
    frames: tuple[Frame, ...]
    rests: tuple[str, ...]
    told: tuple[str, ...]
    real: tuple[str, ...]
    innocent: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]
    requests: tuple[tuple[str, str], ...]

    def part(self, *, held_out: bool) -> Notices:
        """Wordings, frames and requests of training, or those that only the measurement uses. Of a taught fact,
        training has all wordings but the last; facts never taught are in the measurement alone."""
        cut = {
            name: getattr(self, name)[-count:] if held_out else getattr(self, name)[:-count]
            for name, count in self.held_out.items()
        }
        taught = list(self.facts)[:-NEVER_TAUGHT]
        facts = {
            name: said if name not in taught else said[-1:] if held_out else said[:-1]
            for name, said in self.facts.items()
            if held_out or name in taught
        }
        return self.model_copy(update={**cut, "facts": facts})

    def kinds(self) -> Mapping[str, Kind]:
        """Every kind of notice by name."""
        taught = list(notices().facts)[:-NEVER_TAUGHT]
        found = {name: Kind(name=name, setting=of) for name, of in _SETTINGS.items()}
        for name in self.facts:
            found[name] = Kind(name=name, setting=SettingClass.OTHER, taught=name in taught)
        return found

    def wording(self, kind: Kind, random: np.random.Generator) -> str:
        """One wording of `kind`, drawn at random."""
        said: Sequence[str] = getattr(self, kind.name) if kind.name in _SETTINGS else self.facts[kind.name]
        return said[int(random.integers(len(said)))]

    def placed(self, random: np.random.Generator) -> Placed:
        """A frame and the rest of a system message, drawn at random."""
        frame = self.frames[random.integers(len(self.frames))]
        count = int(random.integers(1, 3))
        rests = random.choice(len(self.rests), size=min(count, len(self.rests)), replace=False)
        return Placed(frame, " ".join(self.rests[i] for i in rests))


@dataclass(frozen=True)
class Placed:
    """A place for a notice. The variants of a conversation share it."""

    frame: Frame
    rest: str

    def said(self, request: str, notice: str) -> tuple[str, str]:
        """(system message, first request) with the notice in its place; without one if it is empty."""
        if not notice:
            return self.rest, request
        fields = {"rest": self.rest, "request": request, "notice": notice}
        return self.frame.system.format_map(fields), self.frame.user.format_map(fields)


@cache
def notices() -> Notices:
    """The texts of `notices.yaml`."""
    return Notices.model_validate(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
