"""The figures of the bench: their keys and goals, docs/bench.json, and the table of docs/performance.md."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError

BEGIN, END = "<!-- bench: made by `make bench` -->", "<!-- end of bench -->"


@dataclass(frozen=True)
class Goal:
    """The goal of a figure."""

    what: str
    sense: Literal[">=", "<=", ""]
    bound: float = 0.0
    unit: str = "x"

    def reached(self, value: float | None) -> bool | None:
        """Whether `value` reaches the goal; None without a bound or a value."""
        if not self.sense or value is None:
            return None
        return value >= self.bound if self.sense == ">=" else value <= self.bound


GOALS: dict[str, Goal] = {
    "capture_vs_full_logits": Goal("capture, against the causal LM with all logits", ">=", 1.7),
    "capture_vs_single_logit": Goal("capture, against the causal LM with one logit row", ">=", 1.35),
    "verbalize_vs_one_by_one": Goal("verbalize, against `generate` one by one", ">=", 10),
    "verbalize_vs_batched_bf16": Goal("verbalize in bf16, against `generate(inputs_embeds)` of 64", ">=", 1.4),
    "verbalize_vs_batched_fp32": Goal("verbalize in fp32, against `generate(inputs_embeds)` of 64", ">=", 1.15),
    "decode_peak_fraction_bf16": Goal("decoding in bf16 on one thread, share of peak", ">=", 0.40, "share"),
    "prefill_peak_fraction_bf16": Goal("prefill in bf16 on one thread, share of peak", ">=", 0.50, "share"),
    "ar_vs_one_by_one": Goal("reconstruct in batches, against one by one", ">=", 1.5),
    "rss_growth_2k_8k_mb": Goal("peak memory of capture, growth from 2k to 8k tokens, bf16", "<=", 150, "MB"),
    "rss_growth_32k_tiny_mb": Goal("the same from 2k to 32k tokens, tiny model, without its KV cache", "<=", 100, "MB"),
    "pipeline_flatness": Goal(
        "time per transcript at 50, 200 and 800 transcripts: largest over smallest, minus 1", "<=", 0.15, "share"
    ),
    "rejudge_fraction": Goal("judging again, share of the first run's time", "<=", 0.02, "share"),
    "rl_steps_vs_naive": Goal("joint training, against `generate` and whole sequences", ">=", 2.0),
    "train_peak_mb": Goal("peak memory of training the shipped pack, all processes", "<=", 6000, "MB"),
    "jsonl_10k_seconds": Goal("reading 10,000 transcripts of 3k tokens, JSON lines", "<=", 60, "s"),
    "jsonl_10k_peak_mb": Goal("peak memory of reading them", "<=", 1500, "MB"),
    "jsonl_vs_json": Goal("reading them, against `json.loads` of each line", ">=", 0.35),
    "parquet_10k_seconds": Goal("reading 10,000 transcripts of 3k tokens, Parquet", "<=", 60, "s"),
    "parquet_10k_peak_mb": Goal("peak memory of reading them", "<=", 1500, "MB"),
    "parquet_vs_polars": Goal("reading them, against polars' rows", ">=", 0.4),
    "inspect_10k_seconds": Goal("`suite inspect` of the same JSON lines", "<=", 20, "s"),
    "large_lines_peak_mb": Goal("peak memory of reading 2 GB of JSON lines", "<=", 1500, "MB"),
    "large_list_peak_mb": Goal("peak memory of reading one JSON list of 2 GB", "<=", 1500, "MB"),
    "large_parquet_peak_mb": Goal("peak memory of reading 2 GB of Parquet", "<=", 1500, "MB"),
    "large_message_peak_mb": Goal(
        "peak memory of reading one message of 50 MB, in any of these formats", "<=", 1500, "MB"
    ),
    "tally_1m_seconds": Goal("tally of 1,000,000 judgements, a family per transcript", "<=", 40, "s"),
    "tally_1m_peak_mb": Goal("peak memory of it, its input included", "<=", 1500, "MB"),
    "cli_start_ratio": Goal("start of `nla-eval --help`, against `import typer, rich`", "<=", 2),
    "suite_list_ratio": Goal("`nla-eval suite list`, against `import typer, rich`", "<=", 3),
    "report_50k_cpu_seconds": Goal("report on 1,000 transcripts of 50 judged readings, CPU time", "<=", 15, "s"),
    "report_50k_peak_mb": Goal("peak memory of making it, with its readings", "<=", 1000, "MB"),
    "report_50k_file_mb": Goal("its size, with 200 transcripts to open", "<=", 6, "MB"),
    "explore_first_words_ratio": Goal("explorer: from a click to the first words, against a bare draw's", "<=", 3),
    "report_1m_cpu_seconds": Goal(
        "report on 20 suites of 1,000 transcripts, 50 readings each, CPU time", "<=", 60, "s"
    ),
    "report_1m_peak_mb": Goal("peak memory of making it, with its readings", "<=", 2000, "MB"),
    "report_first_paint_ms": Goal("first paint of the report on 1,000 transcripts in Chromium", "<=", 1000, "ms"),
    "report_filter_ms": Goal("a filter or search in it, until its frame is drawn", "<=", 100, "ms"),
    "vllm_vs_ours": Goal("vLLM on this CPU, against ours, 64 explanations", ""),
}
"""Every figure by key. The unit "x" is a ratio of rates, above 1 when ours is faster; for goals with "<=", of times."""


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    value: float
    ours: float | None = None
    other: float | None = None
    unit: str = ""
    """Unit of `ours` and `other`."""
    how: str = ""
    """Inputs, dtype and threads."""


def race(ways: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """Median rates of several ways of doing the same. They run in turns, so that a slow minute affects all of them.

    Args:
        ways: The function to run and the units of work it does, by name.
        rounds: Number of runs of each.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, units) in ways.items():
            began = time.perf_counter()
            run()
            found[name].append(units / max(time.perf_counter() - began, 1e-9))
    return {name: statistics.median(rates) for name, rates in found.items()}


def apart(module: str, *arguments: str) -> dict[str, float]:
    """The last line of `python -m MODULE ARGUMENTS`, as JSON. A process of its own gives a peak memory of its own."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def ratio(ours: float, other: float, unit: str, how: str) -> Figure:
    """A figure that is the ratio of two rates."""
    return Figure(ours / other, ours, other, unit, how)


def save(path: Path, figures: dict[str, Figure], machine: dict[str, str]) -> None:
    """Write docs/bench.json. Earlier figures that were not measured now stay, with their machine."""
    before = json.loads(path.read_text()) if path.is_file() else {"figures": {}}
    known = {key: value for key, value in before["figures"].items() if key in GOALS}
    for key, figure in figures.items():
        goal = GOALS[key]
        known[key] = {**asdict(figure), "reached": goal.reached(figure.value), "machine": machine}
    ordered = {key: known[key] for key in GOALS if key in known}
    path.write_text(json.dumps({"command": "make bench", "figures": ordered}, indent=1) + "\n")


def table(record: dict[str, Any]) -> str:
    """The table of docs/performance.md, made from the content of docs/bench.json."""
    lines = ["| | measured | ours | alternative | goal |", "|---|---:|---:|---:|---:|"]
    for key, goal in GOALS.items():
        found = record["figures"].get(key)
        bound = f"{goal.sense} {_number(goal.bound, goal.unit)}" if goal.sense else "-"
        if found is None:
            lines.append(f"| {goal.what} | not measured | - | - | {bound} |")
            continue
        mark = " (missed)" if found["reached"] is False else ""
        rates = [
            f"{_rounded(found[side])} {found['unit']}" if found[side] is not None else "-" for side in ("ours", "other")
        ]
        lines.append(
            f"| {goal.what} | {_number(found['value'], goal.unit)}{mark} | {rates[0]} | {rates[1]} | {bound} |"
        )
    return "\n".join(lines)


def into_page(page: str, record: dict[str, Any]) -> str:
    """`page` with its table replaced. Raises InputError if the markers are missing."""
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", page, re.DOTALL)
    if found is None:
        raise InputError(f"docs/performance.md has no place for the table; expected '{BEGIN}' and '{END}'")
    return page.replace(found.group(), f"{BEGIN}\n{table(record)}\n{END}")


def shown(figures: dict[str, Figure]) -> str:
    """The measured figures as lines for a terminal."""
    return "\n".join(_line(key, figure) for key, figure in figures.items())


def _line(key: str, figure: Figure) -> str:
    goal = GOALS[key]
    rates: Sequence[str] = [f"{_rounded(x)} {figure.unit}" for x in (figure.ours, figure.other) if x is not None]
    against = f" ({' against '.join(rates)})" if rates else ""
    bound = f"; goal {goal.sense} {_number(goal.bound, goal.unit)}" if goal.sense else ""
    return f"{key}: {_number(figure.value, goal.unit)}{against}{bound}"


def _number(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{_rounded(value)} {unit}" if unit != "x" else f"{_rounded(value)}x"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
