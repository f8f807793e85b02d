"""The command `nla-eval explore`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..pipeline.options import checked, declared, whole_number
from ..pipeline.reading_plan import ReadingPlan
from .cli_pack import Dtype, Target

_HELP = {name: what.help for name, (what, _) in declared(ReadingPlan).items()}
_PORTS = 65535


def _port(value: Any) -> int:
    if not 0 <= int(value) <= _PORTS:
        raise ValueError(f"a number from 0 to {_PORTS}")
    return int(value)


def explore(
    source: Annotated[
        Path | None, typer.Argument(help="Chats to open at once: any file or folder that the readers know.")
    ] = None,
    target: Target = "smollm2-135m",
    pack: Annotated[str | None, typer.Option(help="Pack: name or folder. Default: the target's own pack.")] = None,
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 takes a free one.")] = 8765,
    probe: Annotated[str | None, typer.Option(help=_HELP["probe"])] = None,
    window: Annotated[str, typer.Option(help=_HELP["window"])] = "head",
    max_tokens: Annotated[
        int, typer.Option(help="Tokens of a chat that are read, or fewer if the target's context is shorter.")
    ] = 8192,
    temperature: Annotated[float, typer.Option(help=_HELP["temperature"])] = 1.0,
    max_new_tokens: Annotated[int | None, typer.Option(help=_HELP["max_new_tokens"])] = None,
    seed: Annotated[int, typer.Option(help=_HELP["seed"])] = 0,
    dtype: Dtype = "auto",
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads.")] = None,
    engine: Annotated[str, typer.Option(help="Engine that runs the models.")] = "transformers",
) -> None:
    """Open a page on this machine: pick tokens of a chat and read their explanations as they are drawn."""
    from ..engines.kinds import RuntimeSettings
    from .explore import ExploreRequest, run

    checked("max_tokens", max_tokens, whole_number(1))
    checked("port", port, _port)
    settings = RuntimeSettings(target=target, pack=pack, dtype=dtype, threads=threads, engine=engine)
    options = {"probe": probe, "window": window, "temperature": temperature, "seed": seed}
    options["max_new_tokens"] = max_new_tokens
    run(ExploreRequest(source, settings, options, port, max_tokens))
