"""Lays a transcript out for a chat template: which string of which message goes where, either natively or with a
declared fallback that writes tool calls and thinking as text.

In: a transcript. Out: `Plan`s to try, the most faithful first. This module calls the template. It knows nothing of
tokens and does not check what the template did with the content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jinja2
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool, ContentReasoning
from inspect_ai.tool import ToolInfo

from ..errors import TemplateError
from ..models.prompts import TEMPLATE_DATE
from ..transcript import Transcript, content_parts
from .tool_calls import ID_LENGTH
from .types import Channel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_TEXT_CHANNEL = {
    "system": Channel.SYSTEM,
    "user": Channel.USER,
    "assistant": Channel.RESPONSE,
    "tool": Channel.TOOL_RESULT,
}
_TEMPLATE_FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Piece:
    """One string of a transcript that the template is asked to write."""

    index: int
    message: int
    channel: Channel
    value: str
    arguments: dict[str, Any] | None = None
    """Set for tool-call arguments passed as a mapping; the template chooses their spelling."""


Text = tuple[str | Piece, ...]
"""Literal text and pieces in order."""


@dataclass(frozen=True)
class _Call:
    name: Piece
    arguments: Piece
    call_id: str


@dataclass(frozen=True)
class _Said:
    """One message as passed to the template."""

    role: str
    content: Text
    reasoning: Text = ()
    calls: tuple[_Call, ...] = ()
    name: str | None = None
    call_id: str | None = None


Fill = Callable[[Piece], str]


@dataclass(frozen=True)
class Plan:
    """One way to lay a transcript out for a chat template."""

    said: tuple[_Said, ...]
    pieces: tuple[Piece, ...]
    notes: tuple[str, ...] = ()
    tools: tuple[ToolInfo, ...] = ()
    reasoning_key: str = _REASONING_KEYS[0]
    arguments_as_string: bool = False

    def render(
        self, tokenizer: PreTrainedTokenizerBase, fill: Fill | None = None, *, add_generation_prompt: bool = False
    ) -> str:
        """Render the template with each piece's value replaced by `fill(piece)`.

        Raises:
            TemplateError: the template refuses these messages; the error is the first line of the template's message.
        """
        messages = [self._message(said, fill or (lambda piece: piece.value)) for said in self.said]
        return render_messages(tokenizer, messages, self.tools, add_generation_prompt=add_generation_prompt)

    def _message(self, said: _Said, fill: Fill) -> dict[str, Any]:
        message: dict[str, Any] = {"role": said.role, "content": _join(said.content, fill)}
        if said.reasoning:
            message[self.reasoning_key] = _join(said.reasoning, fill)
        if said.calls:
            message["tool_calls"] = [self._call(call, fill) for call in said.calls]
        if said.name is not None:
            message["name"] = said.name
        if said.call_id is not None:
            message["tool_call_id"] = said.call_id
        return message

    def _call(self, call: _Call, fill: Fill) -> dict[str, Any]:
        arguments = call.arguments.value if self.arguments_as_string else call.arguments.arguments
        return {"id": call.call_id, "type": "function", "function": {"name": fill(call.name), "arguments": arguments}}


def render_messages(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict[str, Any]],
    tools: tuple[ToolInfo, ...] = (),
    *,
    add_generation_prompt: bool = False,
) -> str:
    """Render `messages` with the tokenizer's own chat template. Raises TemplateError if the template refuses them."""
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                tools=[_tool_schema(tool) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
                strftime_now=TEMPLATE_DATE.strftime,
            )
        )
    except _TEMPLATE_FAILURES as failure:
        first_line = (str(failure) or type(failure).__name__).splitlines()[0]
        raise TemplateError(first_line) from failure


def template_source(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template's Jinja source. Raises TemplateError if the tokenizer has none."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        name = getattr(tokenizer, "name_or_path", "") or "the target"
        raise TemplateError(f"the tokenizer of {name} has no chat template; use an instruction-tuned target") from None


def plans(transcript: Transcript, tokenizer: PreTrainedTokenizerBase, source: str) -> Iterator[Plan]:
    """Plans for `transcript` and the template with Jinja text `source`, the most faithful first."""
    parts = _Parts(transcript, _Cleaner(tokenizer))
    base = _Style(
        reasoning_key=_reasoning_key(tokenizer, source), tools_in_template=bool(re.search(r"\btools\b", source))
    )
    has_calls = any(isinstance(m, ChatMessageAssistant) and m.tool_calls for m in transcript.messages)
    has_results = any(isinstance(m, ChatMessageTool) for m in transcript.messages)
    knows_calls = "tool_calls" in source
    knows_results = bool(re.search(r"""['"](tool|ipython|function)['"]""", source))
    if (knows_calls or not has_calls) and (knows_results or not has_results):
        yield parts.plan(base)
        if has_calls:
            yield parts.plan(replace(base, arguments_as_string=True))
        if has_calls or has_results:
            yield parts.plan(replace(base, short_ids=True))
    if has_calls or has_results:
        yield parts.plan(replace(base, calls_as_text=True, results_as_user=not knows_results))
    yield parts.plan(replace(base, calls_as_text=has_calls or has_results, results_as_user=True, merge_roles=True))


def _reasoning_key(tokenizer: PreTrainedTokenizerBase, source: str) -> str | None:
    """The message key from which the template writes the thinking of the last turn; None if it writes no thinking."""
    for key in (key for key in _REASONING_KEYS if key in source):
        asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", key: "zqthoughtqz"}]
        try:
            if "zqthoughtqz" in render_messages(tokenizer, asked):
                return key
        except TemplateError:
            continue
    return None


@dataclass(frozen=True)
class _Style:
    reasoning_key: str | None
    """The message key from which the template reads thinking; None if it writes no thinking."""
    tools_in_template: bool
    arguments_as_string: bool = False
    short_ids: bool = False
    """Use call ids of `ID_LENGTH` letters and digits, because Mistral's template refuses all others."""
    calls_as_text: bool = False
    results_as_user: bool = False
    merge_roles: bool = False


class _Cleaner:
    """Replaces characters that the tokenizer cannot read by U+FFFD: lone surrogates, null bytes, characters without
    tokens.

    SmolLM2's byte-level vocabulary lacks six control characters, among them U+0016. The tokenizer skips them silently,
    and the character offsets of the rest of the word are then wrong.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._readable: dict[str, bool] = {"\x00": False}

    def clean(self, value: str) -> str:
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        rare = [c for c in set(value) if (c < " " and c not in "\t\n\r") or "\x7f" <= c < "\xa0" or c >= "\U00030000"]
        unreadable = dict.fromkeys((ord(c) for c in rare if not self._can_read(c)), "\ufffd")
        return value.translate(unreadable) if unreadable else value

    def _can_read(self, character: str) -> bool:
        if character not in self._readable:
            ids = self._tokenizer(character, add_special_tokens=False, verbose=False).input_ids
            self._readable[character] = bool(ids) and set(self._tokenizer.decode(ids)) != {"\ufffd"}
        return self._readable[character]


class _Parts:
    """Numbers the pieces of one transcript while a plan is laid out."""

    def __init__(self, transcript: Transcript, cleaner: _Cleaner) -> None:
        self._transcript = transcript
        self._cleaner = cleaner
        self._pieces: list[Piece] = []
        self._notes: dict[str, None] = {}

    def plan(self, style: _Style) -> Plan:
        self._pieces, self._notes = [], {}
        said = [self._say(index, m, style) for index, m in enumerate(self._transcript.messages)]
        if style.merge_roles:
            said = self._merge(said)
        if self._transcript.tools and not style.tools_in_template:
            self._note("tools_dropped")
        return Plan(
            said=tuple(said),
            pieces=tuple(self._pieces),
            notes=tuple(self._notes),
            tools=tuple(self._transcript.tools) if style.tools_in_template else (),
            reasoning_key=style.reasoning_key or _REASONING_KEYS[0],
            arguments_as_string=style.arguments_as_string,
        )

    def _note(self, note: str) -> None:
        self._notes[note] = None

    def _piece(self, message: int, channel: Channel, value: str, arguments: dict[str, Any] | None = None) -> Piece:
        piece = Piece(len(self._pieces), message, channel, self._clean(value), arguments)
        self._pieces.append(piece)
        return piece

    def _clean(self, value: str) -> str:
        cleaned = self._cleaner.clean(value)
        if cleaned != value:
            self._note("characters_replaced")
        return cleaned

    def _say(self, index: int, message: ChatMessage, style: _Style) -> _Said:
        if isinstance(message, ChatMessageAssistant):
            return self._say_assistant(index, message, style)
        text = self._piece(index, _TEXT_CHANNEL[message.role], "\n".join(t for _, t in self._contents(message)))
        if not isinstance(message, ChatMessageTool):
            return _Said(message.role, (text,))
        if style.calls_as_text:
            self._note("tool_calls_as_text")
        if style.results_as_user:
            return _Said("user", ("<tool_response>\n", text, "\n</tool_response>"))
        return _Said("tool", (text,), name=message.function, call_id=self._id(message.tool_call_id, style))

    def _say_assistant(self, index: int, message: ChatMessageAssistant, style: _Style) -> _Said:
        contents = self._contents(message)
        content: list[str | Piece] = []
        reasoning: list[str | Piece] = []
        thoughts = [text for kind, text in contents if kind == "thinking"]
        spoken = [text for kind, text in contents if kind != "thinking"]
        if thoughts and any(kind == "thinking" for kind, _ in contents[len(thoughts) :]):
            self._note("thinking_reordered")
        if thoughts:
            thought = self._piece(index, Channel.THINKING, "\n".join(thoughts))
            if style.reasoning_key is None:
                self._note("thinking_as_text")
                content += ["<think>\n", thought, "\n</think>\n\n"]
            else:
                reasoning.append(thought)
        content.append(self._piece(index, Channel.RESPONSE, "\n".join(spoken)))
        calls = tuple(
            self._call(index, c.function, _clean_json(c.arguments, self._clean), self._id(c.id, style) or "", style)
            for c in message.tool_calls or ()
        )
        if calls and style.calls_as_text:
            self._note("tool_calls_as_text")
            content += _calls_text(calls, after_text=any(spoken))
            calls = ()
        return _Said("assistant", tuple(content), tuple(reasoning), calls)

    def _call(self, index: int, name: str, arguments: dict[str, Any], call_id: str, style: _Style) -> _Call:
        mapping = None if style.calls_as_text else arguments
        return _Call(
            self._piece(index, Channel.TOOL_CALL, name),
            self._piece(index, Channel.TOOL_CALL, json.dumps(arguments, ensure_ascii=False, default=str), mapping),
            call_id,
        )

    def _id(self, call_id: str | None, style: _Style) -> str | None:
        """The call's id as passed to the template. A call and its result get the same id."""
        if not style.short_ids or call_id is None or re.fullmatch(rf"[A-Za-z0-9]{{{ID_LENGTH}}}", call_id):
            return call_id
        self._note("call_ids_shortened")
        return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:ID_LENGTH]

    def _contents(self, message: ChatMessage) -> list[tuple[str, str]]:
        parts = content_parts(message)
        if not isinstance(message.content, str):
            parts = [self._visible(kind, text, part) for (kind, text), part in zip(parts, message.content, strict=True)]
        if isinstance(message, ChatMessageTool) and message.error and not any(text for _, text in parts):
            return [("text", message.error.message)]
        return parts

    def _visible(self, kind: str, text: str, part: object) -> tuple[str, str]:
        if isinstance(part, ContentReasoning) and part.redacted:
            self._note("thinking_redacted")
            return kind, text or "[redacted]"
        if kind in ("text", "thinking"):
            return kind, text
        self._note(f"{kind}_placeholder")
        return kind, f"[{kind}]"

    def _merge(self, said: list[_Said]) -> list[_Said]:
        """Merge a system message into the next user message, and join neighbouring messages of one role."""
        merged: list[_Said] = []
        for message in said:
            as_user = replace(message, role="user") if message.role in ("system", "tool") else message
            last = merged[-1] if merged else None
            joinable = not (as_user.calls or as_user.reasoning)
            if last is not None and last.role == as_user.role and not last.calls and joinable:
                merged[-1] = replace(last, content=_glue(last.content, as_user.content))
                self._note("roles_merged")
            else:
                merged.append(as_user)
            if message.role == "system":
                self._note("system_as_user")
        return merged


def _glue(first: Text, second: Text) -> Text:
    return (*first, "\n\n", *second) if first and second else first or second


def _calls_text(calls: tuple[_Call, ...], *, after_text: bool) -> list[str | Piece]:
    text: list[str | Piece] = []
    for number, call in enumerate(calls):
        lead = "\n" if after_text or number else ""
        text += [f'{lead}<tool_call>\n{{"name": "', call.name, '", "arguments": ', call.arguments, "}\n</tool_call>"]
    return text


def _clean_json(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _clean_json(item, clean) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_json(item, clean) for item in value]
    return value


def _join(text: Text, fill: Fill) -> str:
    return "".join(part if isinstance(part, str) else fill(part) for part in text)


def _tool_schema(tool: ToolInfo) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters.model_dump(mode="json", exclude_none=True),
    }
    return {"type": "function", "function": function}
