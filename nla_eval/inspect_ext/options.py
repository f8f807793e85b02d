"""The options of every awareness task, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, field_validator, model_validator

from ..dataset.matching import Measure, parse_measures
from ..errors import InputError
from ..pipeline.options import declared
from ..pipeline.presets import PRESETS, Followed, deviations
from ..pipeline.reading_plan import ReadingPlan
from .on_policy import AnswerSettings
from .target_api import user_folder


class TaskOptions(BaseModel):
    """Options of every awareness task (`-T name=value`): the options of `ReadingPlan`, and the fields below."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: InstanceOf[ReadingPlan] = ReadingPlan()
    """How transcripts are read. Its options are given by name: `-T positions=... -T draws=...`."""
    store: str | None = None
    """Folder or URL of a store. Readings found there are not made again; control lanes use its activations."""
    answers: AnswerSettings = AnswerSettings()
    """Generation settings of the target's answers, for example "{max_tokens: 64}"."""
    fresh: bool = False
    """Write new answers even if kept ones exist."""
    match: tuple[Measure, ...] = ()
    """For a deployment suite: read only transcripts matched to `match_to` in "length,turns,tools,language"."""
    match_to: str = ""
    """The suite that the deployment suite is matched to."""
    classifier: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the scorer: "lexicon", or "{classifier: llm, headline: belief}". It sets the first judging; use
    `inspect score` to judge a finished run again without running the models."""

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

    @field_validator("store")
    @classmethod
    def _from_where_typed(cls, store: str | None) -> str | None:
        return user_folder(store) if store and "://" not in store else store

    @classmethod
    def parse(cls, options: dict[str, Any]) -> TaskOptions:
        """Options by name, including those of `ReadingPlan`. Raises InputError naming the first wrong one."""
        names = declared(ReadingPlan)
        own = {name: value for name, value in options.items() if name not in names}
        try:
            plan = ReadingPlan.of({name: value for name, value in options.items() if name in names})
            if plan.probe is not None:
                plan = replace(plan, probe=user_folder(plan.probe))
        except InputError as err:
            raise InputError(f"task option {err}") from None
        try:
            if "plan" in own:
                raise InputError(_unknown("plan"))
            return cls.model_validate({**own, "plan": plan})
        except ValidationError as err:
            first = err.errors()[0]
            name = ".".join(map(str, first["loc"])) or "match"
            if first["type"] == "extra_forbidden":
                raise InputError(_unknown(name)) from err
            raise InputError(f"task option '{name}': {first['msg']}; correct -T {name}=...") from err

    def deviations(self) -> list[str]:
        """What the task does differently from the protocol of its preset, as far as it is known before reading."""
        judge = str(self.classifier.get("classifier", ""))
        return deviations(PRESETS[self.plan.preset], Followed(self.plan.plain(), classifier=judge))

    def scorer(self) -> dict[str, Any]:
        """Arguments of the scorer, with those of the preset where none are given."""
        preset = PRESETS[self.plan.preset]
        told = self.classifier.get("classifier") == "llm" and preset.judge_mode != "blind"
        mode = {"mode": preset.judge_mode} if told else {}
        return {"headline": preset.headline, "rubric": preset.rubric, **mode, **self.classifier}

    def reading(self) -> dict[str, Any]:
        """The options of the step `replay`, as plain values for a log."""
        return {**self.plan.plain(), "store": self.store}


def _unknown(name: str) -> str:
    known = [*declared(ReadingPlan), *(own for own in TaskOptions.model_fields if own != "plan")]
    return f"unknown task option '{name}'; options are {', '.join(known)}"
