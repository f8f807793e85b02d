"""`nla-eval report`: judges what logs and stores hold, tallies it and lets a report builder write one file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._rooms import load_room
from ..classify import make_classifier, rubric_ref
from ..errors import InputError
from ..frames import Gathered, gather, judged
from ..judgement import Classifier
from ..provenance import versions
from ..report_registry import REPORTS
from ..tally import TallyOptions, tally


@dataclass(frozen=True)
class ReportRequest:
    """What the user asked for."""

    inputs: tuple[str, ...]
    out: str
    classifier: str = "linear"
    rubric: str = "strict"
    pack: str | None = None
    builder: str = "html"


def run(request: ReportRequest) -> None:
    """Write the report and print where it is."""
    load_room("reports")
    build = REPORTS.get(request.builder)
    classifier = make_classifier(request.classifier, request.rubric)
    gathered = gather(request.inputs)
    for note in gathered.notes:
        print(f"note: {note}", file=sys.stderr)
    counted = tally(judged(gathered, classifier), TallyOptions(definitions=classifier.rubric.headlines))
    written = build(counted, _provenance(request, gathered, classifier), _card(request, gathered), Path(request.out))
    print(f"{gathered.transcripts.height} transcripts, {gathered.readings.height} readings: {written}")


def _provenance(request: ReportRequest, gathered: Gathered, classifier: Classifier) -> dict[str, Any]:
    return {
        "classifier": classifier.name,
        "rubric": rubric_ref(classifier.rubric),
        "pack": gathered.pack or "several",
        "inputs": gathered.provenance,
        "versions": versions(),
        "command": shlex.join(["nla-eval", *sys.argv[1:]]),
        "notes": list(gathered.notes),
    }


def _card(request: ReportRequest, gathered: Gathered) -> Mapping[str, Any] | None:
    """The card of the pack asked for, or of the one the readings were made with where it is at hand."""
    from .pack import card_of

    if request.pack is not None:
        card = card_of(request.pack)
        if card is None:
            raise InputError(f"pack '{request.pack}' has no card.json; leave --pack out")
        return card
    return card_of(None, only=gathered.pack)
