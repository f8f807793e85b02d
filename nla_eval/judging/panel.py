"""Judges in number: the members of a panel, a judge for the texts of one suite, and calls made side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import polars as pl

from ..judgement import Classifier, Panel, SuiteReader
from .classify import judge_readings

_Result = TypeVar("_Result")


def members_of(classifier: Classifier) -> list[Classifier]:
    """The judges a classifier consists of, the leading one first: itself where it is no panel."""
    return list(classifier.members()) if isinstance(classifier, Panel) else [classifier]


def for_suite(classifier: Classifier, suite: str) -> Classifier:
    """The judge for texts of one suite: the same one where it judges blind."""
    return classifier.about(suite) if isinstance(classifier, SuiteReader) else classifier


async def judge_readings_by_suite(readings: pl.DataFrame, classifier: Classifier) -> pl.DataFrame:
    """`judge_readings`, where a judge that knows suites is told the suite of each reading."""
    if not isinstance(classifier, SuiteReader):
        return await judge_readings(readings, classifier)
    parts = [
        await judge_readings(part, for_suite(classifier, str(suite)))
        for (suite,), part in readings.group_by("suite", maintain_order=True)
    ]
    return pl.concat(parts) if parts else await judge_readings(readings, classifier)


async def side_by_side(calls: Sequence[Callable[[], Awaitable[_Result]]]) -> list[_Result]:
    """Results of all calls, in order; the first exception of any call is raised as it is."""
    found: dict[int, _Result] = {}

    async def one(index: int) -> None:
        found[index] = await calls[index]()

    try:
        async with anyio.create_task_group() as group:
            for index in range(len(calls)):
                group.start_soon(one, index)
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    return [found[index] for index in range(len(calls))]
