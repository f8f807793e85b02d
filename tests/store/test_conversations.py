"""Conversations stay as they were stored, and one that has the digest's content is kept before one that has not."""

from __future__ import annotations

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser
from pydantic import TypeAdapter

from nla_eval.store.conversations import Conversations, Said
from nla_eval.transcript import content_digest

HELLO: list[ChatMessage] = [ChatMessageUser(content="hello"), ChatMessageAssistant(content="good day")]
CHANGED: list[ChatMessage] = [HELLO[0], ChatMessageAssistant(content="good evening")]
DIGEST = content_digest(HELLO)


def stored(messages: list[ChatMessage]) -> str:
    return TypeAdapter(list[ChatMessage]).dump_json(messages, exclude_none=True).decode()


def heard(*said: Said) -> Conversations:
    found = Conversations()
    for one in said:
        found.hear(DIGEST, one)
    return found


def test_a_stored_conversation_is_that_of_the_log() -> None:
    assert dict(Conversations({"d": stored(HELLO)})) == {"d": HELLO}


def test_the_conversation_with_the_content_of_the_digest_is_kept_whichever_comes_first() -> None:
    for true, false in ((HELLO, CHANGED), (stored(HELLO), stored(CHANGED)), (HELLO, stored(CHANGED))):
        assert [heard(*said)[DIGEST] for said in ((true, false), (false, true))] == [HELLO, HELLO]
    assert heard(CHANGED)[DIGEST] == CHANGED


def test_parts_and_sums_keep_to_the_same_rule() -> None:
    every = Conversations({DIGEST: stored(CHANGED), "other": HELLO})
    every.add(heard(stored(HELLO)))
    assert dict(every) == {DIGEST: HELLO, "other": HELLO}
    part = every.within({"other", "absent"})
    assert (list(part), len(part), "other" in part, DIGEST in part) == (["other"], 1, True, False)
