"""Upgrade path: what released versions wrote is still read, or refused with what to do. Files stay; new ones are added.

A format that changes gets a new file here, and its number in `WRITTEN`; the old file is never edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from nla_eval.errors import InputError, StoreError
from nla_eval.judging.calibration import FORMAT as CALIBRATION
from nla_eval.judging.calibration import read_calibration
from nla_eval.models.pack_meta import SCHEMA_VERSION, SIDECAR, read_meta
from nla_eval.sources import SOURCES, SourceOptions
from nla_eval.store.check import check
from nla_eval.store.store import FORMAT as STORE
from nla_eval.store.store import ReadingStore
from nla_eval.tally.published import VERSION as TALLY
from nla_eval.tally.published import PublishedTally
from nla_eval.transcript import Arm

DATA = Path(__file__).parent / "data"
RELEASED = DATA / "released"
WRITTEN = {"store": STORE, "tally": TALLY, "calibration": CALIBRATION}
"""Number of each format that this version writes."""


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_format_up_to_todays_has_a_file(kind: str) -> None:
    for number in range(1, WRITTEN[kind] + 1):
        assert list(RELEASED.glob(f"{kind}-{number}*")), f"add a file that format {number} of {kind} wrote"


@pytest.mark.parametrize("name", sorted(path.name for path in RELEASED.glob("store-*")))
def test_a_store_of_every_version_is_read_and_can_be_gone_on_with(name: str, tmp_path: Path) -> None:
    where = shutil.copytree(RELEASED / name, tmp_path / "store")
    found = check(str(where))
    assert found.sound
    store = ReadingStore.open(str(where))
    assert store.readings()["position"].to_list() == [5, 6]
    assert store.readings()["explanation"].to_list() == ["a chat", "a letter"]
    assert store.transcripts()["transcript_digest"].to_list() == ["d1"]
    assert [turn["role"] for turn in json.loads(store.messages()["d1"])] == ["user", "assistant"]
    assert store.activations()["d1"].activations.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert store.identity.positions == "last"
    store.finish({})
    assert ReadingStore.open(str(where)).complete


def test_a_store_of_a_later_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    where = shutil.copytree(RELEASED / "store-1", tmp_path / "store")
    identity = json.loads((where / "store.json").read_text())
    (where / "store.json").write_text(json.dumps({**identity, "format": STORE + 1}))
    with pytest.raises(StoreError, match=f"format {STORE + 1}.*read the transcripts again into a new folder"):
        ReadingStore.open(str(where))


@pytest.mark.parametrize("path", sorted(RELEASED.glob("tally-*.json")), ids=lambda path: path.stem)
def test_a_published_tally_of_every_version_is_read(path: Path) -> None:
    found = PublishedTally.model_validate_json(path.read_bytes())
    assert {suite.suite for suite in found.tally.suites} == {"synthetic_quiz", "synthetic_chat"}


@pytest.mark.parametrize("path", sorted(RELEASED.glob("calibration-*.json")), ids=lambda path: path.stem)
def test_a_calibration_of_every_version_is_read(path: Path) -> None:
    assert read_calibration(path).labelled == 4


def test_a_calibration_of_a_later_version_is_refused(tmp_path: Path) -> None:
    later = json.loads((RELEASED / "calibration-1.json").read_text()) | {"format": CALIBRATION + 1}
    (tmp_path / "later.json").write_text(json.dumps(later))
    with pytest.raises(InputError, match="nla-eval validate merge writes one"):
        read_calibration(tmp_path / "later.json")


@pytest.mark.parametrize("role", ["av", "ar"])
def test_the_public_sidecar_is_read_and_ours_comes_back(role: str, tmp_path: Path) -> None:
    (tmp_path / SIDECAR).write_bytes((DATA / "sidecars" / f"{role}.yaml").read_bytes())
    public = read_meta(tmp_path, role)
    (tmp_path / SIDECAR).write_text(public.to_yaml())
    assert f"schema_version: {SCHEMA_VERSION}" in public.to_yaml()
    assert read_meta(tmp_path, role) == public


@pytest.mark.parametrize("path", sorted((DATA / "bug_inputs").glob("*.eval")), ids=lambda path: path.stem)
def test_a_log_that_an_earlier_inspect_wrote_is_read(path: Path) -> None:
    assert read_eval_log(str(path), header_only=True).version == 2
    options = SourceOptions(suite="s", arm=Arm.EVALUATION)
    assert list(SOURCES.get("inspect_log")(path, options))
