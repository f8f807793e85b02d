"""Transcripts streamed from a data set of the Hugging Face hub by the `datasets` library, row by row.

A place is `hf://owner/name@revision?config=NAME&split=NAME`: the revision is a commit, so that the same place gives the
same rows; the split is "train" where none is given. Chat columns are found as in Parquet files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ..errors import InputError
from ..printable import told
from ._base import Item, Record, Skipped, SourceOptions
from ._chat import chats
from ._source import SOURCES, Source
from .dpo import expanded

SCHEME = "hf://"
_PLACE = "hf://owner/name@revision?config=NAME&split=NAME"
_PATIENCE = 5.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class HubPlace:
    """A data set, pinned or not."""

    name: str
    revision: str | None = None
    """A commit, tag or branch; None is the newest, which only `suite add` turns into a commit."""
    config: str | None = None
    split: str = "train"

    @classmethod
    def parse(cls, place: str) -> HubPlace:
        """Raises InputError for anything but `_PLACE`."""
        path, _, query = place.removeprefix(SCHEME).partition("?")
        path, _, revision = path.partition("@")
        name = path.removeprefix("datasets/").strip("/")
        given = dict(parse_qsl(query))
        unknown = set(given) - {"config", "split"}
        if not place.startswith(SCHEME) or unknown or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            raise InputError(f"'{place}' is not a data set of the hub; expected {_PLACE}")
        return cls(name, revision or None, given.get("config"), given.get("split", "train"))

    @property
    def source(self) -> str:
        """What provenance says of it."""
        return f"{self.name}@{self.revision or 'newest'}"

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        query = urlencode({k: v for k, v in (("config", self.config), ("split", self.split)) if v})
        return f"{SCHEME}{self.name}{at}?{query}"


def pinned(place: HubPlace) -> HubPlace:
    """The same place at the commit that its revision means now. Raises InputError when the hub cannot be asked."""
    if place.revision and re.fullmatch(r"[0-9a-f]{40}", place.revision):
        return place
    try:
        return replace(place, revision=commit_of(place))
    except Exception as error:  # the hub's client raises some twenty kinds, of network, rights and names
        raise InputError(f"'{place.name}': the hub cannot say its commit: {told(error)}{_mend(place, error)}") from None


def commit_of(place: HubPlace) -> str:
    """The commit that a place's revision means now, asked once and for `_PATIENCE` at most.

    Also the question whether the hub answers at all: without a network, opening a data set asks six times in half a
    minute and logs every try.

    Raises:
        Exception: what the hub's client says, of network, rights or names; TimeoutError when it says nothing.
    """
    from huggingface_hub import HfApi

    answers: Queue[str | Exception] = Queue()

    def ask() -> None:
        try:
            answers.put(str(HfApi().dataset_info(place.name, revision=place.revision, timeout=_PATIENCE).sha))
        except Exception as error:  # handed to whoever asked
            answers.put(error)

    # The client's own bound leaves out the search for the address, which can take a minute without a network.
    Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=2 * _PATIENCE)
    except Empty:
        raise TimeoutError(f"no answer in {2 * _PATIENCE:.0f} seconds") from None
    if isinstance(found, Exception):
        raise found
    return found


def _mend(place: HubPlace, error: Exception) -> str:
    """What helps against a network that is absent or a data set that is closed; empty for what says it by itself."""
    said = f"{type(error).__name__} {told(error)}"
    if re.search(r"gated|40[13]|Unauthorized|Forbidden", said):
        return "; ask for access on the hub's page of it, then: hf auth login"
    if isinstance(error, OSError | TimeoutError) or re.search(r"Connect|Timeout|Offline|resolve|Network", said):
        copied = f"hf download --repo-type dataset {place.name} --local-dir FOLDER"
        return f"; without a network, copy it where there is one ({copied}) and give the folder"
    return ""


def expect_hub(what: str) -> None:
    """Ask whether the hub answers, for `_PATIENCE` at most, so that a run stops before it has loaded any weights.

    Args:
        what: What needs it, for the message.

    Raises:
        InputError: It does not.
    """
    from huggingface_hub import constants, get_session

    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # as above
        raise InputError(f"{what} needs the Hugging Face hub: {told(error)}; give a file or a folder instead") from None


def streamed(place: HubPlace) -> Any:
    """The rows of a place, streamed. Raises what the hub's client raises, when it is called or after any row."""
    commit_of(place)
    import datasets

    return datasets.load_dataset(place.name, place.config, split=place.split, revision=place.revision, streaming=True)


def _read(where: str, options: SourceOptions) -> Iterator[Item]:
    place = HubPlace.parse(where)
    yield from chats(expanded(_rows(place), options), options, place.source)


def _rows(place: HubPlace) -> Iterator[Record | Skipped]:
    number = 0
    try:
        rows = streamed(place)
        from ._tables import without_nulls

        for number, row in enumerate(rows, start=1):
            yield Record(f"{place.name} row {number}", without_nulls(row), number)
    except Exception as error:  # as above; a stream may break after any row
        if not number:
            raise InputError(
                f"'{place.name}' cannot be read from the hub: {told(error)}{_mend(place, error)}"
            ) from None
        yield Skipped(f"{place.name} after row {number}", f"the stream broke, the rest is not read: {told(error)}")


read = SOURCES.register("hub")(Source("hub", f"a data set of the Hugging Face hub, {_PLACE}", read_url=_read))
