"""Half of a surrogate pair anywhere in a record is one skipped record with its reason: nothing could write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nla_eval.sources import SourceOptions
from nla_eval.transcript import Arm, Transcript
from tests.sources.fixtures import INSPECT
from tests.sources.held import outcome

LONE = chr(0xDCA2)
HEADER = {
    "version": 2, "status": "success",
    "eval": {"created": "2026-01-01T00:00:00+00:00", "task": "t", "dataset": {}, "model": "m", "config": {},
             "run_id": "r", "task_id": "i", "eval_id": "e"},
}  # fmt: skip


def sample(number: int, **changes: Any) -> dict[str, Any]:
    turns = [{**INSPECT[0], "content": f"Question {number}"}, {"id": "a", "role": "assistant", "content": "Hello"}]
    turns[1] |= changes
    return {"id": number, "epoch": 1, "input": "x", "target": "", "messages": turns, "events": [], "metadata": {},
            "scores": {}, "store": {}, "attachments": {}}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"id": f"a{LONE}"}, {"content": f"Hello{LONE}"}, {"model": f"m{LONE}"}])
def test_a_lone_surrogate_in_a_message_of_a_log_skips_it_alone(tmp_path: Path, changes: dict[str, str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**HEADER, "samples": [sample(1, **changes), sample(2)]}))
    items = outcome("inspect_log", tmp_path / "a.json", SourceOptions(suite="s", arm=Arm.EVALUATION))
    assert items is not None
    assert [isinstance(item, Transcript) for item in items] == [not changes, True], items
