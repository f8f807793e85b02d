"""The prompt family of a record, by what the record says of its task: trials of one task are one family, and ids of
different tasks never meet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ._base import as_text, lookup

_TASK_IDS = ("task_id", "instance_id", "problem_id", "question_id", "prompt_id")
_HOLDERS = ("", "meta.", "metadata.")
_PLACES = tuple(f"{holder}{task}" for holder in _HOLDERS for task in _TASK_IDS)
_SETS = ("task_set", "benchmark", "domain", "env", "environment", "dataset", "task", "task_name")
FAMILIES = ("family", *_TASK_IDS, *_SETS)
"""Keys of a record that may say its family."""
_HOLDING = frozenset(("family", *_TASK_IDS, "meta", "metadata"))
"""Keys of a record without which nothing in it says its family."""
_TRIAL = re.compile(r"[\s_/#:.-]+(?:t|trial|epoch|rollout|attempt|seed|repeat|rep|try)[\s_=#:-]?\d+\Z", re.IGNORECASE)
_NUMBERED = re.compile(r"[^\s_/#:.-]*\d[^\s_/#:.-]*$")


class Family(NamedTuple):
    """A family and where it comes from."""

    name: str
    rule: str
    """As a line for the reader: "'task_id' of the record"."""
    key: str = ""
    """The key that was read, dotted; empty where it is the id."""


def family_of(record: Mapping[str, Any], transcript_id: str, family_key: str | None) -> Family:
    """The family of a record.

    By `family_key`, else its "family", else the id of its task with the name of the set that the task belongs to, else
    its id without the number of a trial ("0_t2", "q7-trial-1"), else its id.
    """
    key = family_key or "family"
    given = lookup(record, key)
    if given is not None:
        return Family(as_text(given), f"'{key}' of the record", key)
    if family_key is not None:
        return Family(transcript_id, f"the record itself: it has no '{family_key}'")
    for name in _PLACES if says_family(record) else ():
        task = lookup(record, name)
        if isinstance(task, str | int) and str(task) and not isinstance(task, bool):
            holder = name.rpartition(".")[0]
            return Family(_within(record, holder, str(task)), f"'{name}' of the record", name)
    return family_of_id(transcript_id)


def says_family(keys: Iterable[str]) -> bool:
    """Whether a record with these keys may say its family."""
    return not _HOLDING.isdisjoint(keys)


def family_of_id(transcript_id: str) -> Family:
    """The family of a record that does not say it."""
    task = without_trial(transcript_id)
    rule = "the record itself" if task == transcript_id else "its id without the number of the trial"
    return Family(task, rule)


def without_trial(transcript_id: str) -> str:
    """An id without the number of a trial at its end: "air/0_t2" is "air/0". What is left has to have a number itself,
    because "agent_t2" may be the second of all tasks."""
    found = _TRIAL.search(transcript_id, 1)
    if found is None:
        return transcript_id
    task = transcript_id[: found.start()]
    return task if _NUMBERED.search(task) else transcript_id


def _within(record: Mapping[str, Any], holder: str, task: str) -> str:
    """A task's id with the name of its set, because numbers begin anew in each."""
    held = lookup(record, holder) if holder else record
    for place in (held, record):
        for key in _SETS:
            value = place.get(key) if isinstance(place, Mapping) else None
            if isinstance(value, str) and value and value != task:
                return f"{value}/{task}"
    return task
