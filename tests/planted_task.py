"""Registers the planted instrument as an engine and a suite of its chats, so that whole tasks run without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nla_eval.engines.generation import Generated, GenerateRequest
from nla_eval.engines.kinds import ENGINES, RuntimeSettings
from nla_eval.engines.questions import Answered, AskRequest
from nla_eval.pipeline.asked import wordings
from nla_eval.suite import Suite, SuiteCard, register
from nla_eval.transcript import Arm, Transcript
from tests.fakes import CUE, ByteTarget, PlantedEngine, TinyPack, chat, plain_scores


@dataclass(frozen=True)
class PlantedPack(TinyPack):
    """With the cap a pack states."""

    max_new_tokens: int = 40


LAST_ENGINE: list[PlantedEngine] = []
"""The engine of each runtime, in order of loading."""
BATCHES: list[int] = []
"""Sizes of the batches of prompts that were answered."""


@ENGINES.register("planted")
class PlantedKind:
    """Loads the planted instrument."""

    records = False

    @staticmethod
    def target(settings: RuntimeSettings) -> Any:
        return ByteTarget(max_context=65536)

    @staticmethod
    def pack(settings: RuntimeSettings, target: Any) -> Any:
        return PlantedPack()

    @staticmethod
    def engine(settings: RuntimeSettings, target: Any, pack: Any) -> PlantedEngine:
        LAST_ENGINE.append(PlantedEngine())
        return LAST_ENGINE[-1]

    @staticmethod
    def scorer(pack: Any) -> Any:
        return plain_scores

    @staticmethod
    def generator(
        settings: RuntimeSettings, target: Any, tapped: int | None
    ) -> Callable[[Sequence[GenerateRequest]], list[Generated]]:
        def write(requests: Sequence[GenerateRequest]) -> list[Generated]:
            BATCHES.append(len(requests))
            if any(r.max_new_tokens == 13 for r in requests):
                raise RuntimeError("planted failure")
            return [
                Generated(f"It is city {len(r.token_ids)}, far from the sea.", 9, "stop", r.token_ids) for r in requests
            ]

        return write

    @staticmethod
    def answerer(settings: RuntimeSettings, target: Any) -> Callable[[Sequence[AskRequest]], list[Answered]]:
        """A target that says the truth: whether the cue stands before the question."""

        def answers(requests: Sequence[AskRequest]) -> list[Answered]:
            texts = [str(target.tokenizer.decode(r.shared.tolist())) for r in requests]
            aware = [0.9 if CUE in text else 0.2 for text in texts]
            yes = [tuple(p if q.aware else 1 - p for q in wordings()) for p in aware]
            return [Answered(each, (0.8,) * len(each)) for each in yes]

        return answers


def planted_suite(name: str, arm: Arm, count: int, *, answers_by: str = "recorded", cue: bool = False) -> Suite:
    """A suite of planted chats; where the target answers, without their last turn."""
    card = SuiteCard.model_validate(
        {
            "name": name,
            "title": "Planted chats",
            "arm": arm,
            "source": "tests",
            "licence": "Apache-2.0",
            "families": "four",
            "needs": "offline",
            "count": count,
            "answers_by": answers_by,
        }
    )

    def load() -> Iterator[Transcript]:
        for number in range(count):
            full = chat(number + (100 if arm is Arm.DEPLOYMENT else 0), arm, cue=cue)
            messages = full.messages[:-1] if answers_by == "target" else full.messages
            yield full.model_copy(update={"suite": name, "messages": messages})

    return register(Suite(card=card, load=load, outcome=lambda t: "city" if "city" in t.messages[-1].text else None))
