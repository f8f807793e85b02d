"""Held-out rows match the engine's positions, exclude the pack's training data, and report what was left out."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from nla_eval.engines.base import CaptureRequest
from nla_eval.engines.hf import TransformersEngine
from nla_eval.errors import InputError
from nla_eval.measure.held_out import AHEAD, NEIGHBOURS
from nla_eval.measure.held_out_request import Request
from nla_eval.measure.held_out_source import from_source
from nla_eval.models.trained_on import trained_on
from nla_eval.training.run_rows import of_folder, unwatched
from tests.engines.tiny_pack import write_tiny_pack


def chats(path: Path, count: int = 6) -> Path:
    lines = [
        {
            "id": f"chat-{i}",
            "family": f"family-{i}",
            "messages": [
                {"role": "user", "content": f"Question {i}: what grows in the garden behind house number {i}?"},
                {"role": "assistant", "content": f"Behind house {i} there are {i} pear trees, some herbs, and a pond."},
            ],
        }
        for i in range(count)
    ]
    lines.append({"id": "short", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    lines.append({"id": "no answer", "messages": [{"role": "user", "content": "a"}]})
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_rows_are_what_the_engine_captures_at_their_positions(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    request = Request(source=str(chats(tmp_path / "chats.jsonl")), rows=100, per_conversation=3, windows=2)
    held = from_source(target, pack.layer, pack.min_position, request)
    assert len(held) == 18
    assert len(np.unique(held.conversation)) == 6
    assert held.left_out == {"shorter than the pack can read": 1, "no assistant turn": 1}
    engine = TransformersEngine(target, pack)
    for row in (0, 7, 17):
        ids = np.array(target.tokenizer(held.contexts[row])["input_ids"], np.int32)
        captured = next(iter(engine.capture([CaptureRequest("x", ids, np.array([len(ids) - 1]))])))
        np.testing.assert_allclose(held.activations[row], captured.activations[0], rtol=1e-4, atol=1e-4)
    assert [w.activations.shape for w in held.windows] == [(NEIGHBOURS, 16)] * 2


def test_tails_and_continuations_meet_at_the_position(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    held = from_source(target, pack.layer, 50, Request(source=str(chats(tmp_path / "chats.jsonl")), per_conversation=3))
    for row in range(len(held)):
        assert held.contexts[row].endswith(held.tail(row, 12))
        assert len(held.tail(row, 12)) == 12, "this target's tokens are bytes"
        assert len(re.sub(r"<\|im_\w+\|>", "x", held.continuations[row])) <= AHEAD
    joined = [held.contexts[row] + held.continuations[row] for row in range(len(held))]
    assert any("pear trees, some herbs" in text for text in joined)
    bare = held.bare_end()
    assert all(bare[row] == (not held.contexts[row][-1].isalnum()) for row in range(len(held)))


def test_what_a_pack_was_trained_on_is_left_out_and_counted(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    file = chats(tmp_path / "chats.jsonl")
    (pack.path / "training_hashes.txt").write_text(hashlib.sha256(b"family-2").hexdigest()[:16] + "\n")
    held = from_source(target, pack.layer, 50, Request(source=str(file)), trained_on(pack.path))
    assert held.left_out["the pack was trained on it"] == 1
    assert not any("house number 2" in context for context in held.contexts)


def test_a_row_is_never_shuffled_with_its_own_conversation(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    held = from_source(target, pack.layer, 50, Request(source=str(chats(tmp_path / "chats.jsonl"))))
    assert (held.conversation[held.others()] != held.conversation).all()
    assert held.digest == from_source(target, pack.layer, 50, Request(source=str(tmp_path / "chats.jsonl"))).digest


@pytest.mark.parametrize(
    ("source", "says"),
    [("nowhere", "no held-out source 'nowhere'"), ("jsonl:gone.jsonl", "no 'gone.jsonl'")],
)
def test_a_source_that_is_not_there_is_named(tmp_path: Path, source: str, says: str) -> None:
    target, pack = write_tiny_pack(tmp_path)
    with pytest.raises(InputError, match=says):
        from_source(target, pack.layer, 50, Request(source=source))


def test_one_conversation_is_too_few(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    with pytest.raises(InputError, match="at least 2"):
        from_source(target, pack.layer, 50, Request(source=str(chats(tmp_path / "one.jsonl", 1))))


def test_rows_watched_in_training_are_not_measured() -> None:
    held = np.arange(100, 400)
    kept = unwatched(held, 128, 50)
    watched = set(held[::2][:128].tolist())
    assert len(kept) == 50
    assert not watched & set(kept)


def test_a_folder_that_is_no_run_is_named_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.parquet"):
        of_folder(tmp_path, monitor=0, rows=10)
