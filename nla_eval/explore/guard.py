"""Stands before every route: only pages of this explorer, from this machine, get an answer, and no page may load,
send or run anything else.

A site that the user has open in another tab can send requests to a local port. Host stops a name that was pointed at
127.0.0.1 (DNS rebinding); Origin and Sec-Fetch-Site stop requests that another site's page makes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMES = ("127.0.0.1", "localhost")
_READS = frozenset({"GET", "HEAD"})
_OWN_SITE = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site for the page's own requests, and for an address that the user typed."""
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def hosts_of(port: int) -> frozenset[str]:
    """Values of Host that a browser sends to an explorer on this port."""
    return frozenset(f"{name}:{port}" for name in _NAMES) | (frozenset(_NAMES) if port == 80 else frozenset())


def refusal(method: str, headers: Mapping[str, str], hosts: frozenset[str]) -> str | None:
    """Why a request is refused, in one line; None if it is answered.

    Args:
        method: "GET", "POST", ...
        headers: With names in lower case.
        hosts: From `hosts_of`.
    """
    if headers.get("host") not in hosts:
        return f"this explorer answers to the hosts {' and '.join(sorted(hosts))} only"
    origin = headers.get("origin")
    if origin is not None and origin not in {f"http://{host}" for host in hosts}:
        return "this explorer answers its own page only, not other sites"
    if origin is None and method not in _READS:
        return "a request that changes something must name its origin, as the explorer's page does"
    if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return "this explorer answers its own page only; type its address instead of following a link"
    return None


class Guard:
    """The check and the headers, around an application."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 403."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        why = refusal(scope["method"], Headers(scope=scope), self.hosts)
        answer = self.app if why is None else PlainTextResponse(f"{why}\n", status_code=403)
        await answer(scope, receive, secured)
