"""500 conversations made at random come back whole from every format: turns, roles, words, thinking, calls, pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool

from nla_eval.sources import Skipped, SourceOptions, read, source_of
from nla_eval.transcript import Arm, content_parts
from tests.sources.conversations import FORMATS, Conversation, Format, conversation

COUNT = 500


def wanted(one: Conversation) -> list[Any]:
    """Each message as (role, words, thinking, calls, which call it answers)."""
    found: list[Any] = []
    calls = 0
    for turn in one.turns:
        made = [(call.name, call.arguments) for call in turn.calls]
        found.append((turn.role, turn.text, turn.thinking, made, None))
        for number, call in enumerate(turn.calls, start=calls):
            if call.result is not None:
                found.append(("tool", call.result, "", [], number))
        calls += len(turn.calls)
    return found


def came_back(messages: list[ChatMessage]) -> list[Any]:
    """The same of what was read."""
    found: list[Any] = []
    ids: list[str] = []
    for message in messages:
        calls = (message.tool_calls or []) if isinstance(message, ChatMessageAssistant) else []
        ids += [call.id for call in calls]
        words, thinking = (
            "".join(text for kind, text in content_parts(message) if kind == wanted) for wanted in ("text", "thinking")
        )
        answers = ids.index(str(message.tool_call_id)) if isinstance(message, ChatMessageTool) else None
        found.append((message.role, words, thinking, [(c.function, c.arguments) for c in calls], answers))
    return found


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_nothing_is_lost_moved_or_mended(form: Format, tmp_path: Path) -> None:
    made = [conversation(number, form.held) for number in range(COUNT)]
    form.write(tmp_path, made)
    files = list(tmp_path.iterdir())
    place = tmp_path if len(files) > 1 else files[0]
    assert source_of(place).name == form.reader
    items = list(read(place, SourceOptions(suite="s", arm=Arm.EVALUATION, **form.options)))
    assert not [str(item) for item in items if isinstance(item, Skipped)]
    found = sorted(str(came_back(item.messages)) for item in items if not isinstance(item, Skipped))
    assert found == sorted(str(wanted(one)) for one in made)
