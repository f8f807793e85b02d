"""Large files are read in little memory.

Parquet is read by Arrow, whose memory tracemalloc does not see: `make bench` has its peak."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from nla_eval.sources import SOURCES, SourceOptions
from nla_eval.sources._json import JsonDamageError, JsonText
from nla_eval.transcript import Arm, Transcript

OPTIONS = SourceOptions(suite="s", arm=Arm.DEPLOYMENT)
WORDS = "the quick brown fox jumps over the lazy dog and runs away from it " * 80
RECORDS = 600
"""About 6 MB of text."""
ALLOWED = 3_000_000
"""Bytes: half of the file, and far more than one record."""


def records() -> Iterator[dict[str, Any]]:
    for number in range(RECORDS):
        chat = [{"role": "user", "content": f"{number} {WORDS}"}, {"role": "assistant", "content": WORDS[:5000]}]
        yield {"id": str(number), "messages": chat}


def lines(path: Path) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records())


def one_list(path: Path) -> None:
    path.write_text(json.dumps(list(records())))


def json_log(path: Path) -> None:
    samples = [
        EvalSample(
            id=record["id"], epoch=1, input="x", target="",
            messages=[ChatMessageUser(content=WORDS), ChatMessageAssistant(content=WORDS[:5000])],
        )
        for record in records()
    ]  # fmt: skip
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00", task="t", dataset=EvalDataset(), model="m", config=EvalConfig()
    )
    write_eval_log(EvalLog(eval=spec, samples=samples, status="success"), str(path))


@pytest.mark.parametrize(
    ("reader", "name", "write"),
    [
        ("jsonl", "a.jsonl", lines),
        ("jsonl", "a.json", one_list),
        ("inspect_log", "a.json", json_log),
    ],
)
def test_a_file_is_never_in_memory_as_a_whole(
    reader: str, name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    assert path.stat().st_size > 2 * ALLOWED
    next(iter(SOURCES.get(reader)(path, OPTIONS)))
    tracemalloc.start()
    try:
        count = sum(isinstance(item, Transcript) for item in SOURCES.get(reader)(path, OPTIONS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == RECORDS
    assert peak < ALLOWED


def test_the_first_transcript_comes_before_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines(path)
    with path.open("ab") as file:
        file.write(b"{" * 10)
    first = next(iter(SOURCES.get("jsonl")(path, OPTIONS)))
    assert isinstance(first, Transcript)
    assert first.id == "0"


class Pieces(io.StringIO):
    """Text that comes a few characters at a time."""

    def __init__(self, text: str, size: int) -> None:
        super().__init__(text)
        self.size = size

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self.size)


HOSTILE = st.text(alphabet='"\\{}[], a', max_size=12)
CONTAINERS = st.recursive(
    st.none() | st.integers() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, str | list | dict))


@given(CONTAINERS, st.integers(1, 30), st.sampled_from([None, 1]))
@settings(deadline=None)
def test_a_value_passed_over_ends_where_it_ends_decoded(value: Any, size: int, indent: int | None) -> None:
    values = JsonText(Pieces(json.dumps([value, "next"], indent=indent), size), 1000)
    assert values.take("[")
    values.pass_over()
    assert values.take(",")
    assert values.value() == "next"
    assert values.take("]")
    assert values.ended


@given(CONTAINERS, st.integers(1, 30), st.data())
@settings(deadline=None)
def test_a_value_that_does_not_end_is_not_passed_over(value: Any, size: int, data: st.DataObject) -> None:
    whole = json.dumps(value)
    values = JsonText(Pieces(whole[: data.draw(st.integers(0, len(whole) - 1))], size), 1000)
    with pytest.raises(JsonDamageError, match="ends inside"):
        values.pass_over()
