"""`nla-eval report`: judges what logs and stores hold, tallies it and lets a report builder write one file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._rooms import load_room
from ..errors import InputError
from ..judgement import Classifier, Rubric
from ..judging.classify import DEFAULT_CLASSIFIER, DEFAULT_RUBRIC, load_rubric, make_classifier, rubric_ref
from ..provenance import versions
from ..tally.frames import Frames
from ..tally.gather import Gathered, as_scored, gather, judged
from ..tally.report_registry import REPORTS
from ..tally.tally import TallyOptions, tally
from .summary import show


@dataclass(frozen=True)
class ReportRequest:
    """What the user asked for."""

    inputs: tuple[str, ...]
    out: str
    classifier: str | None = None
    """None: as the logs were scored, or "linear" where an input is not scored."""
    rubric: str | None = None
    """None: the one the logs were scored under, or "strict"."""
    pack: str | None = None
    builder: str = "html"


def run(request: ReportRequest) -> None:
    """Write the report and print where it is."""
    load_room("reports")
    build = REPORTS.get(request.builder)
    named = _named_classifier(request)
    gathered = gather(request.inputs)
    for note in gathered.notes:
        print(f"note: {note}", file=sys.stderr)
    verdicts = _judge(gathered, named)
    counted = tally(verdicts.frames, TallyOptions(definitions=verdicts.rubric.headlines))
    card = _card(request, gathered)
    written = build(counted, _provenance(request, gathered, verdicts), card, Path(request.out))
    show(counted)
    size = f"{gathered.transcripts.height} transcripts, {gathered.readings.height} readings"
    print(f"{size}, judged by {verdicts.classifier} under {rubric_ref(verdicts.rubric)}: {written}")


@dataclass(frozen=True)
class _Judged:
    frames: Frames
    classifier: str
    rubric: Rubric


def _named_classifier(request: ReportRequest) -> Classifier | None:
    """The classifier asked for, made before anything is read, so that a typing mistake shows at once."""
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
    """The rubric that a log was scored under, if it is still the same."""
    name = reference.partition("@")[0]
    rubric = load_rubric(name)
    if rubric_ref(rubric) != reference:
        raise InputError(
            f"the logs were scored under rubric {reference}, here '{name}' is {rubric_ref(rubric)}; "
            "judge them again with --classifier"
        )
    return rubric


def _provenance(request: ReportRequest, gathered: Gathered, verdicts: _Judged) -> dict[str, Any]:
    return {
        "classifier": verdicts.classifier,
        "rubric": rubric_ref(verdicts.rubric),
        "pack": gathered.pack or "several",
        "inputs": gathered.provenance,
        "versions": versions(),
        "command": shlex.join(["nla-eval", *sys.argv[1:]]),
        "notes": list(gathered.notes),
    }


def _card(request: ReportRequest, gathered: Gathered) -> Mapping[str, Any] | None:
    """The card of the pack asked for, or of the one the readings were made with where it is at hand."""
    from ..models.pack import load_pack
    from .pack_cards import card_by_id, card_of

    if request.pack is not None:
        card = card_of(load_pack(request.pack))
        if card is None:
            raise InputError(f"pack '{request.pack}' has no card.json; leave --pack out")
        return card
    found = card_by_id(gathered.pack) if gathered.pack else None
    if found is None:
        print(f"note: no card of pack {gathered.pack or '(several)'} at hand; name one with --pack", file=sys.stderr)
    return found
