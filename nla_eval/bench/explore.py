"""Time from a click in the explorer to the first words of an explanation, against a bare draw on the same engine.

Both end at the first words. The explorer's way goes over HTTP on loopback: the request, the queue, the events. Its chat
was captured when it was opened, as on the page."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from typing import Any

import numpy as np

from ..engines.base import Sampling, VerbalizeRequest
from ..engines.kinds import RuntimeSettings
from ..explore.app import explorer
from ..explore.desk import Desk, offered
from ..explore.guard import hosts_of
from ..explore.server import ADDRESS, bound, serve
from ..pipeline.reading_plan import ReadingPlan
from ..pipeline.runtime import runtime_for
from .figures import Figure

KEY = "explore_first_words_ratio"
_ROUNDS = 15
_CHAT = (
    "User: Which planet has the most moons, and why?\n\nAssistant: Saturn, whose moons are mostly small and far out."
)


class _EnoughError(Exception):
    """Ends a draw after its first words."""


class _Browser:
    """The requests that the page sends."""

    def __init__(self, port: int) -> None:
        self.host = f"{ADDRESS}:{port}"
        self.headers = {"origin": f"http://{self.host}", "content-type": "application/json"}

    def send(self, path: str, body: dict[str, Any] | None = None) -> http.client.HTTPResponse:
        """The answer to one request. Its connection ends with it."""
        connection = http.client.HTTPConnection(self.host)
        sent = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, sent, self.headers)
        return connection.getresponse()

    def asked(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of an answer."""
        found: dict[str, Any] = json.loads(self.send(path, body).read())
        return found

    def first_words(self, chat: str, position: int) -> float:
        """Seconds until the first words of a draw; the rest of it is cancelled."""
        began = time.perf_counter()
        body = {"position": position, "lanes": ["measured"], "draws": 1}
        job, spent = self.asked(f"/api/chats/{chat}/read", body)["job"], 0.0
        for line in self.send(f"/api/jobs/{job}/events"):
            event = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if event.get("event") == "words" and event["text"] and not spent:
                spent = time.perf_counter() - began
                self.asked(f"/api/jobs/{job}/cancel", {})
        return spent


def measured(target: str, pack: str | None) -> dict[str, Figure]:
    """Median time to the first words, explorer over bare draw."""
    runtime = runtime_for(RuntimeSettings(target, pack, "float32"))
    desk = Desk(runtime, ReadingPlan(lanes=offered(runtime, None)), 8192)
    at = bound(0)
    browser = _Browser(at.getsockname()[1])
    app = explorer(desk, hosts_of(at.getsockname()[1]))
    threading.Thread(target=serve, args=(app, at), daemon=True).start()
    chat = desk.chat(browser.asked("/api/paste", {"text": _CHAT})["chat"])
    job = browser.asked(f"/api/chats/{chat.id}/capture", {})["job"]
    browser.send(f"/api/jobs/{job}/events").read()
    positions = [site.position for site in chat.prepared.sites]
    times: dict[str, list[float]] = {"explorer": [], "bare": []}
    for number in range(_ROUNDS + 1):
        position = positions[number % len(positions)]
        times["explorer"].append(browser.first_words(chat.id, position))
        times["bare"].append(_bare(desk, chat.own(position), number))
    ours, other = (statistics.median(spent[1:]) for spent in times.values())  # the first of each warms up
    how = f"median of {_ROUNDS} tokens each, in turns, float32"
    return {KEY: Figure(ours / other, ours, other, "s", how)}


def _bare(desk: Desk, activation: np.ndarray[Any, np.dtype[np.float32]], number: int) -> float:
    """Seconds until the first words of a draw on the engine itself."""
    began, spent = time.perf_counter(), 0.0

    def heard(text: str) -> None:
        nonlocal spent
        if text:
            spent = time.perf_counter() - began
            raise _EnoughError

    request = VerbalizeRequest(f"bench|{number}", activation, heard=heard)
    try:
        list(desk.runtime.engine.verbalize([request], Sampling(1.0, desk.identity.max_new_tokens)))
    except _EnoughError:
        return spent
    raise RuntimeError("a draw ended without a word")
