"""A planted vLLM server, a test instrument: it speaks the two routes the client uses, decodes `prompt_embeds` and runs
a real model greedily through transformers' own `generate`. Faults are planted per request."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

Fault = int | str
"""An HTTP status, "die" (the process is gone), "hang" (silence for two seconds) or "reset" (the connection drops)."""


@dataclass
class PlantedServer:
    """One server on loopback. Use as `with serving(PlantedServer(model))`."""

    model: Any = None
    fault: Callable[[int, torch.Tensor], Fault | None] = lambda number, prompts: None
    """From the request's number (0, 1, ...) and its prompts (B, S, d): what goes wrong."""
    script: list[list[int]] | None = None
    """Token ids to answer with, row by row, instead of the model's."""
    room: int = 10_000
    """Tokens its context leaves for an answer; as vLLM does, it shortens the cap to that without a word."""
    served: str = "av"
    message: str = "planted fault"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the completions answered."""
    port: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rows(self) -> int:
        return sum(len(body["prompt_embeds"]) for body in self.bodies)

    def complete(self, body: dict[str, Any]) -> Fault | list[list[int]]:
        prompts = torch.stack([_decoded(text) for text in body["prompt_embeds"]])
        with self.lock:
            number, self.requests = self.requests, self.requests + 1
            if (fault := self.fault(number, prompts)) is not None:
                return fault
            if self.script is not None:
                ids = [self.script.pop(0) for _ in prompts]
            else:
                ids = [self.write(prompt[None], body) for prompt in prompts]
            self.bodies.append(body)
        return ids

    @torch.inference_mode()
    def write(self, prompt: torch.Tensor, body: dict[str, Any]) -> list[int]:
        made = self.model.generate(
            inputs_embeds=prompt.to(self.model.dtype),
            attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long),
            max_new_tokens=min(body["max_tokens"], self.room),
            do_sample=False,
            eos_token_id=body["stop_token_ids"],
            pad_token_id=0,
        )
        return [int(i) for i in made[0]]


@contextmanager
def serving(server: PlantedServer) -> Iterator[PlantedServer]:
    """Serve until the block ends, or until the server dies of a planted fault."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, {"data": [{"id": server.served}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = server.complete(body)
            if isinstance(answer, list):
                cap = min(body["max_tokens"], server.room)
                choices = [
                    {"index": i, "token_ids": ids, "finish_reason": "length" if len(ids) == cap else "stop"}
                    for i, ids in enumerate(answer)
                ]
                self.reply(200, {"choices": choices})
            elif isinstance(answer, int):
                self.reply(answer, {"error": {"message": server.message}})
            else:
                if answer == "hang":
                    time.sleep(2.0)
                if answer == "die":
                    assert server.http is not None
                    server.http.socket.close()
                self.connection.shutdown(socket.SHUT_RDWR)

        def reply(self, status: int, data: dict[str, Any]) -> None:
            raw = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server.http = ThreadingHTTPServer(("127.0.0.1", server.port), Handler)
    server.http.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.port = server.http.server_address[1]
    thread = threading.Thread(target=_serve, args=(server.http,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _serve(http: ThreadingHTTPServer) -> None:
    try:
        http.serve_forever(poll_interval=0.02)
    except (OSError, ValueError):
        http._BaseServer__is_shut_down.set()  # type: ignore[attr-defined]


def _decoded(text: str) -> torch.Tensor:
    return torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True)
