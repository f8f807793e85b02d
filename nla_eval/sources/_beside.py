"""What a record holds beside its messages and belongs into them: the last answer, its thinking, the system prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
_ANSWERS, _SYSTEMS = frozenset(ANSWERS), frozenset(SYSTEMS)
_ASSISTANT = ("assistant", "gpt", "model", "chatgpt", "ai")
_SYSTEM = ("system", "developer")


def with_answer(
    record: Mapping[str, Any], messages: list[Any], read: set[str], keys: Sequence[str] = ANSWERS
) -> list[Any]:
    """Messages with the answer beside them, if the last of them is not one already, and with its thinking.

    Args:
        record: Of a data set.
        messages: As they are written in it.
        read: Grows by the keys that were used.
        keys: Where an answer may stand.
    """
    if _ANSWERS.isdisjoint(record):
        return messages
    last = messages[-1] if messages else None
    answered = isinstance(last, Mapping) and _role(last) in _ASSISTANT
    for key in keys:
        answer = _answer(record.get(key))
        if answered and answer and isinstance(last, Mapping) and _words(answer[-1]) == _words(last):
            read.add(key)
            messages = [*messages[:-1], {**_stop(answer[-1]), **last}]
        elif answer and not answered:
            read.add(key)
            return [*messages, *answer[:-1], _with_thinking(answer[-1], record, read)]
    return messages


def with_system(record: Mapping[str, Any], messages: list[Any], read: set[str]) -> list[Any]:
    """Messages with the system prompt beside them, if they do not open with one. `read` grows by the key used."""
    if _SYSTEMS.isdisjoint(record):
        return messages
    first = messages[0] if messages and isinstance(messages[0], Mapping) else {}
    opens = _role(first) in _SYSTEM
    for key in SYSTEMS:
        prompt = _system(record.get(key))
        if prompt and opens and _words(prompt[0]) == _words(first):
            read.add(key)
        elif prompt and not opens:
            read.add(key)
            return [*prompt, *messages]
    return messages


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
    if any(key in value for key in ("content", "text", "parts", "tool_calls")):
        return [{**({} if _role(value) else {"role": "assistant"}), **value}]
    return []


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


def _words(message: Any) -> str:
    """The words of a message, for telling whether two say the same."""
    held = message
    if isinstance(message, Mapping):
        held = next((message[key] for key in ("content", "value", "text", "parts") if message.get(key)), "")
    if isinstance(held, list):
        return "".join(_words(part) for part in held)
    return " ".join(held.split()) if isinstance(held, str) else ""
