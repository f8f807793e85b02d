"""A tally, or a comparison of runs, as published JSON: one object with its schema's name and version.

`python -m nla_eval.tally.published` prints the schema of a tally (docs/tally.schema.json), with the word `diff` behind
it that of a comparison (docs/diff.schema.json). A change of a field's name or meaning raises the version. A new
optional field does not."""

from __future__ import annotations

import json
import sys
from typing import Literal

from pydantic import Field

from .types import Frozen, Tally
from .types_diff import Diff

VERSION = 1
NAME: Literal["nla_eval/tally"] = "nla_eval/tally"
DIFF_VERSION = 1


class PublishedTally(Frozen):
    """What `nla-eval report --format json` writes."""

    format: Literal["nla_eval/tally"] = NAME
    version: int = Field(default=VERSION, description="Raised when a field's name or meaning changes.")
    tally: Tally


class PublishedDiff(Frozen):
    """What `nla-eval report A B --diff --format json` writes."""

    format: Literal["nla_eval/diff"] = "nla_eval/diff"
    version: int = Field(default=DIFF_VERSION, description="Raised when a field's name or meaning changes.")
    diff: Diff


def published(found: Tally | Diff) -> str:
    """A tally or a comparison as JSON text, keys in declared order. The same input gives the same text."""
    whole = PublishedTally(tally=found) if isinstance(found, Tally) else PublishedDiff(diff=found)
    return whole.model_dump_json(indent=1) + "\n"


def schema(of: type[PublishedTally] | type[PublishedDiff] = PublishedTally) -> str:
    """The JSON schema (draft 2020-12) of the published text."""
    found = of.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"


if __name__ == "__main__":
    print(schema(PublishedDiff if sys.argv[1:] == ["diff"] else PublishedTally), end="")
