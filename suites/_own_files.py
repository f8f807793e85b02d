"""Suites over a file of the user's own: a log, an export, a data base. In: a registered suite and a path. Out: the same
suite, its transcripts read from there. Formats are found by content; what cannot be used is logged with its reason."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from nla_eval.dataset.redact import redact_messages
from nla_eval.errors import InputError
from nla_eval.inspect_ext.target_api import user_folder
from nla_eval.sources import Skipped, SourceOptions, read
from nla_eval.suite import AnswersBy, Suite, register
from nla_eval.transcript import Transcript

_log = logging.getLogger(__name__)
_TRIAL = re.compile(r"[-_]t(?:rial)?[-_]?\d+$|[-_]epoch[-_]?\d+$")


def task_of(transcript: Transcript) -> str:
    """The family of a record: its own, where the file names one, else its id without the number of the trial."""
    return _TRIAL.sub("", transcript.family)


def itself(transcript: Transcript) -> str:
    """The family that the reader gave it: the one that the file names, else the transcript alone."""
    return transcript.family


def at(
    suite: Suite,
    path: str,
    family: Callable[[Transcript], str] = itself,
    *,
    masked: bool = False,
    messages_key: str = "",
) -> Suite:
    """`suite` read from `path`, registered under its name for this process; the suite itself where `path` is empty.

    Args:
        suite: As its module registers it.
        path: A file, a folder or `hf://owner/name@revision`; relative to where the command was typed.
        family: The prompt family of a transcript that was read.
        masked: Mask personal data.
        messages_key: Where a record holds its messages, dotted; found by itself where empty.

    Raises:
        InputError: When it is loaded: no such file, no reader for it, or not one usable transcript in it.
    """
    if not path:
        return suite
    where = path if "://" in path else user_folder(path)
    card = suite.card
    options = SourceOptions(
        suite=card.name, arm=card.arm, licence="the user's own files", messages_key=messages_key or None
    )

    def load() -> Iterator[Transcript]:
        for item in read(where, options):
            if isinstance(item, Skipped):
                _log.warning("left out: %s", item)
                continue
            messages = redact_messages(item.messages)[0] if masked else item.messages
            yield item.model_copy(update={"family": family(item), "messages": messages})

    told = {"source": f"{Path(path).name}, the user's own", "count": None, "answers_by": AnswersBy.RECORDED}
    return register(Suite(card=card.model_copy(update=told), load=load))


def wants_path(name: str) -> Callable[[], Iterator[Transcript]]:
    """What a suite that has no transcripts of its own loads: one line that says how to give it some."""

    def load() -> Iterator[Transcript]:
        raise InputError(
            f"suite '{name}' reads your own files: inspect eval suites/{name}.py -T path=FILE, "
            f"or nla-eval suite add FILE --name my_{name}"
        )

    return load
