"""An explorer on the tiny target with its real, random pack, and how a page talks to it."""

from __future__ import annotations

import json
from typing import Any

import torch
from starlette.testclient import TestClient

from nla_eval.commands.explore import ExploreRequest, desk_of
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.engines.side_by_side import Split
from nla_eval.explore.desk import Desk

PORT = 8765
ORIGIN = f"http://127.0.0.1:{PORT}"
OPTIONS: dict[str, Any] = {
    "probe": None, "window": "head", "temperature": 1.0, "seed": 0, "max_new_tokens": None,
}  # fmt: skip
CHAT = "User: What is the capital of France, and since when?\n\nAssistant: Paris, for most of the last 1,000 years."
TOKEN = 90
"""A token of it that can be read."""


def desk_on(settings: RuntimeSettings, most_tokens: int = 600, **options: Any) -> Desk:
    """A desk with the engine loaded, without the self-test, which refuses a pair of random weights."""
    desk = desk_of(ExploreRequest(None, settings, {**OPTIONS, **options}, PORT, most_tokens))
    runtime = desk.runtime
    engine = TransformersEngine(runtime.target, runtime.pack, EngineConfig(torch.float32, split=Split()))
    runtime.__dict__.setdefault("engine", engine)
    return desk


def pasted(page: TestClient, text: str = CHAT) -> str:
    """Id of a chat that is opened."""
    return str(page.post("/api/paste", json={"text": text}).json()["chat"])


def events_of(page: TestClient, job: str) -> list[dict[str, Any]]:
    """All events of a job, when it is over."""
    lines = page.get(f"/api/jobs/{job}/events").text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def read(
    page: TestClient, chat: str, position: int = TOKEN, lanes: tuple[str, ...] = ("measured",), draws: int = 1
) -> str:
    """Id of the job that reads a token."""
    asked = {"position": position, "lanes": list(lanes), "draws": draws}
    return str(page.post(f"/api/chats/{chat}/read", json=asked).json()["job"])
