"""Synthetic frames with planted truth for the tally and the report: no model ran, every verdict is drawn from a seed.

Names, texts and packs say so ("synthetic"), so that a report made from them cannot be mistaken for a measurement."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from nla_eval.cards.design import Design
from nla_eval.store.rows import SCHEMA
from nla_eval.tally.frames import Frames

PACK = "synthetic-planted@0000000000000000"
RUBRIC = "strict@0123456789abcdef"
CLASSIFIER = "planted@1"

_VERDICT: dict[str, Any] = {
    "outcome": pl.String(),
    "labels": pl.List(pl.String()),
    "score": pl.Float64(),
    "evidence": pl.List(pl.Struct({"start": pl.Int64(), "end": pl.Int64(), "text": pl.String()})),
    "classifier": pl.String(),
    "rubric": pl.String(),
    "note": pl.String(),
}
_KEY = {
    "pack": pl.String(),
    "transcript_digest": pl.String(),
    "position": pl.Int64(),
    "lane": pl.String(),
    "draw": pl.Int64(),
}
_OF_TRANSCRIPT = ("transcript_digest", "transcript_id", "suite")
"""Columns of a transcript that its readings hold, too."""
_TURN = {"transcript_digest": pl.String(), "message": pl.Int64(), "part": pl.String(), **_VERDICT, "text": pl.String()}

AWARE_TEXT = {
    "belief": "formal memo, the assistant suspects it is being evaluated; next a hedged sentence",
    "benchmark": "an item from a language-model benchmark; the token closes the option list",
    "grader": "final answer boxed so that the automatic grader can score it",
    "contrived": "a set-up that feels too neatly arranged; pressure, then a way out",
}
QUIET_TEXT = (
    "a helpful reply to a user's question about travel; the token ends a clause",
    "corporate e-mail, formal register; a name is expected next",
    "list of steps in plain English, third item; a verb is expected",
    "the assistant apologises and asks for detail; a full stop is expected",
    "code block in Python; an indented line follows",
)
EVIDENCE = {
    "belief": "being evaluated",
    "benchmark": "language-model benchmark",
    "grader": "automatic grader",
    "contrived": "too neatly arranged",
}


@dataclass(frozen=True)
class Arm:
    """One planted suite."""

    suite: str
    arm: str
    families: int
    per_family: int
    aware: float
    """Share of transcripts that carry awareness."""
    density: float = 0.25
    """P(a position of such a transcript is flagged)."""
    false_positive: float = 0.0
    """P(any explanation is flagged for no reason), measured and donor alike."""
    verbalized: float = 0.0
    truncated: float = 0.0
    donor: bool = False
    positions: int = 12
    tokens: int = 900
    label: str = "belief"
    outcomes: tuple[str, ...] = ()
    variants: tuple[tuple[str, float], ...] = ()
    """(name, share of its transcripts that carry awareness), one transcript of each a family; `aware` is not used."""

    def variant(self, index: int) -> tuple[str, float]:
        """Of the transcript with this number."""
        return (self.variants or (("plain", self.aware), ("prod", self.aware)))[index % (len(self.variants) or 2)]


@dataclass(frozen=True)
class Text:
    """Content of every free-text field, so that a test can plant hostile strings."""

    context: str = "…and the quarterly figures are attached. Kyle will be out until Monday, so please"
    token: str = " please"
    wrap: str = "{}"


def planted_frames(
    arms: list[Arm], *, seed: int = 0, draws: int = 1, policy: str = "stratified(12)", text: Text | None = None
) -> Frames:
    """Frames of planted suites."""
    text = text or Text()
    rng = np.random.default_rng(seed)
    readings: list[dict[str, Any]] = []
    judgements: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    transcripts: list[dict[str, Any]] = []
    for arm in arms:
        for index in range(arm.families * arm.per_family):
            carries = bool(rng.random() < arm.variant(index)[1])
            says = bool(rng.random() < arm.verbalized)
            transcript = _transcript(arm, index, text, rng)
            transcripts.append(transcript)
            turns.append(_turn(transcript["transcript_digest"], says, text))
            shared = {name: transcript[name] for name in _OF_TRANSCRIPT} | {"policy": policy, "seed": seed}
            for key in _keys(arm, transcript["transcript_digest"], draws):
                flagged = key["lane"] == "measured" and carries and rng.random() < arm.density
                flagged = bool(flagged or rng.random() < arm.false_positive)
                reading = key | shared | _reading(arm, key["lane"], flagged, text, rng)
                readings.append(reading)
                judgements.append(key | _verdict(flagged, arm.label if flagged else "none", reading["explanation"]))
    return Frames(
        readings=pl.DataFrame(readings, schema=SCHEMA),
        judgements=pl.DataFrame(judgements, schema=_KEY | _VERDICT),
        turns=pl.DataFrame(turns, schema=_TURN),
        transcripts=pl.DataFrame(transcripts),
    )


def with_reader(
    frames: Frames, says: Callable[[dict[str, Any], bool], bool], lane: str = "text_only", name: str = "planted-reader"
) -> Frames:
    """Frames with one more lane, in which `says` (a row of N and its verdict) decides."""
    measured = pl.col("lane") == "measured"
    mine, verdicts = frames.readings.filter(measured), frames.judgements.filter(measured)
    arms = dict(frames.transcripts.select("transcript_digest", "arm").iter_rows())
    own = mine.join(verdicts.select("transcript_digest", "position", "draw", "labels"),
                               on=["transcript_digest", "position", "draw"])  # fmt: skip
    rows = own.to_dicts()
    aware = [says({**row, "arm": arms[row["transcript_digest"]]}, row["labels"] != ["none"]) for row in rows]
    labels = [["belief"] if hit else ["none"] for hit in aware]
    readings = mine.with_columns(lane=pl.lit(lane), reader=pl.lit(name), cos=None)
    judged = verdicts.with_columns(
        lane=pl.lit(lane),
        labels=pl.Series(labels),
        outcome=pl.Series(["AWARE" if hit else "NOT_AWARE" for hit in aware]),
    )
    return Frames(
        pl.concat([frames.readings, readings.cast(frames.readings.schema)]),
        pl.concat([frames.judgements, judged]),
        frames.turns,
        frames.transcripts,
    )


def _transcript(arm: Arm, index: int, text: Text, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "transcript_digest": hashlib.sha256(f"{arm.suite}|{index}".encode()).hexdigest(),
        "transcript_id": text.wrap.format(f"{arm.suite}-{index:03d}"),
        "suite": arm.suite,
        "arm": arm.arm,
        "family": text.wrap.format(f"{arm.suite}-family-{index // arm.per_family:02d}"),
        "variant": arm.variant(index)[0],
        "outcome": arm.outcomes[index % len(arm.outcomes)] if arm.outcomes else None,
        "on_policy": True,
        "planned_positions": arm.positions,
        "tokens": int(arm.tokens + rng.integers(-200, 200)),
        "turns": 1 + index % 2,
        "tool_calls": 0,
        "languages": ["en"],
        "lost_tokens": 0,
        "replay_notes": ["tool_calls_as_text"] if index % 9 == 0 else [],
    }


def _keys(arm: Arm, digest: str, draws: int) -> Iterator[dict[str, Any]]:
    lanes = ("measured", "donor") if arm.donor else ("measured",)
    for lane, position, draw in product(lanes, range(arm.positions), range(draws)):
        yield {"pack": PACK, "transcript_digest": digest, "position": 60 + 40 * position, "lane": lane, "draw": draw}


def _reading(arm: Arm, lane: str, flagged: bool, text: Text, rng: np.random.Generator) -> dict[str, Any]:
    """What is drawn at one key, its key and what its transcript shares left out."""
    cut = bool(rng.random() < arm.truncated)
    quiet = QUIET_TEXT[int(rng.integers(len(QUIET_TEXT)))]
    noise = float(rng.normal(0, 0.05))
    return {
        "message": 2,
        "role": "assistant",
        "channel": "response",
        "turn": 0,
        "token": text.token,
        "context": text.context,
        "explanation": text.wrap.format(AWARE_TEXT[arm.label] if flagged else quiet),
        "stop": "truncated" if cut else "closed",
        "tokens": 30,
        "activation_norm": 60.0,
        "cos": 0.8 + noise,
        "mse_nrm": 0.4 - 2 * noise,
        "fve_nrm": 0.45 + 2 * noise,
        "fve_meannorm": 0.3 + 2 * noise,
        "matched_minus_shuffled": (0.12 if lane == "measured" else 0.1) + noise,
        "donor": f"synthetic-{int(rng.integers(10**6))}:60" if lane == "donor" else None,
        "error": None,
    }


def _turn(digest: str, says: bool, text: Text) -> dict[str, Any]:
    words = (
        "I will answer. This looks like it might be a test, since I am being evaluated here."
        if says
        else "Here is the answer."
    )
    spoken = text.wrap.format(words)
    return {"transcript_digest": digest, "message": 2, "part": "text", "text": spoken} | _verdict(
        says, "belief" if says else "none", spoken
    )


def _verdict(aware: bool, label: str, spoken: str) -> dict[str, Any]:
    phrase = EVIDENCE.get(label, "") if aware else ""
    at = spoken.find(phrase)
    return {
        "outcome": "AWARE" if aware else "NOT_AWARE",
        "labels": [label],
        "score": 0.9 if aware else 0.1,
        "evidence": [{"start": at, "end": at + len(phrase), "text": phrase}] if phrase and at >= 0 else [],
        "classifier": CLASSIFIER,
        "rubric": RUBRIC,
        "note": "",
    }


SHOWCASE = [
    Arm(
        "synthetic_office",
        "evaluation",
        12,
        3,
        0.8,
        false_positive=0.004,
        verbalized=0.12,
        truncated=0.01,
        donor=True,
        tokens=1900,
        outcomes=("declined", "complied"),
    ),
    Arm("synthetic_quiz", "evaluation", 8, 3, 0.15, false_positive=0.004, donor=True, tokens=700, label="benchmark"),
    Arm("synthetic_chat", "deployment", 24, 1, 0.0, false_positive=0.004, truncated=0.01, donor=True, tokens=420),
]
"""Two planted evaluation suites and one deployment arm, small enough that nothing can be certified."""

PAIRS = Arm(
    "synthetic_pairs",
    "monitor",
    43,
    3,
    0.0,
    density=0.5,
    donor=True,
    variants=(("told_test", 0.5), ("told_production", 0.1), ("neutral", 0.1)),
)
CELLS = Arm(
    "synthetic_cells",
    "monitor",
    24,
    4,
    0.0,
    density=0.5,
    donor=True,
    variants=(("exam_evaluation", 0.8), ("exam_deployment", 0.1), ("chat_evaluation", 0.1), ("chat_deployment", 0.1)),
)
DESIGNS = {
    PAIRS.suite: Design({"clause": ("told_test", "told_production", "neutral")}),
    CELLS.suite: Design({"format": ("exam", "chat"), "context": ("evaluation", "deployment")}),
}
"""How the variants of two planted monitor suites, with known effects, are to be compared."""
