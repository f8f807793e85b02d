"""A format is known by its content however large its first record is, and little memory is held to know it."""

from __future__ import annotations

import gzip
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.sources import Skipped, SourceOptions, _probe, read, source_of
from nla_eval.sources._probe import Container, probe
from nla_eval.sources._skim import _ITEMS, _KEYS, _LONGEST, skimmed
from nla_eval.transcript import Arm
from tests.sources.conversations import FORMATS, Conversation, Format, Turn, conversation
from tests.sources.test_round_trips import came_back, wanted

JSON_FORMATS = [form for form in FORMATS if form.name not in {"Parquet", "Scout", "Inspect log"}]
SHORT = 1 << 15
LONG = 'naïve 日本語 🙂 "said" back\\slash\n{"a": [1, 2]} ' * 30_000
"""Over a megabyte."""
ALLOWED = 3_000_000


def long_text(form: Format) -> Conversation:
    """A conversation whose first message is longer than what is looked at."""
    one = conversation(3, form.held)
    first = Turn("user", LONG)
    return replace(one, turns=(first, *one.turns) if one.turns[0].role != "system" else (first, *one.turns[1:]))


def many_turns(form: Format) -> Conversation:
    """A conversation of so many messages that they are longer together than a look of `SHORT`."""
    made = [turn for number in range(200) for turn in conversation(number, form.held).turns if turn.role != "system"]
    return Conversation("conv-many", tuple(made))


def as_written(value: Any) -> Any:
    return value


def in_order_of_names(value: Any) -> Any:
    return _mapped(value, sorted)


def backwards(value: Any) -> Any:
    return _mapped(value, lambda keys: list(keys)[::-1])


def _mapped(value: Any, order: Callable[[Any], list[str]]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(value[key], order) for key in order(value)}
    return [_mapped(held, order) for held in value] if isinstance(value, list) else value


def reordered(path: Path, order: Callable[[Any], Any]) -> None:
    """Write the file again with the keys of every object in another order, in the layout it had."""
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(order(json.loads(text)), indent=1 if "\n" in text.strip() else None))
    except ValueError:
        path.write_text("".join(json.dumps(order(json.loads(line))) + "\n" for line in text.splitlines()))


CASES = [
    pytest.param(form, make, order, id=f"{form.name}, {make.__name__}, {order.__name__}")
    for form in JSON_FORMATS
    for make, order in (
        (long_text, as_written), (long_text, in_order_of_names), (long_text, backwards), (many_turns, backwards)
    )
    if (form.name, make) != ("OpenAssistant", many_turns)  # each turn is nested in the one before
]  # fmt: skip


@pytest.mark.parametrize(("form", "make", "order"), CASES)
def test_a_format_is_known_by_a_first_record_larger_than_what_is_looked_at(
    form: Format,
    make: Callable[[Format], Conversation],
    order: Callable[[Any], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if make is many_turns:
        monkeypatch.setattr(_probe, "HEAD", SHORT)
    one = make(form)
    form.write(tmp_path, [one])
    (path,) = tmp_path.iterdir()
    reordered(path, order)
    assert path.stat().st_size > _probe.HEAD
    assert source_of(path).name == form.reader
    (item,) = read(path, SourceOptions(suite="s", arm=Arm.EVALUATION, **form.options))
    assert not isinstance(item, Skipped), item
    assert came_back(item.messages) == wanted(one)


@pytest.mark.parametrize("form", JSON_FORMATS, ids=lambda form: form.name)
def test_a_packed_file_is_known_too(form: Format, tmp_path: Path) -> None:
    form.write(tmp_path, [long_text(form)])
    (path,) = tmp_path.iterdir()
    packed = tmp_path / f"{path.name}.gz"
    with path.open("rb") as plain, gzip.open(packed, "wb") as file:
        shutil.copyfileobj(plain, file)
    assert source_of(packed).name == form.reader


def test_a_record_beyond_the_limit_is_left_out_and_the_file_known_by_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    chat = [{"role": "user", "content": "x" * 2_000_000}, {"role": "assistant", "content": "y"}]
    small = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path.write_text("".join(json.dumps({"notes": [1], "messages": held}) + "\n" for held in (chat, small)))
    items = list(read(path, SourceOptions(suite="s", arm=Arm.EVALUATION, max_record_mb=1)))
    assert [isinstance(item, Skipped) for item in items] == [True, False]


@pytest.mark.parametrize("content", ["text", "parts", "numbers"])
def test_the_look_holds_little_however_large_the_record(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    held: Any = "x" * 6_000_000
    if content != "text":
        part: Any = {"type": "text", "text": "word " * 9} if content == "parts" else 123456
        held = [part] * (6_000_000 // len(json.dumps(part)))
    path.write_text(json.dumps([{"content": held, "role": "user"}, {"role": "assistant", "content": "y"}]))
    del held
    tracemalloc.start()
    try:
        look = probe(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert look.container is Container.LIST
    assert [record.get("role") for record in look.records] == ["user", "assistant"]
    assert peak < ALLOWED


texts = st.text(max_size=8) | st.text('"\\\n{}[],🙂é', max_size=6).map(lambda text: text * 300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda held: held * 9) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[at : at + size] for at in range(0, len(data), size))


def is_start(made: Any, whole: Any) -> bool:
    """Whether `made` is the start of `whole`: texts cut, lists and objects with their first members."""
    if isinstance(whole, str):
        kept = len(made) >= min(len(whole), _LONGEST // 6)
        return isinstance(made, str) and kept and whole.startswith(made.rstrip("\ud83d"))
    if isinstance(whole, list):
        return len(made) == min(len(whole), _ITEMS) and all(map(is_start, made, whole))
    if isinstance(whole, dict):
        return list(made) == list(whole)[:_KEYS] and all(is_start(made[key], whole[key]) for key in made)
    return bool(made == whole)


@given(st.lists(values, min_size=1, max_size=3), st.integers(1, 40), st.booleans(), st.sampled_from([None, 1]))
@settings(deadline=None, max_examples=60)
def test_what_is_skimmed_is_the_start_of_every_part(held: list[Any], size: int, ascii_only: bool, indent: Any) -> None:
    records = [{"a": value} for value in held]
    text = json.dumps(records, ensure_ascii=ascii_only, indent=indent)
    found = json.loads(skimmed(pieces(text.encode(), size), 1 << 30, 1 << 30))
    assert len(found) == len(records)
    assert all(map(is_start, found, records))


@given(st.binary(max_size=200) | st.text('"\\{}[],\n 1a', max_size=200).map(str.encode), st.integers(1, 9))
@settings(deadline=None)
def test_any_bytes_are_skimmed(data: bytes, size: int) -> None:
    assert len(skimmed(pieces(data, size), 1 << 20, 99)) <= len(data) + 1


def test_a_damaged_line_does_not_hide_those_after_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    chat = {"id": "x", "messages": [{"role": "user", "content": "q" * 400_000}, {"role": "assistant", "content": "a"}]}
    cut = json.dumps({"messages": [{"n": n} for n in range(50)]})[:400]
    path.write_text("\n".join([cut, '{"a": "open', json.dumps(chat), json.dumps(chat)]))
    assert source_of(path).name == "jsonl"
