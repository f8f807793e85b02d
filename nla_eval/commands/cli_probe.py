"""Arguments of the commands of `nla-eval probe`. Each does its work in `commands.probe`, imported on call."""

from __future__ import annotations

from typing import Annotated

import typer

from ..pipeline.options import checked, whole_number
from .cli_pack import Dtype, PlanOnly, Target
from .screen import Commands

probes = Commands(
    no_args_is_help=True, help="Linear probes on raw activations, and the target's own answers, on told pairs."
)


Conversations = Annotated[
    str | None,
    typer.Option(
        help="File or folder of conversations; each is read after a notice of evaluation and after another notice. "
        "Default: the shipped pairs of short requests."
    ),
]
Limit = Annotated[int, typer.Option(help="Maximum number of conversations.")]


@probes.command("train")
def probe_train(
    out: Annotated[str, typer.Option("--out", "-o", help="Probe file to write: a .safetensors file.")],
    conversations: Conversations = None,
    limit: Limit = 60,
    tokens: Annotated[int, typer.Option(help="Tokens read per conversation, the same on both sides.")] = 6,
    target: Target = "smollm2-135m",
    pack: Annotated[str | None, typer.Option(help="Pack whose layer is read. Default: the target's own pack.")] = None,
    layer: Annotated[int | None, typer.Option(help="Block to read, in place of a pack's.")] = None,
    dtype: Dtype = "auto",
    plan_only: PlanOnly = False,
) -> None:
    """Train a probe on told pairs. Prints its AUROC on held-out notices beside readers of the text."""
    from .probe import PairRequest, ProbeRequest, plan, train

    checked("limit", limit, whole_number(1))
    checked("tokens", tokens, whole_number(1))
    request = ProbeRequest(out, PairRequest(target, conversations, limit, dtype), pack, layer, tokens)
    (plan if plan_only else train)(request)


@probes.command("show")
def probe_show(file: Annotated[str, typer.Argument(help="Probe file.")]) -> None:
    """Print where a probe comes from and what it is worth."""
    from .probe import show

    show(file)


@probes.command("asked")
def probe_asked(
    conversations: Conversations = None,
    limit: Limit = 60,
    target: Target = "smollm2-135m",
    dtype: Dtype = "auto",
    plan_only: PlanOnly = False,
) -> None:
    """Ask the target after told pairs, and print what its own answers (lane asked) are worth."""
    from .probe import PairRequest, asked, plan_asked

    checked("limit", limit, whole_number(1))
    (plan_asked if plan_only else asked)(PairRequest(target, conversations, limit, dtype))
