"""`nla-eval report`: judges the readings and turns in logs and stores, tallies them and writes one report file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._rooms import load_room
from ..errors import InputError
from ..judgement import Classifier, Rubric
from ..judging.classify import DEFAULT_CLASSIFIER, DEFAULT_RUBRIC, load_rubric, make_classifier, rubric_ref
from ..provenance import command, versions
from ..tally.frames import Frames
from ..tally.gather import Gathered, as_scored, gather, judged
from ..tally.report_registry import REPORTS, ReportBuilder
from ..tally.tally import TallyOptions, tally
from ..tally.types import Tally
from .summary import show


@dataclass(frozen=True)
class ReportRequest:
    """What the user asked for."""

    inputs: tuple[str, ...]
    out: str
    classifier: str | None = None
    """None: keep the logs' own judgements, or judge with "linear" if an input is not scored."""
    rubric: str | None = None
    """None: the rubric that the logs were scored under, or "strict"."""
    pack: str | None = None
    builder: str = "html"


def run(request: ReportRequest) -> None:
    """Write the report, and print the rates and the report's path."""
    builder_of(request.builder)
    counted = make_tally(request)
    for note in counted.provenance["notes"]:
        print(f"note: {note}", file=sys.stderr)
    written = write_report(counted, Path(request.out), request.builder)
    show(counted)
    size = counted.provenance["transcripts"], counted.provenance["readings"]
    judged_by = f"judged by {counted.provenance['classifier']} under {counted.provenance['rubric']}"
    print(f"{size[0]} transcripts, {size[1]} readings, {judged_by}: {written}")


def make_tally(request: ReportRequest) -> Tally:
    """Judge and count the readings and turns of the inputs. `out` and `builder` are ignored.

    Raises:
        InputError: An input is neither a log nor a store; or a classifier, rubric or pack is unknown.
    """
    named = _named_classifier(request)
    gathered = gather(request.inputs)
    verdicts = _judge(gathered, named)
    counted = tally(verdicts.frames, TallyOptions(definitions=verdicts.rubric.headlines))
    card, note = _card(request, gathered)
    provenance = _provenance(request, gathered, verdicts, [*gathered.notes, *filter(None, [note])])
    return counted.model_copy(update={"provenance": provenance, "pack_card": card})


def builder_of(name: str) -> ReportBuilder:
    """A report builder by name. Raises InputError listing the known names."""
    load_room("reports")
    return REPORTS.get(name)


def write_report(counted: Tally, out: Path, builder: str) -> Path:
    """Write one report file from a tally, and return its path."""
    return builder_of(builder)(counted, counted.provenance, counted.pack_card, out)


@dataclass(frozen=True)
class _Judged:
    frames: Frames
    classifier: str
    rubric: Rubric


def _named_classifier(request: ReportRequest) -> Classifier | None:
    """The classifier that the user named, made before anything is read, so that a typing mistake shows at once."""
    if request.classifier is None and request.rubric is None:
        return None
    return make_classifier(request.classifier or DEFAULT_CLASSIFIER, request.rubric or DEFAULT_RUBRIC)


def _judge(gathered: Gathered, named: Classifier | None) -> _Judged:
    scored = gathered.scored
    if named is None and scored is not None and len(scored.classifiers) == 1 == len(scored.rubrics):
        return _Judged(as_scored(gathered), scored.classifiers[0], _same_rubric(scored.rubrics[0]))
    classifier = named or make_classifier()
    return _Judged(judged(gathered, classifier), classifier.name, classifier.rubric)


def _same_rubric(reference: str) -> Rubric:
    """The rubric that the logs were scored under. Raises InputError if it has changed since."""
    name = reference.partition("@")[0]
    rubric = load_rubric(name)
    if rubric_ref(rubric) != reference:
        raise InputError(
            f"the logs were scored under rubric {reference}, but '{name}' is now {rubric_ref(rubric)}; "
            "judge them again with --classifier"
        )
    return rubric


def _provenance(request: ReportRequest, gathered: Gathered, verdicts: _Judged, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "classifier": verdicts.classifier,
        "rubric": rubric_ref(verdicts.rubric),
        "pack": gathered.pack or "several",
        "transcripts": gathered.transcripts.height,
        "readings": gathered.readings.height,
        "inputs": gathered.provenance,
        "versions": versions(),
        "command": command(),
        "notes": list(notes),
    }


def _card(request: ReportRequest, gathered: Gathered) -> tuple[dict[str, Any] | None, str]:
    """The card to show and a note: of the named pack, else of the pack that made the readings; None with the reason."""
    from ..models.pack import load_pack
    from .pack_cards import card_by_id, card_of

    if request.pack is not None:
        card = card_of(load_pack(request.pack))
        if card is None:
            raise InputError(f"pack '{request.pack}' has no card.json; leave --pack out")
        return dict(card), ""
    found = card_by_id(gathered.pack) if gathered.pack else None
    if found is None:
        return None, f"found no card of pack {gathered.pack or '(several)'}; name the pack with --pack"
    return dict(found), ""
