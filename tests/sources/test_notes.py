"""What a reader did not read is counted under its name, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nla_eval.errors import InputError
from nla_eval.sources import SourceNotes, SourceOptions, read
from nla_eval.sources._notes import FURTHER, MOST_NAMES
from nla_eval.transcript import Arm


def test_every_text_under_a_key_that_was_not_read_is_counted_by_its_dotted_name() -> None:
    notes = SourceNotes()
    message = {"content": "read", "extra": {"notes": ["one", "three"], "n": 3, "blank": " "}, "why": "so", "no": None}
    notes.left(message, {"content"}, "messages[].")
    notes.left(message, {"content", "extra"}, "messages[].")
    found = {name: (held.times, held.characters) for name, held in notes.unread.items()}
    assert found == {"messages[].extra.notes[]": (2, 8), "messages[].why": (2, 4)}


def test_names_that_are_data_do_not_fill_the_memory() -> None:
    notes = SourceNotes()
    for number in range(3 * MOST_NAMES):
        notes.hold(f"by_id.{number}", "text")
    assert len(notes.unread) <= MOST_NAMES + 1
    assert notes.unread[FURTHER].times == 2 * MOST_NAMES


def test_zero_is_no_count() -> None:
    notes = SourceNotes()
    notes.count("branches left out", 0)
    notes.count("branches left out", 2)
    notes.count("branches left out")
    assert notes.counts == {"branches left out": 3}


def test_the_first_reason_is_of_a_file_that_looks_like_data(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# About these chats\n")
    (tmp_path / "chats.jsonl").write_text('{"messages": [{"role": "narrator", "content": "x"}]}\n')
    with pytest.raises(InputError, match=r"the first reason: chats\.jsonl line 1: .*'narrator'"):
        list(read(tmp_path, SourceOptions(suite="s", arm=Arm.DEPLOYMENT)))
