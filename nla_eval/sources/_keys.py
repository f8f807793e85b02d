"""The names under which a record of a chat data set holds its messages, its id and facts about it."""

from __future__ import annotations

from ._beside import ANSWERS, HISTORY, SYSTEMS
from ._families import FAMILIES
from ._thinking import KEYS as THINKING

MESSAGES = ("messages", "conversation", "conversations", "chat", "dialog", "dialogue", "turns")
"""Where the messages of a record are looked for, in this order, unless `messages_key` says."""
PROMPTS = ("prompt", "input")
"""Where its prompt is looked for if it has no messages: a text, or messages. "input" needs an answer beside it."""
TASK = "instruction"
"""Where instruction data keeps the prompt; its "input" is then more of the prompt."""
IDS = ("id", "conversation_id", "conversation_hash", "transcript_id", "uuid", "custom_id")
"""Where its id is looked for, unless `id_key` says. `conversation_hash` is WildChat's,
`custom_id` that of OpenAI's batches."""
FACTS = ("language", "dataset", "setting")
"""Kept as metadata where a record has them, beside its "meta" or "metadata"."""
META = ("meta", "metadata")
OTHERS = ("variant", "model", "tools", "outcome")
KNOWN = frozenset(
    (*MESSAGES, *PROMPTS, TASK, HISTORY, *IDS, *ANSWERS, *SYSTEMS, *THINKING, *FACTS, *META, *OTHERS, *FAMILIES)
)
"""Every key of a record that may be read without an option that names it."""
