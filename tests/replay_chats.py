"""Chats for the replay tests, one line per message, and the checks that every replay of them must pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall, ToolInfo, ToolParam, ToolParams
from transformers import PreTrainedTokenizerBase

from nla_eval.replay.replay import ReplayConfig
from nla_eval.replay.types import Channel, Replay
from nla_eval.transcript import Arm, Provenance, Transcript

Tokenizer = PreTrainedTokenizerBase
TokenizerWith = Callable[..., Tokenizer]
LONG = ReplayConfig(max_tokens=1_000_000)
BASH = ToolInfo(
    name="bash",
    description="runs a command",
    parameters=ToolParams(properties={"cmd": ToolParam(type="string", description="what to run")}),
)
CHANNEL = {
    "system": Channel.SYSTEM,
    "user": Channel.USER,
    "assistant": Channel.RESPONSE,
    "tool": Channel.TOOL_RESULT,
}
"""Where the text of a role's messages stands."""


def system(text: str) -> ChatMessage:
    return ChatMessageSystem(content=text)


def user(text: str) -> ChatMessage:
    return ChatMessageUser(content=text)


def assistant(text: str, *calls: ToolCall, thinking: str | None = None) -> ChatMessage:
    content: Any = text if thinking is None else [ContentReasoning(reasoning=thinking), ContentText(text=text)]
    return ChatMessageAssistant(content=content, tool_calls=list(calls) or None)


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id=f"call_{name}", function=name, arguments=arguments)


def result(text: str, name: str = "bash") -> ChatMessage:
    return ChatMessageTool(content=text, tool_call_id=f"call_{name}", function=name)


def transcript(*messages: ChatMessage, tools: tuple[ToolInfo, ...] = ()) -> Transcript:
    return Transcript(
        id="t1",
        messages=list(messages),
        arm=Arm.DEPLOYMENT,
        suite="s",
        family="f",
        tools=list(tools),
        provenance=Provenance(source="test"),
    )


def characters(replayed: Replay, message: int, *channels: Channel) -> str:
    """The characters of a message's tokens in these channels, each character once."""
    wanted = (replayed.message == message) & np.isin(replayed.channel, channels)
    inside = np.zeros(len(replayed.text), dtype=bool)
    for start, end in zip(replayed.char_start[wanted], replayed.char_end[wanted], strict=True):
        inside[start:end] = True
    return "".join(c for c, keep in zip(replayed.text, inside, strict=True) if keep)


def cleaned(text: str) -> str:
    """`text` without what the default target's vocabulary has no tokens for."""
    missing = "\x00\x04\x06\x13\x14\x16\x1d"
    return "".join("\ufffd" if c in missing or "\ud800" <= c < "\ue000" else c for c in text)


def assert_tiles(replayed: Replay, tokenizer: Tokenizer) -> None:
    """No gap, overlaps only inside one character, and each run of tokens decodes to the characters it claims."""
    start, end, text = replayed.char_start, replayed.char_end, replayed.text
    assert start[0] == 0
    assert end[-1] == len(text)
    assert (np.diff(start) >= 0).all()
    assert (np.diff(end) >= 0).all()
    overlap = end[:-1] - start[1:]
    assert ((overlap == 0) | (overlap == 1)).all()
    borders = [0, *(np.flatnonzero(overlap == 0) + 1), len(replayed)]
    for low, high in pairwise(borders):
        claimed = text[start[low] : end[high - 1]]
        assert tokenizer.decode(replayed.token_ids[low:high], clean_up_tokenization_spaces=False) == claimed


def assert_special_only_where_the_template_wrote_them(replayed: Replay, tokenizer: Tokenizer) -> None:
    special_ids = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    assert (replayed.special == np.isin(replayed.token_ids, special_ids)).all()
    assert (replayed.channel[replayed.special] == Channel.TEMPLATE).all()
