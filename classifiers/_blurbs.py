"""One line about a suite for a judge that is told what it judges: the title of the suite's card, or of another's."""

from __future__ import annotations

from nla_eval.errors import InputError
from nla_eval.suite import get_suite, shipped_suite_names, suite_names
from nla_eval.transcript import Arm


def blurb_of(suite: str) -> str:
    """A suite's own line; of the first evaluation suite where none is named.

    Raises:
        InputError: The suite has no card here.
    """
    name = suite or _of_arm(Arm.EVALUATION)[0]
    if name not in suite_names():
        raise InputError(f"suite '{name}' has no card to take a blurb from; give one with blurb=..., or judge blind")
    return get_suite(name).card.title


def swapped_blurb(suite: str) -> str:
    """The line of another suite, of the other arm: the next by name, the same for every text of a suite.

    A judge that goes by the text says the same under both lines; one that goes by the line does not.
    """
    names = [*suite_names()]
    own = get_suite(suite).card.arm if suite in names else Arm.EVALUATION
    others = _of_arm(Arm.EVALUATION if own is Arm.DEPLOYMENT else Arm.DEPLOYMENT)
    return get_suite(next((name for name in others if name > suite), others[0])).card.title


def _of_arm(arm: Arm) -> list[str]:
    return [name for name in shipped_suite_names() if get_suite(name).card.arm is arm]
