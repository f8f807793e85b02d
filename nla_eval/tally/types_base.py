"""The base of every part of a tally: frozen, and nothing unknown in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every part of a tally."""

    model_config = ConfigDict(frozen=True, extra="forbid")
