"""The options every awareness task takes, checked before anything is loaded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..dataset.matching import Measure, parse_measures
from ..errors import InputError
from ..pipeline.lanes import ENGINE_LANES
from ..readings import Lane
from ..replay.positions import parse_policy
from ..replay.types import WINDOW_POLICIES
from .on_policy import AnswerSettings
from .target_api import user_folder


class TaskOptions(BaseModel):
    """Options of every awareness task (`-T name=value`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    positions: str = "stratified(12)"
    """Position policy with its number."""
    window: str = "head"
    """What to read of a transcript longer than the target's context: head; tail (whole messages, those it begins with
    and its last turns); whole (nothing)."""
    draws: int = Field(default=1, ge=1)
    """Explanations of each activation."""
    lanes: tuple[Lane, ...] = (Lane.MEASURED, Lane.DONOR)
    """"measured,donor,gaussian,mean,no_injection"; all but no_injection need a store with deployment activations."""
    seed: int = 0
    temperature: float = Field(default=1.0, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Token cap of an explanation; the pack's own where none is given."""
    store: str | None = None
    """Folder or URL of readings and activations: what is there is not made again, and control lanes come from it."""
    answers: AnswerSettings = AnswerSettings()
    """How the target writes the last turn, where it does; "{max_tokens: 64}"."""
    fresh: bool = False
    """Write answers anew even where there are kept ones."""
    match: tuple[Measure, ...] = ()
    """For a suite of the deployment arm: only what resembles `match_to` in "length,turns,tools,language"."""
    match_to: str = ""
    """The suite that a deployment arm is matched to."""
    classifier: dict[str, Any] = Field(default_factory=dict)
    """Passed to the scorer: "lexicon", or "{classifier: llm, headline: belief}". A run is re-judged with `inspect
    score`, which runs nothing again; this option is for the first judging."""

    @field_validator("classifier", mode="before")
    @classmethod
    def _by_name(cls, classifier: Any) -> Any:
        return {"classifier": classifier} if isinstance(classifier, str) else classifier

    @field_validator("match", mode="before")
    @classmethod
    def _measures(cls, match: Any) -> Any:
        try:
            return parse_measures(match) if match else ()
        except InputError as err:
            raise ValueError(str(err)) from err

    @model_validator(mode="after")
    def _both_or_none(self) -> TaskOptions:
        if bool(self.match) != bool(self.match_to):
            raise ValueError("match and match_to go together: -T match=length,turns -T match_to=blackmail")
        return self

    @field_validator("lanes", mode="before")
    @classmethod
    def _split(cls, lanes: Any) -> Any:
        return tuple(part.strip() for part in lanes.split(",")) if isinstance(lanes, str) else lanes

    @field_validator("lanes")
    @classmethod
    def _known(cls, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        if Lane.MEASURED not in lanes or len(set(lanes)) != len(lanes) or not set(lanes) <= set(ENGINE_LANES):
            raise ValueError(f"expected 'measured' and at most once each of {', '.join(ENGINE_LANES[1:])}")
        return lanes

    @field_validator("positions")
    @classmethod
    def _policy(cls, positions: str) -> str:
        try:
            return str(parse_policy(positions))
        except InputError as err:
            raise ValueError(str(err)) from err

    @field_validator("window")
    @classmethod
    def _window(cls, window: str) -> str:
        if window not in WINDOW_POLICIES:
            raise ValueError(f"expected one of {', '.join(WINDOW_POLICIES)}")
        return window

    @field_validator("store")
    @classmethod
    def _from_where_typed(cls, store: str | None) -> str | None:
        return user_folder(store) if store and "://" not in store else store

    @classmethod
    def parse(cls, options: dict[str, Any]) -> TaskOptions:
        """Raises InputError naming the first option that is wrong."""
        try:
            return cls.model_validate(options)
        except ValidationError as err:
            first = err.errors()[0]
            name = ".".join(map(str, first["loc"])) or "match"
            known = f"; options are {', '.join(cls.model_fields)}" if first["type"] == "extra_forbidden" else ""
            raise InputError(f"task option '{name}': {first['msg']}{known}") from err

    def reading(self) -> dict[str, Any]:
        """The options of `replay`, as plain values for a log."""
        names = {"positions", "window", "draws", "lanes", "seed", "temperature", "max_new_tokens", "store"}
        return self.model_dump(mode="json", include=names)
