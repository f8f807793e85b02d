"""What a transcript is made of where a record holds a request to a model and its response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._base import Fields, SourceOptions, as_text, lookup
from ._messages import chat_messages
from ._turns import Turns


def request_fields(
    record: Mapping[str, Any], turns: Turns, ids: Sequence[str], default_id: str, options: SourceOptions
) -> Fields:
    """Id, messages, family and outcome of a record; its model and tools are the reader's to add.

    Args:
        record: The whole record.
        turns: The conversation that its reader found in it.
        ids: Where its id is looked for, unless `id_key` says.
        default_id: Its id if it has none.
        options: Of the source.
    """
    named = (lookup(record, key) for key in ((options.id_key,) if options.id_key else ids))
    transcript_id = as_text(next((value for value in named if value is not None), default_id))
    family = lookup(record, options.family_key or "family")
    outcome = lookup(record, options.outcome_key or "outcome")
    return Fields(
        id=transcript_id,
        messages=chat_messages(turns.messages, transcript_id, options.roles),
        family=transcript_id if family is None else as_text(family),
        outcome=None if outcome is None else as_text(outcome),
        turn_facts=turns.facts,
    )
