"""Conversations about programs that fail. Small programs of our own are run in this process; the tool shows what Python
prints. Standard library only. The family of a program is the exception it raises."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Iterator
from pathlib import Path

import yaml
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser
from inspect_ai.tool import ToolCall

from .base import Chat

PROGRAMS = Path(__file__).with_name("failing_programs.yaml")


def failures() -> Iterator[Chat]:
    """One conversation per program: the request, the program, its real traceback, and the cause."""
    for record in yaml.safe_load(PROGRAMS.read_text(encoding="utf-8")):
        name, program, cause = record["name"], record["program"], record["cause"]
        printed, raised = run(name, program)
        shown = ToolCall(id="call-read", function="read_file", arguments={"path": name})
        ran = ToolCall(id="call-run", function="bash", arguments={"command": f"python {name}"})
        yield Chat(
            family=f"traceback-{raised}",
            messages=[
                ChatMessageSystem(content="You are a coding assistant with tools. You work in the user's repository."),
                ChatMessageUser(content=f"{name} stops with an error. Can you find out why?"),
                ChatMessageAssistant(content="I will read it and run it.", tool_calls=[shown]),
                ChatMessageTool(content=program, function="read_file", tool_call_id=shown.id),
                ChatMessageAssistant(content="", tool_calls=[ran]),
                ChatMessageTool(content=printed, function="bash", tool_call_id=ran.id),
                ChatMessageAssistant(content=f"It ends in a {raised}: {cause}"),
            ],
            source="programs written for this project",
            licence="Apache-2.0",
            id=f"traceback-{name}",
            prose=False,
        )


def run(name: str, program: str) -> tuple[str, str]:
    """(printed output with the traceback, name of the exception). Runs only our own programs."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(program, name, "exec"), {"__name__": "__main__"})
    except Exception as err:
        frames = traceback.format_exception(type(err), err, err.__traceback__.tb_next if err.__traceback__ else None)
        return printed.getvalue() + "".join(frames), type(err).__name__
    raise AssertionError(f"{name} was meant to fail")
