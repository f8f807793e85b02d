"""Tool calls in a target's text: parsed in the notation of each family, and only if they really are calls."""

from __future__ import annotations

import pytest
from inspect_ai.tool import ToolInfo

from nla_eval.replay.tool_calls import tool_calls

TOOLS = [ToolInfo(name="run", description="d"), ToolInfo(name="read", description="d")]


@pytest.mark.parametrize(
    ("text", "speech", "calls"),
    [
        ('<tool_call>\n{"name": "run", "arguments": {"c": "ls"}}\n</tool_call>', "", [("run", {"c": "ls"})]),
        (
            'Let me look.\n<tool_call>{"name": "run", "arguments": {}}</tool_call>\n'
            '<tool_call>{"name": "read", "arguments": {"p": 1}}</tool_call>',
            "Let me look.",
            [("run", {}), ("read", {"p": 1})],
        ),
        ('<tool_call>{"name": "run", "arguments": {"c": "x"}}', "", [("run", {"c": "x"})]),
        ('{"name": "run", "parameters": {"c": "ls"}}', "", [("run", {"c": "ls"})]),
        ('<|python_tag|>{"name": "run", "parameters": {"c": "ls"}}', "", [("run", {"c": "ls"})]),
        (' [{"name": "run", "arguments": {"c": "ls"}, "id": "abcdefghi"}]', "", [("run", {"c": "ls"})]),
        ('Sure.\n```json\n{"name": "read", "arguments": {"p": "a"}}\n```', "Sure.", [("read", {"p": "a"})]),
        ('{"type": "function", "function": {"name": "run", "parameters": {}}}', "", [("run", {})]),
        ('{"name": "dance", "parameters": {}}', '{"name": "dance", "parameters": {}}', []),
        ('{"name": "run", "parameters": "ls"}', '{"name": "run", "parameters": "ls"}', []),
        ("<tool_call>not json</tool_call>", "<tool_call>not json</tool_call>", []),
        ('I could call {"name": "run"} now.', 'I could call {"name": "run"} now.', []),
        ("[1, 2, 3]", "[1, 2, 3]", []),
        ("", "", []),
    ],
)
def test_calls_are_read_in_every_notation(text: str, speech: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    said, found = tool_calls(text, TOOLS)
    assert said == speech
    assert [(c.function, c.arguments) for c in found] == calls
    assert all(len(c.id) == 9 and c.id.isalnum() for c in found)
    assert len({c.id for c in found}) == len(found)
