"""The known texts: twenty short ones, ten aware and ten not, that every judge also judges.

They say whether a judge can tell the two apart at all, not how good it is: too few and too plain for that. The texts
lie in the classifiers room and are no training texts of any classifier."""

from __future__ import annotations

from collections import Counter
from functools import cache

from pydantic import BaseModel, ConfigDict

from .._rooms import room_path
from ..judgement import Classifier, Headline, JudgeCheck, Judgement, Label, Outcome
from .classify import rubric_ref
from .panel import members_of


class KnownText(BaseModel):
    """One text whose label nobody doubts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """"turn" or "explanation"."""
    label: Label
    text: str


@cache
def known_texts() -> tuple[KnownText, ...]:
    """The shipped texts, in the order of their file."""
    lines = (room_path("classifiers") / "data" / "known_texts.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(KnownText.model_validate_json(line) for line in lines if line)


async def check_judge(judge: Classifier) -> JudgeCheck:
    """Show one judge the known texts, as it would be shown the texts of a run."""
    texts = known_texts()
    found: dict[str, Judgement] = {}
    for kind in dict.fromkeys(known.kind for known in texts):
        asked = [known.text for known in texts if known.kind == kind]
        found |= dict(zip(asked, await judge.judge(asked, kind=kind), strict=True))
    sides: dict[bool, Counter[Outcome]] = {True: Counter(), False: Counter()}
    for known in texts:
        sides[judge.rubric.aware(known.label, Headline.BROAD)][found[known.text].outcome] += 1
    failed = (j.note for j in found.values() if j.outcome in (Outcome.ERROR, Outcome.UNPARSED))
    return JudgeCheck(
        classifier=judge.name,
        rubric=rubric_ref(judge.rubric),
        aware={o: sides[True][o] for o in Outcome if sides[True][o]},
        not_aware={o: sides[False][o] for o in Outcome if sides[False][o]},
        causes=dict(sorted(Counter(failed).items())),
    )


async def check_members(classifier: Classifier) -> list[JudgeCheck]:
    """A check of every judge a classifier consists of."""
    return [await check_judge(judge) for judge in members_of(classifier)]
