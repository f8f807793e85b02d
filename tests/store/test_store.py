"""The store keeps one row per key, shows no half-written part, and refuses to mix packs, plans or formats."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from nla_eval.errors import StoreError
from nla_eval.readings import Lane, Reading, StopReason
from nla_eval.store.rows import SCHEMA, TranscriptRow, from_disk, to_disk
from nla_eval.store.store import ReadingStore, StoredActivations, StoreIdentity

IDENTITY = StoreIdentity(
    pack="tiny@1", target="t0", layer=2, d_model=3, positions="last", seed=0, temperature=1.0, max_new_tokens=8
)


def reading(position: int = 5, *, digest: str = "d1", draw: int = 0, **changes: object) -> Reading:
    row: dict[str, object] = {
        "pack": "tiny@1",
        "transcript_digest": digest,
        "transcript_id": "t",
        "suite": "s",
        "position": position,
        "lane": Lane.MEASURED,
        "draw": draw,
        "policy": "last",
        "seed": 0,
        "message": 1,
        "role": "assistant",
        "channel": "response",
        "turn": 0,
        "token": "x",
        "context": "ctx",
        "explanation": "a chat",
        "stop": StopReason.CLOSED,
        "tokens": 4,
    }
    return Reading.model_validate({**row, **changes})


def row(**changes: object) -> TranscriptRow:
    base: dict[str, object] = {
        "transcript_digest": "d1",
        "transcript_id": "t",
        "suite": "s",
        "arm": "evaluation",
        "family": "f",
        "planned_positions": 2,
    }
    return TranscriptRow(**{**base, **changes})  # type: ignore[arg-type]


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"


def test_what_is_appended_comes_back_in_key_order(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(9), reading(5, cos=0.5)])
    store.append([reading(7)])
    frame = ReadingStore.open(url).readings()
    assert frame["position"].to_list() == [5, 7, 9]
    assert frame["cos"].to_list() == [0.5, None, None]
    assert dict(frame.schema) == SCHEMA


def test_a_new_store_is_empty_with_the_right_columns(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    assert store.readings().shape == (0, len(SCHEMA))
    assert store.transcripts().height == 0
    assert store.activations() == {}
    assert store.keys() == set()


def test_duplicates_resolve_the_same_way_whatever_the_order_of_parts(tmp_path: Path) -> None:
    twins = [
        reading(explanation="b"),
        reading(explanation="a"),
        reading(explanation="", stop=StopReason.ERROR, error="x"),
    ]
    kept = set()
    for seed in range(6):
        store = ReadingStore.create(str(tmp_path / str(seed)), IDENTITY)
        for twin in random.Random(seed).sample(twins, len(twins)):
            store.append([twin])
        frame = store.readings()
        assert frame.height == 1
        kept.add(frame["explanation"].item())
    assert kept == {"a"}


def test_the_error_row_of_a_transcript_goes_once_it_has_been_read(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(-1, explanation="", stop=StopReason.ERROR, error="bad template")])
    assert store.readings()["position"].to_list() == [-1]
    store.append([reading(5)])
    assert store.readings()["position"].to_list() == [5]


def test_failed_readings_can_be_asked_for_again(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(5), reading(6, stop=StopReason.ERROR, error="x")])
    assert store.keys() == {("d1", 5, "measured", 0), ("d1", 6, "measured", 0)}
    assert store.keys(errors=False) == {("d1", 5, "measured", 0)}


def test_a_half_written_part_is_never_read(tmp_path: Path) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    store.append([reading(5)])
    part = next((tmp_path / "readings").glob("*.parquet"))
    (tmp_path / "readings" / ".tmp-dead").write_bytes(part.read_bytes()[:40])
    assert store.readings().height == 1


def test_a_write_that_dies_before_the_rename_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    store.append([reading(5)])

    def die(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("nla_eval.store.files.os.replace", die)
    with pytest.raises(StoreError, match="disk full"):
        store.append([reading(6)])
    assert store.readings()["position"].to_list() == [5]


def test_a_broken_part_is_named_with_the_mend(tmp_path: Path) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    store.append([reading(5)])
    (tmp_path / "readings" / "0.parquet").write_bytes(b"not parquet")
    with pytest.raises(StoreError, match=r"0\.parquet.*store repair"):
        store.readings()


@pytest.mark.parametrize(
    ("field", "value"),
    [("pack", "other@2"), ("target", "t1"), ("layer", 3), ("positions", "all"), ("seed", 1), ("activations", "none")],
)
def test_another_plan_is_refused_by_name(url: str, field: str, value: object) -> None:
    ReadingStore.create(url, IDENTITY)
    with pytest.raises(StoreError, match=f"made with {field} .*new folder") as caught:
        ReadingStore.create(url, IDENTITY.model_copy(update={field: value}))
    assert "\n" not in str(caught.value)


def test_another_format_is_refused(tmp_path: Path) -> None:
    ReadingStore.create(str(tmp_path), IDENTITY)
    (tmp_path / "store.json").write_text(json.dumps({**IDENTITY.model_dump(), "format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        ReadingStore.open(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_a_spoilt_identity_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        ReadingStore.open(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_no_store_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nla-eval read"):
        ReadingStore.open(str(tmp_path / "none"))


def test_a_reading_of_another_pack_is_refused(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    with pytest.raises(StoreError, match="other@2"):
        store.append([reading(5), reading(6, pack="other@2")])
    assert store.keys() == set()


def test_two_writers_share_a_store(url: str) -> None:
    first, second = ReadingStore.create(url, IDENTITY), ReadingStore.create(url, IDENTITY)
    for position in range(20):
        (first if position % 2 else second).append([reading(position)])
    assert first.readings()["position"].to_list() == list(range(20))


def test_the_manifest_is_written_last_and_goes_stale_with_new_parts(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(5)])
    assert store.manifest is None
    assert not store.complete
    store.finish({"torch": "2.13"})
    assert store.complete
    manifest = ReadingStore.open(url).manifest
    assert manifest is not None
    assert manifest.identity == IDENTITY
    assert manifest.provenance == {"torch": "2.13"}
    store.append([reading(6)])
    assert not store.complete


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_activations_come_back_as_rounded_says(url: str, dtype: str) -> None:
    store = ReadingStore.create(url, IDENTITY.model_copy(update={"activations": dtype}))
    values = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    store.append_activations({"d1": StoredActivations(np.array([3, 8]), values)})
    store.append_activations({"d2": StoredActivations(np.array([1]), values[:1])})
    back = store.activations(["d1"])
    assert set(back) == {"d1"}
    assert back["d1"].positions.tolist() == [3, 8]
    np.testing.assert_array_equal(back["d1"].activations, store.rounded(values))
    assert set(store.activations()) == {"d1", "d2"}


def test_a_store_may_keep_no_activations(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY.model_copy(update={"activations": "none"}))
    store.append_activations({"d1": StoredActivations(np.array([3]), np.ones((1, 3), np.float32))})
    assert store.activations() == {}


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float16", 1e5), ("bfloat16", 3.4e38), ("float32", np.nan), ("float16", np.inf), ("bfloat16", np.nan)],
)
def test_an_activation_that_cannot_be_kept_is_refused_in_one_line(url: str, dtype: str, value: float) -> None:
    store = ReadingStore.create(url, IDENTITY.model_copy(update={"activations": dtype}))
    with pytest.raises(StoreError, match="float32") as caught:
        store.append_activations({"d1": StoredActivations(np.array([3]), np.full((1, 3), value, np.float32))})
    assert "\n" not in str(caught.value)
    assert store.activations() == {}


@settings(deadline=None)
@given(rows=arrays(np.float32, (4, 3), elements=st.floats(-(2.0**127), 2.0**127, width=32)))
def test_bfloat16_rounds_to_the_nearest_as_torch_does(rows: NDArray[np.float32]) -> None:
    import torch

    kept = from_disk(to_disk(rows, "bfloat16"), "bfloat16")
    np.testing.assert_array_equal(kept, torch.from_numpy(rows).to(torch.bfloat16).float().numpy())


def test_what_was_captured_in_bfloat16_is_kept_exactly_in_half_the_room(tmp_path: Path) -> None:
    import torch

    exact = torch.randn(64, 192).to(torch.bfloat16).float().numpy()
    size = {}
    for dtype in ("float32", "bfloat16"):
        identity = IDENTITY.model_copy(update={"activations": dtype, "d_model": 192})
        store = ReadingStore.create(str(tmp_path / dtype), identity)
        noise = np.random.default_rng(0).normal(size=(64, 192)).astype(np.float32)
        store.append_activations({"d": StoredActivations(np.arange(64), noise)})
        size[dtype] = store.files.parts("activations")[0].size
        np.testing.assert_array_equal(store.rounded(exact), exact)
    assert size["bfloat16"] < 0.6 * size["float32"]


def test_a_store_written_before_there_were_other_numbers_is_read(tmp_path: Path) -> None:
    """As format 1 was first written: plain parquet of these columns, part names by time, no other file needed."""
    (tmp_path / "readings").mkdir()
    (tmp_path / "store.json").write_text(IDENTITY.model_dump_json())
    (tmp_path / "activations").mkdir()
    part = f"{time.time_ns():020d}-0123456789ab.parquet"
    pl.DataFrame([reading(5).model_dump(mode="json")], schema=SCHEMA).write_parquet(tmp_path / "readings" / part)
    pl.DataFrame(
        {"transcript_digest": ["d1"], "position": [5], "activation": [[1.0, 2.0, 3.0]]},
        schema={"transcript_digest": pl.String(), "position": pl.Int64(), "activation": pl.Array(pl.Float32(), 3)},
    ).write_parquet(tmp_path / "activations" / part)
    store = ReadingStore.open(str(tmp_path))
    assert store.keys() == {("d1", 5, "measured", 0)}
    assert store.activations()["d1"].activations.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "No space left"), (errno.EDQUOT, "quota")])
def test_a_full_disk_is_one_line_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    store.append([reading(5)])

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("nla_eval.store.files.os.fsync", full)
        with pytest.raises(StoreError, match=f"(?i){says}.*free some room and run the same command again") as caught:
            store.append([reading(6)])
    assert "\n" not in str(caught.value)
    assert store.readings()["position"].to_list() == [5]
    assert [p.name for p in (tmp_path / "readings").iterdir()] == [p.name for p in store.files.parts("readings")]
    store.append([reading(6)])
    assert store.readings()["position"].to_list() == [5, 6]


def test_a_part_that_the_kernel_cuts_short_is_never_seen(tmp_path: Path) -> None:
    """A real short write: the file size limit of a process ends it in the middle of a part."""
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    code = (
        "import resource, sys\nfrom tests.store.test_store import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "store = ReadingStore.open(sys.argv[1])\nstore.append([reading(5)] * 1)\n"
        "store.append([reading(p, explanation=os.urandom(99).hex()) for p in range(99)])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert "StoreError: store cannot write" in done.stderr.splitlines()[-1]
    assert "free some room" in done.stderr.splitlines()[-1]
    assert [p.suffix for p in (tmp_path / "readings").iterdir()] in ([], [".parquet"])
    assert set(store.readings()["position"]) <= {5}


def test_transcripts_keep_the_latest_prepared_row(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append_transcripts([row(outcome="old"), row(transcript_digest="d2", planned_positions=0)])
    store.append_transcripts([row(outcome="new", replay_notes=["trimmed"])])
    store.append_transcripts([row(planned_positions=0)])
    frame = store.transcripts()
    assert frame["transcript_digest"].to_list() == ["d1", "d2"]
    assert frame["outcome"].to_list() == ["new", None]
    assert frame["replay_notes"].to_list() == [["trimmed"], []]


def test_the_same_transcripts_are_not_written_twice(tmp_path: Path) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    for _ in range(3):
        store.append_transcripts([row()])
    assert len(list((tmp_path / "transcripts").glob("*.parquet"))) == 1


def test_conversations_are_kept_once(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append_messages({"d2": "[2]", "d1": "[1]"})
    store.append_messages({"d1": "[other]"})
    assert store.messages() == {"d1": "[1]", "d2": "[2]"}


def test_lone_surrogates_do_not_stop_a_part(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(5, token="\ud800", context="a\ud800b")])
    assert store.readings()["context"].item() == "a?b"


def test_parts_are_plain_parquet_for_other_tools(tmp_path: Path) -> None:
    store = ReadingStore.create(str(tmp_path), IDENTITY)
    store.append([reading(5)])
    assert pl.read_parquet(next((tmp_path / "readings").glob("*.parquet"))).height == 1
