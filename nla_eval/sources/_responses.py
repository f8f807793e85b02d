"""Items of OpenAI's Responses API to messages: what a request put in, what a response put out, or both in a row.

Reasoning, an assistant's message and function calls are items of their own there; those of one answer are one turn
here. Calls of built-in tools (shell, web search, code interpreter, MCP, ...) are calls of that name, with everything
that the item says as their arguments; what they gave is their result. Items of an unknown type are an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._base import RecordError, as_text
from ._turns import Turns, stop_of, text_of

_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = (
    *("function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output"),
    *("shell_call_output", "apply_patch_call_output", "mcp_tool_call_output", "tool_search_output"),
)
_BUILT_IN = {
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "computer_call": "computer",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
    "apply_patch_call": "apply_patch",
    "tool_search_call": "tool_search",
    "mcp_call": "mcp",
}
_SAME_ITEM = {
    "web_search_call": ("results",),
    "file_search_call": ("results",),
    "code_interpreter_call": ("outputs",),
    "image_generation_call": ("result",),
    "mcp_call": ("output", "error"),
}
"""Where a built-in tool's result stands in the item of its call."""
_STOP = "stop_reason"
_ENVELOPE = ("id", "type", "call_id", "status", "internal_chat_message_metadata_passthrough", "metadata")
_OF_MESSAGE = frozenset((*_ENVELOPE, "role", "content", "phase", "end_turn"))
_NO_WORDS = ("item_reference", "ghost_snapshot", "mcp_list_tools", "compaction_trigger", "additional_tools")
"""Items that hold no words of the conversation."""
_HIDDEN = ("compaction", "compaction_summary", "context_compaction")
"""Items that stand for what was compacted: ciphertext."""
KINDS = frozenset(("reasoning", *_CALLS, *_OUTPUTS, *_BUILT_IN, *_NO_WORDS, *_HIDDEN, "mcp_approval_request"))
"""Types of items that are no messages."""
_ANSWERED = {"mcp_approval_response": "mcp_approval"}


def is_item(value: Any) -> bool:
    """Whether something is an item that only the Responses API has, or a whole response."""
    if not isinstance(value, Mapping):
        return False
    kind = _kind(value)
    if kind in KINDS or kind in _ANSWERED:
        return "role" not in value
    if kind == "message":  # Anthropic's, which say why they ended, are chat messages
        return isinstance(value.get("role"), str) and isinstance(value.get("content"), list) and _STOP not in value
    return value.get("object") == "response" and isinstance(value.get("output"), list)


def add_items(turns: Turns, items: Iterable[Any]) -> None:
    """Put items into `turns`, in order. Raises RecordError for what is none."""
    for number, item in enumerate(items):
        add_item(turns, item, number)


def add_item(turns: Turns, item: Any, number: int) -> None:
    """Put one item into `turns`.

    Args:
        turns: Grow by it.
        item: An item, a message without a type, or a whole response.
        number: Of the item, for the reason.

    Raises:
        RecordError: not an item.
    """
    if not isinstance(item, Mapping):
        raise RecordError(f"message {number} is not an object")
    kind = _kind(item)
    if item.get("object") == "response" and isinstance(item.get("output"), list):
        turns.close()
        before = turns.begun
        add_items(turns, item["output"])
        turns.ended(ended_by(item), since=before)
    elif "role" in item:
        _message(turns, item)
    elif kind == "reasoning":
        words, summary = text_of(item.get("content")), text_of(item.get("summary"))
        hidden = item.get("encrypted_content")
        turns.think(words, summary=summary, hidden=hidden if isinstance(hidden, str) else "")
    elif kind in _CALLS:
        name = item.get("name")
        if isinstance(item.get("namespace"), str) and isinstance(name, str):
            name = f"{item['namespace']}.{name}"
        given = item.get("arguments") if kind == "function_call" else {"input": as_text(item.get("input", ""))}
        turns.call(_id(item), name, given)
    elif kind in _OUTPUTS:
        output = item.get("output", item.get("result", item.get("tools")))
        failed = isinstance(output, Mapping) and output.get("success") is False
        if isinstance(output, Mapping) and isinstance(output.get("content"), str | list):
            output = output["content"]  # Codex wraps failures
        turns.result(_id(item), _result(output), failed=failed or item.get("status") == "failed")
    elif kind in _BUILT_IN:
        _built_in(turns, item, kind)
    elif kind == "mcp_approval_request":
        turns.call(_id(item), f"mcp_approval.{item.get('name')}", item.get("arguments"))
    elif kind in _ANSWERED:
        turns.result(item.get("approval_request_id"), as_text(_said(item)), name=_ANSWERED[kind])
    elif kind in _HIDDEN:
        hidden = item.get("encrypted_content")
        turns.think("", hidden=hidden if isinstance(hidden, str) else "")
    elif kind not in _NO_WORDS:
        raise RecordError(f"message {number} is an item of the unknown type '{kind}'")


def _kind(item: Mapping[str, Any]) -> str:
    kind = item.get("type")
    return kind if isinstance(kind, str) else "none" if kind is None else as_text(kind)


def ended_by(response: Mapping[str, Any]) -> str | None:
    """Why a whole response ended, in Inspect's terms."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return stop_of(reason if isinstance(reason, str) else response.get("status"))


def _message(turns: Turns, item: Mapping[str, Any]) -> None:
    """A message: an assistant's joins the thinking before it."""
    if item.get("role") != "assistant" or item.get("tool_calls") or item.get("function_call"):
        turns.whole(item)
        return
    content = item.get("content")
    beside = {key: held for key, held in item.items() if key not in _OF_MESSAGE and held}
    if (item.get("type") != "message" or beside) and turns.spoken:
        turns.close()
    turns.say(list(content) if isinstance(content, list) else "" if content is None else content)
    turns.beside(beside)


def _built_in(turns: Turns, item: Mapping[str, Any], kind: str) -> None:
    results = _SAME_ITEM.get(kind, ())
    name = _BUILT_IN[kind]
    if kind == "mcp_call":
        name = ".".join(str(item[key]) for key in ("server_label", "name") if item.get(key)) or name
    given = {key: value for key, value in _said(item).items() if key not in results and value is not None}
    if kind == "mcp_call":
        given = {key: value for key, value in given.items() if key not in ("server_label", "name")}
        if set(given) == {"arguments"}:
            given = given["arguments"]
    call_id = _id(item)
    turns.call(call_id, name, given)
    found = {key: item[key] for key in results if item.get(key) not in (None, [], "")}
    if found:
        only = next(iter(found.values()))
        turns.result(call_id, only if isinstance(only, str) else as_text(only), name=name, failed="error" in found)


def _said(item: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in item.items() if key not in _ENVELOPE}


def _id(item: Mapping[str, Any]) -> str | None:
    found = item.get("call_id", item.get("id")) or item.get("id")
    return None if found is None else as_text(found)


def _result(output: Any) -> Any:
    """A result's content: text, or parts that are text or images; anything else as JSON."""
    if output is None or isinstance(output, str):
        return output or ""
    if isinstance(output, list) and all(isinstance(part, Mapping) and _plain(part) for part in output):
        return list(output)
    return as_text(output)


def _plain(part: Mapping[str, Any]) -> bool:
    return part.get("type") in ("input_text", "output_text", "text", "input_image", "input_file")
