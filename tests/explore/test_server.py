"""The command before its page: loopback only, a port that can be had, a target with a pack; mistakes are one line."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import anyio
import pytest
from starlette.testclient import TestClient

from nla_eval.commands.explore import ExploreRequest, prepared, run
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.errors import InputError, PackError
from nla_eval.explore.app import explorer
from nla_eval.explore.desk import Desk
from nla_eval.explore.guard import hosts_of
from nla_eval.explore.server import bound
from tests.explore.tiny_explorer import OPTIONS, ORIGIN, PORT, events_of, read


def test_only_this_machine_can_reach_it() -> None:
    with bound(0) as at:
        assert at.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_one_line_with_the_way_out() -> None:
    with bound(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use; name another with --port"):
            bound(port)
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        with pytest.raises(InputError, match="in use"):
            bound(other.getsockname()[1])


def test_a_target_without_a_pack_is_refused_before_weights_are_loaded(tiny: RuntimeSettings) -> None:
    with pytest.raises(PackError, match="no shipped pack belongs to target"):
        run(ExploreRequest(None, RuntimeSettings(tiny.target), OPTIONS, 0, 600))


def test_a_file_named_on_the_command_line_is_open_and_can_be_read(desk: Desk, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Where is it? " * 6}, {"role": "assistant", "content": "There. " * 6}]
    (tmp_path / "chat.json").write_text(json.dumps(turns))
    anyio.run(prepared, desk, tmp_path / "chat.json")
    with TestClient(explorer(desk, hosts_of(PORT)), ORIGIN, headers={"origin": ORIGIN}) as page:
        (chat,) = page.get("/api/about").json()["chats"]
        captured = page.post(f"/api/chats/{chat['id']}/capture", json={}).json()["job"]
        assert events_of(page, captured)[-1]["stage"] == "done"
        assert page.get(f"/api/chats/{chat['id']}").json()["captured"]
        assert events_of(page, read(page, chat["id"]))[-1]["stage"] == "done"


def test_a_file_that_is_not_there_is_refused_before_anything_is_loaded(tiny: RuntimeSettings) -> None:
    with pytest.raises(InputError, match=r"no file or folder 'nowhere\.jsonl'"):
        run(ExploreRequest(Path("nowhere.jsonl"), tiny, OPTIONS, 0, 600))
