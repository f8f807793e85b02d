"""Replay through templates: calls, results, thinking and roles are found where the template wrote them, and text that
it drops, trims or rewrites is noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_templates import CHATML_THINKING, CHATML_TOOLS, LLAMA3, LLAMA3_SPECIAL, STRICT, XML_CALLS
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentImage,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCallError
from replay_chats import (
    BASH,
    LONG,
    Tokenizer,
    TokenizerWith,
    assert_special_only_where_the_template_wrote_them,
    assert_tiles,
    assistant,
    call,
    characters,
    result,
    system,
    transcript,
    user,
)

from nla_eval.errors import TemplateError
from nla_eval.replay.replay import replay
from nla_eval.replay.types import Channel

# -- the declared fallback ---------------------------------------------------------------------------------------------


def test_calls_and_results_are_written_as_text_where_the_template_drops_them(target_tokenizer: Tokenizer) -> None:
    messages = [
        user("list"),
        assistant("", call("bash", cmd="ls 'ü'", n=2), call("stop")),
        result("a\nb"),
        assistant("two files"),
    ]
    got = replay(transcript(*messages), target_tokenizer, LONG)
    assert got.notes == ("tool_calls_as_text",)
    arguments = json.dumps({"cmd": "ls 'ü'", "n": 2}, ensure_ascii=False)
    assert f'<tool_call>\n{{"name": "bash", "arguments": {arguments}}}\n</tool_call>' in got.text
    for piece in ("bash", arguments, "stop"):
        assert piece in characters(got, 1, Channel.TOOL_CALL)
    assert "tool_call>" not in characters(got, 1, Channel.TOOL_CALL)
    assert characters(got, 1, Channel.RESPONSE) == ""
    assert characters(got, 2, Channel.TOOL_RESULT) == "a\nb"
    assert characters(got, 2, Channel.TEMPLATE).startswith("<|im_start|>user\n<tool_response>")
    assert set(got.turn[got.message >= 0]) == {0}, "a tool result opens no turn"
    assert_tiles(got, target_tokenizer)


def test_thinking_is_written_as_text_where_the_template_has_no_place_for_it(target_tokenizer: Tokenizer) -> None:
    got = replay(transcript(user("q"), assistant("Four.", thinking="Is this a test?")), target_tokenizer, LONG)
    assert got.notes == ("thinking_as_text",)
    assert characters(got, 1, Channel.THINKING) == "Is this a test?"
    assert characters(got, 1, Channel.RESPONSE) == "Four."
    assert "<think>\nIs this a test?\n</think>\n\nFour." in got.text


def test_a_failed_tools_message_stands_where_its_output_would(target_tokenizer: Tokenizer) -> None:
    failed = ChatMessageTool(content="", tool_call_id="call_bash", error=ToolCallError("timeout", "too slow"))
    got = replay(transcript(user("q"), assistant("", call("bash")), failed), target_tokenizer, LONG)
    assert characters(got, 2, Channel.TOOL_RESULT) == "too slow"


@pytest.mark.parametrize(
    ("part", "note", "shown"),
    [
        (ContentImage(image="data:,"), "image_placeholder", "[image]"),
        (ContentReasoning(reasoning="zzz", redacted=True), "thinking_redacted", "[redacted]"),
        (ContentReasoning(reasoning="zzz", redacted=True, summary="it thought"), "thinking_redacted", "it thought"),
    ],
)
def test_what_the_target_cannot_see_is_noted(target_tokenizer: Tokenizer, part: Any, note: str, shown: str) -> None:
    answer = ChatMessageAssistant(content=[part, ContentText(text="ok")])
    got = replay(transcript(user("q"), answer), target_tokenizer, LONG)
    assert note in got.notes
    assert shown in got.text
    assert "zzz" not in got.text


def test_tools_that_the_template_cannot_show_are_noted(target_tokenizer: Tokenizer) -> None:
    assert replay(transcript(user("q"), assistant("a"), tools=(BASH,)), target_tokenizer, LONG).notes == (
        "tools_dropped",
    )


# -- other templates ---------------------------------------------------------------------------------------------------


def test_chatml_with_tools_is_rendered_natively(tokenizer_with: TokenizerWith) -> None:
    tokenizer = tokenizer_with(CHATML_TOOLS)
    arguments = {"cmd": 'echo "<|im_end|>" é', "deep": {"n": [1, None]}}
    got = replay(
        transcript(
            system("Be brief."),
            user("go"),
            assistant("", call("bash", **arguments), call("stop")),
            result("one"),
            result("two", "stop"),
            assistant("done", call("bash", cmd="ls")),
            tools=(BASH,),
        ),
        tokenizer,
        LONG,
    )
    assert got.notes == ()
    calls = characters(got, 2, Channel.TOOL_CALL)
    assert json.dumps(arguments, ensure_ascii=False) in calls
    assert "stop" in calls
    assert "</tool_call>" not in calls
    assert [characters(got, m, Channel.TOOL_RESULT) for m in (3, 4)] == ["one", "two"]
    assert characters(got, 5, Channel.RESPONSE) == "done"
    assert characters(got, 0, Channel.SYSTEM) == "Be brief."
    assert '"runs a command"' in characters(got, 0, Channel.TEMPLATE)
    assert_tiles(got, tokenizer)
    assert_special_only_where_the_template_wrote_them(got, tokenizer)


def test_thinking_that_the_template_drops_by_design_is_noted_and_not_counted(tokenizer_with: TokenizerWith) -> None:
    tokenizer = tokenizer_with(CHATML_THINKING)
    got = replay(
        transcript(
            user("a"), assistant("A", thinking="first"), user("b"), assistant("B\n", thinking="\nsecond thoughts\n")
        ),
        tokenizer,
        LONG,
    )
    assert set(got.notes) == {"thinking_dropped", "trimmed"}
    assert "first" not in got.text
    assert characters(got, 1, Channel.THINKING) == ""
    assert characters(got, 3, Channel.THINKING) == "second thoughts"
    assert characters(got, 3, Channel.RESPONSE) == "B\n"
    assert_tiles(got, tokenizer)


def test_content_that_steers_the_template_is_still_found(tokenizer_with: TokenizerWith) -> None:
    tokenizer = tokenizer_with(CHATML_THINKING)
    got = replay(
        transcript(
            user("a"),
            assistant("one"),
            user("<tool_response>x</tool_response>"),
            assistant("<think>hidden</think>\n\nshown text"),
        ),
        tokenizer,
        LONG,
    )
    assert characters(got, 1, Channel.RESPONSE) == "one"
    assert characters(got, 2, Channel.USER) == "<tool_response>x</tool_response>"
    assert "shown text" in characters(got, 3, Channel.RESPONSE)
    assert got.notes == ("rewritten",)


def test_llama3_trims_and_escapes_and_says_so(tokenizer_with: TokenizerWith) -> None:
    tokenizer = tokenizer_with(LLAMA3, *LLAMA3_SPECIAL)
    got = replay(
        transcript(
            system("  Be brief.\n"),
            user("go "),
            assistant("", call("bash", cmd="ls")),
            result('a "b"\nc'),
            assistant("\ndone"),
        ),
        tokenizer,
        LONG,
    )
    assert set(got.notes) == {"trimmed", "escaped"}
    assert characters(got, 0, Channel.SYSTEM) == "Be brief."
    assert characters(got, 1, Channel.USER) == "go"
    assert "bash" in characters(got, 2, Channel.TOOL_CALL)
    assert '{"cmd": "ls"}' in characters(got, 2, Channel.TOOL_CALL)
    assert r"a \"b\"\nc" in characters(got, 3, Channel.TOOL_RESULT)
    assert characters(got, 4, Channel.RESPONSE) == "done"
    assert characters(got, 4, *Channel) == "<|start_header_id|>assistant<|end_header_id|>\n\ndone<|eot_id|>"
    assert_tiles(got, tokenizer)
    assert_special_only_where_the_template_wrote_them(got, tokenizer)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (assistant("", call("bash", cmd="a"), call("bash", cmd="b")), "it refuses two calls"),
        (assistant("I will look.", call("bash", cmd="a")), "it drops text beside a call"),
    ],
)
def test_llama3_falls_back_to_text_rather_than_lose_content(
    tokenizer_with: TokenizerWith, message: ChatMessage, why: str
) -> None:
    got = replay(transcript(user("go"), message), tokenizer_with(LLAMA3, *LLAMA3_SPECIAL), LONG)
    assert "tool_calls_as_text" in got.notes, why
    assert not any(note.endswith("dropped") for note in got.notes)
    assert '{"cmd": "a"}' in characters(got, 1, Channel.TOOL_CALL)


def test_a_date_in_the_template_does_not_change_the_replay_overnight(
    tokenizer_with: TokenizerWith,
) -> None:
    got = replay(transcript(user("a"), assistant("b")), tokenizer_with(LLAMA3, *LLAMA3_SPECIAL), LONG)
    assert "Today Date: 26 Jul 2024" in got.text


def test_arguments_written_one_by_one_are_tool_call(tokenizer_with: TokenizerWith) -> None:
    tokenizer = tokenizer_with(XML_CALLS)
    messages = (user("go"), assistant("ok", call("write", path="a.txt", lines=[1, 2])), result("done", "write"))
    got = replay(transcript(*messages), tokenizer, LONG)
    assert got.notes == ()
    written = characters(got, 1, Channel.TOOL_CALL)
    assert "write" in written
    assert "path>\na.txt\n</parameter>\n<parameter=lines>\n[1, 2]" in written
    assert "function" not in written


def test_a_strict_template_gets_merged_roles(tokenizer_with: TokenizerWith) -> None:
    messages = (
        system("Be kind."),
        user("one"),
        user("two"),
        assistant("yes", call("bash", cmd="ls")),
        result("out"),
        assistant("end"),
    )
    got = replay(transcript(*messages), tokenizer_with(STRICT), LONG)
    assert set(got.notes) == {"tool_calls_as_text", "roles_merged", "system_as_user"}
    channels = (Channel.SYSTEM, Channel.USER, Channel.USER, Channel.RESPONSE, Channel.TOOL_RESULT, Channel.RESPONSE)
    assert [characters(got, m, c).strip() for m, c in enumerate(channels)] == [
        "Be kind.",
        "one",
        "two",
        "yes",
        "out",
        "end",
    ]
    assert set(got.turn[got.message == 2]) == {1}


def test_a_template_that_swallows_messages_is_noticed(tokenizer_with: TokenizerWith) -> None:
    deaf = (
        "{% for m in messages %}{% if m.role != 'user' %}<|im_start|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    )
    got = replay(transcript(user("a question"), assistant("b")), tokenizer_with(deaf), LONG)
    assert got.notes == ("user_dropped",)
    assert characters(got, 1, Channel.RESPONSE) == "b"


def test_a_system_message_that_the_template_swallows_is_given_to_the_user(tokenizer_with: TokenizerWith) -> None:
    deaf = (
        "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    )
    got = replay(transcript(system("secret"), user("a"), assistant("b")), tokenizer_with(deaf), LONG)
    assert set(got.notes) == {"system_as_user", "roles_merged"}
    assert characters(got, 0, Channel.SYSTEM).strip() == "secret"


@pytest.mark.parametrize(
    ("expression", "notes"),
    [
        ("m.content | upper", {"unaligned"}),
        ("m.content[:12]", {"user_dropped", "response_dropped"}),
        ("m.content.replace('l', 'L')", {"rewritten"}),
        ("m.content | trim", set()),
    ],
)
def test_a_template_that_rewrites_content_is_noticed(
    tokenizer_with: TokenizerWith, expression: str, notes: set[str]
) -> None:
    tokenizer = tokenizer_with("{% for m in messages %}<|im_start|>{{ " + expression + " }}<|im_end|>{% endfor %}")
    got = replay(transcript(user("hello world, all is well"), assistant("a longer answer, all well")), tokenizer, LONG)
    assert set(got.notes) == notes
    assert_tiles(got, tokenizer)


def test_a_look_alike_in_content_that_cannot_be_followed_is_refused(tokenizer_with: TokenizerWith) -> None:
    rewriting = "{% for m in messages %}<|im_start|>{{ m.content.replace('l', 'L') }}<|im_end|>{% endfor %}"
    tokenizer = tokenizer_with(rewriting)
    with pytest.raises(TemplateError, match=r"^transcript t1: .*look-alikes"):
        replay(transcript(user("well <|im_end|> well"), assistant("a")), tokenizer, LONG)
    kept = replay(transcript(user("a <|im_end|>"), assistant("well")), tokenizer, LONG)
    assert int(kept.special.sum()) == 4, "a look-alike in a message that was kept whole stays text"
