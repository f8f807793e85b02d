"""The transcripts of a suite or a source, by id, cached."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from ..dataset.choices import ReadingChoices, source_options
from ..dataset.matching import Matched, Measure, match
from ..errors import InputError
from ..sources import Skipped
from ..sources import read as read_source
from ..suite import Suite, get_suite
from ..transcript import Arm, Transcript

if TYPE_CHECKING:
    pass


@lru_cache(maxsize=8)
def _drawn(suite: Suite, to: str, measures: tuple[Measure, ...], seed: int) -> Matched:
    """The suite's transcripts matched to suite `to`. Raises InputError unless the suite is a deployment arm."""
    if suite.card.arm is not Arm.DEPLOYMENT:
        raise InputError(
            f"match expects a suite of the deployment arm; suite '{suite.name}' is of the {suite.card.arm} arm; "
            "leave match out"
        )
    return match(get_suite(to).load(), suite.load(), measures, seed)


@lru_cache(maxsize=8)
def _of_suite(suite: Suite) -> dict[str, Transcript]:
    return _by_id(suite.load(), suite.name)


def _of_source(
    place: str, arm: Arm, suite: str, reader: str, choices: ReadingChoices
) -> tuple[dict[str, Transcript], list[Skipped]]:
    return _of_place(place, arm, suite, reader, choices.model_dump_json())


@lru_cache(maxsize=8)
def _of_place(
    place: str, arm: Arm, suite: str, reader: str, choices: str
) -> tuple[dict[str, Transcript], list[Skipped]]:
    options = source_options(ReadingChoices.model_validate_json(choices), suite, arm)
    items = list(read_source(place, options, reader))
    skipped = [item for item in items if isinstance(item, Skipped)]
    return _by_id((item for item in items if isinstance(item, Transcript)), suite), skipped


def _by_id(transcripts: Iterator[Transcript], suite: str) -> dict[str, Transcript]:
    found: dict[str, Transcript] = {}
    for transcript in transcripts:
        if transcript.id in found:
            raise InputError(f"suite '{suite}' has two transcripts with the id '{transcript.id}'; ids must be unique")
        found[transcript.id] = transcript
    if not found:
        raise InputError(f"suite '{suite}' has no transcripts; check its data with nla-eval suite inspect")
    return found
