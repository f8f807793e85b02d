"""Writers give one explanation per position or a reason why not; a paid request is never repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from inspect_ai.model import ModelOutput, ModelUsage, get_model

import nla_eval.training.writers.inspect_model as inspect_module
from nla_eval.errors import InputError
from nla_eval.training.config import TrainConfig
from nla_eval.training.writers import WRITERS, Request, Writer, WriterContext
from tests.training.test_explain import moment, vocabulary

REQUESTS = [Request(row, position, moment(f"text {row} {position} so", " so")) for row in (0, 1) for position in (3, 9)]


def writer(folder: Path, **given: Any) -> Writer:
    config = TrainConfig.model_validate({"writer": given})
    return WRITERS.get(config.writer.name)(WriterContext(config, vocabulary, _no_activations, folder))


def _no_activations() -> torch.Tensor:
    raise AssertionError("this writer reads no activation")


def test_the_self_supervised_writer_explains_every_position(tmp_path: Path) -> None:
    made = writer(tmp_path, name="self_supervised").write(REQUESTS)
    assert all(w.text and "now: so" in w.text for w in made)


class Said:
    """Stands in for a provider: counts requests, and fails or answers nothing where it is told to."""

    def __init__(self, fail: str = "", empty: str = "") -> None:
        self.asked: list[str] = []
        self.fail, self.empty = fail, empty

    def __call__(self, messages: list[Any], *_: Any) -> ModelOutput:
        shown = messages[-1].text
        self.asked.append(shown)
        if self.fail and self.fail in shown:
            raise RuntimeError("the provider is down")
        text = "" if self.empty and self.empty in shown else f"A short chat. It counts. {len(self.asked)}"
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else Inspect counts them online
        return output


def mocked(monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.setattr(inspect_module, "get_model", lambda name: get_model(name, custom_outputs=said, memoize=False))


def test_an_inspect_model_is_shown_the_text_up_to_the_position_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said()
    mocked(monkeypatch, said)
    first = writer(tmp_path, name="inspect_model", model="mockllm/model").write(REQUESTS)
    assert all(w.text and w.text.startswith("A short chat.") for w in first)
    assert sorted(said.asked)[0].startswith("<text>\ntext 0 3 so<here/>")
    again = writer(tmp_path, name="inspect_model", model="mockllm/model").write(REQUESTS)
    assert [w.text for w in again] == [w.text for w in first]
    assert len(said.asked) == len(REQUESTS)


def test_a_stopped_run_pays_only_for_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(fail="text 1 9", empty="text 0 9")
    mocked(monkeypatch, said)
    made = writer(tmp_path, name="inspect_model", model="mockllm/model").write(REQUESTS)
    assert [bool(w.text) for w in made] == [True, False, True, False]
    assert made[1].reason == "an empty answer"
    assert "the provider is down" in made[3].reason
    kept = tmp_path / "written.jsonl"
    kept.write_text(kept.read_text() + '{"key": "half')
    again = writer(tmp_path, name="inspect_model", model="mockllm/model")
    assert again.cost(REQUESTS).startswith("2 requests to mockllm/model, about ")
    said.fail = said.empty = ""
    assert all(w.text for w in again.write(REQUESTS))
    assert all(w.text for w in writer(tmp_path, name="inspect_model", model="mockllm/model").write(REQUESTS))
    assert len(said.asked) == len(REQUESTS) + 2


def test_a_model_that_answers_nothing_at_all_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mocked(monkeypatch, Said(fail="text"))
    with pytest.raises(InputError, match="answered none of 4 requests: RuntimeError: the provider is down"):
        writer(tmp_path, name="inspect_model", model="mockllm/model").write(REQUESTS)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_file_is_looked_up_by_row_and_position_and_what_is_missing_is_named(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"row": [1, 0, 0, 7], "position": [3, 9, 3, 7], "text": ["c", "b", "a", "far"]})
    path = tmp_path / f"said{suffix}"
    (frame.write_parquet if suffix == ".parquet" else frame.write_ndjson)(path)
    made = writer(tmp_path, name="file", path=str(path)).write(REQUESTS)
    assert [w.text for w in made] == ["a", "b", "c", None]
    printed = capsys.readouterr().out
    assert "1 of 4 positions have no text: (1, 9)" in printed
    assert "1 rows of said" in printed


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"row": [0, 0], "position": [3, 3], "text": ["a", "b"]},
            r"1 positions are explained more than once: \(0, 3\)",
        ),
        ({"row": [5], "position": [5], "text": ["a"]}, "explains none of the 4 positions"),
        ({"row": [0], "text": ["a"]}, "lacks the column position"),
        ({"row": ["x"], "position": [3], "text": ["a"]}, "expected numbers as row and position"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, columns: dict[str, Any], says: str) -> None:
    path = tmp_path / "said.parquet"
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(InputError, match=says):
        writer(tmp_path, name="file", path=str(path)).write(REQUESTS)


@pytest.mark.parametrize(("name", "says"), [("inspect_model", "writer.model"), ("file", "writer.path")])
def test_a_writer_without_what_it_needs_says_so(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        writer(tmp_path, name=name)
