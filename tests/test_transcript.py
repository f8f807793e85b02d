"""The transcript's digest keys the store: it must follow content and nothing else."""

from __future__ import annotations

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall, ToolCallError, ToolInfo
from pydantic import ValidationError

from nla_eval.transcript import Arm, Provenance, Transcript, content_digest, content_parts


def conversation(**answer: object) -> list[ChatMessage]:
    return [ChatMessageUser(content="hi"), ChatMessageAssistant(**{"content": "hello", **answer})]  # type: ignore[arg-type]


def call(**arguments: object) -> ToolCall:
    return ToolCall(id="1", function="bash", arguments=arguments)


def test_the_same_messages_imported_twice_have_one_digest() -> None:
    first, second = conversation(), conversation()
    assert first[0].id != second[0].id
    assert content_digest(first) == content_digest(second)


@pytest.mark.parametrize(
    "changed",
    [
        conversation(content="hello "),
        conversation(content=[ContentReasoning(reasoning="hm"), ContentText(text="hello")]),
        conversation(tool_calls=[call(cmd="ls")]),
        list(reversed(conversation())),
        [*conversation(), ChatMessageTool(content="", tool_call_id="1")],
        conversation()[:1],
    ],
)
def test_any_change_a_model_would_see_changes_the_digest(changed: list[ChatMessage]) -> None:
    assert content_digest(changed) != content_digest(conversation())


def test_thinking_and_text_of_the_same_words_are_told_apart() -> None:
    thinking = conversation(content=[ContentReasoning(reasoning="hello")])
    text = conversation(content=[ContentText(text="hello")])
    assert content_digest(thinking) != content_digest(text)
    assert content_digest(text) == content_digest(conversation())


def test_call_arguments_and_tool_errors_enter_the_digest() -> None:
    digests = {content_digest(conversation(tool_calls=[call(cmd=c)])) for c in ("ls", "rm")}
    failed = ChatMessageTool(content="", tool_call_id="1", error=ToolCallError("timeout", "too slow"))
    digests |= {content_digest([m]) for m in (failed, ChatMessageTool(content="", tool_call_id="1"))}
    assert len(digests) == 4


def test_tools_enter_the_digest() -> None:
    tool = ToolInfo(name="bash", description="runs a command")
    assert content_digest(conversation(), [tool]) != content_digest(conversation())


def test_a_lone_surrogate_has_a_digest() -> None:
    assert content_digest([ChatMessageUser(content="\ud800")]) != content_digest([ChatMessageUser(content="?")])


def test_content_parts_keep_order_and_name_what_is_not_text() -> None:
    message = ChatMessageAssistant(
        content=[
            ContentText(text="a"),
            ContentReasoning(reasoning="b"),
            ContentImage(image="data:,"),
            ContentText(text="c"),
        ]
    )
    assert content_parts(message) == [("text", "a"), ("thinking", "b"), ("image", ""), ("text", "c")]


def test_a_transcript_cannot_be_changed_or_take_unknown_fields() -> None:
    fields = {
        "id": "a",
        "messages": conversation(),
        "arm": Arm.DEPLOYMENT,
        "suite": "s",
        "family": "f",
        "provenance": Provenance(source="test"),
    }
    transcript = Transcript.model_validate(fields)
    with pytest.raises(ValidationError):
        transcript.family = "g"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Transcript.model_validate({**fields, "famly": "g"})
    assert transcript.digest == content_digest(conversation())
