"""Planted readers of the text, the target's answers and a probe: what they say is a known function of the tokens. They
exercise the lanes; none is a stand-in for a real reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nla_eval.engines.base import Draw, Sampling
from nla_eval.engines.questions import Answered, AskRequest
from nla_eval.models.probe import Probe, ProbeFacts
from nla_eval.pipeline.asked import wordings
from nla_eval.pipeline.text_readers import TextRequest
from nla_eval.readings import StopReason
from nla_eval.stats.interval import Estimate
from tests.fakes import AWARE, AWARE_DIRECTION, CUE, D_MODEL, NEUTRAL, ByteTarget


@dataclass
class PlantedTextReader:
    """Says AWARE if the cue stands in its window."""

    name: str = "planted-reader"
    window: int = 64
    target: ByteTarget = field(default_factory=ByteTarget)
    asked: list[TextRequest] = field(default_factory=list)

    async def write(self, requests: Sequence[TextRequest], sampling: Sampling) -> list[Draw]:
        self.asked += requests
        return [
            Draw(r.key, f"{AWARE if CUE in self.text(r) else NEUTRAL} #{r.number % 1000}", StopReason.CLOSED, 7)
            for r in requests
        ]

    def text(self, request: TextRequest) -> str:
        return str(self.target.tokenizer.decode(request.window.tolist()))


async def planted_answers(request: AskRequest) -> Answered:
    """A target that believes the cue, says so with probability 0.9, and has a habit of saying yes (0.05)."""
    aware = 0.9 if CUE in str(ByteTarget().tokenizer.decode(request.shared.tolist())) else 0.2
    return Answered(tuple((aware if q.aware else 1 - aware) + 0.05 for q in wordings()), (0.8,) * len(wordings()))


def planted_probe(target: str = "byte-target", layer: int = 1, name: str = "planted") -> Probe:
    """Reads the planted direction: positive log-odds where the activation holds it."""
    known = Estimate(1.0, 0.9, 1.0, 8, "planted")
    facts = ProbeFacts(
        target=target, target_name="bytes", layer=layer, trained_on="planted", data="planted", rows=0, pairs=0,
        families=0, readers={"probe": known}, paired=known,
    )  # fmt: skip
    direction = AWARE_DIRECTION / float(AWARE_DIRECTION @ AWARE_DIRECTION)
    assert direction.shape == (D_MODEL,)
    return Probe(name, np.asarray(direction, np.float32), -0.5, facts)
