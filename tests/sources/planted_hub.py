"""Stand-ins for the hub: one that answers with a commit, and one that acts like a machine without a network."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers every question with `COMMIT`."""
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *args, **kwargs: SimpleNamespace(sha=COMMIT))


def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No name has an address. The list grows by every host that was asked for."""
    asked: list[Any] = []

    def unknown(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    return asked
