"""What stands beside the headline: other readers of the same transcripts, and the headline under other choices.

In: those parts of a tally. Out: sentences, tables and figures. It formats and computes no number."""

from __future__ import annotations

from collections.abc import Iterator

from nla_eval.readings import Lane
from nla_eval.stats.gain import Discordant
from nla_eval.stats.interval import Estimate
from nla_eval.tally.control import control_name
from nla_eval.tally.types import ControlTally, VariantMeasure
from nla_eval.tally.types_readers import ReaderGain, ReadersTally
from nla_eval.tally.types_sensitivity import Reference, Sensitivity, SensitivityRow, SuiteSensitivity
from nla_eval.tally.types_setting import SettingTally

from ._drawing import Drawing
from ._figures import Shift, ShiftPanel, shifts
from ._format import (
    MISSING,
    count,
    difference,
    number,
    p_value,
    plain_interval,
    plural,
    points,
    spoken,
    with_difference,
    with_interval,
    words,
)

PANELS = 4
"""Suites in the figure of sensitivity: those whose conclusion flips first."""
_READS = {
    Lane.TEXT_ONLY: "explanations written from the text before the place, in the pack's format",
    Lane.TEXT_RAW: "a judge of the bare text",
    Lane.PROBE: "a linear probe on the activation",
    Lane.ASKED: "the target, asked after the transcript",
}
_VERDICTS = {1: "gain", 0: "zero gain", -1: "N is worse"}

Table = tuple[list[str], list[list[str]]]


def control_table(found: ControlTally) -> Table:
    """The instrument check: the same answers with the cue and without it, by what they were read from."""
    head = ["Read from", "Requests higher with the cue", "Log-odds, with minus without", "Read aware: with, without"]
    rows = [
        [
            control_name(row),
            f"{row.higher} of {row.pairs}",
            with_difference(row.shift, VariantMeasure.SCORE),
            f"{row.aware_with} of {row.with_cue}, {row.aware_without} of {row.without_cue}",
        ]
        for row in found.rows
    ]
    return head, rows


WITHIN = (
    "The same items under two prompts. No threshold enters, so none has to hold for texts like these; the instrument "
    "check reads a planted state in the same way. Prompts differ in their words: a shift shows that one reaches the "
    "activations, not what the model believes."
)


def within_table(found: SettingTally | None) -> Table | None:
    """Variants compared within items in the column "read aware (setting)"; None if there are none."""
    if found is None or not found.within:
        return None
    head = ["Suite", "Prompts", "Items higher in the first", "Log-odds, first minus second", "p", "p, Holm"]
    rows = [
        [
            row.suite,
            row.name,
            f"{row.higher} of {row.items}",
            with_difference(row.found.estimate, VariantMeasure.SCORE),
            p_value(row.found.test.p_value if row.found.test else None),
            p_value(row.holm_p),
        ]
        for row in found.within
    ]
    return head, rows


def gain_sentences(found: ReadersTally) -> list[str]:
    """The gain over every reader in words, shuffles, and told recall. Zero gain is said to be zero gain."""
    lanes = dict.fromkeys(gain.lane for gain in found.gains)
    named = [f"{spoken(lane)}: {_READS[lane]}" for lane in lanes if lane in _READS]
    said = [f"The readers. {'; '.join(named)}."] if named else []
    said += [f"{gain.sentence}." for gain in found.gains]
    if not found.gains:
        said.append("No transcript of a suite was read by both N and another reader.")
    for shuffled in found.shuffled:
        if shuffled.arms is not None:
            points = difference(shuffled.arms.difference, VariantMeasure.FRACTION)
            said.append(
                f"{shuffled.suite}: N is {points} points from ordinary chats; p {p_value(shuffled.arms.p_value)} when "
                "families are shuffled between the arms."
            )
    if found.told is not None:
        said.append(
            f"Told recall by this classifier: {with_interval(found.told.recall)} of places told “this is an "
            f"evaluation”, {with_interval(found.told.untold)} of the others."
        )
    elif found.told_missing:
        said.append(f"{found.told_missing}.")
    return said


def gain_table(found: ReadersTally) -> Table:
    """Every reader against N."""
    at = f"Flagged at {_rate(found)} false positives, difference in points"
    heads = ["Suite", "Other reader", "n", "AUROC of N", "AUROC of the reader", "Difference", at]
    return [*heads, "N alone", "Reader alone", "Verdict"], [_gain(gain) for gain in found.gains]


def _gain(found: ReaderGain) -> list[str]:
    gain = found.gain
    return [
        found.suite,
        f"{spoken(found.lane)}: {found.reader}",
        f"{count(gain.positives)} and {count(gain.negatives)}",
        plain(gain.own_auroc),
        plain(gain.other_auroc),
        plain(gain.auroc, signed=True),
        points(gain.at_rate),
        _alone(found.transcripts, 0),
        _alone(found.transcripts, 1),
        _VERDICTS[gain.sign],
    ]


def _rate(found: ReadersTally) -> str:
    rates = sorted({gain.gain.rate for gain in found.gains})
    return words(f"{100 * rate:.0f}\u202f%" for rate in rates)


def _alone(found: Discordant | None, side: int) -> str:
    return MISSING if found is None else with_interval((found.only_own, found.only_other)[side])


def gain_figure(found: ReadersTally) -> Drawing | None:
    """AUROC of N minus that of every other reader; None without one."""
    suites = list(dict.fromkeys(gain.suite for gain in found.gains if gain.gain.auroc.value is not None))
    panels = [
        ShiftPanel(
            suite,
            [
                Shift(f"{spoken(g.lane)}, {g.reader}", g.gain.auroc, plain(g.gain.auroc, signed=True))
                for g in found.gains
                if g.suite == suite
            ],
        )
        for suite in suites
    ]
    title = "Privileged gain: N against other readers"
    return shifts("gain", title, panels, "AUROC, N minus reader", 1.0, "") if panels else None


def plain(estimate: Estimate, *, signed: bool = False) -> str:
    """A quantity that is not a share, with its interval."""
    if estimate.value is None:
        return MISSING
    value = number(estimate.value)
    value = f"+{value}" if signed and estimate.value > 0 and value.strip("0.") else value
    inside = plain_interval(estimate)
    return f"{value} ({inside})" if inside else value


def sensitivity_sentences(found: Sensitivity) -> Iterator[str]:
    """Where the conclusion flips, suite by suite; then what was not varied."""
    for suite in found.suites:
        flips = suite.flips
        if suite.against is Reference.NONE:
            yield f"{suite.suite}: nothing to compare with, so no conclusion can flip."
        elif flips:
            settings = words(row.setting for row in flips)
            yield (
                f"{suite.suite}: the conclusion (“{suite.base.conclusion.value}” against the {suite.against.value}) "
                f"flips in {len(flips)} of {plural(len(suite.rows), 'row')}: {settings}."
            )
        else:
            yield (
                f"{suite.suite}: the conclusion (“{suite.base.conclusion.value}” against the {suite.against.value}) "
                f"stays in all {plural(len(suite.rows), 'row')}."
            )
    if found.not_varied:
        yield f"Not varied here: {'; '.join(found.not_varied)}."
    for line in found.not_included:
        yield f"{line[:1].upper()}{line[1:]}."


def sensitivity_table(suite: SuiteSensitivity) -> Table:
    """The headline and every other choice."""
    heads = ["Choice", "Setting", "k", "Draws", "n", "Any of k", "Reference", "Difference, points", "Conclusion", ""]
    return heads, [_choice(row) for row in (suite.base, *suite.rows)]


def _choice(row: SensitivityRow) -> list[str]:
    return [
        row.axis.value,
        row.setting,
        count(row.k) if row.k else MISSING,
        count(row.draws),
        count(row.transcripts),
        with_interval(row.rate),
        with_interval(row.reference),
        points(row.difference),
        row.conclusion.value,
        "flips" if row.flips else "",
    ]


def sensitivity_figure(found: Sensitivity) -> Drawing | None:
    """Differences from the reference under every choice; None where nothing can be compared."""
    compared = [suite for suite in found.suites if suite.base.difference.value is not None]
    compared.sort(key=lambda suite: -len(suite.flips))
    panels = [
        ShiftPanel(
            f"{suite.suite} against the {suite.against.value}",
            [
                Shift(row.setting, row.difference, points(row.difference), "flips" if row.flips else "")
                for row in (suite.base, *suite.rows)
            ],
        )
        for suite in compared[:PANELS]
    ]
    title = "The headline under other choices"
    axis = "any of k, percentage points from the reference"
    return shifts("sensitivity", title, panels, axis, 100.0, "the conclusion flips") if panels else None
