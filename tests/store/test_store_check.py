"""`store check` finds every damage, `store repair` mends it, and the next run makes what was lost and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_store import IDENTITY, reading, row

from nla_eval.commands.store import run_check, run_repair
from nla_eval.errors import StoreError
from nla_eval.store.check import check, repair
from nla_eval.store.compact import compact
from nla_eval.store.store import ReadingStore, StoredActivations

POSITIONS = range(5, 17)


@pytest.fixture
def store(tmp_path: Path) -> ReadingStore:
    """Twelve readings in six parts, one transcript with its messages and activations, and a manifest."""
    made = ReadingStore.create(str(tmp_path / "store"), IDENTITY)
    made.append_transcripts([row()])
    made.append_messages({"d1": "[]"})
    for first in POSITIONS[::2]:
        made.append([reading(first), reading(first + 1)])
    rows = np.ones((2, IDENTITY.d_model), dtype=np.float32)
    made.append_activations({"d1": StoredActivations(np.array([5, 6]), rows)})
    made.finish({"nla_eval": "0"})
    return made


def part_of(store: ReadingStore, kind: str) -> Path:
    return Path(store.url, kind, store.files.parts(kind)[0].name)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_a_sound_store_is_called_sound_with_its_counts(store: ReadingStore) -> None:
    found = check(store.url)
    assert found.sound
    assert not found.notes
    readings = next(kind for kind in found.kinds if kind.kind == "readings")
    assert (readings.parts, readings.sealed, readings.rows, readings.distinct) == (6, 6, 12, 12)
    assert repair(store.url).rewritten == []


@pytest.mark.parametrize("damage", [flip, cut, empty], ids=["one bit", "cut short", "empty"])
@pytest.mark.parametrize("kind", ["readings", "transcripts", "messages", "activations"])
def test_a_damaged_part_is_never_read_and_is_set_aside(
    store: ReadingStore, kind: str, damage: Callable[[Path], None]
) -> None:
    hurt = part_of(store, kind)
    damage(hurt)
    with pytest.raises(StoreError, match=rf"{hurt.name}.*nla-eval store repair"):
        store.rows(kind, store.schema_of(kind))
    assert [(fault.kind, fault.name) for fault in check(store.url).faults] == [(kind, hurt.name)]

    done = repair(store.url)
    assert done.aside == [f"damaged/{kind}/{hurt.name}"]
    assert Path(store.url, done.aside[0]).exists()
    now = check(store.url)
    assert now.sound
    again = ReadingStore.open(store.url)
    assert not again.complete, "a store that has lost a part must not count as finished"
    assert again.readings().height == (10 if kind == "readings" else 12)


@pytest.mark.parametrize("name", ["manifest.json", "store.json"])
@pytest.mark.parametrize("damage", [cut, empty, lambda path: path.write_text("[]"), lambda path: path.write_text("{}")])
def test_a_truncated_json_file_is_written_anew(store: ReadingStore, name: str, damage: Callable[[Path], None]) -> None:
    before = store.readings()
    damage(Path(store.url, name))
    assert any(name in trouble for trouble in check(store.url).files)
    assert repair(store.url).rewritten == [name]
    again = ReadingStore.open(store.url)
    assert check(store.url).sound
    assert again.complete
    assert again.identity == IDENTITY
    assert again.readings().equals(before)


def test_without_both_json_files_nothing_is_guessed(store: ReadingStore) -> None:
    for name in ("store.json", "manifest.json"):
        empty(Path(store.url, name))
    with pytest.raises(StoreError, match="new folder"):
        repair(store.url)


def test_a_part_that_is_gone_is_missed(store: ReadingStore) -> None:
    part_of(store, "readings").unlink()
    assert any("parts that are gone: 1" in trouble for trouble in check(store.url).files)
    repair(store.url)
    assert check(store.url).sound


def test_parts_of_earlier_versions_carry_no_checksum_and_are_parsed(store: ReadingStore) -> None:
    path = part_of(store, "readings")
    path.rename(path.with_name("00000000000000000001-0123456789ab.parquet"))
    store.finish({})
    readings = next(kind for kind in check(store.url).kinds if kind.kind == "readings")
    assert (readings.parts, readings.sealed) == (6, 5)
    compact(store)
    readings = next(kind for kind in check(store.url).kinds if kind.kind == "readings")
    assert (readings.parts, readings.sealed, readings.rows) == (1, 1, 12)


def test_readings_without_their_transcript_are_a_note(store: ReadingStore) -> None:
    part_of(store, "transcripts").unlink()
    store.finish({})
    found = check(store.url)
    assert found.sound
    assert "without their row" in found.notes[0]


def test_random_damage_never_passes_as_sound(tmp_path: Path) -> None:
    """200 single-byte changes anywhere in a part: each is found, by the checksum."""
    made = ReadingStore.create(str(tmp_path), IDENTITY)
    made.append([reading(5), reading(6)])
    made.finish({})
    path, rng = part_of(made, "readings"), random.Random(0)
    whole = path.read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        assert not check(made.url).sound


def test_the_commands_say_what_to_do_next(store: ReadingStore, capsys: pytest.CaptureFixture[str]) -> None:
    run_check(store.url)
    assert "sound" in capsys.readouterr().out
    flip(part_of(store, "readings"))
    with pytest.raises(StoreError, match="nla-eval store repair"):
        run_check(store.url)
    run_repair(store.url)
    said = capsys.readouterr().out
    assert "set aside: damaged/readings/" in said
    assert "same nla-eval read again" in said
