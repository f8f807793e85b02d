"""Why assistant turns ended, where chat messages, or the record around them, say it in a provider's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..transcript import TurnFacts
from ._base import lookup
from ._messages import ROLES, role_of
from ._shapes import as_chat
from ._turns import STOP_KEYS, stop_of

_PLACES = (
    *STOP_KEYS,
    *(f"{holder}.{key}" for holder in ("response_metadata", "metadata", "extra") for key in STOP_KEYS),
    "extra.response.choices.0.finish_reason",
)
"""The same for a message, with LangChain's and mini-swe-agent's places."""


def stopped(raw: Any, roles: Mapping[str, str], record: Mapping[str, Any] | None = None) -> tuple[TurnFacts, ...]:
    """One fact for each assistant turn of chat messages; empty where nothing is said of any.

    Args:
        raw: The messages, as `chat_messages` reads them.
        roles: Further role names and what they mean.
        record: What stands around them. Its own stop reason is that of the last message, if that is an answer.
    """
    known = {**ROLES, **roles}
    chat: Sequence[Any] = as_chat(raw)
    answers = [message for message in chat if role_of(message, known) in ("assistant", "call")]
    stops = [_first(message, _PLACES) for message in answers]
    if record is not None and answers and answers[-1] is chat[-1]:
        stops[-1] = stops[-1] or _first(record, STOP_KEYS)
    return tuple(TurnFacts(stop=stop) for stop in stops) if any(stops) else ()


def _first(holder: Any, places: Sequence[str]) -> str | None:
    return next((stop for place in places if (stop := stop_of(lookup(holder, place)))), None)
