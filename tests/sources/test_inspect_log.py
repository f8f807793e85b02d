"""The Inspect source reads logs of every format version, with tools, and counts what it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
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
from nla_eval.sources import SOURCES, Item, Skipped, SourceOptions
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
    assert str(second) == f"log.{suffix} sample 2 epoch 1: no assistant turn"


def test_the_targets_side_of_an_audit_is_read_by_its_role(tmp_path: Path) -> None:
    events = [model_event("auditor", "probe"), model_event("target", "first"), model_event("target", "I decline")]
    path = write_log(tmp_path / "audit.eval", sample(1, events=events), sample(2))
    first, second = read(path, model_role="target")
    assert isinstance(first, Transcript)
    assert [m.text for m in first.messages] == ["to the target", "I decline"]
    assert first.provenance.model == "provider/target"
    assert isinstance(second, Skipped)
    assert "no call to the model role 'target'" in second.reason


def test_epochs_of_one_sample_are_one_family(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.eval", sample(1), sample(1, epoch=2))
    items = [item for item in read(path) if isinstance(item, Transcript)]
    assert [item.family for item in items] == ["1", "1"]
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
