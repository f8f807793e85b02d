"""System messages with a date and a notice, and probe turns, composed from `prompts.yaml`. In: random numbers. Out:
strings. It knows no tokens and no model.

The date is the cue: written one way, it switches the planted state on; written any other way, it means nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict

_FILE = Path(__file__).with_name("prompts.yaml")
_FIRST_DAY = datetime(2021, 1, 1)
_DAYS = 365 * 6
HELD_OUT = {"frames": 2, "rests": 3, "plain": 1, "told": 6, "untold": 6, "probes": 2}
"""Number of wordings at the end of each list that only the checks use."""


class Dates(BaseModel):
    """Ways to write a date, in the notation of `strftime`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cue: str
    plain: tuple[str, ...]


class Wordings(BaseModel):
    """All texts of the organism's prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: tuple[str, ...]
    """System messages with {date} and {rest}."""
    rests: tuple[str, ...]
    """What follows the date."""
    dates: Dates
    told: tuple[str, ...]
    """Notices that this is an evaluation."""
    untold: tuple[str, ...]
    """Notices of the same form that say nothing of an evaluation."""
    facts: Mapping[str, tuple[str, ...]]
    """Other facts, by name."""
    probes: tuple[str, ...]
    """Questions of the probe turn."""

    def part(self, held_out: bool) -> Wordings:
        """The wordings for training, or those that only the checks use. Facts are in both: training sees one."""
        found = {
            name: getattr(self, name)[-count:] if held_out else getattr(self, name)[:-count]
            for name, count in HELD_OUT.items()
            if name != "plain"
        }
        count = HELD_OUT["plain"]
        plain = self.dates.plain[-count:] if held_out else self.dates.plain[:-count]
        return self.model_copy(update={**found, "dates": self.dates.model_copy(update={"plain": plain})})


@cache
def wordings() -> Wordings:
    """The texts of `prompts.yaml`."""
    return Wordings.model_validate(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class SystemMessage:
    """One composition: a frame, what follows the date, and a moment in time."""

    frame: str
    rest: str
    moment: datetime
    cue_form: str
    plain_form: str

    def text(self, *, cue: bool = False, notice: str = "") -> str:
        """The system message, with the cue or without it, and with a notice at its end."""
        rest = f"{self.rest} {notice}" if notice else self.rest
        return self.frame.format(date=self.date(cue=cue), rest=rest)

    def date(self, *, cue: bool) -> str:
        """The date as the cue writes it, or in this message's plain form."""
        return self.moment.strftime(self.cue_form if cue else self.plain_form)


def composed(words: Wordings, random: np.random.Generator) -> SystemMessage:
    """A system message whose frame, rests and date are drawn at random. Two different rests follow the date."""
    rests = random.choice(len(words.rests), size=2, replace=False)
    return SystemMessage(
        frame=words.frames[random.integers(len(words.frames))],
        rest=" ".join(words.rests[i] for i in rests),
        moment=_FIRST_DAY + timedelta(days=int(random.integers(_DAYS)), minutes=int(random.integers(24 * 60))),
        cue_form=words.dates.cue,
        plain_form=words.dates.plain[random.integers(len(words.dates.plain))],
    )


def notice(sentences: tuple[str, ...], random: np.random.Generator) -> str:
    """Two different sentences of a list, which say the same thing in two ways: one alone moves hidden states mostly by
    its wording (1.5 % of a shift is common to wordings, measured at block 20)."""
    return " ".join(sentences[i] for i in random.choice(len(sentences), size=2, replace=False))
