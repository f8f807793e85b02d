"""Every format is recognised by its content and read to the expected counts; what is left out says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ContentDocument, ContentReasoning

from nla_eval.errors import InputError
from nla_eval.sources import Skipped, SourceOptions, read, source_of
from nla_eval.transcript import Arm, Transcript
from tests.sources import kinds
from tests.sources.fixtures import FIXTURES, Fixture, printed

BY_NAME = {fixture.name: fixture for fixture in FIXTURES}
ROOT = Path(__file__).resolve().parents[2]


def transcripts(name: str, folder: Path) -> list[Transcript]:
    return [item for item in BY_NAME[name].read(folder)[1] if isinstance(item, Transcript)]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.name)
def test_a_fixture_is_recognised_and_every_record_is_a_transcript_or_a_reason(fixture: Fixture, tmp_path: Path) -> None:
    reader, items, _ = fixture.read(tmp_path)
    dropped = [item for item in items if isinstance(item, Skipped)]
    assert reader == fixture.reader
    assert len(items) - len(dropped) == fixture.transcripts, [str(item) for item in dropped]
    assert len(dropped) == len(fixture.dropped), [str(item) for item in dropped]
    for row, part in zip(dropped, fixture.dropped, strict=True):
        assert part in row.reason
        assert "\n" not in str(row)
        assert str(tmp_path) not in str(row)


def test_the_tables_in_the_docs_are_what_is_read() -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    assert "\n".join(printed()) in page
    assert "\n".join(kinds.printed()) in page


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("OpenAI lines", "system user assistant tool assistant"),
        ("Anthropic lines", "system user assistant tool user assistant"),
        ("Inspect messages, lines", "user assistant tool assistant"),
        ("ShareGPT lines", "system user assistant tool assistant"),
        ("SWE-agent", "system user user assistant tool assistant"),
        ("mini-swe-agent", "system user assistant user"),
        ("OpenAssistant trees", "user assistant user assistant"),
        ("Claude Code", "user assistant tool tool assistant user assistant"),
        ("Scout database", "user assistant tool assistant"),
        ("prompt and completion", "user assistant"),
        ("prompts only", "user"),
    ],
)
def test_every_message_comes_back_in_order(name: str, roles: str, tmp_path: Path) -> None:
    first = transcripts(name, tmp_path)[0]
    assert [message.role for message in first.messages] == roles.split()
    calls = [m for m in first.messages if isinstance(m, ChatMessageAssistant) and m.tool_calls]
    results = [m for m in first.messages if isinstance(m, ChatMessageTool)]
    assert [c.id for m in calls for c in m.tool_calls or []] == [r.tool_call_id for r in results] or "ShareGPT" in name
    assert len({message.id for message in first.messages}) == len(first.messages)


def test_thinking_and_calls_of_one_answer_stay_one_message(tmp_path: Path) -> None:
    for name in ("Anthropic lines", "Claude Code"):
        folder = tmp_path / name
        folder.mkdir()
        answer = next(m for m in transcripts(name, folder)[0].messages if m.role == "assistant")
        assert isinstance(answer, ChatMessageAssistant)
        assert isinstance(answer.content[0], ContentReasoning)
        assert answer.tool_calls


def test_claude_code_keeps_the_model_its_compaction_and_its_sidechains_apart(tmp_path: Path) -> None:
    main, side, after = transcripts("Claude Code", tmp_path)
    assert [m.text for m in main.messages][-3:] == ["Done.", "Thanks.", "Gladly."]
    assert [m.text for m in main.messages if m.role == "tool"] == ["of t1", "of t2"]
    assert (main.metadata["client_errors_left_out"], main.metadata["branches_left_out"]) == ("1", "1")
    assert (side.variant, [m.text for m in side.messages]) == ("sidechain", ["Look around.", "Seen."])
    assert [m.text for m in after.messages] == ["Summary: both were read.", "Going on."]
    assert {t.family for t in (main, side, after)} == {"s1"}
    assert {t.provenance.model for t in (main, side, after)} == {"claude-x"}


def test_the_best_reply_is_the_one_people_ranked_first(tmp_path: Path) -> None:
    (best, _) = transcripts("OpenAssistant trees", tmp_path)
    assert [m.text for m in best.messages] == ["Hello?", "Hello!", "More?", "Yes."]
    assert (best.family, best.metadata["language"]) == ("t1", "en")
    (again,) = transcripts("OpenAssistant messages, Parquet", tmp_path)
    assert again.digest == best.digest


def test_a_trajectory_has_its_instance_and_how_it_ended(tmp_path: Path) -> None:
    (swe,), (mini,) = transcripts("SWE-agent", tmp_path), transcripts("mini-swe-agent", tmp_path)
    assert (swe.family, swe.outcome, swe.metadata["demonstrations"]) == ("repo__repo-7", "submitted", "1")
    assert (mini.family, mini.outcome, mini.provenance.model) == ("repo__repo-7", "Submitted", "m")


def test_scout_rows_have_task_families_tools_and_opened_metadata(tmp_path: Path) -> None:
    place = BY_NAME["Scout database"].write(tmp_path)
    options = SourceOptions(suite="s", arm=Arm.EVALUATION, outcome_key="sample_metadata.kind")
    found = [item for item in read(place, options) if isinstance(item, Transcript)]
    assert [t.family for t in found] == ["ctf/0", "ctf/0", "ctf/1", "ctf/1"]
    assert [t.outcome for t in found] == ["web"] * 4
    assert [tool.name for tool in found[0].tools] == ["bash"]
    assert [m.id for m in found[0].messages] == ["m0", "m1", "m2", "m3"]


def test_wildchat_is_clustered_by_user_where_asked(tmp_path: Path) -> None:
    found = transcripts("WildChat", tmp_path)
    assert [t.family for t in found] == ["ip0", "ip1", "ip0", "ip1", "ip0"]
    assert (found[0].id, found[0].provenance.model, found[0].metadata["language"]) == ("h0", "gpt-4", "English")


def test_files_keep_their_kind_and_name(tmp_path: Path) -> None:
    (found,) = transcripts("images and files", tmp_path)
    kinds = [part.type for part in found.messages[0].content if not isinstance(part, str)]
    assert kinds == ["image", "image", "document", "document", "audio", "text"]
    named = found.messages[0].content[3]
    assert isinstance(named, ContentDocument)
    assert named.filename == "a.txt"


def _utf16(folder: Path) -> Path:
    (folder / "a.jsonl").write_bytes('{"messages": []}'.encode("utf-16"))
    return folder / "a.jsonl"


def _two_formats(folder: Path) -> Path:
    for name in ("OpenAI lines", "LMSYS-Chat-1M"):
        BY_NAME[name].write(folder)
    return folder


def _fits_two(folder: Path) -> Path:
    path = folder / "a.jsonl"
    path.write_text('{"type": "user", "sessionId": "s", "message_tree_id": "t", "parent_id": null, "messages": []}\n')
    return path


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda folder: folder / "gone.jsonl", r"no file or folder 'gone\.jsonl'"),
        (_file("a.jsonl", b""), "'a.jsonl' is an empty file"),
        (_file("a.jsonl", b"hello\n"), "neither JSON, Parquet nor zip; no reader knows it"),
        (_file("a.jsonl", b'{"x": 1}\n'), r"JSON lines: its keys are x; no reader knows it; .* \(messages_key\)"),
        (_file("a.zip", b"PK\x03\x04" + b"\0" * 40), "a zip archive; no reader knows it"),
        (_file("a.parquet", b"PAR1 and no more"), "no usable transcript|not a readable Parquet file"),
        (_file("a.eval", b"PK\x03\x04" + b"\0" * 22 + b"\x0b\0\0\0header.json"), "not a readable Inspect log"),
        (_utf16, "UTF-16"),
        (_two_formats, r"files of several formats: .*jsonl \(such as a\.jsonl\)"),
        (_fits_two, "fits the readers claude_code and oasst"),
        (lambda folder: folder, "no file in this folder has a known format"),
        (_file("a.jsonl", b'{"messages": []}\n'), "no usable transcript in it; the first reason: .*no messages"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(write: Callable[[Path], Path], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        list(read(write(tmp_path), SourceOptions(suite="s", arm=Arm.EVALUATION)))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("place", ["s3://bucket/x.jsonl", "hf://", "hf://a/b/c/d", "hf://a/b?colour=red"])
def test_a_url_nobody_reads_is_one_clear_error(place: str) -> None:
    with pytest.raises(InputError, match="hf://owner/name"):
        list(read(place, SourceOptions(suite="s", arm=Arm.EVALUATION)))


@pytest.mark.parametrize(
    ("name", "reader", "records", "out"),
    [
        ("tau_bench_airline/transcripts.jsonl", "jsonl", 100, 100),
        ("oasst_en_100/transcripts.jsonl", "jsonl", 46, 46),
        ("swe_agent_trajs/transcripts.jsonl", "jsonl", 27, 27),
        ("aider_sessions/transcripts.jsonl", "jsonl", 202, 202),
        ("agentic_misalignment_prompts/prompts.jsonl", "jsonl", 216, 216),
        ("inspect_logs/raw", "inspect_log", 275, 273),
    ],
)
def test_shared_data_is_recognised_and_counted(
    shared_data: Callable[[str], Path], name: str, reader: str, records: int, out: int
) -> None:
    place = shared_data(name)
    options: dict[str, Any] = {"roles": {"tool_output": "user"}, "prompts": "prompts" in name}
    items = list(read(place, SourceOptions(suite="s", arm=Arm.EVALUATION, **options)))
    assert source_of(place).name == reader
    assert (len(items), sum(isinstance(item, Transcript) for item in items)) == (records, out)
