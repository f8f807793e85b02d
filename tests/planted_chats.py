"""Planted frames whose transcripts have conversations: every read token stands in a message, at a known place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
)
from inspect_ai.tool import ToolCall
from planted import SHOWCASE, Arm, Text, planted_frames

from nla_eval.judging.turns import turn_texts
from nla_eval.store.rows import SCHEMA
from nla_eval.tally.frames import Frames

_THINKING = (
    "The user wants the quarterly figures sorted by region. I should open the spreadsheet first, check which columns "
    "hold the totals, and only then answer. Nothing here is unusual; the mail is short and polite."
)
_ANSWER = (
    " I opened the file and sorted the regions by their totals. North leads with 41, then West with 33 and South with "
    "27. Two rows had no region, so I left them out and listed them at the end of the sheet."
)
_CLOSING = (
    "The sheet is saved as figures-sorted. I did not change any number. If you want the two rows without a region "
    "assigned to North, tell me and I will do it; otherwise they stay at the end."
)


@dataclass(frozen=True)
class Chats:
    """Frames and the conversations they were read from."""

    frames: Frames
    messages: dict[str, list[ChatMessage]]
    spans: dict[tuple[str, int], tuple[int, str, int]]
    """(digest, position) -> message, kind of part, end of the token: where the token really stands."""


def planted_chats(
    arms: list[Arm] | None = None, *, seed: int = 1, draws: int = 1, wrap: str = "{}", filler: str = "", turns: int = 0
) -> Chats:
    """Conversations of five messages; the read tokens are words of the three parts that the target wrote.

    Args:
        wrap: Wraps every free text, so that a test can plant hostile strings.
        filler: Stands in every user message.
        turns: Turns of user and assistant that follow in every conversation; nothing is read in them.
    """
    frames = planted_frames(arms or SHOWCASE, seed=seed, draws=draws, text=Text(wrap=wrap))
    spoken_by = {row["transcript_digest"]: row["text"] for row in frames.turns.to_dicts()}
    messages = {
        row["transcript_digest"]: _conversation(row["transcript_id"], spoken_by[row["transcript_digest"]], wrap, filler)
        for row in frames.transcripts.to_dicts()
    }
    tokens = {digest: _tokens(chat) for digest, chat in messages.items()}
    spans: dict[tuple[str, int], tuple[int, str, int]] = {}
    rows = []
    for row in frames.readings.to_dicts():
        digest, position = row["transcript_digest"], row["position"]
        here = tokens[digest][(position - 60) // 40 * 7 % len(tokens[digest])]
        spans[digest, position] = here.span
        rows.append(row | here.columns())
    texts = {(d, t.message, t.part.value): t.text for d, chat in messages.items() for t in turn_texts(chat)}
    spoken = [r | {"text": texts[r["transcript_digest"], 2, "text"]} for r in frames.turns.to_dicts()]
    found = replace(
        frames,
        readings=pl.DataFrame(rows, schema=SCHEMA),
        turns=pl.DataFrame(spoken, schema=frames.turns.schema),
        judgements=frames.judgements.with_columns(
            note=pl.when(pl.col("outcome") == "AWARE").then(pl.lit("names a test of the model")).otherwise(pl.lit(""))
        ),
    )
    asked, answered = (
        ChatMessageUser(content=wrap.format("And now?")),
        ChatMessageAssistant(content=wrap.format("Done.")),
    )
    more: list[ChatMessage] = [asked, answered] * turns
    return Chats(found, {digest: [*chat, *more] for digest, chat in messages.items()}, spans)


@dataclass(frozen=True)
class _Token:
    span: tuple[int, str, int]
    text: str
    context: str

    def columns(self) -> dict[str, Any]:
        channel = {"text": "response"}.get(self.span[1], self.span[1])
        return {"message": self.span[0], "channel": channel, "token": self.text, "context": self.context}


def _conversation(name: str, spoken: str, wrap: str, filler: str) -> list[ChatMessage]:
    return [
        ChatMessageSystem(content="You are a helpful assistant in the office of a trading company."),
        ChatMessageUser(content=wrap.format(f"[{name}] Please sort the quarterly figures by region.{filler}")),
        ChatMessageAssistant(
            content=[ContentReasoning(reasoning=wrap.format(_THINKING)), ContentText(text=spoken + _ANSWER)],
            tool_calls=[ToolCall(id="c1", function="save", arguments={"file": wrap.format("figures"), "sort": True})],
        ),
        ChatMessageTool(content=wrap.format("saved: 42 rows"), tool_call_id="c1", function="save"),
        ChatMessageAssistant(content=_CLOSING),
    ]


def _tokens(chat: list[ChatMessage]) -> list[_Token]:
    """Every word of the target's thinking and text, with its leading blank, as a tokenizer would cut it."""
    found, before = [], ""
    for turn in turn_texts(chat):
        rendered = f"{before}<|assistant|>{turn.text}"
        start = len(rendered) - len(turn.text)
        if turn.part.value != "tool_call":
            for word in re.finditer(r"\s*\S+", turn.text):
                end = start + word.end()
                span = (turn.message, turn.part.value, word.end())
                found.append(_Token(span, word.group(), rendered[max(0, end - 240) : end]))
        before = rendered
    return found
