"""Profiles one stage by torch operator on one thread, to explain a row of the bench table.

`python -m nla_eval.bench.profile {capture,verbalize,reconstruct} [--dtype bfloat16]` prints each operator's share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ..engines.side_by_side import Split
from ..models.pack import default_pack, load_pack
from ..models.target import load_target
from .engine import EngineBench, Load, threads

ROWS = 10
_LOAD = replace(Load(), sequences=4, max_new_tokens=24)


def shares(run: Callable[[], Any]) -> list[tuple[str, float, int]]:
    """(operator, share of the time, calls) of `run`, largest first. The shares of all operators sum to one."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        run()
    events = recorded.key_averages()
    total = sum(event.self_cpu_time_total for event in events) or 1.0
    found = [(str(e.key), float(e.self_cpu_time_total) / total, int(e.count)) for e in events]
    return sorted(found, key=lambda row: -row[1])


def main() -> None:
    """Profile one stage of a target and a pack. Default: the shipped ones."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.bench.profile", description=main.__doc__)
    parser.add_argument("stage", choices=("capture", "verbalize", "reconstruct"))
    parser.add_argument("--target", default="smollm2-135m")
    parser.add_argument("--pack")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    pack = load_pack(args.pack) if args.pack else default_pack()
    with threads(1):
        bench = EngineBench(load_target(args.target), pack, _LOAD, getattr(torch, args.dtype), Split())
        run = bench.stage(args.stage)
        run()
        found = shares(run)
    print(f"{args.stage}, {bench.how}: {_LOAD.sequences} sequences of {_LOAD.tokens} tokens, "
          f"{_LOAD.explanations} explanations of {_LOAD.max_new_tokens} tokens")  # fmt: skip
    for name, share, calls in found[:ROWS]:
        print(f"{100 * share:5.1f} %  {calls:6d} calls  {name}")


if __name__ == "__main__":
    main()
