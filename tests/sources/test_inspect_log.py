"""The Inspect source reads logs of every format version, with tools, and counts what it cannot use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.event import CompactionEvent, ModelEvent
from inspect_ai.log import EvalConfig, EvalDataset, EvalError, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.scorer import Score
from inspect_ai.tool import ToolInfo

from nla_eval.errors import InputError
from nla_eval.sources import SOURCES, Branches, Item, Samples, Skipped, SourceOptions
from nla_eval.transcript import Arm, Transcript

TOOL = ToolInfo(name="bash", description="runs a command")
CHAT: list[ChatMessage] = [ChatMessageUser(content="hi", id="u"), ChatMessageAssistant(content="hello", id="a")]


def model_event(role: str | None, answer: str) -> ModelEvent:
    return ModelEvent(
        model=f"provider/{role or 'main'}",
        role=role,
        input=[ChatMessageUser(content=f"to the {role}")],
        tools=[TOOL],
        tool_choice="auto",
        config=GenerateConfig(),
        output=ModelOutput.from_content(f"provider/{role or 'main'}", answer),
    )


def sample(number: int, **fields: Any) -> EvalSample:
    return EvalSample(**{"id": number, "epoch": 1, "input": "hi", "target": "", "messages": CHAT, **fields})


def write_log(path: Path, *samples: EvalSample) -> Path:
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task="audit",
        dataset=EvalDataset(sample_ids=[s.id for s in samples]),
        model="provider/main",
        config=EvalConfig(epochs=max(s.epoch for s in samples)),
    )
    write_eval_log(EvalLog(eval=spec, samples=list(samples), status="success"), str(path))
    return path


def read(path: Path, **options: Any) -> list[Item]:
    return list(SOURCES.get("inspect_log")(path, SourceOptions(suite="s", arm=Arm.EVALUATION, **options)))


@pytest.mark.parametrize("suffix", ["eval", "json"])
def test_messages_tools_model_and_family_are_read(tmp_path: Path, suffix: str) -> None:
    path = write_log(
        tmp_path / f"log.{suffix}",
        sample(1, events=[model_event(None, "hello")], metadata={"scenario": "leak"}),
        sample(2, messages=CHAT[:1]),
    )
    first, second = read(path, family_key="scenario")
    assert isinstance(first, Transcript)
    assert [m.text for m in first.messages] == ["hi", "hello"]
    assert [t.name for t in first.tools] == ["bash"]
    assert (first.family, first.provenance.model, first.id) == ("leak", "provider/main", f"log.{suffix}/1/1")
    assert str(second).startswith(f"log.{suffix} sample 2 epoch 1: no assistant turn; ")


def test_the_targets_side_of_an_audit_is_read_by_its_role(tmp_path: Path) -> None:
    events = [model_event("auditor", "probe"), model_event("target", "first"), model_event("target", "I decline")]
    path = write_log(tmp_path / "audit.eval", sample(1, events=events), sample(2))
    first, second = read(path, model_role="target")
    assert isinstance(first, Transcript)
    assert [m.text for m in first.messages] == ["to the target", "I decline"]
    assert first.provenance.model == "provider/target"
    assert isinstance(second, Skipped)
    assert "no call to the model role 'target'" in second.reason


def seen(*texts: str, says: str, event_id: str = "", role: str | None = None) -> ModelEvent:
    """A call that saw `texts`, users and assistants in turns, and answered; its answer has the id `event_id`."""
    turns = [
        ChatMessageAssistant(content=text) if number % 2 else ChatMessageUser(content=text)
        for number, text in enumerate(texts)
    ]
    made = model_event(role, says).model_copy(update={"input": turns})
    made.output.choices[0].message.id = event_id or None
    return made


def test_a_compacted_conversation_is_read_as_the_model_saw_it(tmp_path: Path) -> None:
    events = [
        seen("task", says="first", event_id="a1"),
        seen("task", "first", "go on", says="second", event_id="a2"),
        seen("task", "first", "go on", "second", "summarise", says="a summary", event_id="other"),
        CompactionEvent(type="summary"),
        seen("a summary", says="third", event_id="a3"),
    ]
    history: list[ChatMessage] = [
        ChatMessageUser(content="task"),
        *(
            ChatMessageAssistant(content=text, id=id)
            for text, id in (("first", "a1"), ("second", "a2"), ("third", "a3"))
        ),
    ]
    path = write_log(tmp_path / "log.eval", sample(1, events=events, messages=history))
    before, after = (item for item in read(path) if isinstance(item, Transcript))
    assert [m.text for m in before.messages] == ["task", "first", "go on", "second"]
    assert [m.text for m in after.messages] == ["a summary", "third"]
    assert (before.id, after.id) == ("log.eval/1/1#1", "log.eval/1/1#2")
    assert before.family == after.family == "audit/1"


def test_branches_of_a_rolled_back_audit_are_read_where_asked_for(tmp_path: Path) -> None:
    events = [
        seen("hello", says="hi", role="target"),
        seen("hello", "hi", "probe one", says="no", role="target"),
        seen("hello", "hi", "probe two", says="yes", role="target"),
    ]
    path = write_log(tmp_path / "log.json", sample(1, events=events))
    (last,) = (item for item in read(path, model_role="target") if isinstance(item, Transcript))
    assert [m.text for m in last.messages][-2:] == ["probe two", "yes"]
    both = [item for item in read(path, model_role="target", branches=Branches.ALL) if isinstance(item, Transcript)]
    assert [[m.text for m in item.messages][-2:] for item in both] == [["probe one", "no"], ["probe two", "yes"]]


def test_one_damaged_sample_leaves_the_others(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.json", sample(1), sample(2))
    log = json.loads(path.read_text())
    log["samples"][0]["messages"] = "none"
    path.write_text(json.dumps(log))
    items = read(path)
    assert [type(item) for item in items] == [Skipped, Transcript]
    assert "sample number 1: not a readable sample" in str(items[0])


def test_a_failed_sample_is_left_out_or_kept_with_its_error(tmp_path: Path) -> None:
    error = EvalError(message="out of tokens", traceback="", traceback_ansi="")
    path = write_log(tmp_path / "log.eval", sample(1, error=error), sample(2))
    (item, _) = (item for item in read(path, samples=Samples.ALL) if isinstance(item, Transcript))
    assert item.metadata["error"] == "out of tokens"
    (left_out, _) = read(path)
    assert isinstance(left_out, Skipped)
    assert left_out.reason == "it ended in an error: 'out of tokens'; --samples all reads it"


def test_epochs_of_one_sample_are_one_family(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.eval", sample(1), sample(1, epoch=2))
    items = [item for item in read(path) if isinstance(item, Transcript)]
    assert [item.family for item in items] == ["audit/1", "audit/1"]
    assert len({item.id for item in items}) == 2


def test_the_outcome_is_the_named_scorers_value(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.eval", sample(1, scores={"harm": Score(value="I")}))
    assert [item.outcome for item in read(path, outcome_key="harm") if isinstance(item, Transcript)] == ["I"]
    assert [item.outcome for item in read(path) if isinstance(item, Transcript)] == [None]


def test_a_damaged_log_in_a_folder_is_a_row_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_bytes(b"PK not a zip")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "notes.txt").write_text("ignored")
    write_log(tmp_path / "c.eval", sample(1))
    items = read(tmp_path)
    assert [type(item) for item in items] == [Skipped, Skipped, Transcript, Skipped]
    assert all("not a readable Inspect log" in str(item) and "\n" not in str(item) for item in items[:2])
    assert str(items[3]) == "notes.txt: not what the reader 'inspect_log' reads"


def test_a_folder_without_logs_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable transcript"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"gone\.eval"):
        read(tmp_path / "gone.eval")


@pytest.mark.parametrize(
    ("name", "transcripts"),
    [
        ("docent__log.eval", 15),
        ("inspect_ai__log_formats.json", 1),
        ("inspect_ai__log_images_tc.json", 1),
        ("inspect_ai__log_streaming.eval", 1),
        ("inspect_ai__mmlu-no-summary-choices.eval", 1),
    ],
)
def test_logs_of_other_versions_are_read(shared_data: Callable[[str], Path], name: str, transcripts: int) -> None:
    items = read(shared_data(f"inspect_logs/raw/{name}"))
    assert sum(isinstance(item, Transcript) for item in items) >= transcripts
    assert not [item for item in items if isinstance(item, Skipped)]
    assert all(m.id for item in items if isinstance(item, Transcript) for m in item.messages)


def test_what_a_log_says_of_a_sample_beside_its_conversation_is_named(tmp_path: Path) -> None:
    held = sample(1, metadata={"notes": "hard", "n": 3}).model_copy(
        update={"target": "hello", "scores": {"judge": Score(value=1, explanation="it guessed")}}
    )
    options = SourceOptions(suite="s", arm=Arm.EVALUATION)
    list(SOURCES.get("inspect_log")(write_log(tmp_path / "log.eval", held), options))
    assert sorted(options.notes.unread) == ["metadata.notes", "scores.judge.explanation", "target"]
