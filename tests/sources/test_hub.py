"""Data sets of the hub are streamed at a pinned commit; a refusal by the hub is a one-line error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import datasets
import huggingface_hub
import pytest

from nla_eval.errors import InputError
from nla_eval.sources import Skipped, SourceOptions, hub, read
from nla_eval.sources.hub import HubPlace, pinned
from nla_eval.transcript import Arm, Transcript
from tests.sources.fixtures import lmsys, wildchat
from tests.sources.planted_hub import COMMIT, answering, no_network

OPTIONS = SourceOptions(suite="s", arm=Arm.DEPLOYMENT)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `load_dataset` was asked for; its rows are taken from "rows"."""
    answering(monkeypatch)
    seen: dict[str, Any] = {"rows": [wildchat(0), lmsys(1), {"x": 1}]}

    def load(name: str, config: str | None, **options: Any) -> Iterator[dict[str, Any]]:
        seen.update(options, name=name, config=config)
        return iter(seen["rows"])

    monkeypatch.setattr(datasets, "load_dataset", load)
    return seen


@pytest.mark.parametrize(
    ("place", "parsed"),
    [
        ("hf://allenai/WildChat", HubPlace("allenai/WildChat")),
        (f"hf://a/b@{COMMIT}?config=en&split=test", HubPlace("a/b", COMMIT, "en", "test")),
        ("hf://datasets/a/b@main", HubPlace("a/b", "main")),
        ("hf://squad@main?config=a%26b", HubPlace("squad", "main", "a&b")),
    ],
)
def test_a_place_names_data_set_commit_config_and_split(place: str, parsed: HubPlace) -> None:
    assert HubPlace.parse(place) == parsed
    assert HubPlace.parse(str(parsed)) == parsed


def test_rows_are_streamed_at_the_commit(asked: dict[str, Any]) -> None:
    items = list(read(f"hf://a/b@{COMMIT}?split=test", OPTIONS))
    assert (asked["name"], asked["revision"], asked["split"], asked["streaming"]) == ("a/b", COMMIT, "test", True)
    assert [item.id for item in items if isinstance(item, Transcript)] == ["h0", "l1"]
    assert {item.provenance.source for item in items if isinstance(item, Transcript)} == {f"a/b@{COMMIT}"}
    assert [item.where for item in items if isinstance(item, Skipped)] == ["a/b row 3"]


def test_a_stream_that_breaks_says_after_which_row(asked: dict[str, Any]) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield wildchat(0)
        raise ConnectionError("gone\nfor good")

    asked["rows"] = rows()
    items = list(read(f"hf://a/b@{COMMIT}", OPTIONS))
    assert str(items[1]) == "a/b after row 1: the stream broke, the rest is not read: gone"


def test_what_the_hub_says_no_to_is_one_line(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("offline\nmode")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    with pytest.raises(InputError, match=r"^'a/b' cannot be read from the hub: offline; .*hf download .* a/b"):
        list(read("hf://a/b", OPTIONS))
    with pytest.raises(InputError, match=r"^'a/b': the hub cannot say its commit: offline; without a network, copy it"):
        pinned(HubPlace("a/b", "main"))
    assert pinned(HubPlace("a/b", COMMIT)).revision == COMMIT


@pytest.mark.parametrize("where", ["hf://a/b@main", f"hf://a/b@{COMMIT}"])
def test_without_a_network_the_hub_is_asked_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = no_network(monkeypatch)
    with pytest.raises(InputError, match=r"^'a/b' cannot be read from the hub: .*not known; without a network"):
        list(read(where, OPTIONS))
    assert len(asked) <= 2  # the client looks up something of its own, once a process; a retry would be the third


def test_a_hub_that_says_nothing_is_one_line_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*args: Any, **kwargs: Any) -> Any:
        time.sleep(3)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", hang)
    monkeypatch.setattr(hub, "_PATIENCE", 0.1)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"no answer in \d+ seconds; without a network, copy it .* give the folder$"):
        list(read("hf://a/b", OPTIONS))
    assert time.monotonic() - started < 2


def test_a_closed_data_set_says_how_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("401 Client Error: gated repo")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    with pytest.raises(InputError, match=r"gated repo; .*hf auth login$"):
        list(read("hf://a/b", OPTIONS))
