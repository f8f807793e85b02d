"""What a record holds beside its messages and belongs into them: the last answer, its thinking, the system prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._messages import ROLES
from ._notes import SourceNotes
from ._thinking import KEYS as THINKING
from ._turns import STOP_KEYS as STOPS

ANSWERS = (
    *("completion", "response", "output", "answer", "model_response", "assistant_response"),
    *("model_output", "generation", "reply", "prediction", "generated_text", "choices"),
)
"""Where the answer to the messages, or to the prompt, is looked for, in this order."""
SYSTEMS = (
    *("system", "system_prompt", "system_message", "instructions"),
    *("system_instruction", "systemInstruction", "developer_message", "developer"),
)
"""Where a system prompt is looked for, in this order."""
HISTORY = "history"
"""Where instruction data keeps earlier exchanges."""
FURTHER = "further answers to the same prompt, left out"
"""What a reader counts where a response has several choices."""
_ANSWERS, _SYSTEMS = frozenset(ANSWERS), frozenset(SYSTEMS)
_ASSISTANT = frozenset(("ai", *(name for name, role in ROLES.items() if role == "assistant")))
_SYSTEM = ("system", "developer")


def with_answer(
    record: Mapping[str, Any],
    messages: list[Any],
    read: set[str],
    notes: SourceNotes,
    keys: Sequence[str] = ANSWERS,
) -> list[Any]:
    """Messages with the answer beside them, if the last of them is not one already, and with its thinking.

    Args:
        record: Of a data set.
        messages: As they are written in it.
        read: Grows by the keys that were used.
        notes: Is told of further answers to the same prompt.
        keys: Where an answer may stand.
    """
    if _ANSWERS.isdisjoint(record):
        return messages
    last = messages[-1] if messages else None
    answered = isinstance(last, Mapping) and _role(last) in _ASSISTANT
    for key in keys:
        answer = _answer(record.get(key))
        if answered and answer and isinstance(last, Mapping) and words_of(answer[-1]) == words_of(last):
            read.add(key)
            notes.count(FURTHER, _further(record[key]))
            messages = [*messages[:-1], {**_stop(answer[-1]), **last}]
        elif answer and not answered:
            read.add(key)
            notes.count(FURTHER, _further(record[key]))
            return [*messages, *answer[:-1], _with_thinking(answer[-1], record, read)]
    return messages


def with_history(record: Mapping[str, Any], messages: list[Any], read: set[str]) -> list[Any]:
    """Messages after the exchanges that instruction data keeps beside a prompt: [[asked, answered], ...]."""
    held = record.get(HISTORY)
    if not isinstance(held, list) or not held or not all(map(_is_exchange, held)):
        return messages
    read.add(HISTORY)
    roles = ("user", "assistant")
    earlier = [{"role": role, "content": text} for pair in held for role, text in zip(roles, pair, strict=True)]
    return [*earlier, *messages]


def with_system(record: Mapping[str, Any], messages: list[Any], read: set[str]) -> list[Any]:
    """Messages with the system prompt beside them, if they do not open with one. `read` grows by the key used."""
    if _SYSTEMS.isdisjoint(record):
        return messages
    first = messages[0] if messages and isinstance(messages[0], Mapping) else {}
    opens = _role(first) in _SYSTEM
    for key in SYSTEMS:
        # A text under "developer" is as likely to be who made a model.
        prompt = [] if key == "developer" and isinstance(record.get(key), str) else _system(record.get(key))
        if prompt and opens and words_of(prompt[0]) == words_of(first):
            read.add(key)
        elif prompt and not opens:
            read.add(key)
            return [*prompt, *messages]
    return messages


def _is_exchange(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _answer(value: Any) -> list[Any]:
    """An answer as messages: a text, a message, a list of messages, or a completion with its choices."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}] if value.strip() else []
    if isinstance(value, list) and value and _is_choice(value[0]):
        return _choice(value[0])  # the first of several
    if isinstance(value, list):
        whole = bool(value) and all(isinstance(held, Mapping) and _role(held) for held in value)
        parts = bool(value) and all(isinstance(held, Mapping) and "type" in held for held in value)
        if whole:
            return list(value)
        return [{"role": "assistant", "content": value}] if parts else []
    if not isinstance(value, Mapping):
        return []
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return _choice(choices[0])
    if isinstance(value.get("message"), Mapping):
        return _choice(value)
    if isinstance(value.get("body"), Mapping):  # of a batch file
        return _answer(value["body"])
    # Options of a test, {"text": [...], "label": [...]}, are no answer.
    if isinstance(value.get("text"), str) or any(key in value for key in ("content", "parts", "tool_calls")):
        return [{**({} if _role(value) else {"role": "assistant"}), **value}]
    return []


def _further(value: Any) -> int:
    """How many answers stand beside the first."""
    if isinstance(value, list):
        return sum(map(_is_choice, value[1:])) if value and _is_choice(value[0]) else 0
    if not isinstance(value, Mapping):
        return 0
    choices = value.get("choices")
    return len(choices) - 1 if isinstance(choices, list) and choices else _further(value.get("body"))


def _is_choice(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("message"), Mapping) or ("text" in value and "type" not in value and bool(_stop(value)))


def _choice(choice: Mapping[str, Any]) -> list[Any]:
    """One of several answers; why it ended stands beside its message."""
    answer = _answer(choice.get("message", choice.get("text")))
    return [*answer[:-1], {**_stop(choice), **answer[-1]}] if answer else []


def _stop(holder: Any) -> dict[str, Any]:
    """What a choice or message says of its end."""
    return {key: holder[key] for key in STOPS if holder.get(key)} if isinstance(holder, Mapping) else {}


def _system(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [{"role": "system", "content": value}] if value.strip() else []
    if isinstance(value, list):
        if value and all(isinstance(held, Mapping) and _role(held) for held in value):
            return list(value)
        return [{"role": "system", "content": value}] if value else []
    if isinstance(value, Mapping) and any(value.get(key) for key in ("content", "text", "parts", "value")):
        return [{**value, "role": "system"}]
    return []


def _with_thinking(answer: Any, record: Mapping[str, Any], read: set[str]) -> Any:
    """An answer with the thinking that the record keeps beside it. A setting such as {"effort": ...} is none."""
    if not isinstance(answer, Mapping) or any(answer.get(key) for key in THINKING):
        return answer
    beside = {key: record[key] for key in THINKING if isinstance(record.get(key), str | list) and record[key]}
    read.update(beside)
    return {**answer, **beside}


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role", message.get("from"))
    return role.lower() if isinstance(role, str) else ""


def words_of(message: Any) -> str:
    """The words of a message, for telling whether two say the same."""
    held = message
    if isinstance(message, Mapping):
        held = next((message[key] for key in ("content", "value", "text", "parts") if message.get(key)), "")
    if isinstance(held, list):
        return "".join(words_of(part) for part in held)
    return " ".join(held.split()) if isinstance(held, str) else ""
