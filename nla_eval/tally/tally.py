"""The tally: computes every number of a report from frames of judgements.

It is pure and deterministic: the same frames (in any row order) and options give the same `Tally`. It runs no model,
reads no file and knows no suite, classifier or report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ..cards.design import Design
from ..errors import InputError
from ..judgement import Headline
from ..readings import Lane
from ..stats.effective import design_effect
from ..stats.power import Design as Size
from ..stats.power import Detectable, smallest_rate
from ..transcript import Arm, Author
from .arms import arms_of
from .certificates import certification
from .comparing import corrected
from .frames import Frames
from .headlines import UNIFORM_POLICY, Board, headline_tally
from .judges import headline_stopped, judges_of
from .options import TallyOptions
from .outcomes import Denominators, lane_scores
from .shown import choose
from .trained_on import trained_on_note, without_trained_on
from .truncation import truncation_note
from .types import Certification, HeadlineTally, SuiteTally, Tally, VariantMeasure, VariantTally
from .units import Unit, counted, mean_scores
from .variants import Outcomes, compare
from .verdicts import Verdicts, verdicts

__all__ = ["Frames", "Tally", "TallyOptions", "tally"]


def tally(frames: Frames, options: TallyOptions | None = None) -> Tally:
    """Compute every number.

    Raises:
        InputError: The frames lack columns, mix rubrics, classifiers, packs, policies or seeds, have no transcript, or
            hold two verdicts of one judge on one text; or a headline has no definition.
    """
    options = options or TallyOptions()
    return tally_of(counted_in(frames, options), options)


@dataclass(frozen=True)
class Counted:
    """What a tally counts of its frames, joined once for all that describes it."""

    found: Verdicts
    trained_on: dict[str, int]
    """Transcripts left out because the pack was trained on them, by suite."""


def counted_in(frames: Frames, options: TallyOptions) -> Counted:
    """Leave out what the pack was trained on, then check and join the rest. Raises InputError as `tally` does."""
    undefined = [h.value for h in Headline if h not in options.definitions]
    if undefined:
        raise InputError(f"no labels are defined for headline(s) {', '.join(undefined)}; use the rubric's headlines")
    frames, trained_on = without_trained_on(frames)
    return Counted(verdicts(frames, options.definitions), trained_on)


def tally_of(of: Counted, options: TallyOptions) -> Tally:
    """`tally` of frames that are already joined."""
    found, frames = of.found, of.found.frames
    boards = {headline: Board.of(found, headline, options) for headline in Headline}
    primary = boards[options.primary]
    k = max((u.planned for u in primary.measured), default=0)
    certificates = {h: certification(board.deployment(), h, k, options) for h, board in boards.items()}
    suites = _suites(boards, certificates, options)
    shown = choose(found, options.primary, options.show, options.how.seed)
    rubrics = {*frames.judgements["rubric"].drop_nulls().unique(), *frames.turns["rubric"].drop_nulls()}
    names = [frame["classifier"].drop_nulls().unique() for frame in (frames.judgements, frames.turns)]
    judges = judges_of(frames)
    policies = frames.policies
    return Tally(
        rubric=next(iter(rubrics), ""),
        classifiers=sorted({name for some in names for name in some}),
        packs=frames.packs,
        policies=policies,
        identity=frames.identity,
        uniform=bool(policies) and all(p.startswith(UNIFORM_POLICY) for p in policies),
        draws=max((n for (_, _, lane), n in found.draws.items() if lane == Lane.MEASURED), default=1),
        primary=options.primary,
        definitions={h: [label.value for label in labels] for h, labels in options.definitions.items()},
        judged_share=options.judged_share,
        level=options.how.level,
        arms=arms_of(found.transcripts, {s.suite: s.compared_with for s in suites if s.arm == Arm.EVALUATION}),
        suites=suites,
        certifications=[c for c in certificates.values() if c is not None],
        scores=lane_scores(found),
        flagged=shown.flagged,
        flagged_total=shown.flagged_total,
        unflagged=shown.unflagged,
        said=shown.said,
        said_total=shown.said_total,
        recorded=shown.recorded,
        recorded_total=shown.recorded_total,
        matched=list(frames.matched),
        notes=[*truncation_note(found, options.how), *found.notes, *trained_on_note(of.trained_on)],
        trained_on=of.trained_on,
        judges=judges,
        headline_stopped=headline_stopped(judges),
    )


def _suites(
    boards: dict[Headline, Board], certificates: dict[Headline, Certification | None], options: TallyOptions
) -> list[SuiteTally]:
    primary = boards[options.primary]
    found = primary.found
    keys = sorted(found.duplicates, key=lambda key: (key[0] == Arm.DEPLOYMENT, key))
    tallied: dict[tuple[str, str], list[HeadlineTally]] = {key: [] for key in keys}
    for headline, board in boards.items():
        compared = corrected([board.versus(*key) for key in keys])
        for key, versus in zip(keys, compared, strict=True):
            tallied[key].append(headline_tally(board, *key, versus, certificates[headline]))
    outcomes = Denominators(found, options.primary)
    designs = found.frames.designs
    scores = mean_scores(found, Lane.MEASURED) if designs else []
    suites = []
    for key in keys:
        rows = primary.members(*key)
        lanes = {lane: [units[i] for i in rows] for lane, units in primary.lanes.items()}
        measured = lanes[Lane.MEASURED]
        design = designs.get(key[1])
        suites.append(
            SuiteTally(
                suite=key[1],
                arm=key[0],
                transcripts=len(rows),
                duplicates=found.duplicates[key],
                families=sorted({unit.family for unit in measured}),
                headlines=tallied[key],
                denominators=outcomes.of(key, lanes),
                words=_words(found, [unit.digest for unit in measured]),
                pairs_withheld=_withheld(primary, rows),
                lane_states=outcomes.states(lanes),
                compared_with=primary.compared_with(key[1]) if key[0] == Arm.EVALUATION else [],
                detectable=_detectable(measured, options.how.level),
                detectable_alike=_detectable(measured, options.how.level, alike=True),
                variants=_variants(design, primary, rows, scores) if design else None,
            )
        )
    return suites


def _detectable(units: Sequence[Unit], level: float, *, alike: bool = False) -> Detectable | None:
    """The smallest any-of-k rate that so many admitted transcripts in so many families tell from zero.

    If `alike`, a family counts once; None where every family has one transcript."""
    admitted = [unit for unit in units if unit.admitted and unit.judged_positions]
    if not admitted:
        return None
    families = len({unit.cluster for unit in admitted})
    k = sorted(unit.judged_positions for unit in admitted)[len(admitted) // 2]
    each = len(admitted) / families
    if alike and each == 1:
        return None
    worth = families if alike else int(len(admitted) / design_effect(each, Size.family_correlation) + 1e-9)
    return smallest_rate(Size(families=worth, k=k), level=level)


def _words(found: Verdicts, digests: Sequence[str]) -> dict[Author, int]:
    """Assistant turns by author. A turn by a log's model counts as the target's if it is `own`, else as recorded."""
    one = ["transcript_digest", "message"]
    own = found.turns.filter(~pl.col("repeat") & pl.col("transcript_digest").is_in(digests)).unique(one)
    others = found.recorded.filter(pl.col("transcript_digest").is_in(digests)).unique(one)
    logged = own.filter(pl.col("author") == Author.LOGGED.value).height
    counts = {Author.TARGET: own.height - logged, Author.LOGGED: logged}
    apart = {author: others.filter(pl.col("author") == author.value).height for author in (Author.GIVEN, Author.AGENT)}
    counts |= {Author.RECORDED: others.height - sum(apart.values()), **apart}
    return {author: count for author, count in counts.items() if count}


def _withheld(board: Board, rows: Sequence[int]) -> str:
    """Why N and V are not paired (the target wrote no turn of the suite); empty if they are."""
    if not rows or not all(board.others[i] for i in rows):
        return ""
    transcripts = board.found.transcripts
    named = transcripts["words_by"].to_list() if "words_by" in transcripts.columns else [None] * transcripts.height
    models = sorted({str(named[i]) for i in rows if named[i] is not None})
    whose = f"the assistant turns are recorded words of {', '.join(models)}" if models else "nobody says who wrote them"
    logged = board.found.recorded.filter(pl.col("author") == Author.LOGGED.value)["transcript_digest"]
    declare = bool({*logged} & {board.measured[i].digest for i in rows})
    mend = "; if that model is the target, read again with target_is_author" if declare else ""
    return f"the target wrote no assistant turn here ({whose}), so N and V do not pair{mend}"


def _variants(design: Design, board: Board, rows: Sequence[int], scores: Sequence[float | None]) -> VariantTally | None:
    units = [board.measured[i] for i in rows]
    variants = board.found.transcripts["variant"].to_list()
    outcomes = Outcomes(
        items=[u.cluster for u in units],
        variants=[variants[i] for i in rows],
        values={
            VariantMeasure.SAID: counted([board.v[i] for i in rows]),
            VariantMeasure.FLAGGED: counted(units),
            VariantMeasure.FRACTION: [u.fraction for u in units],
            VariantMeasure.SCORE: [scores[i] for i in rows],
        },
    )
    return compare(design, outcomes, board.options.how)
