"""Reads Inspect logs and stores into the input frames of a tally: readings, judgements, judged turns, transcripts.

Judgements are those a log was scored with, or made here by one classifier under one rubric. What several judges said
stays apart: one set of frames per classifier and rubric, so that V and N of a tally agree. No weights are needed. It
knows no suite by name and no report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import polars as pl
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_samples
from inspect_ai.model import ChatMessage
from pydantic import ValidationError

from ..cards.design import Design
from ..dataset.matching import MatchedArm
from ..errors import InputError
from ..judgement import Classifier, JudgeCheck
from ..judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA, judge_messages
from ..judging.known_texts import check_judge
from ..judging.panel import for_suite, judge_readings_by_suite, members_of, side_by_side
from ..judging.turns import turn_texts
from ..readings import KEY, StopReason
from ..store.rows import SCHEMA, TRANSCRIPT_SCHEMA
from ..store.store import ReadingStore
from ..suite import get_suite, suite_names
from ..transcript import TurnFacts, content_digest
from .frames import Frames

_STATE = "NLAState:"


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
    """Columns of `store.TRANSCRIPT_SCHEMA`, one row per arm, suite and digest."""
    messages: Mapping[str, Sequence[ChatMessage]]
    """Conversations by transcript digest."""
    scored: Scored | None = None
    """The judgements of the logs' own scorers; None when there are none."""
    designs: Mapping[str, Design] = field(default_factory=dict)
    """The design that compares variants, by suite."""
    matched: Sequence[MatchedArm] = ()
    """How deployment arms were matched."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Facts about each input, by its name."""
    notes: tuple[str, ...] = ()
    """What could not be used, one sentence each."""

    @property
    def pack(self) -> str | None:
        """The one pack of the readings, or None when there is none or more than one."""
        packs = set(self.readings["pack"])
        return str(packs.pop()) if len(packs) == 1 else None


@dataclass
class _Pile:
    readings: list[pl.DataFrame] = field(default_factory=list)
    transcripts: list[pl.DataFrame] = field(default_factory=list)
    messages: dict[str, Sequence[ChatMessage]] = field(default_factory=dict)
    judgements: list[pl.DataFrame] = field(default_factory=list)
    turns: list[pl.DataFrame] = field(default_factory=list)
    signed: list[tuple[str, str, str]] = field(default_factory=list)
    """Digest, classifier and rubric of every scored sample."""
    checks: dict[str, JudgeCheck] = field(default_factory=dict)
    """By their own text: the samples of a log repeat them."""
    designs: dict[str, Design] = field(default_factory=dict)
    matched: list[MatchedArm] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def scored(self) -> Scored | None:
        if not self.signed:
            return None
        once = ("classifier", "rubric")
        return Scored(
            _once(self.judgements, JUDGEMENT_SCHEMA, [*KEY, *once]),
            _once(self.turns, TURN_SCHEMA, ["transcript_digest", "message", "part", *once]),
            pl.DataFrame(self.signed, schema=_SIGNED_SCHEMA, orient="row").unique(maintain_order=True),
            list(self.checks.values()),
        )


def gather(inputs: Iterable[str]) -> Gathered:
    """Read logs and stores.

    Args:
        inputs: .eval or .json logs, folders of logs, and stores (folders or URLs).

    Raises:
        InputError: An input is neither a log nor a store, or the inputs have no transcript.
        StoreError: A store cannot be read.
    """
    pile = _Pile()
    for name in inputs:
        path = Path(name)
        if path.is_file():
            _add_log(path, pile)
        elif "://" in name or (path / "store.json").is_file():
            _add_store(name, pile)
        elif path.is_dir():
            logs = sorted(p for p in path.rglob("*") if p.suffix == ".eval")
            if not logs:
                raise InputError(f"folder '{name}' holds neither a store nor .eval logs")
            for log in logs:
                _add_log(log, pile)
        else:
            raise InputError(f"no log or store at '{name}'; make one with: nla-eval read, or inspect eval")
    if not pile.transcripts:
        raise InputError("the inputs hold no transcript read by nla_eval; run: inspect eval nla_eval/<suite>")
    transcripts = _first_of_each(pl.concat(pile.transcripts))
    return Gathered(
        readings=_one_per_key(pl.concat(pile.readings)),
        transcripts=transcripts,
        messages=pile.messages,
        scored=pile.scored(),
        designs=_designs(pile.designs, sorted(set(transcripts["suite"]))),
        matched=list({arm.model_dump_json(): arm for arm in pile.matched}.values()),
        provenance=pile.provenance,
        notes=tuple(pile.notes),
    )


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
        gathered.readings.join(judgements, on=list(KEY), how="semi", maintain_order="left"),
        judgements,
        turns,
        gathered.transcripts.filter(pl.col("transcript_digest").is_in(sorted(digests))),
        gathered.designs,
        gathered.matched,
        [c for c in scored.checks if Signature(c.classifier, c.rubric) == signature],
    )


def unscored(gathered: Gathered) -> Gathered | None:
    """What no scorer judged: readings, and transcripts that are in no scored sample. None where all is scored."""
    if gathered.scored is None:
        return gathered
    readings = gathered.readings.join(gathered.scored.judgements, on=list(KEY), how="anti", maintain_order="left")
    known = {*gathered.scored.samples["transcript_digest"]}
    wanted = {*gathered.transcripts["transcript_digest"]} - known | {*readings["transcript_digest"]}
    transcripts = gathered.transcripts.filter(pl.col("transcript_digest").is_in(sorted(wanted)))
    if transcripts.is_empty():
        return None
    messages = {digest: said for digest, said in gathered.messages.items() if digest in wanted}
    return replace(gathered, readings=readings, transcripts=transcripts, messages=messages, scored=None)


def joined(first: Frames, second: Frames) -> Frames:
    """Frames of one judge that judged two parts of the inputs."""
    keys = ["arm", "suite", "transcript_digest"]
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
    known = dict(gathered.transcripts.select("transcript_digest", "turn_facts").iter_rows())
    suites = dict(gathered.transcripts.select("transcript_digest", "suite").iter_rows())

    async def turns_of(digest: str, messages: Sequence[ChatMessage]) -> pl.DataFrame:
        facts = [TurnFacts(**fact) for fact in known.get(digest) or ()]
        return await judge_messages(messages, digest, for_suite(classifier, str(suites.get(digest, ""))), facts)

    turns = await side_by_side([partial(turns_of, *item) for item in sorted(gathered.messages.items())])
    return Frames(
        readings=gathered.readings,
        judgements=await judge_readings_by_suite(gathered.readings, classifier),
        turns=pl.concat(turns) if turns else pl.DataFrame(schema=TURN_SCHEMA),
        transcripts=gathered.transcripts,
        designs=gathered.designs,
        matched=gathered.matched,
        checks=[await check_judge(classifier)],
    )


def _add_store(url: str, pile: _Pile) -> None:
    from ..store.conversations import kept_messages

    store = ReadingStore.open(url)
    pile.readings.append(store.readings())
    pile.transcripts.append(store.transcripts())
    pile.messages |= kept_messages(store)
    for fact in store.facts():
        _add_fact(fact.about, fact.suite, json.loads(fact.fact), pile)
    manifest = store.manifest
    facts = store.identity.model_dump(mode="json") | (manifest.provenance if manifest else {})
    name = url.rstrip("/").rsplit("/", 1)[-1]
    pile.provenance[name] = facts
    if not store.complete:
        pile.notes.append(f"store '{name}' is unfinished: its run was stopped, or is still going")


def _add_log(path: Path, pile: _Pile) -> None:
    try:
        header = read_eval_log(str(path), header_only=True)
        samples: Iterator[EvalSample] = read_eval_log_samples(
            str(path), all_samples_required=False, resolve_attachments=True
        )
        rows = [row for sample in samples if (row := _of_sample(sample, pile)) is not None]
    except (OSError, ValueError, KeyError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise InputError(f"log '{path.name}' cannot be read: {reason}; give a finished .eval log") from err
    if not rows:
        pile.notes.append(f"log '{path.name}' holds no sample read by nla_eval")
        return
    pile.transcripts.append(pl.DataFrame(rows, schema=TRANSCRIPT_SCHEMA))
    facts = header.eval.metadata or {}
    _add_fact("design", rows[0]["suite"], (facts.get("card") or {}).get("design"), pile)
    _add_fact("matched", rows[0]["suite"], facts.get("matched"), pile)
    pile.provenance[path.name] = {
        "task": header.eval.task,
        "target": header.eval.model,
        "packages": dict(sorted(header.eval.packages.items())),
        "options": dict(sorted(header.eval.task_args.items())),
        "preset": (facts.get("preset") or {}).get("name"),
        "status": header.status,
    }


def _add_fact(about: str, suite: str, fact: Any, pile: _Pile) -> None:
    """Keep a fact about a suite from an input. A fact in the form of another version is left out, with a note."""
    if fact is None:
        return
    try:
        if about == "design":
            pile.designs[suite] = Design.model_validate(fact)
        else:
            pile.matched.append(MatchedArm.model_validate(fact))
    except ValidationError:
        pile.notes.append(f"what is recorded as '{about}' of suite '{suite}' is of another version and left out")


def _designs(recorded: Mapping[str, Design], suites: Sequence[str]) -> dict[str, Design]:
    """The designs recorded with the readings; for other suites, the design of their card if the suite is here."""
    silent = {*suites} - {*recorded}
    cards = [get_suite(name).card for name in sorted(silent & {*suite_names()})] if silent else []
    return {**{card.name: card.design for card in cards if card.design is not None}, **recorded}


def _of_sample(sample: EvalSample, pile: _Pile) -> dict[str, Any] | None:
    row = sample.store.get(f"{_STATE}transcript")
    if not row:
        return None
    readings = sample.store.get(f"{_STATE}readings") or []
    pile.readings.append(pl.DataFrame(readings, schema=SCHEMA))
    digest = str(row["transcript_digest"])
    if content_digest(sample.messages) == digest or digest not in pile.messages:
        pile.messages[digest] = sample.messages
    _add_scores(sample, digest, pile)
    return {name: row.get(name) for name in TRANSCRIPT_SCHEMA}


def _add_scores(sample: EvalSample, digest: str, pile: _Pile) -> None:
    """Add the sample's latest score with judgements. Judging again appends a score, so the latest one counts."""
    found = [score.metadata for score in (sample.scores or {}).values() if "judgements" in (score.metadata or {})]
    if not found or found[-1] is None:
        return
    texts = {(turn.message, turn.part.value): turn.text for turn in turn_texts(sample.messages)}
    turns = [
        {**row, "transcript_digest": digest, "text": texts.get((row["message"], row["part"]), "")}
        for row in found[-1]["turns"]
    ]
    pile.judgements.append(pl.DataFrame(found[-1]["judgements"], schema=JUDGEMENT_SCHEMA))
    pile.turns.append(pl.DataFrame(turns, schema=TURN_SCHEMA))
    pile.signed.append((digest, str(found[-1].get("classifier")), str(found[-1].get("rubric"))))
    for fact in found[-1].get("judge_checks") or ():
        check = JudgeCheck.model_validate(fact)
        pile.checks[check.model_dump_json()] = check


def _once(frames: Sequence[pl.DataFrame], schema: Mapping[str, pl.DataType], key: Sequence[str]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema), *frames]).unique(list(key), keep="first", maintain_order=True)


def _one_per_key(readings: pl.DataFrame) -> pl.DataFrame:
    """One row per reading. A log and a store may both have it; one that did not fail is kept."""
    failed = pl.col("stop") == StopReason.ERROR.value
    return (
        readings.with_columns(failed=failed)
        .sort([*KEY, "failed", *(c for c in SCHEMA if c not in KEY)], nulls_last=True)
        .unique(list(KEY), keep="first", maintain_order=True)
        .select(list(SCHEMA))
    )


def _first_of_each(transcripts: pl.DataFrame) -> pl.DataFrame:
    keys = ["arm", "suite", "transcript_digest"]
    return transcripts.sort(*keys, "transcript_id").unique(keys, keep="first", maintain_order=True)
