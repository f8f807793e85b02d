"""Reads Inspect logs and stores into piles of rows, one pile per identity: what may be tallied together.

In: paths and URLs. Out: readings, transcripts, conversations, the scorers' judgements, and facts about suites. It joins
nothing and judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_samples
from pydantic import ValidationError

from ..cards.design import Design
from ..dataset.matching import MatchedArm
from ..errors import InputError
from ..judgement import JudgeCheck, text_hash
from ..judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA
from ..judging.turns import turn_texts
from ..readings import KEY, Lane
from ..store.conversations import Conversations, kept_messages
from ..store.rows import SCHEMA, SCORE_SCHEMA, TRANSCRIPT_SCHEMA
from ..store.store import ReadingStore
from .browsed import LoggedSample
from .identity import Identity, unified

_STATE = "NLAState:"


@dataclass
class Pile:
    """Rows that were read alike."""

    readings: list[pl.DataFrame] = field(default_factory=list)
    transcripts: list[pl.DataFrame] = field(default_factory=list)
    messages: Conversations = field(default_factory=Conversations)
    samples: dict[str, LoggedSample] = field(default_factory=dict)
    """The first sample of a log that holds a conversation, by digest."""
    scores: list[pl.DataFrame] = field(default_factory=list)
    """Of lanes without texts; columns of `rows.SCORE_SCHEMA`."""
    judgements: list[pl.DataFrame] = field(default_factory=list)
    turns: list[pl.DataFrame] = field(default_factory=list)
    signed: list[tuple[str, str, str]] = field(default_factory=list)
    """Digest, classifier and rubric of every scored sample."""
    checks: dict[str, JudgeCheck] = field(default_factory=dict)
    """By their own text: the samples of a log repeat them."""
    repeats: dict[tuple[str, str], int] = field(default_factory=dict)
    """(arm, suite) -> repeated transcripts that a store's run left out."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Facts about each input, by its name."""

    def add(self, other: Pile) -> None:
        """Take in the rows of another one."""
        for name in ("readings", "transcripts", "scores", "judgements", "turns", "signed"):
            getattr(self, name).extend(getattr(other, name))
        self.messages.add(other.messages)
        self.samples = other.samples | self.samples
        self.checks |= other.checks
        self.provenance |= other.provenance
        for key, count in other.repeats.items():
            self.repeats[key] = max(count, self.repeats.get(key, 0))


@dataclass
class Inputs:
    """Everything read from the inputs."""

    piles: dict[Identity, Pile] = field(default_factory=dict)
    designs: dict[str, Design] = field(default_factory=dict)
    matched: list[MatchedArm] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, piles: dict[Identity, Pile]) -> None:
        """Take in one input, its explanations per position counted by suite: they are part of the identity."""
        for identity, pile in piles.items():
            for draws, part in _by_draws(pile):
                self.piles.setdefault(identity.model_copy(update={"draws": draws}), Pile()).add(part)

    def apart(self) -> dict[Identity, Pile]:
        """One pile per identity, in a fixed order. What an input does not record follows the one that it fits."""
        under = unified(self.piles)
        found: dict[Identity, Pile] = {}
        for identity in sorted(self.piles, key=lambda i: i.model_dump_json()):
            found.setdefault(under[identity], Pile()).add(self.piles[identity])
        return dict(sorted(found.items(), key=lambda item: item[0].model_dump_json()))


def read_inputs(inputs: Iterable[str]) -> Inputs:
    """Read logs and stores.

    Raises:
        InputError: An input is neither a log nor a store, or cannot be read.
    """
    found = Inputs()
    for name in inputs:
        path = Path(name)
        if path.is_file():
            _add_log(path, path.name, found)
        elif "://" in name or (path / "store.json").is_file():
            _add_store(name, found)
        elif path.is_dir():
            logs = sorted(p for p in path.rglob("*") if p.suffix == ".eval")
            if not logs:
                raise InputError(
                    f"folder '{name}' holds neither a store nor .eval logs; "
                    "give a folder that nla-eval read or inspect eval wrote"
                )
            for log in logs:
                _add_log(log, log.relative_to(path).as_posix(), found)
        else:
            raise InputError(f"no log or store at '{name}'; make one with: nla-eval read SOURCE --out store")
    return found


def _by_draws(pile: Pile) -> Iterator[tuple[int | None, Pile]]:
    """The parts of a pile by explanations per position of their suite; None where nothing was explained."""
    transcripts = pl.concat(pile.transcripts)
    readings = pl.concat([pl.DataFrame(schema=SCHEMA), *pile.readings])
    measured = readings.filter((pl.col("lane") == Lane.MEASURED.value) & (pl.col("position") >= 0))
    most = dict(measured.group_by("suite").agg(pl.col("draw").max() + 1).iter_rows())
    for draws in sorted({most.get(suite) for suite in transcripts["suite"].unique()}, key=lambda n: n or 0):
        suites = [suite for suite in transcripts["suite"].unique() if most.get(suite) == draws]
        within = pl.col("suite").is_in(suites)
        yield draws, _part(pile, transcripts.filter(within), _filtered(readings, within))


def _filtered(rows: pl.DataFrame, within: pl.Expr) -> pl.DataFrame:
    """The rows within; the frame itself where these are all, for a copy of all readings takes long texts."""
    mask = rows.select(within).to_series()
    return rows if mask.all() else rows.filter(mask)


def _part(pile: Pile, transcripts: pl.DataFrame, readings: pl.DataFrame) -> Pile:
    digests = {*transcripts["transcript_digest"]}
    within = pl.col("transcript_digest").is_in(sorted(digests))
    suites = {*transcripts.select("arm", "suite").iter_rows()}
    return Pile(
        readings=[readings],
        transcripts=[transcripts],
        messages=pile.messages.within(digests),
        samples={digest: sample for digest, sample in pile.samples.items() if digest in digests},
        scores=[frame.filter(within) for frame in pile.scores],
        judgements=[frame.filter(within) for frame in pile.judgements],
        turns=[frame.filter(within) for frame in pile.turns],
        signed=[row for row in pile.signed if row[0] in digests],
        checks=dict(pile.checks),
        repeats={key: count for key, count in pile.repeats.items() if key in suites},
        provenance=dict(pile.provenance),
    )


def _add_store(url: str, found: Inputs) -> None:
    store = ReadingStore.open(url)
    for fact in store.facts():
        _add_fact(fact.about, fact.suite, json.loads(fact.fact), found)
    manifest = store.manifest
    identity = store.identity.model_dump(mode="json")
    made = manifest.provenance if manifest else {}
    name = url.rstrip("/").rsplit("/", 1)[-1]
    transcripts = store.transcripts()
    pile = Pile(
        readings=[store.readings()],
        transcripts=[transcripts],
        scores=[store.scores()],
        messages=kept_messages(store),
        repeats=_left_out(name, transcripts, made.get("duplicates"), found.notes),
        provenance={name: identity | made},
    )
    if not transcripts.is_empty():
        found.add({Identity.of_facts({"preset": made.get("preset"), **identity}): pile})
    if not store.complete:
        found.notes.append(f"store '{name}' is unfinished: its run was stopped, or is still going")


def _left_out(name: str, transcripts: pl.DataFrame, said: str | None, notes: list[str]) -> dict[tuple[str, str], int]:
    """Repeated transcripts that the run of a store left out: of its one suite, else a note."""
    count = int(said) if said and said.isdigit() else 0
    suites = sorted({*transcripts.select("arm", "suite").iter_rows()})
    if count and len(suites) > 1:
        notes.append(f"the run of store '{name}' left out {count} transcripts that repeat the content of another")
    return {suites[0]: count} if count and len(suites) == 1 else {}


def _add_log(path: Path, shown: str, found: Inputs) -> None:
    """Add a log; `shown` is its path below the folder that was given."""
    try:
        header = read_eval_log(str(path), header_only=True)
        samples: Iterator[EvalSample] = read_eval_log_samples(
            str(path), all_samples_required=False, resolve_attachments=True
        )
        rows, piles = _piles(samples, shown)
    except (OSError, ValueError, KeyError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise InputError(f"log '{path.name}' cannot be read: {reason}; give a finished .eval log") from err
    if not rows:
        found.notes.append(f"log '{path.name}' holds no sample read by nla_eval")
        return
    facts = header.eval.metadata or {}
    _add_fact("design", rows[0]["suite"], (facts.get("card") or {}).get("design"), found)
    _add_fact("matched", rows[0]["suite"], facts.get("matched"), found)
    about = {
        "task": header.eval.task,
        "target": header.eval.model,
        "packages": dict(sorted(header.eval.packages.items())),
        "options": dict(sorted(header.eval.task_args.items())),
        "preset": (facts.get("preset") or {}).get("name"),
        "status": header.status,
    }
    for pile in piles.values():
        pile.provenance[path.name] = about
    found.add(piles)


def _piles(samples: Iterable[EvalSample], log: str) -> tuple[list[dict[str, Any]], dict[Identity, Pile]]:
    """The transcript rows of a log, and its piles."""
    every: list[dict[str, Any]] = []
    piles: dict[Identity, Pile] = {}
    rows: dict[Identity, list[dict[str, Any]]] = {}
    for sample in samples:
        row = sample.store.get(f"{_STATE}transcript")
        if not row:
            continue
        identity = _identity(sample)
        kept = {name: row.get(name) for name in TRANSCRIPT_SCHEMA}
        every.append(kept)
        rows.setdefault(identity, []).append(kept)
        digest, pile = str(row["transcript_digest"]), piles.setdefault(identity, Pile())
        pile.samples.setdefault(digest, LoggedSample(log, str(sample.id), sample.epoch))
        _add_sample(sample, digest, pile)
    for identity, pile in piles.items():
        pile.transcripts.append(pl.DataFrame(rows[identity], schema=TRANSCRIPT_SCHEMA))
    return every, piles


def _identity(sample: EvalSample) -> Identity:
    """What a sample was read with, as its log says; older logs say less, but their readings name pack, policy, seed."""
    told = Identity.of_facts(sample.metadata.get("nla") or {})
    reading: dict[str, Any] = next(iter(sample.store.get(f"{_STATE}readings") or []), {})
    known = {"pack": reading.get("pack") or sample.store.get(f"{_STATE}pack") or None}
    known |= {"policy": reading.get("policy"), "seed": reading.get("seed")}
    return told.model_copy(update={name: value for name, value in known.items() if getattr(told, name) is None})


def _add_sample(sample: EvalSample, digest: str, pile: Pile) -> None:
    readings = pl.DataFrame(sample.store.get(f"{_STATE}readings") or [], schema=SCHEMA)
    pile.readings.append(readings)
    pile.scores.append(pl.DataFrame(sample.store.get(f"{_STATE}scores") or [], schema=SCORE_SCHEMA))
    pile.messages.hear(digest, sample.messages)
    found = [score.metadata for score in (sample.scores or {}).values() if "judgements" in (score.metadata or {})]
    if found and found[-1] is not None:
        _add_scores(found[-1], sample, digest, readings, pile)


def _add_scores(score: dict[str, Any], sample: EvalSample, digest: str, readings: pl.DataFrame, pile: Pile) -> None:
    """Add the sample's latest score with judgements. Judging again appends a score, so the latest one counts.

    Older logs do not name the text that was judged; it is the text of the same sample.
    """
    explained = readings.select(*KEY, own=pl.col("explanation").map_elements(text_hash, return_dtype=pl.String()))
    judgements = pl.DataFrame(score["judgements"], schema=JUDGEMENT_SCHEMA)
    judgements = judgements.join(explained.unique(KEY), on=list(KEY), how="left", maintain_order="left")
    pile.judgements.append(judgements.with_columns(pl.coalesce("text_hash", "own").alias("text_hash")).drop("own"))
    texts = {(turn.message, turn.part.value): turn.text for turn in turn_texts(sample.messages)}
    turns = []
    for row in score["turns"]:
        text = texts.get((row["message"], row["part"]), "")
        turns.append({**row, "transcript_digest": digest, "text": text})
        turns[-1]["text_hash"] = row.get("text_hash") or text_hash(text)
    pile.turns.append(pl.DataFrame(turns, schema=TURN_SCHEMA))
    pile.signed.append((digest, str(score.get("classifier")), str(score.get("rubric"))))
    for fact in score.get("judge_checks") or ():
        check = JudgeCheck.model_validate(fact)
        pile.checks[check.model_dump_json()] = check


def _add_fact(about: str, suite: str, fact: Any, found: Inputs) -> None:
    """Keep a fact about a suite from an input. A fact in the form of another version is left out, with a note."""
    if fact is None:
        return
    try:
        if about == "design":
            found.designs[suite] = Design.model_validate(fact)
        else:
            found.matched.append(MatchedArm.model_validate(fact))
    except ValidationError:
        found.notes.append(f"what is recorded as '{about}' of suite '{suite}' is of another version and left out")
