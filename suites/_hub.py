"""Streams rows of a data set on the Hugging Face hub, at a pinned commit, with the `datasets` library.

For data sets that are not chats; `nla_eval.sources` reads chats. It knows no column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nla_eval.errors import InputError
from nla_eval.printable import told
from nla_eval.sources.hub import HubPlace, streamed


class HubRows(NamedTuple):
    """A data set to stream."""

    name: str
    """owner/name."""
    revision: str
    """Commit hash."""
    split: str
    config: str | None = None

    @property
    def source(self) -> str:
        """The source named in provenance."""
        return f"{self.name}@{self.revision[:12]}"

    def read(self, suite: str) -> Iterator[dict[str, Any]]:
        """Rows in order. Raises InputError if the hub cannot be reached or access is refused."""
        try:
            place = HubPlace(self.name, self.revision, self.config, self.split)
            yield from (dict(row) for row in streamed(place))
        except Exception as err:  # the hub's client raises some twenty kinds of errors
            raise InputError(
                f"suite '{suite}' needs {self.name} from the Hugging Face hub: {told(err)}; "
                "with a network, accept its terms there and run: hf auth login"
            ) from err
