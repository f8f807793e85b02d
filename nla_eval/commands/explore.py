"""The work of `nla-eval explore`: checks what was asked for, loads the weights, and serves the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.kinds import RuntimeSettings
from ..errors import InputError, MissingExtraError
from ..explore.server import ADDRESS, bound, serve
from ..pipeline.reading_plan import ReadingPlan
from ..pipeline.runtime import runtime_for
from ..readings import Lane

if TYPE_CHECKING:
    from ..explore.desk import Desk

_NEEDED = ("starlette", "uvicorn")


@dataclass(frozen=True)
class ExploreRequest:
    """What the user asked for."""

    source: Path | None
    """File or folder to open at once."""
    settings: RuntimeSettings
    options: dict[str, Any]
    """Values of `ReadingPlan`, by option; the lanes are added here."""
    port: int
    most_tokens: int


def run(request: ExploreRequest) -> None:
    """Load the weights and serve the page until Ctrl-C. Raises NlaEvalError before anything slow, where it can."""
    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError("nla-eval explore", package, 'pip install "nla_eval[explore]"')
    if request.source is not None and not request.source.exists():
        raise InputError(f"no file or folder '{request.source}'; give one, or none and paste a chat into the page")
    lanes = (Lane.MEASURED,) if request.options["probe"] is None else (Lane.MEASURED, Lane.PROBE)
    ReadingPlan.of({**request.options, "lanes": lanes})
    with bound(request.port) as at:
        import anyio

        desk = desk_of(request)
        anyio.run(prepared, desk, request.source)
        from ..explore.app import explorer
        from ..explore.guard import hosts_of

        port = at.getsockname()[1]
        print(
            f"http://{ADDRESS}:{port} shows {desk.runtime.target_name} through {desk.runtime.pack.id}; Ctrl-C ends it"
        )
        serve(explorer(desk, hosts_of(port)), at)


def desk_of(request: ExploreRequest) -> Desk:
    """The desk of a request, without weights. Raises NlaEvalError if target, pack or probe cannot be used."""
    runtime = runtime_for(request.settings)
    runtime.instrument  # noqa: B018  (refuses an unknown target or pack before torch is imported)
    from ..explore.desk import Desk, offered

    lanes = offered(runtime, request.options["probe"])
    plan = ReadingPlan.of({**request.options, "lanes": lanes})
    return Desk(runtime, plan, request.most_tokens)


async def prepared(desk: Desk, source: Path | None) -> None:
    """Load the weights, and open the file that was named."""
    print(f"loading {desk.runtime.target_name} and {desk.runtime.pack.id}", file=sys.stderr)
    load: Callable[[], Any] = partial(getattr, desk.runtime, "engine")
    await desk.runtime.call("load", load)
    if source is not None:
        for note in (await desk.open_file(source))["notes"]:
            print(note, file=sys.stderr)
