"""The explorer's routes: its page, and what the page asks for. Every error is JSON with one line.

In: a `Desk`. Out: an ASGI application. It checks the shape of requests; the desk checks what they ask for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ..errors import InputError, NlaEvalError
from ..printable import one_line
from .desk import Desk
from .guard import Guard
from .line import Job
from .opening import MOST_BYTES

_PAGE = Path(__file__).with_name("page")
_FILES = {"/": "explore.html", "/explore.css": "explore.css", "/explore.js": "explore.js"}
Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PasteBody(_Strict):
    """A pasted chat."""

    text: str


class ReadBody(_Strict):
    """Which token to read, and how."""

    position: int
    lanes: list[str] = Field(max_length=32)
    draws: int


class ScoreBody(_Strict):
    """An edited explanation."""

    position: int
    lane: str
    draw: int
    text: str


def explorer(desk: Desk, hosts: frozenset[str]) -> ASGIApp:
    """The application.

    Args:
        desk: Does the work.
        hosts: Values of Host that are answered; see `guard.hosts_of`.
    """

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.line.serve)
            yield
            tasks.cancel_scope.cancel()

    async def about(request: Request) -> Response:
        return _json(desk.about())

    async def paste(request: Request) -> Response:
        return _json(await desk.open_pasted((await _body(request, PasteBody)).text))

    async def file(request: Request) -> Response:
        _expect_type(request, "application/octet-stream")
        return _json(await desk.open_bytes(await _bytes(request), request.query_params.get("name", "")))

    async def chat(request: Request) -> Response:
        return _json(desk.chat(request.path_params["chat"]).shown())

    async def capture(request: Request) -> Response:
        return _json(_joined(desk.capture(request.path_params["chat"])))

    async def read(request: Request) -> Response:
        asked = await _body(request, ReadBody)
        return _json(_joined(desk.read(request.path_params["chat"], asked.position, asked.lanes, asked.draws)))

    async def score(request: Request) -> Response:
        asked = await _body(request, ScoreBody)
        job = desk.score(request.path_params["chat"], asked.position, asked.text, asked.lane, asked.draw)
        return _json(_joined(job))

    async def export(request: Request) -> Response:
        name = f"explore-{desk.chat(request.path_params['chat']).id}.json"
        made = _json(desk.exported(request.path_params["chat"]), indent=1)
        made.headers["content-disposition"] = f'attachment; filename="{name}"'
        return made

    async def events(request: Request) -> Response:
        job = desk.line.job(request.path_params["job"])
        last = request.headers.get("last-event-id", "")
        after = int(last) + 1 if last.isascii() and last.isdigit() else 0
        return StreamingResponse(_stream(job, after), media_type="text/event-stream")

    async def cancel(request: Request) -> Response:
        desk.line.cancel(request.path_params["job"])
        return _json({})

    pages = [*(Route(path, _page(name)) for path, name in _FILES.items()), Route("/favicon.ico", _no_icon)]
    asked = {
        "/api/about": about,
        "/api/chats/{chat}": chat,
        "/api/chats/{chat}/export": export,
        "/api/jobs/{job}/events": events,
    }
    told = {
        "/api/paste": paste,
        "/api/file": file,
        "/api/chats/{chat}/capture": capture,
        "/api/chats/{chat}/read": read,
        "/api/chats/{chat}/score": score,
        "/api/jobs/{job}/cancel": cancel,
    }
    routes = [Route(path, _answered(handler)) for path, handler in asked.items()]
    routes += [Route(path, _answered(handler), methods=["POST"]) for path, handler in told.items()]
    return Guard(Starlette(routes=[*pages, *routes], lifespan=living), hosts)


def _page(name: str) -> Handler:
    async def page(request: Request) -> Response:
        return FileResponse(_PAGE / name)

    return page


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)  # browsers ask for one, and would log that it is missing


def _answered(handler: Handler) -> Handler:
    """A handler whose user errors are answers of one line."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except NlaEvalError as err:
            return _json({"error": one_line(str(err), 600)}, status=400)

    return answered


def _json(value: Any, status: int = 200, indent: int | None = None) -> Response:
    """JSON in ASCII: control characters, U+2028 and lone halves of surrogate pairs are escaped."""
    text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    return Response(text, status, media_type="application/json")


def _joined(job: Job) -> dict[str, str]:
    return {"job": job.id}


def _expect_type(request: Request, expected: str) -> None:
    """Raise InputError for another content type: those that forms can send need no permission across sites."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != expected:
        raise InputError(f"expected a body of type {expected}")


async def _bytes(request: Request) -> bytes:
    """The body. Raises InputError as soon as it is larger than a page may send."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > 2 * MOST_BYTES:  # JSON escapes may double a text; the readers check what it holds
            raise InputError(
                f"a page may send {MOST_BYTES / 1e6:,.0f} MB; "
                "give a larger file on the command line: nla-eval explore FILE"
            )
    return bytes(body)


async def _body(request: Request, kind: type[Body]) -> Body:
    _expect_type(request, "application/json")
    try:
        return kind.model_validate(json.loads(await _bytes(request)))
    except ValidationError as err:
        first = err.errors()[0]
        raise InputError(f"request: '{'.'.join(map(str, first['loc']))}' is not as expected: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise InputError("request: expected JSON") from None


async def _stream(job: Job, after: int) -> AsyncIterator[str]:
    """The events of a job as server-sent events, each with its number, so that a page can go on after a break."""
    async for number, event in job.heard(after):
        yield f"id: {number}\ndata: {json.dumps(event, ensure_ascii=True, allow_nan=False)}\n\n"
