"""The quick way for simple records makes what the careful way makes, and leaves to it what is not simple."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from nla_eval.sources import Item, Skipped, SourceOptions
from nla_eval.sources._base import Record, transcripts
from nla_eval.sources._chat import chat_fields, chats
from nla_eval.sources._plain_chats import PlainChats
from nla_eval.transcript import Arm
from tests.sources.conversations import Held, conversation, inspect, openai, sharegpt

PLAIN = Held(thinking=False, calls=False)
ODD: tuple[Any, ...] = (
    *(None, "", " ", 0, 7, True, [], {}, ["a"], {"a": "b"}, "\ud800", "é", "q7-trial-1", "air/0_t2", "a\x00b"),
    *("<think>so</think>yes", "so\n</think>\nyes", "[", '[{"role": "user", "content": "x"}]', "x" * 3000),
)
KEYS = (
    *("id", "conversation_id", "uuid", "family", "task_id", "domain", "model", "outcome", "variant", "tools"),
    *("language", "dataset", "setting", "meta", "metadata", "created_at", "source", "response", "system", "thinking"),
    *("messages", "conversation", "turns", "prompt", "notes", "finish_reason"),
)
MESSAGE_KEYS = ("role", "content", "from", "value", "type", "parts", "name", "thinking", "text")
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"prompts": True},
    {"roles": {"robot": "assistant", "user": "tool"}},
    {"family_key": "domain"},
    {"max_record_mb": 0},
)


def options(**changed: Any) -> SourceOptions:
    return SourceOptions(suite="s", arm=Arm.EVALUATION, **changed)


def records() -> list[Record]:
    """Conversations in three shapes; of each the plain one and some with something else in one place."""
    rng = random.Random(0)
    found: list[Any] = list(ODD)
    for number in range(400):
        write: Callable[..., list[Any]] = rng.choice((openai, inspect, sharegpt))
        one = conversation(number, rng.choice((PLAIN, Held())))
        key = rng.choice(("messages", "conversations", "turns"))
        record: dict[str, Any] = {"id": one.id, key: write(one.turns)} if number % 5 else {key: write(one.turns)}
        found.append(record)
        for _ in range(3):
            changed = {**record, rng.choice(KEYS): rng.choice(ODD)}
            if rng.random() < 0.5:
                messages = [dict(message) for message in record[key]]
                rng.choice(messages)[rng.choice(MESSAGE_KEYS)] = rng.choice((*ODD, "robot", "assistant", "user"))
                changed[key] = messages
            found.append(dict(rng.sample(list(changed.items()), len(changed))))
    return [Record(f"line {number}", value, number) for number, value in enumerate(found, start=1)]


def told(item: Item) -> Any:
    """Everything in an item, with which fields were set."""
    if isinstance(item, Skipped):
        return str(item)
    sets = [message.model_fields_set for message in item.messages]
    return repr(item), item.model_fields_set, sets, list(item.__dict__), [list(m.__dict__) for m in item.messages]


@pytest.mark.parametrize("given", OPTIONS, ids=str)
def test_the_quick_way_equals_the_careful_way(given: dict[str, Any]) -> None:
    quick, careful = options(**given), options(**given)
    made = list(chats(records(), quick, "a.jsonl"))
    slow = transcripts(records(), lambda r: chat_fields(r.value, f"line-{r.number}", careful), careful, "a.jsonl")
    assert list(map(told, made)) == list(map(told, slow))
    assert asdict(quick.notes) == asdict(careful.notes)


def test_most_plain_records_go_the_quick_way_and_validate() -> None:
    plain = PlainChats(options(), "a.jsonl")
    made = [plain.transcript(record) for record in records()]
    held = [one for one in made if one is not None]
    assert len(held) > 200
    for one in held:
        assert type(one).model_validate_json(one.model_dump_json()) == one
