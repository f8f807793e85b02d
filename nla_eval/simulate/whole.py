"""Complete worlds through the tally: planted texts, judged, counted and compared by the code that makes reports.

In: pools. Out: what a report prints for each world. A judgement comes from the pools' verdicts, hence from the real
classifier, by the same functions that judge a store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from ..judgement import Judgement, Label, Outcome, Rubric
from ..judging.classify import judge_messages
from ..judging.panel import judge_readings_by_suite
from ..readings import Lane, StopReason
from ..stats.interval import Estimate
from ..store.rows import SCHEMA
from ..tally.agreement import agreement
from ..tally.frames import Frames
from ..tally.tally import TallyOptions, tally
from ..tally.types import HeadlineTally, PairAgreement, Tally
from ..transcript import Author, TurnFacts
from .pools import HEADLINE, Pools
from .world import Arm, Drawn, Verbalizer, draw, reread

PACK = "planted@0000000000000000"
SUITES = {"evaluation": "planted_evaluation", "deployment": "planted_use"}


@dataclass(frozen=True)
class Whole:
    """One world and what is planted in it."""

    name: str
    planted: str
    evaluation: Arm
    deployment: Arm
    leak: float = 0.0
    """Chance that the judge flags a text because it is told the evaluation suite's name."""


@dataclass(frozen=True)
class Printed:
    """What the tally prints of a world under the leading headline."""

    whole: Whole
    tally: Tally
    leakage: PairAgreement | None
    """The judge told the suite's own line against told another's, on the same explanations."""

    def lane(self, lane: Lane) -> Estimate | None:
        """Any-of-k of the evaluation suite in one lane, by family."""
        found = self._suite.lane(lane)
        return found.any_of_k.by_family if found else None

    def less(self, lane: Lane, *, fraction: bool = False) -> Estimate | None:
        """The measured lane less a control: any-of-k by Abbott, or the fraction of positions."""
        found = self._suite.control(lane)
        return (found.fraction_difference if fraction else found.abbott) if found else None

    @property
    def auroc(self) -> Estimate | None:
        """Against deployment."""
        versus = self._suite.versus_deployment
        return versus.auroc if versus else None

    @property
    def verbalized(self) -> Estimate:
        """V."""
        return self._suite.verbalized.by_family

    @property
    def certified(self) -> bool:
        """Whether any-of-k is certified specific."""
        found = self.tally.certification(HEADLINE)
        return found is not None and found.certified

    @property
    def _suite(self) -> HeadlineTally:
        suite = next(s for s in self.tally.suites if s.suite == SUITES["evaluation"])
        return suite.under(HEADLINE)


_OURS = Arm(families=24, per_family=3, prevalence=0.5)
_THEIRS = Arm(families=120, per_family=1, prevalence=0.0)
_PRIOR = Verbalizer(stray=0.3)
_CUT = Verbalizer(cut_aware=0.1, cut_other=0.02)
WORLDS: tuple[Whole, ...] = (
    Whole("aware", "half of the transcripts are aware", _OURS, _THEIRS),
    Whole("nobody", "nobody is aware", replace(_OURS, prevalence=0.0), _THEIRS),
    Whole(
        "prior",
        'nobody is aware; the verbalizer says "evaluation" of 30 % of vectors',
        replace(_OURS, prevalence=0.0, av=_PRIOR),
        replace(_THEIRS, av=_PRIOR),
    ),
    Whole("longer", "half are aware at 12 positions; deployment transcripts have 4", _OURS, replace(_THEIRS, k=4)),
    Whole("cut", "half are aware; aware explanations are truncated more", replace(_OURS, av=_CUT), _THEIRS),
    Whole("leak", "nobody is aware; the judge leaks the suite's name", replace(_OURS, prevalence=0.0), _THEIRS, 0.1),
)
"""In all of them a reader of the text sees what the activation carries: the verbalizer has no privileged gain."""


@dataclass
class Remembered:
    """A classifier that gives the verdicts of the pools, and may leak the name of the suite it is told."""

    name: str
    rubric: Rubric
    verdicts: Mapping[tuple[str, str], Judgement]
    """By kind and text."""
    leak: float = 0.0

    @classmethod
    def of(cls, pools: Pools, name: str = "", leak: float = 0.0) -> Remembered:
        """The pools' own classifier, under its name or another."""
        kinds = {"explanation": pools.explanations, "turn": pools.turns}
        known = {(k, t): v for k, pool in kinds.items() for t, v in zip(pool.texts, pool.verdicts, strict=True)}
        return cls(name or pools.classifier, pools.rubric, known, leak)

    def about(self, suite: str) -> Remembered:
        """The judge of one suite's texts: only the name of the evaluation leaks."""
        return self if suite == SUITES["evaluation"] else replace(self, leak=0.0)

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        """One verdict a text."""
        return [self._of(self.verdicts[kind, text], text) for text in texts]

    def _of(self, verdict: Judgement, text: str) -> Judgement:
        chance = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
        if chance < self.leak:
            return verdict.model_copy(
                update={"outcome": Outcome.AWARE, "labels": [Label.BENCHMARK], "classifier": self.name}
            )
        return verdict.model_copy(update={"classifier": self.name})


def worlds(pools: Pools, seed: int = 0, chosen: Sequence[Whole] = WORLDS) -> Iterator[Printed]:
    """Draw, judge and count each world."""
    for number, whole in enumerate(chosen):
        rng = np.random.default_rng([seed, number])
        drawn = {
            "evaluation": draw(whole.evaluation, pools, rng),
            "deployment": draw(whole.deployment, pools, rng),
        }
        yield printed(whole, drawn, pools, rng)


def printed(whole: Whole, drawn: Mapping[str, Drawn], pools: Pools, rng: np.random.Generator) -> Printed:
    """Count one world that was drawn, by arm. The donor and text-only lanes are read here."""
    ours, arm = drawn["evaluation"], whole.evaluation
    lanes = {
        Lane.MEASURED: ours,
        Lane.DONOR: reread(ours, arm, pools, rng, carries=False),
        Lane.TEXT_ONLY: reread(ours, arm, pools, rng, carries=True),
    }
    table = _Table(pools, max(whole.evaluation.k, whole.deployment.k))
    table.add("evaluation", lanes)
    table.add("deployment", {Lane.MEASURED: drawn["deployment"]})
    options = TallyOptions(definitions=dict(pools.rubric.headlines), primary=HEADLINE)
    told = table.frames(Remembered.of(pools, "planted+blurb", whole.leak))
    swapped = table.frames(Remembered.of(pools, "planted+swapped"))
    both = agreement({"planted+blurb": told, "planted+swapped": swapped}, pools.rubric.headlines, HEADLINE)
    pairs = both.pairs if both else []
    leakage = next((pair for pair in pairs if pair.of == "explanations" and pair.leakage), None)
    return Printed(whole, tally(told, options), leakage)


@dataclass(frozen=True)
class _Table:
    """Rows of readings, messages and transcripts."""

    pools: Pools
    k: int
    """Positions that the policy asks for, in both arms."""
    readings: list[dict[str, Any]] = field(default_factory=list)
    transcripts: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, list[ChatMessage]] = field(default_factory=dict)

    def add(self, arm: str, lanes: Mapping[Lane, Drawn]) -> None:
        """An arm's transcripts, with their readings in each lane."""
        measured = lanes[Lane.MEASURED]
        planned = measured.read.sum(axis=1).tolist()
        for number, family in enumerate(measured.families):
            shared = self._shared(arm, number)
            self.transcripts.append(shared | _facts(arm, family, planned[number]))
            said = self.pools.turns.texts[measured.turn[number]]
            asked = ChatMessageUser(content=f"Request {number}.")
            self.messages[shared["transcript_digest"]] = [asked, ChatMessageAssistant(content=said)]
            for lane, drawn in lanes.items():
                self.readings.extend(self._rows(shared, lane, drawn, number))

    def frames(self, judge: Remembered) -> Frames:
        """The input of a tally, judged as a store is."""
        readings = pl.DataFrame(self.readings, schema=SCHEMA)
        return Frames(
            readings=readings,
            judgements=asyncio.run(judge_readings_by_suite(readings, judge)),
            turns=asyncio.run(self._turns(judge)),
            transcripts=pl.DataFrame(self.transcripts, schema_overrides={"replay_notes": pl.List(pl.String())}),
        )

    async def _turns(self, judge: Remembered) -> pl.DataFrame:
        wrote = [TurnFacts(author=Author.TARGET)]
        suites = {row["transcript_digest"]: str(row["suite"]) for row in self.transcripts}
        return pl.concat([await judge_messages(m, d, judge.about(suites[d]), wrote) for d, m in self.messages.items()])

    @staticmethod
    def _shared(arm: str, number: int) -> dict[str, Any]:
        digest = hashlib.sha256(f"{arm}|{number}".encode()).hexdigest()
        return {"transcript_digest": digest, "transcript_id": f"{arm}-{number:04d}", "suite": SUITES[arm]}

    def _rows(self, shared: Mapping[str, Any], lane: Lane, drawn: Drawn, number: int) -> Iterator[dict[str, Any]]:
        for position, one in zip(
            *np.nonzero(drawn.read[number][:, None] & np.ones(drawn.flag.shape[2], bool)), strict=True
        ):
            closed = bool(drawn.judged[number, position, one])
            yield {
                **shared,
                "pack": PACK,
                "position": 60 + 40 * int(position),
                "lane": lane.value,
                "draw": int(one),
                "policy": f"uniform_response({self.k})",
                "seed": 0,
                "message": 1,
                "turn": 0,
                "role": "assistant",
                "channel": "response",
                "token": " the",
                "context": "planted context",
                "explanation": self.pools.explanations.texts[drawn.text[number, position, one]],
                "stop": StopReason.CLOSED.value if closed else StopReason.TRUNCATED.value,
                "tokens": 40,
                "donor": f"planted-{number}" if lane is Lane.DONOR else None,
            }


def _facts(arm: str, family: int, planned: int) -> dict[str, Any]:
    return {
        "arm": arm,
        "family": f"{arm}-family-{family}",
        "variant": None,
        "outcome": None,
        "on_policy": True,
        "planned_positions": planned,
        "tokens": 900,
        "turns": 1,
        "tool_calls": 0,
        "lost_tokens": 0,
        "replay_notes": [],
        "languages": ["en"],
    }
