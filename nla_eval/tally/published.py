"""A tally as published JSON: one object with its schema's name and version, and docs/tally.schema.json beside it.

`python -m nla_eval.tally.published` prints the schema. A change of a field's name or meaning raises `VERSION`; a new
optional field does not."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from .types import Frozen, Tally

VERSION = 1
NAME: Literal["nla_eval/tally"] = "nla_eval/tally"


class PublishedTally(Frozen):
    """What `nla-eval report --format json` writes."""

    format: Literal["nla_eval/tally"] = NAME
    version: int = Field(default=VERSION, description="Raised when a field's name or meaning changes.")
    tally: Tally


def published(tally: Tally) -> str:
    """A tally as JSON text, keys in declared order. The same tally gives the same text."""
    return PublishedTally(tally=tally).model_dump_json(indent=1) + "\n"


def schema() -> str:
    """The JSON schema (draft 2020-12) of the published text."""
    found = PublishedTally.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
