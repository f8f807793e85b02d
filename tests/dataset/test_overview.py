"""`suite inspect` counts what the fixtures contain, and escapes all transcript text for the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.commands.suites import SourceRequest, lines_of, run_inspect, understood
from nla_eval.dataset.choices import ReadingChoices
from nla_eval.dataset.overview import Overview, overview
from nla_eval.printable import one_line
from nla_eval.sources import Skipped
from tests.sources.fixtures import FIXTURES

BY_NAME = {fixture.name: fixture for fixture in FIXTURES}


def of(name: str, folder: Path, **options: Any) -> Overview:
    return overview(BY_NAME[name].read(folder)[1], **options)[0]


def many(folder: Path) -> Overview:
    """Sixty chats of growing length."""
    path = folder / "many.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": "a" * n, "completion": "b"}) for n in range(1, 61)))
    return understood(SourceRequest(str(path), ReadingChoices()))[1]


def test_every_record_is_a_transcript_or_left_out_with_its_reason(tmp_path: Path) -> None:
    found = of("mixed schemas", tmp_path)
    assert (found.records, found.transcripts) == (5, 2)
    assert [(row.count, row.first) for row in found.dropped] == [(1, "a.jsonl line 3"), (1, "a.jsonl line 4"),
                                                                 (1, "a.jsonl line 5")]  # fmt: skip


def test_one_reason_with_different_numbers_is_one_line() -> None:
    rows = [Skipped(f"line {n}", f"message {n} has the unknown role 'r{n}'") for n in range(4)]
    (row,) = overview(rows)[0].dropped
    assert (row.count, row.reason, row.first) == (4, "message 0 has the unknown role 'r0'", "line 0")


def test_roles_lengths_tools_and_content_are_counted(tmp_path: Path) -> None:
    found = of("missing, repeated and unknown tool ids", tmp_path)
    assert found.roles == {"tool": 3, "assistant": 2}
    assert found.messages["50"] == 5
    tools = found.tools
    assert (tools.calling, tools.calls, tools.results, tools.unanswered, tools.uncalled) == (1, 3, 3, 2, 2)
    (tmp_path / "x").mkdir()
    assert of("images and files", tmp_path / "x").other_content == {"image": 2, "document": 2, "audio": 1}


def test_percentiles_are_lengths_that_were_seen(tmp_path: Path) -> None:
    lengths = many(tmp_path).characters
    assert list(lengths) == ["0", "5", "25", "50", "75", "95", "100"]
    assert list(lengths.values()) == [2, 4, 16, 31, 46, 58, 61]


def test_ten_samples_are_shown_and_always_the_same_ones(tmp_path: Path) -> None:
    first = many(tmp_path)
    assert len(first.samples) == 10
    assert first.samples == many(tmp_path).samples


def test_languages_are_named_and_a_few_letters_are_not(tmp_path: Path) -> None:
    texts = {
        "de": "Könnten Sie mir bitte erklären, wie das funktioniert und was es kostet?",
        "fr": "Pouvez-vous m'expliquer comment cela fonctionne, s'il vous plaît?",
        "zh": "请告诉我明天会不会下雨因为我要去公园散步然后和朋友一起吃饭",
        "unknown": "ok?",
    }
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": text, "completion": "x"}) for text in texts.values()))
    assert set(understood(SourceRequest(str(path), ReadingChoices()))[1].languages) == set(texts)


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert "\x1b" not in shown
    assert "\n" not in shown


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\u202eb", "[bold]x[/bold]", "\x07", "\x9b2J", "\ud83d"])
def test_hostile_text_is_shown_escaped(hostile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    chat = [{"role": "user", "content": hostile}, {"role": "assistant", "content": hostile}]
    path.write_text(
        json.dumps({"id": hostile, "messages": chat}) + "\n" + json.dumps({"prompt": "a", "completion": "b"})
    )
    run_inspect(SourceRequest(str(path), ReadingChoices()))
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    assert hostile.isprintable() == (hostile in shown)


def test_json_holds_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = BY_NAME["OpenAI lines"].write(tmp_path)
    run_inspect(SourceRequest(str(place), ReadingChoices()), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["reader"], found["records"], found["transcripts"]) == ("jsonl", 2, 2)
    assert found["tools"]["calls"] == 1
    assert found["samples"][0]["roles"] == "system, user, assistant, tool, assistant"


def test_lines_name_what_was_masked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "write to jane.doe@example.org", "completion": "x"}))
    reader, found = understood(SourceRequest(str(path), ReadingChoices(), redact=True))
    shown = "\n".join(lines_of("a.jsonl", reader, found))
    assert "masked: email 1" in shown
    assert "jane.doe" not in shown


def test_what_was_not_read_and_what_was_counted_beside_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    answer = {"role": "assistant", "content": "b", "scratchpad": "I wonder."}
    record = {"messages": [{"role": "user", "content": "a"}, answer], "judge": {"why": "x"}}
    path.write_text(json.dumps(record) + "\n" + json.dumps({**record, "task_id": 7}))
    run_inspect(SourceRequest(str(path), ReadingChoices()))
    shown = capsys.readouterr().out
    assert "keys not read: messages[].scratchpad in 2 (18 characters), judge.why in 2 (2 characters)" in shown
    assert "families 2, by the record itself 1, 'task_id' of the record 1" in shown
    assert "family of " in shown
    assert "--outcome-key" in shown
    place = BY_NAME["Claude Code"].write(tmp_path)
    run_inspect(SourceRequest(str(place), ReadingChoices()))
    assert "branches left out (--branches all reads them): 1" in capsys.readouterr().out
