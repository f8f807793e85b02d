"""What a user can open: plain turns, JSON of any known form, files; everything else is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nla_eval.errors import InputError
from nla_eval.explore import opening
from nla_eval.explore.opening import open_bytes, open_file, open_pasted

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]


def said(text: str) -> list[tuple[str, str]]:
    (transcript,) = open_pasted(text).transcripts
    return [(m.role, m.text) for m in transcript.messages]


@pytest.mark.parametrize(
    "text",
    [
        "User: Hello\nAssistant: Good day.",
        "  user : Hello\n\n  ASSISTANT: Good day.\n",
        "Human: Hello\n\nAI: Good day.",
        json.dumps(MESSAGES),
        json.dumps(MESSAGES, indent=2),
        json.dumps({"messages": MESSAGES}),
        json.dumps({"messages": MESSAGES}, indent=2),
        json.dumps({"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]}),
        "\n".join(map(json.dumps, MESSAGES)),
    ],
)
def test_a_pasted_chat_is_read_in_every_usual_form(text: str) -> None:
    assert said(text) == [("user", "Hello"), ("assistant", "Good day.")]


def test_turns_keep_their_lines_and_a_colon_inside_a_line_begins_none() -> None:
    found = said("System: Be short.\nUser: a\nb\n\nand to the user: c\nAssistant: d")
    assert found == [("system", "Be short."), ("user", "a\nb\n\nand to the user: c"), ("assistant", "d")]


def test_a_chat_in_brackets_is_read_as_plain_turns_if_it_is_no_json() -> None:
    assert said("[log]\nUser: Hello\nAssistant: Good day.")[0] == ("user", "Hello")


@pytest.mark.parametrize("text", ["User: [1]\u2028 <script>\x00\x1b[31m\u202e", "User: {{ 7*7 }} <|im_end|> 🦜"])
def test_hostile_text_is_kept_as_it_is(text: str) -> None:
    assert said(f"{text}\nAssistant: x")[0] == ("user", text.removeprefix("User: "))


def test_half_a_surrogate_pair_opens_too() -> None:
    assert said("User: a\ud800b\nAssistant: x")[0][0] == "user"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing was pasted"),
        ("  \n", "nothing was pasted"),
        ("Once upon a time", "begin each turn with 'User:'"),
        ("{not json", "pasted"),
        ('{"colour": "red"}', "no reader knows it"),
        ("[1, 2, 3]", "pasted"),
        ("\x00\x01\x02", "begin each turn with"),
    ],
)
def test_nonsense_is_one_line_that_says_what_was_expected(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as failed:
        open_pasted(text)
    assert str(failed.value).isprintable(), "one line"
    assert "nla-explore-" not in str(failed.value), "no temporary folder"


def test_a_file_goes_through_the_readers_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"chat-{n}", "messages": MESSAGES}) for n in range(3)]
    text = "\n".join([*lines, '{"id": "broken", "messages": 7}'])
    (tmp_path / "chats.jsonl").write_text(text)
    for opened in (open_file(tmp_path / "chats.jsonl"), open_bytes(text.encode(), "chats.jsonl")):
        assert [t.id for t in opened.transcripts] == ["chat-0", "chat-1", "chat-2"]
        assert len(opened.notes) == 1
        assert "1 record left out" in opened.notes[0]


def test_an_inspect_log_opens_from_its_bytes() -> None:
    log = Path(__file__).parents[1] / "data" / "bug_inputs" / "fewshot.eval"
    assert open_bytes(log.read_bytes(), log.name).transcripts


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\temp\\x.json", "/tmp/x.json", "", "..", "\x00.json", "a" * 999]
)
def test_a_file_name_leads_nowhere(name: str) -> None:
    (transcript,) = open_bytes(json.dumps(MESSAGES).encode(), name).transcripts
    assert "/" not in transcript.provenance.source
    assert "\\" not in transcript.provenance.source


def test_of_many_chats_the_first_are_opened_and_the_cut_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_MOST_TRANSCRIPTS", 2)
    lines = "\n".join(json.dumps({"id": str(n), "messages": MESSAGES}) for n in range(5))
    opened = open_bytes(lines.encode(), "chats.jsonl")
    assert len(opened.transcripts) == 2
    assert "only the first 2" in opened.notes[0]


def test_a_file_beyond_the_limit_is_refused_with_the_way_to_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="nla-eval explore FILE"):
        open_bytes(b"x" * 11, "big.json")


def test_a_pasted_chat_of_a_megabyte_is_a_chat() -> None:
    (found,) = open_pasted(f"User: {'word ' * 220_000}\n\nAssistant: Yes.").transcripts
    assert [message.role for message in found.messages] == ["user", "assistant"]
