"""`nla-eval report`: tallies what logs and stores hold and lets a report builder write one file per tally.

What logs were scored with is used as it is: several judges, or rubrics, give several tallies, never one. So do inputs
that were read with another target, pack, policy, number of draws, seed, temperature or window. Only what no scorer
judged is judged here, unless the user asks for all to be judged alike."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .._rooms import load_room
from ..errors import InputError
from ..judgement import Classifier, Headline, Panel, Rubric
from ..judging.calibration import CalibrationFile, error_counts
from ..judging.classify import DEFAULT_CLASSIFIER, DEFAULT_RUBRIC, load_rubric, make_classifier, rubric_ref
from ..judging.panel import members_of
from ..pipeline.presets import PRESETS, Preset
from ..provenance import command, versions
from ..readings import Lane
from ..tally.agreement import agreement
from ..tally.browse import TRANSCRIPTS, BrowseOptions, browse
from ..tally.control import ReadControl, control_tally, read_controls
from ..tally.frames import Frames
from ..tally.gather import Gathered, Signature, frames_of, gather_apart, joined, judged, judged_by_each, unscored
from ..tally.identity import Identity, distinguishing
from ..tally.options import Measured, TallyOptions
from ..tally.readers import Beside, readers_tally
from ..tally.report_registry import REPORTS, ReportBuilder
from ..tally.sensitivity import FACTS, ReadSet, sensitivity
from ..tally.setting import setting_tally
from ..tally.tally import Counted, counted_in, tally_of
from ..tally.types import Tally
from ..tally.types_readers import ReadersTally
from ..tally.types_sensitivity import Sensitivity
from ..tally.where import where
from .calibrated import calibration_facts, expect_some_use, read_calibrations
from .lane_advice import lacking_donors
from .next_step import next_step
from .preset_followed import preset_facts, preset_named


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
    """Formats by comma: html, md, text, json, csv, parquet, svg, png, pdf."""
    judge: str | None = None
    """Models of the classifier "llm", as provider/model, several by comma."""
    judge_mode: str | None = None
    """What they are told: blind, blurb, swapped, several by comma."""
    preset: str | None = None
    """Protocol whose headline and lead the report takes. None: the one the inputs were read under, or "strict"."""
    calibration: tuple[str, ...] = ()
    """Calibration files; each is used for the judge and rubric that it is of."""
    transcripts: int = TRANSCRIPTS
    """Number of transcripts that the report can open."""
    sensitivity: bool = False
    """Whether to count the headline again under other choices."""
    control: tuple[str, ...] = ()
    """Logs and stores of the positive control, for the instrument check."""
    view_url: str = ""
    """Address of a running `inspect view`, which transcripts of logs then link to."""


@dataclass(frozen=True)
class Tallied:
    """A tally with what it was made of, as a comparison of runs needs it."""

    tally: Tally
    of: Counted
    options: TallyOptions
    gathered: Gathered


def make_tally(request: ReportRequest) -> Tally:
    """Judge and count the readings and turns of the inputs. `out` and `builder` are ignored.

    Raises:
        InputError: an input is no log and no store; an unknown classifier, rubric or pack is named; the inputs are
            scored by several judges or under several rubrics; or they were not read alike.
    """
    counted = make_tallies(request)
    if len(counted) > 1:
        raise InputError(f"{several(counted, request.inputs)}; or take them apart with make_tallies")
    return counted[0]


def make_tallies(request: ReportRequest) -> list[Tally]:
    """One tally per identity of the inputs, judge and rubric, by name; see `make_tally`."""
    return [each.tally for each in tallied_apart(request)]


def tallied_apart(request: ReportRequest) -> list[Tallied]:
    """As `make_tallies`, each with what it was made of."""
    named = _named_classifier(request)
    calibrations = read_calibrations(request.calibration)
    controls = read_controls(gather_apart(request.control), make_classifier()) if request.control else None
    apart = gather_apart(request.inputs)
    return [each for gathered in apart for each in _tallies(request, gathered, named, calibrations, controls)]


def _tallies(
    request: ReportRequest,
    gathered: Gathered,
    named: Classifier | None,
    calibrations: Sequence[CalibrationFile],
    controls: Sequence[ReadControl] | None,
) -> list[Tallied]:
    preset = preset_named(request.preset, gathered)
    found, judging_notes = _judge(gathered, named)
    card, card_note = _card(request, gathered)
    notes = [*gathered.notes, *judging_notes, *filter(None, [card_note]), *lacking_donors(gathered)]
    expect_some_use(calibrations, [(each.classifier, rubric_ref(each.rubric)) for each in found])
    setting = setting_tally(gathered.transcripts, gathered.scores, card, designs=gathered.designs)
    counted = []
    for each in found:
        options = TallyOptions(
            definitions=each.rubric.headlines,
            primary=Headline(preset.headline),
            errors=_errors(each.classifier, each.rubric),
            calibration=error_counts(calibrations, each.classifier, rubric_ref(each.rubric)) or {},
        )
        alike = {other.classifier: other.frames for other in found if other.rubric == each.rubric}
        of = counted_in(each.frames, options)
        tally = tally_of(of, options).model_copy(
            update={
                "where": where(of.found, options.primary, options.how),
                "browse": browse(
                    of.found,
                    gathered.messages,
                    BrowseOptions(
                        options.primary, request.transcripts, options.how.seed, options.judged_share, request.view_url
                    ),
                    gathered.samples,
                ),
                "provenance": _provenance(gathered, each, notes, preset)
                | calibration_facts(calibrations, each.classifier, rubric_ref(each.rubric)),
                "pack_card": card,
                "setting": setting,
                "control": None if controls is None else control_tally(controls, card),
                "agreement": agreement(alike, options.definitions, options.primary),
                "readers": _readers(of, options, gathered, card),
                "sensitivity": _sensitivity(each, found, options, gathered) if request.sensitivity else None,
            }
        )
        counted.append(Tallied(tally, of, options, gathered))
    return counted


def _readers(
    of: Counted, options: TallyOptions, gathered: Gathered, card: Mapping[str, Any] | None
) -> ReadersTally | None:
    """N beside other readers, if any lane of theirs was read."""
    frames = of.found.frames
    texts = frames.readings["reader"].null_count() < frames.readings.height
    scores = gathered.scores.filter(pl.col("lane") != Lane.SETTING.value)
    if not texts and scores.is_empty():
        return None
    beside = Beside(scores, card, how=options.how, judged_share=options.judged_share)
    return readers_tally(frames, options.definitions, options.primary, beside)


def _sensitivity(leading: Judged, found: Sequence[Judged], options: TallyOptions, gathered: Gathered) -> Sensitivity:
    """The headline of one judge under other choices, the other judges of the same readings among them."""
    facts = (gathered.identity or Identity()).model_dump(exclude_none=True)
    sets = [
        ReadSet(each.frames, each.rubric.headlines, f"{each.classifier} under {rubric_ref(each.rubric)}",
                {name: f"{facts[name]:g}" if isinstance(facts[name], float) else str(facts[name])
                 for name in FACTS if name in facts})
        for each in (leading, *(other for other in found if other is not leading))
    ]  # fmt: skip
    return sensitivity(sets, options.primary, options.how)


def judged_inputs(request: ReportRequest) -> list[Judged]:
    """What every judge says of the inputs: frames by judge and rubric, as `make_tallies` counts them."""
    named = _named_classifier(request)
    return [each for gathered in gather_apart(request.inputs) for each in _judge(gathered, named)[0]]


def several(counted: Sequence[Tally], inputs: Sequence[str]) -> str:
    """That there are several tallies, and the command that makes them one where it is the judges that differ."""
    names = "; ".join(named_apart(t, counted) for t in counted)
    told = f"tallied apart, for they are not comparable: {names}"
    judges = {(t.provenance["classifier"], t.provenance["rubric"]) for t in counted}
    if len(judges) == 1:
        return told
    again = next_step("nla-eval", "report", *inputs, *_options(str(counted[0].provenance["classifier"])))
    return f"{told}; to judge all alike: {again}"


def named_apart(one: Tally, counted: Sequence[Tally]) -> str:
    """What tells a tally from the others: its judge and rubric, and what its inputs were read with."""
    fields = distinguishing(t.identity or Identity() for t in counted)
    read = f", read with {(one.identity or Identity()).described(fields)}" if fields else ""
    return f"{one.provenance['classifier']} under {one.provenance['rubric']}{read}"


def places(out: Path, counted: Sequence[Tally]) -> list[Path]:
    """A file per tally: the one asked for, or named after judge and rubric beside it."""
    if len(counted) == 1:
        return [out]
    folder, stem, suffix = (out.parent, out.stem, out.suffix) if out.suffix else (out, "report", ".html")
    fields = distinguishing(t.identity or Identity() for t in counted)
    judges = len({(t.provenance["classifier"], t.provenance["rubric"]) for t in counted}) > 1
    names = []
    for t in counted:
        parts = [t.provenance["classifier"], t.provenance["rubric"]] if judges or not fields else []
        parts += [(t.identity or Identity()).described(fields)] if fields else []
        names.append(re.sub(r"\W+", "-", "-".join(parts)).strip("-"))
    return [folder / f"{stem}-{name}{suffix}" for name in names]


def formats_of(asked: str) -> list[str]:
    """Formats named by comma, each once. Raises InputError for an unknown one, before anything is read."""
    names = names_of(asked)
    for name in names:
        builder_of(name)
    return names


def names_of(asked: str) -> list[str]:
    """Names by comma, each once. Raises InputError if there is none."""
    names = list(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip()))
    if not names:
        raise InputError("no format is named; expected for example --format html,json")
    return names


def check_place(out: Path) -> None:
    """Raise InputError if nothing can be written at `out`, before minutes of work."""
    folder = out.parent if out.suffix else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(f"cannot write the report to {out}: {err.strerror}; choose another place with --out") from err
    if not os.access(folder, os.W_OK) or (out.suffix and out.is_dir()):
        raise InputError(f"cannot write the report to {out}: it is no writable file; choose another place with --out")


def builder_of(name: str) -> ReportBuilder:
    """A report builder by name. Raises InputError listing the known names."""
    load_room("reports")
    return REPORTS.get(name)


def write_report(counted: Tally, out: Path, builder: str) -> Path:
    """Write one report file from a tally, and return its path."""
    return builder_of(builder)(counted, counted.provenance, counted.pack_card, out)


@dataclass(frozen=True)
class Judged:
    """What one judge said under one rubric."""

    frames: Frames
    classifier: str
    rubric: Rubric


def _named_classifier(request: ReportRequest) -> Classifier | None:
    """The classifier asked for, made before anything is read, so that a typing mistake shows at once."""
    told = PRESETS[request.preset].judge_mode if request.judge and request.preset in PRESETS else None
    asked = {"judges": request.judge, "mode": request.judge_mode or (None if told == "blind" else told)}
    options = {name: value for name, value in asked.items() if value is not None}
    if request.classifier is None and request.rubric is None and not options:
        return None
    name = request.classifier or ("llm" if options else DEFAULT_CLASSIFIER)
    return make_classifier(name, request.rubric or DEFAULT_RUBRIC, **options)


def _judge(gathered: Gathered, named: Classifier | None) -> tuple[list[Judged], list[str]]:
    """What every judge says, by its name and rubric, and what a reader must know of who judged."""
    if named is not None:
        judges = members_of(named)
        every = zip(judges, judged_by_each(gathered, judges), strict=True)
        return [Judged(frames, judge.name, judge.rubric) for judge, frames in every], []
    signatures = gathered.scored.signatures if gathered.scored is not None else []
    found = {
        signature: Judged(frames_of(gathered, signature), signature.classifier, _same_rubric(signature.rubric))
        for signature in signatures
    }
    rest = unscored(gathered)
    notes = []
    if rest is not None:
        classifier = _like(signatures) or make_classifier()
        frames = judged(rest, classifier)
        signature = Signature(classifier.name, rubric_ref(classifier.rubric))
        if signature in found:
            frames = joined(found[signature].frames, frames)
        found[signature] = Judged(frames, classifier.name, classifier.rubric)
        if signatures:
            notes.append(
                f"{rest.transcripts.height} transcripts ({rest.readings.height} readings) are not scored, or not "
                f"all of them: judged here by {classifier.name} under {rubric_ref(classifier.rubric)}"
            )
    return [found[signature] for signature in sorted(found)], notes


def _like(signatures: Sequence[Signature]) -> Classifier | None:
    """The one judge that scored the rest, where it can be made here as it was: an offline one of the same version."""
    if len(signatures) != 1:
        return None
    name, rubric = signatures[0].classifier.partition("@")[0], signatures[0].rubric.partition("@")[0]
    try:
        classifier = make_classifier(name, rubric)
    except InputError:
        return None
    same = (classifier.name, rubric_ref(classifier.rubric)) == signatures[0]
    return classifier if same and not isinstance(classifier, Panel) else None


def _errors(name: str, rubric: Rubric) -> Measured:
    """The measured errors that a judge of this version carries; none where it carries none or is of another version."""
    try:
        judge = make_classifier(name.partition("@")[0], rubric.id)
    except InputError:
        return {}
    same = (judge.name, rubric_ref(judge.rubric)) == (name, rubric_ref(rubric))
    return getattr(judge, "errors", {}) if same else {}


def _options(classifier: str) -> list[str]:
    """The options that ask for a judge by the name it signs with: "lexicon@1", "llm@2:openai/gpt-5+swapped"."""
    name, _, rest = classifier.partition("@")
    _, _, model = rest.partition(":")
    model, _, mode = model.partition("+")
    options = ["--classifier", name]
    options += ["--judge", model] if model else []
    return options + (["--judge-mode", mode] if mode and "=" not in mode else [])


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


def _provenance(gathered: Gathered, verdicts: Judged, notes: Sequence[str], preset: Preset) -> dict[str, Any]:
    return {
        "preset": preset_facts(preset, verdicts.frames, gathered.pack, verdicts.classifier),
        "classifier": verdicts.classifier,
        "rubric": rubric_ref(verdicts.rubric),
        "pack": gathered.pack or "several",
        "transcripts": verdicts.frames.transcripts.height,
        "readings": verdicts.frames.readings.height,
        "identity": gathered.identity.model_dump(exclude_none=True) if gathered.identity else {},
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
