"""`nla-eval gain`: N against every other reader of the same transcripts, what shuffling says, and told recall."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import InputError
from ..judgement import Headline
from ..judging.classify import rubric_ref
from ..stats.gain import Discordant
from ..stats.interval import Estimate
from ..tally.gather import apart_by, gather_apart
from ..tally.readers import Beside, readers_tally
from ..tally.types_readers import ReaderGain, ReadersTally
from .report import ReportRequest, _card, _judge, _named_classifier
from .summary import interval


def run(request: ReportRequest, headline: str, rate: float) -> None:
    """Judge the inputs and print one block per judge and rubric.

    Args:
        request: Inputs, judge and pack; `out` is ignored.
        headline: Headline of N.
        rate: Deployment false-positive rate at which readers are compared.
    """
    if headline not in set(Headline):
        raise InputError(f"--headline is '{headline}'; expected one of {', '.join(Headline)}")
    if not 0 < rate < 1:
        raise InputError(f"--rate is {rate:g}; expected a share between 0 and 1")
    named, apart = _named_classifier(request), gather_apart(request.inputs)
    if len(apart) > 1:
        raise InputError(f"the inputs were read with {apart_by(apart)}; run nla-eval gain on those read alike")
    (gathered,) = apart
    found, notes = _judge(gathered, named)
    card, _ = _card(request, gathered)
    beside = Beside(gathered.scores, card, rate)
    for note in (*gathered.notes, *notes):
        print(note)
    for each in found:
        print(f"judged by {each.classifier} under {rubric_ref(each.rubric)}, headline '{headline}'")
        print("\n".join(lines(readers_tally(each.frames, each.rubric.headlines, Headline(headline), beside))))


def lines(found: ReadersTally) -> Iterator[str]:
    """A tally of readers as lines of text."""
    yield from found.notes
    if not found.gains:
        yield "no other reader has read these transcripts; read them with --lanes measured,text_only,text_raw,asked"
    for gain in found.gains:
        yield gain.sentence
        yield from _disagreements(gain)
    for shuffled in found.shuffled:
        arms = shuffled.arms
        test = "no deployment arm" if arms is None else f"N against deployment {100 * arms.difference:+.0f} points, "
        test += "" if arms is None else f"p = {arms.p_value:.3f} when families are shuffled between the arms"
        yield f"{shuffled.suite}: {test}; AR matched minus shuffled {_plain(shuffled.matched_minus_shuffled)}"
    if found.told is None:
        yield found.told_missing
    else:
        yield (
            f"told recall of pack {found.told.pack}: {interval(found.told.recall)} % of told positions, "
            f"{interval(found.told.untold)} % of untold ones"
        )


def _disagreements(gain: ReaderGain) -> Iterator[str]:
    for what, of in (("transcripts", gain.transcripts), ("positions", gain.positions)):
        if of is not None:
            yield f"  of {of.transcripts} {what}: aware in N alone {_rate(of, 0)}, in {gain.lane} alone {_rate(of, 1)}"


def _rate(of: Discordant, side: int) -> str:
    return f"{interval((of.only_own, of.only_other)[side])} %"


def _plain(found: Estimate) -> str:
    if found.value is None:
        return f"withheld ({found.withheld})"
    ends = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{ends}"
