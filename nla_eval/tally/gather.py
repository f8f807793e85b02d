"""Makes the input frames of a tally from Inspect logs and stores, apart by what they were read with.

Judgements are those a log was scored with, or made here by one classifier under one rubric. What several judges said
stays apart: one set of frames per classifier and rubric, so that V and N of a tally agree. No weights are needed. It
knows no suite by name and no report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import anyio
import polars as pl
from inspect_ai.model import ChatMessage

from ..cards.design import Design
from ..dataset.matching import MatchedArm
from ..errors import InputError
from ..judgement import Classifier, JudgeCheck, text_hash
from ..judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA, turn_rows
from ..judging.known_texts import check_judge
from ..judging.panel import for_suite, judge_readings_by_suite, members_of, side_by_side
from ..judging.turns import turn_texts
from ..readings import KEY
from ..store.conversations import Conversations
from ..store.rows import SCHEMA, SCORE_KEY, SCORE_SCHEMA, resolved
from ..suite import get_suite, suite_names
from ..transcript import TurnFacts
from .browsed import LoggedSample
from .frames import TURN_KEY, Frames
from .identity import Identity, distinguishing
from .inputs import Pile, read_inputs
from .joining import said_by

_CONVERSATIONS = 512
"""Conversations that are judged at the same time."""


class Signature(NamedTuple):
    """Who judged, and by what."""

    classifier: str
    """With its version."""
    rubric: str
    """Id and hash."""


_SIGNED_SCHEMA: dict[str, pl.DataType] = {
    "transcript_digest": pl.String(),
    "classifier": pl.String(),
    "rubric": pl.String(),
}


@dataclass(frozen=True)
class Scored:
    """What Inspect scorers judged, in all inputs and by all judges."""

    judgements: pl.DataFrame
    """Columns of `classify.JUDGEMENT_SCHEMA`."""
    turns: pl.DataFrame
    """Columns of `classify.TURN_SCHEMA`."""
    samples: pl.DataFrame
    """transcript_digest, classifier, rubric of every scored sample: also of one in which there was nothing to judge."""
    checks: Sequence[JudgeCheck] = ()
    """What the judges made of the known texts, as logged."""

    @property
    def signatures(self) -> list[Signature]:
        """Every judge under every rubric, by name."""
        frames = (self.judgements, self.turns, self.samples)
        rows = (frame.select("classifier", "rubric").drop_nulls().unique().iter_rows() for frame in frames)
        return sorted({Signature(*row) for some in rows for row in some})

    @property
    def rubrics(self) -> list[str]:
        """Rubric references that occur, "id@hash"."""
        return sorted({signature.rubric for signature in self.signatures})

    @property
    def classifiers(self) -> list[str]:
        """Classifiers that occur."""
        return sorted({signature.classifier for signature in self.signatures})


@dataclass(frozen=True)
class Gathered:
    """The content of the inputs, before judging."""

    readings: pl.DataFrame
    """Columns of `readings.SCHEMA`, one row per key."""
    transcripts: pl.DataFrame
    """Columns of `store.TRANSCRIPT_SCHEMA`, one row per arm, suite, digest and id."""
    messages: Conversations
    """Conversations by transcript digest."""
    samples: Mapping[str, LoggedSample] = field(default_factory=dict)
    """Samples of logs by transcript digest."""
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORE_SCHEMA))
    """Columns of `rows.SCORE_SCHEMA`, one row per key: what lanes without texts say."""
    scored: Scored | None = None
    """The judgements of the logs' own scorers; None when there are none."""
    designs: Mapping[str, Design] = field(default_factory=dict)
    """The design that compares variants, by suite."""
    matched: Sequence[MatchedArm] = ()
    """How deployment arms were matched."""
    repeats: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(arm, suite) -> repeated transcripts that a store's run left out."""
    identity: Identity | None = None
    """What everything was read with."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Facts about each input, by its name."""
    notes: tuple[str, ...] = ()
    """What could not be used, one sentence each."""

    @property
    def pack(self) -> str | None:
        """The one pack of the readings, or None when there is none or more than one."""
        packs = set(self.readings["pack"])
        return str(packs.pop()) if len(packs) == 1 else None


def gather(inputs: Iterable[str]) -> Gathered:
    """Read logs and stores that were read alike; see `gather_apart`.

    Raises:
        InputError: As there, or the inputs were not read alike.
    """
    found = gather_apart(inputs)
    if len(found) > 1:
        raise InputError(f"the inputs were read with {apart_by(found)}; take them apart with gather_apart")
    return found[0]


def gather_apart(inputs: Iterable[str]) -> list[Gathered]:
    """Read logs and stores, and take apart what must not be tallied together.

    Args:
        inputs: .eval or .json logs, folders of logs, and stores (folders or URLs).

    Returns:
        One per identity (target, pack, policy, draws, seed, temperature, window, ...), in a fixed order.

    Raises:
        InputError: An input is neither a log nor a store, or the inputs have no transcript.
        StoreError: A store cannot be read.
    """
    read = read_inputs(inputs)
    piles = read.apart()
    if not piles:
        raise InputError("the inputs hold no transcript read by nla_eval; run: nla-eval read SOURCE --out store")
    suites = sorted({suite for pile in piles.values() for frame in pile.transcripts for suite in frame["suite"]})
    designs = _designs(read.designs, suites)
    matched = list({arm.model_dump_json(): arm for arm in read.matched}.values())
    return [
        Gathered(
            readings=resolved("readings", pl.concat([pl.DataFrame(schema=SCHEMA), *pile.readings])),
            transcripts=_first_of_each(pl.concat(pile.transcripts)),
            messages=pile.messages,
            samples=pile.samples,
            scores=_one_score_per_key(pile.scores),
            scored=_scored(pile),
            designs=designs,
            matched=matched,
            repeats=pile.repeats,
            identity=identity,
            provenance=pile.provenance,
            notes=tuple(read.notes),
        )
        for identity, pile in piles.items()
    ]


def apart_by(found: Sequence[Gathered]) -> str:
    """How several gathered inputs differ: "draws 1; draws 4"."""
    identities = [each.identity or Identity() for each in found]
    fields = distinguishing(identities)
    return "; ".join(identity.described(fields) for identity in identities)


def as_scored(gathered: Gathered) -> Frames:
    """The frames with the judgements of the logs' own scorer.

    Raises:
        InputError: Not everything is scored, or not by one classifier under one rubric.
    """
    if gathered.scored is None or unscored(gathered) is not None:
        raise InputError("not every sample is scored; name a classifier with --classifier, for example linear")
    signatures = gathered.scored.signatures
    if len(signatures) > 1:
        several = ", ".join(f"{s.classifier} under {s.rubric}" for s in signatures)
        raise InputError(f"the inputs are scored by {several}; take one of them, or judge all alike with --classifier")
    return frames_of(gathered, signatures[0])


def frames_of(gathered: Gathered, signature: Signature) -> Frames:
    """What one judge said under one rubric, and of what: readings and transcripts that it did not judge stay out.

    Raises:
        InputError: It judged nothing of these inputs.
    """
    scored = gathered.scored
    if scored is None or signature not in scored.signatures:
        raise InputError(f"nothing here is scored by {signature.classifier} under {signature.rubric}")
    own = (pl.col("classifier") == signature.classifier) & (pl.col("rubric") == signature.rubric)
    judgements, turns = scored.judgements.filter(own), scored.turns.filter(own)
    digests = {*scored.samples.filter(own)["transcript_digest"], *judgements["transcript_digest"]}
    digests |= {*turns["transcript_digest"]}
    return Frames(
        _read_of(gathered.readings, judgements, "semi"),
        judgements,
        turns,
        gathered.transcripts.filter(pl.col("transcript_digest").is_in(sorted(digests))),
        gathered.designs,
        gathered.matched,
        [c for c in scored.checks if Signature(c.classifier, c.rubric) == signature],
        gathered.repeats,
        gathered.identity,
    )


def _read_of(readings: pl.DataFrame, judgements: pl.DataFrame, how: Literal["semi", "anti"]) -> pl.DataFrame:
    """Readings with a judgement of their text (semi), or without (anti)."""
    hashed = readings.with_columns(
        text_hash=pl.Series([text_hash(text) for text in readings["explanation"]], dtype=pl.String())
    )
    return hashed.join(judgements, on=[*KEY, "text_hash"], how=how, maintain_order="left").drop("text_hash")


def unscored(gathered: Gathered) -> Gathered | None:
    """What no scorer judged: readings, and transcripts that are in no scored sample. None where all is scored."""
    if gathered.scored is None:
        return gathered
    readings = _read_of(gathered.readings, gathered.scored.judgements, "anti")
    known = {*gathered.scored.samples["transcript_digest"]}
    wanted = {*gathered.transcripts["transcript_digest"]} - known | {*readings["transcript_digest"]}
    transcripts = gathered.transcripts.filter(pl.col("transcript_digest").is_in(sorted(wanted)))
    if transcripts.is_empty():
        return None
    messages = gathered.messages.within(wanted)
    return replace(gathered, readings=readings, transcripts=transcripts, messages=messages, scored=None)


def joined(first: Frames, second: Frames) -> Frames:
    """Frames of one judge that judged two parts of the inputs."""
    keys = ["arm", "suite", "transcript_digest", "transcript_id"]
    return replace(
        first,
        readings=pl.concat([first.readings, second.readings]).sort(KEY),
        judgements=pl.concat([first.judgements, second.judgements]),
        turns=pl.concat([first.turns, second.turns]),
        transcripts=pl.concat([first.transcripts, second.transcripts]).unique(keys, keep="first", maintain_order=True),
        checks=[*first.checks, *second.checks],
    )


def judged(gathered: Gathered, classifier: Classifier) -> Frames:
    """Judge every reading, every assistant turn and the known texts with one judge, of a panel the leading one."""
    return judged_by_each(gathered, members_of(classifier)[:1])[0]


def judged_by_each(gathered: Gathered, judges: Sequence[Classifier]) -> list[Frames]:
    """What each judge says, one after the other in one event loop: a model's connections do not outlive theirs."""

    async def run() -> list[Frames]:
        return [await _judged(gathered, judge) for judge in judges]

    return anyio.run(run)


async def _judged(gathered: Gathered, classifier: Classifier) -> Frames:
    return Frames(
        readings=gathered.readings,
        judgements=await judge_readings_by_suite(gathered.readings, classifier),
        turns=await _judged_turns(gathered, classifier),
        transcripts=gathered.transcripts,
        designs=gathered.designs,
        matched=gathered.matched,
        checks=[await check_judge(classifier)],
        repeats=gathered.repeats,
        identity=gathered.identity,
    )


async def _judged_turns(gathered: Gathered, classifier: Classifier) -> pl.DataFrame:
    """The judged turns of every conversation, by digest. Some are judged at the same time, not all: a task and a frame
    for each of 100,000 would take gigabytes."""
    known = dict(gathered.transcripts.select("transcript_digest", "turn_facts").iter_rows())
    suites = dict(gathered.transcripts.select("transcript_digest", "suite").iter_rows())

    async def turns_of(digest: str) -> list[dict[str, Any]]:
        facts = [TurnFacts(**fact) for fact in known.get(digest) or ()]
        judge = for_suite(classifier, str(suites.get(digest, "")))
        return await turn_rows(gathered.messages[digest], digest, judge, facts)

    digests, frames = sorted(gathered.messages), [pl.DataFrame(schema=TURN_SCHEMA)]
    for start in range(0, len(digests), _CONVERSATIONS):
        some = digests[start : start + _CONVERSATIONS]
        rows = await side_by_side([partial(turns_of, digest) for digest in some])
        frames.append(pl.DataFrame([row for of_one in rows for row in of_one], schema=TURN_SCHEMA))
    return pl.concat(frames, rechunk=True)


def _designs(recorded: Mapping[str, Design], suites: Sequence[str]) -> dict[str, Design]:
    """The designs recorded with the readings; for other suites, the design of their card if the suite is here."""
    silent = {*suites} - {*recorded}
    cards = [get_suite(name).card for name in sorted(silent & {*suite_names()})] if silent else []
    return {**{card.name: card.design for card in cards if card.design is not None}, **recorded}


def _scored(pile: Pile) -> Scored | None:
    if not pile.signed:
        return None
    judge = ("classifier", "rubric")
    samples = pl.DataFrame(pile.signed, schema=_SIGNED_SCHEMA, orient="row").unique().sort(list(_SIGNED_SCHEMA))
    return Scored(
        _distinct(pile.judgements, JUDGEMENT_SCHEMA, [*KEY, *judge]),
        _of_their_conversation(_distinct(pile.turns, TURN_SCHEMA, [*TURN_KEY, "text", *judge]), pile.messages),
        samples,
        list(pile.checks.values()),
    )


def _distinct(frames: Sequence[pl.DataFrame], schema: Mapping[str, pl.DataType], key: Sequence[str]) -> pl.DataFrame:
    """Judgements that differ in their text or their verdict stay, for the tally to join or to refuse."""
    rows = pl.concat([pl.DataFrame(schema=schema), *frames])
    said = said_by(rows["outcome"], rows["labels"])
    rows = rows.with_columns(said=said).sort(*key, "text_hash", "said", "score", nulls_last=True)
    return rows.unique([*key, "text_hash", "said"], keep="first", maintain_order=True).drop("said")


def _of_their_conversation(turns: pl.DataFrame, messages: Mapping[str, Sequence[ChatMessage]]) -> pl.DataFrame:
    """Turns with the text that their conversation has, where inputs hold several texts of one turn."""
    texts = turns.group_by(TURN_KEY).agg(pl.col("text").n_unique()).filter(pl.col("text") > 1)
    if texts.is_empty():
        return turns
    digests = sorted({*texts["transcript_digest"]})
    rows = [
        (digest, turn.message, turn.part.value, turn.text)
        for digest in digests
        for turn in turn_texts(messages.get(digest, ()))
    ]
    own = pl.DataFrame(rows, schema={name: TURN_SCHEMA[name] for name in (*TURN_KEY, "text")}, orient="row")
    changed = pl.col("transcript_digest").is_in(digests)
    kept = turns.filter(changed).join(own, on=[*TURN_KEY, "text"], how="semi", maintain_order="left")
    return pl.concat([turns.filter(~changed), kept]).sort(TURN_KEY, maintain_order=True)


def _one_score_per_key(scores: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One row per score. A log and a store may both have it; one that did not fail is kept."""
    key = list(SCORE_KEY)
    rows = pl.concat([pl.DataFrame(schema=SCORE_SCHEMA), *scores])
    return rows.sort([*key, "score"], nulls_last=True).unique(key, keep="first", maintain_order=True)


def _first_of_each(transcripts: pl.DataFrame) -> pl.DataFrame:
    """One row per transcript, planned before failed. Those that repeat another's content stay, to be counted."""
    keys = ["arm", "suite", "transcript_digest", "transcript_id"]
    best = transcripts.sort(*keys, "planned_positions", descending=[False] * 4 + [True])
    return best.unique(keys, keep="first", maintain_order=True)
