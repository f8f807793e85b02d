"""Suites over the user's own files: a log, an export, a database. In: a registered suite and a path. Out: the same
suite, with transcripts read from the path. Formats are detected by content. Unusable records are logged with the
reason."""

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
from nla_eval.transcript import Arm, Transcript

_log = logging.getLogger(__name__)
_TRIAL = re.compile(r"[-_]t(?:rial)?[-_]?\d+$|[-_]epoch[-_]?\d+$")


def task_of(transcript: Transcript) -> str:
    """The family of a record: the one in the file, else the record's id without the trial number."""
    return _TRIAL.sub("", transcript.family)


def itself(transcript: Transcript) -> str:
    """The family given by the reader: the one in the file, else the transcript itself."""
    return transcript.family


def at(
    suite: Suite,
    path: str,
    family: Callable[[Transcript], str] = itself,
    *,
    masked: bool = False,
    messages_key: str = "",
) -> Suite:
    """`suite` with transcripts read from `path`, registered under its name for this process. If `path` is empty:
    `suite` itself.

    Args:
        suite: The suite registered by its module.
        path: A file, a folder or `hf://owner/name@revision`; relative to the directory where the command was started.
        family: Gives the prompt family of a transcript.
        masked: Mask personal data.
        messages_key: Dotted key of a record's messages; detected if empty.

    Raises:
        InputError: On loading: there is no such file, no reader for it, or no usable transcript in it.
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


def wants_path(name: str, arm: Arm) -> Callable[[], Iterator[Transcript]]:
    """A loader for a suite without transcripts of its own. It raises InputError that says how to give it a file."""

    def load() -> Iterator[Transcript]:
        raise InputError(
            f"suite '{name}' reads your own files: inspect eval nla_eval/{name} --model nla/smollm2-135m -T path=FILE, "
            f"or make a suite of them: nla-eval suite add FILE --name my_{name} --arm {arm} --licence LICENCE"
        )

    return load
