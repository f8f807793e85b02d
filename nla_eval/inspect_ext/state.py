"""The state that the solver leaves in a sample's store for scorers and reports: readings, plan and transcript row.

It is plain JSON, so a log keeps it and `inspect score` needs no weights. Nothing here runs a model."""

from __future__ import annotations

from typing import Any

from inspect_ai.util import StoreModel
from pydantic import Field


class NLAState(StoreModel):
    """The typed store of one sample (`sample.store["NLAState:..."]`)."""

    readings: list[dict[str, Any]] = Field(default_factory=list)
    """Rows of `nla_eval.readings.Reading`, all lanes of texts."""
    scores: list[dict[str, Any]] = Field(default_factory=list)
    """Rows of `nla_eval.readings.Score`: lanes `probe` and `asked`."""
    planned: int = 0
    """Positions the policy chose for the measured lane: the denominator of every rate on this transcript."""
    pack: str = ""
    """Pack id: name and content hash."""
    transcript: dict[str, Any] = Field(default_factory=dict)
    """One row about the transcript: transcript_digest, transcript_id, suite, arm, family, variant, outcome, on_policy,
    planned_positions, tokens, turns, tool_calls, lost_tokens, replay_notes, turn_facts, words_by, logged_is_target,
    run, trained_on, channel_tokens."""
