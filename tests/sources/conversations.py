"""Conversations made at random, what they hold, and how each public format writes them.

The encoders are written from the formats' own descriptions and share nothing with the readers, so that a reader that
loses, moves or mends something disagrees with what was put in."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORDS = (
    *("the", "model", "reads", "two", "files", "and", "then", "writes", "one"),
    *("naïve", "日本語", "tab\there", 'say "so"', "back\\slash", "line\nbreak", "{brace}", "[list]", "🙂", "**bold**"),
)
_TOOLS = ("bash", "read_file", "web.search", "final_answer")


@dataclass(frozen=True)
class Call:
    """A tool call and, if there is one, its result."""

    id: str
    name: str
    arguments: dict[str, Any]
    result: str | None


@dataclass(frozen=True)
class Turn:
    """A message; an assistant's with its calls, whose results follow it."""

    role: str
    text: str
    thinking: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """What one transcript has to hold."""

    id: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Held:
    """What a format can say; the rest is not put in."""

    thinking: bool = True
    calls: bool = True
    parallel: bool = True
    system: bool = True
    open_calls: bool = True
    """Calls without a result."""


@dataclass(frozen=True)
class Format:
    """A format, as people have it."""

    name: str
    reader: str
    write: Callable[[Path, list[Conversation]], None]
    """Writes the conversations below a folder."""
    held: Held = field(default_factory=Held)
    options: dict[str, Any] = field(default_factory=dict)


def conversation(number: int, held: Held) -> Conversation:
    """The conversation of this number; the same one each time."""
    rng = random.Random(number)
    turns: list[Turn] = []
    calls = 0
    if held.system and rng.random() < 0.5:
        turns.append(Turn("system", _text(rng)))
    for _ in range(rng.randint(1, 4)):
        turns.append(Turn("user", _text(rng)))
        for last in (*([False] * rng.randint(0, 3) if held.calls else ()), True):
            made: list[Call] = []
            for _ in range(0 if last else rng.randint(1, 3 if held.parallel else 1)):
                calls += 1
                result = None if held.open_calls and rng.random() < 0.05 else _text(rng)
                arguments = {"path": _text(rng), "n": rng.randint(0, 9), "deep": {"a": [1, None, True]}}
                made.append(Call(f"c{number}_{calls}", rng.choice(_TOOLS), arguments, result))
            thinking = _text(rng) if held.thinking and rng.random() < 0.5 else ""
            text = "" if made and rng.random() < 0.4 else _text(rng)
            turns.append(Turn("assistant", text, thinking, tuple(made)))
    return Conversation(f"conv-{number}", tuple(turns))


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 8)))


def _jsonl(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


# Chat messages, as OpenAI, Anthropic, ShareGPT and Inspect write them


def openai(turns: tuple[Turn, ...]) -> list[Any]:
    found: list[Any] = []
    for turn in turns:
        message: dict[str, Any] = {"role": turn.role, "content": turn.text or None}
        if turn.thinking:
            message["reasoning_content"] = turn.thinking
        if turn.calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
                for c in turn.calls
            ]
        found.append(message)
        found += [
            {"role": "tool", "tool_call_id": c.id, "content": c.result} for c in turn.calls if c.result is not None
        ]
    return found


def anthropic(turns: tuple[Turn, ...]) -> list[Any]:
    found: list[Any] = []
    for turn in turns:
        blocks: list[Any] = [{"type": "thinking", "thinking": turn.thinking, "signature": "s"}] if turn.thinking else []
        blocks += [{"type": "text", "text": turn.text}] if turn.text else []
        blocks += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in turn.calls]
        found.append({"role": turn.role, "content": blocks})
        results = [{"type": "tool_result", "tool_use_id": c.id, "content": c.result} for c in turn.calls if c.result]
        found += [{"role": "user", "content": results}] if results else []
    return found


def inspect(turns: tuple[Turn, ...]) -> list[Any]:
    found: list[Any] = []
    for turn in turns:
        message: dict[str, Any] = {"id": f"m{len(found)}", "role": turn.role, "content": turn.text}
        if turn.thinking:
            text = [{"type": "text", "text": turn.text}] if turn.text else []
            message["content"] = [{"type": "reasoning", "reasoning": turn.thinking}, *text]
        if turn.calls:
            message["tool_calls"] = [
                {"id": c.id, "function": c.name, "arguments": c.arguments, "type": "function"} for c in turn.calls
            ]
        found.append(message)
        found += [
            {"id": f"t{c.id}", "role": "tool", "content": c.result, "tool_call_id": c.id, "function": c.name}
            for c in turn.calls
            if c.result is not None
        ]
    return found


def sharegpt(turns: tuple[Turn, ...]) -> list[Any]:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    found: list[Any] = []
    for turn in turns:
        if turn.text:
            found.append({"from": names[turn.role], "value": turn.text})
    return found


# Items of the Responses API, and Codex


def items(turns: tuple[Turn, ...]) -> list[Any]:
    found: list[Any] = []
    for turn in turns:
        kind = "output_text" if turn.role == "assistant" else "input_text"
        if turn.thinking:
            summary = [{"type": "summary_text", "text": turn.thinking}]
            found.append({"type": "reasoning", "id": "rs", "summary": summary, "encrypted_content": "gAAAAA"})
        if turn.text:
            content = [{"type": kind, "text": turn.text}]
            found.append({"type": "message", "role": turn.role, "content": content})
        found += [
            {"type": "function_call", "name": c.name, "call_id": c.id, "arguments": json.dumps(c.arguments)}
            for c in turn.calls
        ]
        found += [
            {"type": "function_call_output", "call_id": c.id, "output": c.result}
            for c in turn.calls
            if c.result is not None
        ]
    return found


def codex(one: Conversation) -> list[Any]:
    def line(kind: str, payload: Any) -> Any:
        return {"timestamp": "2026-01-01T00:00:00Z", "type": kind, "payload": payload}

    meta = {"id": one.id, "cwd": "/", "cli_version": "1", "source": "cli"}
    found = [line("session_meta", meta), line("turn_context", {"model": "m", "cwd": "/"})]
    for item in items(one.turns):
        found.append(line("response_item", item))
        if item.get("role") == "user":
            found.append(line("event_msg", {"type": "user_message", "message": item["content"][0]["text"]}))
    return found


def exchange(one: Conversation) -> Any:
    """A request with everything up to the last answer, and the response with that."""
    last = items(one.turns[-1:])
    return {"id": one.id, "object": "response", "status": "completed", "model": "m",
            "input": items(one.turns[:-1]), "output": last}  # fmt: skip


# Agents' own formats


def atif(one: Conversation) -> Any:
    steps: list[Any] = []
    for turn in one.turns:
        source = "agent" if turn.role == "assistant" else turn.role
        step: dict[str, Any] = {"step_id": len(steps) + 1, "source": source, "message": turn.text}
        if turn.thinking:
            step["reasoning_content"] = turn.thinking
        if turn.calls:
            step["tool_calls"] = [
                {"tool_call_id": c.id, "function_name": c.name, "arguments": c.arguments} for c in turn.calls
            ]
            results = [{"source_call_id": c.id, "content": c.result} for c in turn.calls if c.result is not None]
            step["observation"] = {"results": results}
        steps.append(step)
    agent = {"name": "a", "version": "1", "model_name": "m"}
    return {"schema_version": "ATIF-v1.4", "session_id": one.id, "agent": agent, "steps": steps}


def tau2(one: Conversation) -> Any:
    messages: list[Any] = []
    for turn in one.turns:
        calls = [{"id": c.id, "name": c.name, "arguments": c.arguments, "requestor": "assistant"} for c in turn.calls]
        raw = {"message": {"content": turn.text, "reasoning_content": turn.thinking}} if turn.thinking else {"a": 1}
        messages.append({"role": turn.role, "content": turn.text or None, "tool_calls": calls or None, "raw_data": raw})
        messages += [
            {"id": c.id, "role": "tool", "content": c.result, "requestor": "assistant", "error": False}
            for c in turn.calls
            if c.result is not None
        ]
    return {"id": one.id, "task_id": "7", "trial": 0, "termination_reason": "user_stop", "messages": messages,
            "reward_info": {"reward": 1.0}}  # fmt: skip


def contents(turns: tuple[Turn, ...]) -> list[Any]:
    found: list[Any] = []
    for turn in turns:
        parts: list[Any] = [{"text": turn.thinking, "thought": True}] if turn.thinking else []
        parts += [{"text": turn.text}] if turn.text else []
        parts += [{"functionCall": {"id": c.id, "name": c.name, "args": c.arguments}} for c in turn.calls]
        found.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
        results = [
            {"functionResponse": {"id": c.id, "name": c.name, "response": {"output": c.result}}}
            for c in turn.calls
            if c.result is not None
        ]
        found += [{"role": "user", "parts": results}] if results else []
    return found


def gemini_request(one: Conversation) -> Any:
    system = [turn for turn in one.turns if turn.role == "system"]
    rest = tuple(turn for turn in one.turns if turn.role != "system")
    answer = {"candidates": [{"content": contents(rest[-1:])[0], "finishReason": "STOP"}]}
    request: dict[str, Any] = {"contents": contents(rest[:-1])}
    if system:
        request["systemInstruction"] = {"parts": [{"text": system[0].text}]}
    return {"id": one.id, "request": request, "response": answer}


def gemini_session(one: Conversation) -> Any:
    messages: list[Any] = []
    for turn in one.turns:
        message: dict[str, Any] = {"id": f"m{len(messages)}", "timestamp": "t", "content": turn.text}
        message["type"] = "gemini" if turn.role == "assistant" else "user"
        if turn.thinking:
            message["thoughts"] = [{"subject": "", "description": turn.thinking}]
        if turn.calls:
            message["toolCalls"] = [
                {"id": c.id, "name": c.name, "args": c.arguments, "status": "success" if c.result else "cancelled",
                 "result": None if c.result is None else
                 [{"functionResponse": {"id": c.id, "name": c.name, "response": {"output": c.result}}}]}
                for c in turn.calls
            ]  # fmt: skip
        messages.append(message)
    return {"sessionId": one.id, "projectHash": "h", "messages": messages}


def langchain(turns: tuple[Turn, ...], form: str) -> list[Any]:
    names = {"system": "SystemMessage", "user": "HumanMessage", "assistant": "AIMessage", "tool": "ToolMessage"}
    types = {"system": "system", "user": "human", "assistant": "ai", "tool": "tool"}

    def dumped(role: str, held: dict[str, Any]) -> Any:
        if form == "lc":
            place = ["langchain", "schema", "messages", names[role]]
            return {"lc": 1, "type": "constructor", "id": place, "kwargs": {**held, "type": types[role]}}
        return {"type": types[role], "data": held} if form == "data" else {"type": types[role], **held}

    found: list[Any] = []
    for turn in turns:
        held: dict[str, Any] = {"content": turn.text, "additional_kwargs": {}, "response_metadata": {}}
        if turn.thinking:
            held["additional_kwargs"] = {"reasoning_content": turn.thinking}
        if turn.role == "assistant":
            held["tool_calls"] = [{"id": c.id, "name": c.name, "args": c.arguments} for c in turn.calls]
        found.append(dumped(turn.role, held))
        found += [
            dumped("tool", {"content": c.result, "tool_call_id": c.id, "name": c.name, "status": "success"})
            for c in turn.calls
            if c.result is not None
        ]
    return found


def ui_messages(turns: tuple[Turn, ...]) -> list[Any]:
    """UIMessages of the AI SDK: turns up to the next user's are steps of one message, results stand in the calls."""
    found: list[Any] = []
    for number, turn in enumerate(turns):
        if turn.role != "assistant":
            found.append({"id": f"m{number}", "role": turn.role, "parts": [{"type": "text", "text": turn.text}]})
            continue
        if found[-1]["role"] != "assistant":
            found.append({"id": f"m{number}", "role": "assistant", "parts": []})
        parts = found[-1]["parts"]
        parts.append({"type": "step-start"})
        parts += [{"type": "reasoning", "text": turn.thinking, "state": "done"}] if turn.thinking else []
        parts += [{"type": "text", "text": turn.text, "state": "done"}] if turn.text else []
        for at, c in enumerate(turn.calls):
            named = {"type": f"tool-{c.name}"} if at % 2 else {"type": "dynamic-tool", "toolName": c.name}
            ended = {"state": "input-available"}
            if c.result is not None:
                ended = {"state": "output-available", "output": c.result}
            parts.append({**named, "toolCallId": c.id, "input": c.arguments, **ended})
    return found


def ui_messages_4(turns: tuple[Turn, ...]) -> list[Any]:
    """The same in version 4, whose parts of tools hold an invocation; the text stands beside the parts again."""
    found = ui_messages(turns)
    for message in found:
        for part in message["parts"]:
            if part["type"] == "reasoning":
                part["reasoning"] = part.pop("text")
            if "toolCallId" in part:
                name = part.pop("toolName", None) or part["type"].removeprefix("tool-")
                held = {"toolName": name, "toolCallId": part.pop("toolCallId"), "args": part.pop("input")}
                done = {"state": "result", "result": part.pop("output")} if "output" in part else {"state": "call"}
                part |= {"type": "tool-invocation", "toolInvocation": {**held, **done}}
                del part["state"]
        message["content"] = "".join(part["text"] for part in message["parts"] if part["type"] == "text")
    return found


def model_messages(turns: tuple[Turn, ...]) -> list[Any]:
    """ModelMessages of the AI SDK: all results of a turn in one message of the tool."""
    found: list[Any] = []
    for turn in turns:
        parts: list[Any] = [{"type": "reasoning", "text": turn.thinking}] if turn.thinking else []
        parts += [{"type": "text", "text": turn.text}] if turn.text else []
        parts += [
            {"type": "tool-call", "toolCallId": c.id, "toolName": c.name, "input": c.arguments} for c in turn.calls
        ]
        found.append({"role": turn.role, "content": turn.text if turn.role == "system" else parts})
        results = [
            {
                "type": "tool-result",
                "toolCallId": c.id,
                "toolName": c.name,
                "output": {"type": "text", "value": c.result},
            }
            for c in turn.calls
            if c.result is not None
        ]
        found += [{"role": "tool", "content": results}] if results else []
    return found


def run(one: Conversation) -> Any:
    put, answer = langchain(one.turns[:-1], "lc"), langchain(one.turns[-1:], "lc")
    return {"id": one.id, "trace_id": one.id, "run_type": "llm", "name": "Chat", "inputs": {"messages": [put]},
            "outputs": {"generations": [[{"text": "", "message": answer[0]}]]}}  # fmt: skip


def chatgpt(one: Conversation) -> Any:
    """A tree with a branch beside it that was not on screen last."""
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"

    def add(role: str, content: Any, name: str | None = None, recipient: str = "all", key: str = "") -> None:
        nonlocal parent
        key = key or f"n{len(mapping)}"
        author = {"role": role, "name": name}
        message = {"id": key, "author": author, "content": content, "recipient": recipient}
        mapping[parent]["children"].append(key)
        mapping[key] = {"id": key, "message": message, "parent": parent, "children": []}
        parent = key

    def text(words: str) -> Any:
        return {"content_type": "text", "parts": [words]}

    add("system", text(""))
    for turn in one.turns:
        if turn.thinking:
            thoughts = [{"summary": "Thinking", "content": turn.thinking}]
            add("assistant", {"content_type": "thoughts", "thoughts": thoughts})
            add("assistant", {"content_type": "reasoning_recap", "content": "Thought for 3 seconds"})
        if turn.text:
            add(turn.role, text(turn.text))
        for call in turn.calls:
            code = {"content_type": "code", "language": "json", "text": json.dumps(call.arguments)}
            add("assistant", code, recipient=call.name, key=call.id)
            if call.result is not None:
                add("tool", {"content_type": "execution_output", "text": call.result}, name=call.name)
    last = parent
    parent = "root"
    add("user", text("another beginning"))
    return {"conversation_id": one.id, "title": "t", "mapping": mapping, "current_node": last}


def pair(one: Conversation) -> Any:
    split = openai(one.turns)
    return {"id": one.id, "prompt": split[:-1], "chosen": split[-1:],
            "rejected": [{"role": "assistant", "content": "worse"}]}  # fmt: skip


def mini(one: Conversation) -> list[Any]:
    found = [{**message, "extra": {"timestamp": 1.0}} for message in openai(one.turns)]
    found[-1]["extra"] = {"exit_status": "Submitted"}
    return found


def swe(one: Conversation) -> Any:
    history = [{**message, "agent": "main"} for message in openai(one.turns)]
    return {"environment": "e", "trajectory": [], "history": history, "info": {"exit_status": "submitted"}}


def claude_code(one: Conversation) -> list[Any]:
    """A block a line, as the program writes them."""
    found: list[Any] = []
    base = {"sessionId": one.id, "isSidechain": False}
    for number, message in enumerate(anthropic(one.turns)):
        for block in message["content"] if message["role"] == "assistant" else [message["content"]]:
            held = {"role": message["role"], "content": [block] if message["role"] == "assistant" else block}
            if message["role"] == "assistant":
                held["id"] = f"msg{number}"
            parent = found[-1]["uuid"] if found else None
            uuid = f"u{len(found)}"
            found.append({**base, "type": message["role"], "uuid": uuid, "parentUuid": parent, "message": held})
    return found


def tree(one: Conversation) -> Any:
    below: list[Any] = []
    for number, turn in reversed(list(enumerate(one.turns))):
        role = "assistant" if turn.role == "assistant" else "prompter"
        message = {"message_id": f"{one.id}-{number}", "role": role, "text": turn.text, "replies": below}
        below = [message]
    return {"message_tree_id": one.id, "tree_state": "ready_for_export", "prompt": below[0]}


# Files


def _records(name: str, encode: Callable[[Conversation], Any]) -> Callable[[Path, list[Conversation]], None]:
    return lambda folder, held: _jsonl(folder / name, [encode(one) for one in held])


def _list(name: str, encode: Callable[[Conversation], Any]) -> Callable[[Path, list[Conversation]], None]:
    return lambda folder, held: (folder / name).write_text(json.dumps([encode(one) for one in held])) and None


def _files(end: str, encode: Callable[[Conversation], Any]) -> Callable[[Path, list[Conversation]], None]:
    def write(folder: Path, held: list[Conversation]) -> None:
        for one in held:
            (folder / f"{one.id}{end}").write_text(json.dumps(encode(one), indent=1))

    return write


def _line_files(encode: Callable[[Conversation], list[Any]]) -> Callable[[Path, list[Conversation]], None]:
    def write(folder: Path, held: list[Conversation]) -> None:
        for one in held:
            _jsonl(folder / f"{one.id}.jsonl", encode(one))

    return write


def _tau2(folder: Path, held: list[Conversation]) -> None:
    info = {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "air"}, "user_info": {}}
    simulations = [tau2(one) for one in held]
    (folder / "results.json").write_text(json.dumps({"info": info, "tasks": [], "simulations": simulations}))


def _parquet(folder: Path, held: list[Conversation]) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": one.id, "messages": json.dumps(openai(one.turns))} for one in held]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "chats.parquet")


def _scout(folder: Path, held: list[Conversation]) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {"transcript_id": one.id, "source_type": "x", "messages": json.dumps(inspect(one.turns)), "model": "m"}
        for one in held
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "transcripts.parquet")


def _inspect_log(folder: Path, held: list[Conversation]) -> None:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import ChatMessage
    from pydantic import TypeAdapter

    read: TypeAdapter[list[ChatMessage]] = TypeAdapter(list[ChatMessage])
    samples = [
        EvalSample(id=one.id, epoch=1, input="q", target="", messages=read.validate_python(inspect(one.turns)))
        for one in held
    ]
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00", task="t", dataset=EvalDataset(), model="m", config=EvalConfig()
    )
    write_eval_log(EvalLog(eval=spec, samples=samples, status="success"), str(folder / "log.eval"))


_TEXT_ONLY = Held(thinking=False, calls=False)
_NO_SYSTEM = Held(system=False)
_ITEMS = Held(open_calls=False)
"""Where nothing follows a call, items do not say whether the next one is of the same answer."""


def _chats(encode: Callable[[tuple[Turn, ...]], Any]) -> Callable[[Path, list[Conversation]], None]:
    return _records("a.jsonl", lambda one: {"id": one.id, "messages": encode(one.turns)})


FORMATS = (
    Format("OpenAI lines", "jsonl", _chats(openai)),
    Format("Anthropic lines", "jsonl", _chats(anthropic)),
    Format("Inspect lines", "jsonl", _chats(inspect)),
    Format("ShareGPT lines", "jsonl",
           _records("a.jsonl", lambda one: {"id": one.id, "conversations": sharegpt(one.turns)}), _TEXT_ONLY),
    Format("ShareGPT pieces", "sharegpt",
           _list("a.json", lambda one: {"id": f"{one.id}_0", "conversations": sharegpt(one.turns)}), _TEXT_ONLY),
    Format("Parquet", "parquet", _parquet),
    Format("Scout", "scout", _scout),
    Format("Inspect log", "inspect_log", _inspect_log),
    Format("OpenAssistant", "oasst", _records("t.jsonl", tree), Held(thinking=False, calls=False, system=False)),
    Format("SWE-agent", "swe_agent", _files(".traj", swe)),
    Format("Claude Code", "claude_code", _line_files(claude_code), _NO_SYSTEM),
    Format("bare lists", "messages", _files(".json", lambda one: openai(one.turns))),
    Format("one list of bare lists", "messages", _list("a.json", lambda one: openai(one.turns))),
    Format("one bare list a line", "messages", _records("a.jsonl", lambda one: openai(one.turns))),
    Format("one message a line", "messages", _line_files(lambda one: openai(one.turns))),
    Format("mini-swe-agent lists", "messages", _files(".traj.json", mini)),
    Format("Responses items in records", "jsonl",
           _chats(items), _ITEMS),
    Format("Responses items a line", "messages", _line_files(lambda one: items(one.turns)), _ITEMS),
    Format("Responses exchanges", "responses", _records("a.jsonl", exchange), _ITEMS),
    Format("Codex", "codex", _line_files(codex), _ITEMS),
    Format("ATIF", "atif", _files(".json", atif)),
    Format("tau2", "tau2", _tau2),
    Format("Gemini contents in records", "jsonl",
           _chats(contents), _NO_SYSTEM),
    Format("Gemini requests", "gemini", _records("a.jsonl", gemini_request)),
    Format("Gemini CLI", "gemini_cli", _files(".json", gemini_session), _NO_SYSTEM),
    Format("LangChain, types", "jsonl",
           _records("a.jsonl", lambda one: {"id": one.id, "messages": langchain(one.turns, "type")})),
    Format("LangChain, data", "jsonl",
           _records("a.jsonl", lambda one: {"id": one.id, "messages": langchain(one.turns, "data")})),
    Format("LangChain, constructors", "messages", _files(".json", lambda one: langchain(one.turns, "lc"))),
    Format("AI SDK, UIMessages", "jsonl", _chats(ui_messages)),
    Format("AI SDK, UIMessages of version 4", "messages", _line_files(lambda one: ui_messages_4(one.turns))),
    Format("AI SDK, ModelMessages", "jsonl", _chats(model_messages)),
    Format("LangSmith runs", "langsmith", _records("a.jsonl", run)),
    Format("ChatGPT", "chatgpt", _list("conversations.json", chatgpt),
           Held(parallel=False, open_calls=False)),
    Format("preference pairs", "dpo", _records("a.jsonl", pair)),
)  # fmt: skip
