"""Several processes write, read and compact one store, local or S3, and no row is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from nla_eval.errors import StoreError
from nla_eval.readings import StopReason
from nla_eval.store.compact import compact, runs_of
from nla_eval.store.files import Part, StoreFiles
from nla_eval.store.rows import Fact
from nla_eval.store.store import ReadingStore, StoredActivations
from tests.store.test_store import IDENTITY, reading, row

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "readings"
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of a moto server on loopback: a real HTTP S3 for s3fs, also for other processes."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'nla_eval[dev]'")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'nla_eval[s3]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**AWS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield f"s3://{BUCKET}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"


def process(code: str, *args: str) -> subprocess.Popen[str]:
    """Another Python process on the same store."""
    head = "import os, signal, sys\nfrom tests.store.test_store import *\nfrom nla_eval.store.compact import compact\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *args],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(running: subprocess.Popen[str], code: int = 0) -> None:
    out, _ = running.communicate(timeout=300)
    assert running.returncode == code, out


WRITER = """
url, who = sys.argv[1], int(sys.argv[2])
store = ReadingStore.create(url, IDENTITY)
for part in range(8):
    digest = f"w{who}-{part}"
    store.append_transcripts([row(transcript_digest=digest), row(transcript_digest="shared")])
    store.append_messages({digest: "[]", "shared": "[0]"})
    store.append_activations({digest: StoredActivations(np.array([3]), np.full((1, 3), part, np.float32))})
    store.append([reading(p, digest=digest) for p in range(4)] + [reading(part, digest="shared")])
store.finish({})
"""


def test_writers_of_several_processes_lose_no_row_beside_compactions(url: str) -> None:
    writers = [process(WRITER, url, str(who)) for who in range(3)]
    seen, compactions = 0, 0
    while any(writer.poll() is None for writer in writers):
        if (store := ReadingStore.find(url)) is None:
            time.sleep(0.05)
            continue
        now = store.readings().height
        assert now >= seen
        seen = now
        compact(store)
        compactions += 1
    for writer in writers:
        ended(writer)
    store = ReadingStore.open(url)
    expected = {(f"w{w}-{part}", p, "measured", 0) for w in range(3) for part in range(8) for p in range(4)}
    expected |= {("shared", part, "measured", 0) for part in range(8)}
    assert store.keys() == expected
    assert store.readings().height == len(expected)
    digests = sorted({digest for digest, *_ in expected})
    assert store.transcripts()["transcript_digest"].to_list() == digests
    assert sorted(store.messages()) == digests
    assert store.activations(["w2-7"])["w2-7"].activations.tolist() == [[7.0] * 3]
    assert compactions > 1


def test_of_two_creators_with_different_plans_one_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look before either has written: the second one's write must not replace the first one's."""
    find, looks = ReadingStore.find, []

    def too_early(where: str) -> ReadingStore | None:
        looks.append(where)
        return None if len(looks) in (1, 3) else find(where)

    monkeypatch.setattr(ReadingStore, "find", too_early)
    ReadingStore.create(url, IDENTITY)
    with pytest.raises(StoreError, match="made with seed 0, this run has 1"):
        ReadingStore.create(url, IDENTITY.model_copy(update={"seed": 1}))
    assert looks == [url] * 4


def test_a_listing_that_lost_a_part_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is read while a compaction puts m in the place of a and b: one listing may have none of the three."""
    a, b, m = (Part(name, 1) for name in ("a.parquet", "b.parquet", "m.parquet"))
    listings = iter([[a, b], [], [m]])
    files = StoreFiles(str(tmp_path))
    monkeypatch.setattr(files, "_listed", lambda kind: next(listings))
    assert files.parts("readings") == [m]


def test_parts_of_another_process_are_seen_at_once(url: str) -> None:
    store = ReadingStore.create(url, IDENTITY)
    store.append([reading(1)])
    assert store.readings().height == 1
    ended(process("ReadingStore.open(sys.argv[1]).append([reading(2)])", url))
    assert store.readings()["position"].to_list() == [1, 2]


def filled(url: str) -> ReadingStore:
    """A store of many small parts with duplicates, an error that was mended and one that was not."""
    store = ReadingStore.create(url, IDENTITY)
    for part in range(6):
        digest = f"d{part % 4}"
        store.append_transcripts([row(transcript_digest=digest, outcome=str(part))])
        store.append_messages({digest: f"[{part}]"})
        store.append_facts([Fact(about="design", suite=f"s{part}", fact="{}")])
        store.append_activations({digest: StoredActivations(np.array([part]), np.full((1, 3), part, np.float32))})
        store.append([reading(p, digest=digest, explanation=f"{part}") for p in range(3)])
    store.append([reading(-1, digest="d1", stop=StopReason.ERROR), reading(-1, digest="d9", stop=StopReason.ERROR)])
    return store


def same_content(one: ReadingStore, two: ReadingStore) -> None:
    assert_frame_equal(one.readings(), two.readings())
    assert_frame_equal(one.transcripts(), two.transcripts())
    assert one.messages() == two.messages()
    assert one.facts() == two.facts()
    assert one.keys() == two.keys()
    ours, theirs = one.activations(), two.activations()
    assert {d: (s.positions.tolist(), s.activations.tolist()) for d, s in ours.items()} == {
        d: (s.positions.tolist(), s.activations.tolist()) for d, s in theirs.items()
    }


def test_compaction_keeps_the_content_in_one_part_of_each_kind(url: str, tmp_path: Path) -> None:
    store, plain = filled(url), filled(str(tmp_path / "plain"))
    store.finish({"torch": "2.13"})
    done = {c.kind: c for c in compact(store)}
    assert {kind: (c.before, c.after) for kind, c in done.items()} == {
        "readings": (7, 1), "transcripts": (6, 1), "messages": (4, 1), "activations": (6, 1), "facts": (6, 1),
        "scores": (0, 0),
    }  # fmt: skip
    assert done["readings"].duplicates == 6
    same_content(store, plain)
    assert store.complete
    manifest = store.manifest
    assert manifest is not None
    assert manifest.provenance == {"torch": "2.13"}
    assert all(manifest.parts[kind] == [p.name for p in store.files.parts(kind)] for kind in done)
    assert {c.kind: (c.before, c.after, c.rows) for c in compact(store)} == {
        kind: (0, 0, 0) if kind == "scores" else (1, 1, 0) for kind in done
    }


def test_a_part_that_came_after_the_manifest_keeps_a_compacted_store_unfinished(url: str) -> None:
    store = filled(url)
    store.finish({})
    store.append([reading(50)])
    compact(store)
    assert not store.complete


KILLED = """
from nla_eval.store.files import StoreFiles
how = sys.argv[2]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if how == "before the merged part is there":
    os.replace = die
elif how == "before anything is removed":
    StoreFiles.remove = die
else:
    def half(self, kind, names):
        remove(self, kind, names[: len(names) // 2])
        die()
    remove, StoreFiles.remove = StoreFiles.remove, half
compact(ReadingStore.open(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["before the merged part is there", "before anything is removed", "half removed"])
def test_a_compaction_killed_in_the_middle_leaves_a_valid_store(how: str, tmp_path: Path) -> None:
    store, plain = filled(str(tmp_path / "cut")), filled(str(tmp_path / "plain"))
    store.finish({})
    ended(process(KILLED, store.url, how), code=-9)
    same_content(ReadingStore.open(store.url), plain)
    assert ReadingStore.open(store.url).complete
    compact(ReadingStore.open(store.url))
    same_content(ReadingStore.open(store.url), plain)
    assert len(ReadingStore.open(store.url).files.parts("readings")) == 1


def test_two_compactions_at_once_lose_nothing(url: str, tmp_path: Path) -> None:
    store, plain = filled(url), filled(str(tmp_path / "plain"))
    running = [process("compact(ReadingStore.open(sys.argv[1]))", url) for _ in range(2)]
    for one in running:
        ended(one)
    same_content(store, plain)


def test_leftovers_of_killed_writers_go_after_a_day(tmp_path: Path) -> None:
    store = filled(str(tmp_path))
    old, fresh = (tmp_path / "readings" / f".tmp-{name}" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half a part")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    compact(store)
    assert [old.exists(), fresh.exists()] == [False, True]


def test_a_part_that_is_finished_while_leftovers_are_looked_for_stops_no_compaction(tmp_path: Path) -> None:
    store, plain = filled(str(tmp_path / "beside")), filled(str(tmp_path / "plain"))
    gone = tmp_path / "beside" / "readings" / ".tmp-gone"
    gone.symlink_to("renamed")  # is listed, and is not there
    compact(store)
    gone.unlink()
    same_content(store, plain)


@given(sizes=st.lists(st.integers(1, 120), max_size=30))
def test_runs_are_neighbours_that_fit_one_part(sizes: list[int]) -> None:
    parts = [Part(f"{i:03d}", size) for i, size in enumerate(sizes)]
    runs = runs_of(parts, 100)
    flat = [part for run in runs for part in run]
    assert flat == sorted(set(flat))
    for run in runs:
        start = parts.index(run[0])
        assert parts[start : start + len(run)] == run
        assert len(run) > 1
        assert sum(part.size for part in run) <= 100
        assert all(part.size < 50 for part in run)


def test_a_bucket_that_is_not_there_is_one_line(s3: str) -> None:
    with pytest.raises(StoreError, match="cannot write") as caught:
        ReadingStore.create("s3://no-such-bucket-here/store", IDENTITY)
    assert "\n" not in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_one_line(s3: str) -> None:
    code = "os.environ['AWS_ENDPOINT_URL'] = 'http://127.0.0.1:9'\nReadingStore.create('s3://b/x', IDENTITY)"
    running = process(code)
    out, _ = running.communicate(timeout=300)
    assert (
        out.strip().splitlines()[-1].startswith("nla_eval.errors.StoreError: store cannot read 's3://b/x/store.json'")
    )
