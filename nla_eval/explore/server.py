"""Serves the explorer on loopback: one port of 127.0.0.1, until Ctrl-C."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ADDRESS = "127.0.0.1"
"""Loopback: no other machine can reach it."""
_GRACE = 1
"""Seconds that open streams get to end when the explorer is stopped."""


def bound(port: int) -> socket.socket:
    """A socket on a port of 127.0.0.1; port 0 takes a free one. Raises InputError if the port cannot be had."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((ADDRESS, port))
        made.listen()  # another explorer that also reuses the address is noticed only here
    except OSError as err:
        made.close()
        why = {errno.EADDRINUSE: "in use", errno.EACCES: "reserved for the system"}.get(err.errno or 0, str(err))
        raise InputError(f"port {port} is {why}; name another with --port, or take a free one with --port 0") from None
    return made


def serve(app: ASGIApp, at: socket.socket) -> None:
    """Answer requests until Ctrl-C."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[at])
