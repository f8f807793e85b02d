"""How a command shows itself on the terminal: options in groups, and two examples at the end of its help.

A command gets this by being registered with `Commands`; its examples stand in `EXAMPLES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand

GROUPS: dict[str, tuple[str, ...]] = {
    "Options: what is read": (
        *("deployment", "arm", "limit", "match", "model_role", "samples", "reader", "messages_key", "id_key"),
        *("family_key", "outcome_key", "role", "branches", "answers", "prompts", "max_record_mb", "near_duplicates"),
        *("redact", "families", "per_family", "inputs", "control"),
    ),
    "Options: models": ("target", "pack", "dtype", "threads", "engine", "ray", "retry_errors", "scores", "from_pack"),
    "Options: judging": ("classifier", "rubric", "judge", "judge_mode", "calibration", "headline", "preset"),
    "Options: output": (
        *("out", "builder", "compare", "transcripts", "vary", "as_json", "write", "plan_only", "into", "force"),
        *("view_url", "title", "name", "licence", "help"),
    ),
}
"""Option groups, by parameter."""
OTHERS = "Options"
PLAN = "Options: reading"
"""Of `ReadingPlan`: where they are read, and how."""
MANY = 9
"""From so many options on, they are shown in groups."""

EXAMPLES: dict[str, tuple[str, str]] = {
    "read": (
        "nla-eval read blackmail --deployment chats.jsonl --out store",
        "nla-eval read logs/ --out store --lanes measured,donor,text_only --plan",
    ),
    "report": (
        "nla-eval report logs/ --out report.html --format html,json",
        "nla-eval report before/ after/ --diff --out diff.html",
    ),
    "sensitivity": (
        "nla-eval sensitivity logs/",
        "nla-eval sensitivity store other-store --headline broad --out sensitivity.md",
    ),
    "power": ("nla-eval power --families 50 --per-family 2 --k 50", "nla-eval power store --rate 0.05"),
    "gain": ("nla-eval gain store", "nla-eval gain logs/ --headline belief --rate 0.01"),
    "demo": ("nla-eval demo", "nla-eval demo --out demo-out --limit 4"),
    "simulate": ("nla-eval simulate --replications 200", "nla-eval simulate --write worlds.md --processes 2"),
    "doctor": ("nla-eval doctor", "nla-eval doctor --target smollm2-135m --store store --deep"),
    "train": ("nla-eval train recipe.yaml --plan", "nla-eval train recipe.yaml --stage av --writer self_supervised"),
    "explore": ("nla-eval explore", "nla-eval explore logs/ --port 0 --temperature 0.7"),
    "suite list": ("nla-eval suite list", "nla-eval suite list | grep deployment"),
    "suite inspect": (
        "nla-eval suite inspect chats.jsonl",
        "nla-eval suite inspect logs/ --model-role target --json",
    ),
    "suite add": (
        "nla-eval suite add chats.jsonl --name my_chats --arm deployment --licence CC-BY-4.0",
        "nla-eval suite add logs/ --name my_exam --arm evaluation --licence MIT --outcome-key match",
    ),
    "pack verify": ("nla-eval pack verify", "nla-eval pack verify my-pack --target owner/name"),
    "pack card": ("nla-eval pack card", "nla-eval pack card my-pack --measure --only pairs --write"),
    "pack compare": ("nla-eval pack compare old-pack new-pack", "nla-eval pack compare old-pack new-pack --measure"),
    "pack judge-sheet": (
        "nla-eval pack judge-sheet sheet.csv",
        "nla-eval pack judge-sheet sheet.csv --pack my-pack --rows 50",
    ),
    "pack curve": (
        "nla-eval pack curve step-100.json step-200.json",
        "nla-eval pack curve step-100.json step-200.json --out training.svg",
    ),
    "pack export": ("nla-eval pack export exported", "nla-eval pack export exported --pack my-pack --dtype bfloat16"),
    "pack import": (
        "nla-eval pack import downloaded my-pack --target owner/name",
        "nla-eval pack import av,ar my-pack --target owner/name --baseline-variance 0.73",
    ),
    "pack merge": ("nla-eval pack merge merged", "nla-eval pack merge merged --pack my-pack --dtype bfloat16"),
    "probe train": (
        "nla-eval probe train --out probe.safetensors",
        "nla-eval probe train --out probe.safetensors --conversations chats.jsonl --layer 20",
    ),
    "probe show": ("nla-eval probe show probe.safetensors", "nla-eval probe show probes/my-probe.safetensors"),
    "probe asked": ("nla-eval probe asked", "nla-eval probe asked --conversations chats.jsonl --limit 30"),
    "organism train": (
        "nla-eval organism train",
        "nla-eval organism train --planted random --run-folder runs/sham --threads 2",
    ),
    "organism check": (
        "nla-eval organism check",
        "nla-eval organism check runs/organism/adapter --doses 0.5,1 --write",
    ),
    "setting train": (
        "nla-eval setting train",
        "nla-eval setting train --config my.yaml --run-folder runs/mine --threads 2",
    ),
    "setting check": (
        "nla-eval setting check",
        "nla-eval setting check --run-folder runs/mine --organisms smollm2-135m-organism@1",
    ),
    "setting add": ("nla-eval setting add", "nla-eval setting add --run-folder runs/mine --pack packs/mine"),
    "validate sheet": (
        "nla-eval validate sheet store",
        "nla-eval validate sheet logs/ --classifier linear --size 100 --out sheet.html",
    ),
    "validate merge": (
        "nla-eval validate merge ann.json ben.json",
        "nla-eval validate merge ann.json ben.json --key sheet.key.json --out calibration.json",
    ),
    "store compact": ("nla-eval store compact store", "nla-eval store compact store --part-mib 128"),
    "store check": ("nla-eval store check store", "nla-eval store check s3://bucket/store"),
    "store repair": ("nla-eval store repair store", "nla-eval store repair s3://bucket/store"),
}
"""Two examples for each command, by its words."""


class Screen(TyperCommand):
    """A command whose help has option groups and examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options by group; in one group where they are few."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        options = [p for p in self.get_params(ctx) if p.param_type_name == "option" and p.get_help_record(ctx)]
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                argument = param.param_type_name == "argument"
                name = "Arguments" if argument else _group(param.name) if len(options) >= MANY else OTHERS
                sections.setdefault(name, []).append(record)
        for name in sorted(sections, key=_order):
            if sections[name]:
                with formatter.section(name):
                    formatter.write_dl(sections[name])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, one a line."""
        found = EXAMPLES.get(" ".join(_words(ctx)))
        if found:
            with formatter.section("Examples"):
                for line in found:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Commands(typer.Typer):
    """A group of commands that show themselves as a `Screen`."""

    def command(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """As Typer's."""
        return super().command(*args, **{"cls": Screen, **options})


def _words(ctx: Any) -> Iterator[str]:
    """The words after `nla-eval`."""
    if ctx.parent is not None:
        yield from _words(ctx.parent)
        yield str(ctx.info_name)


def _group(name: str | None) -> str:
    from ..pipeline.options import declared
    from ..pipeline.reading_plan import ReadingPlan

    named = next((group for group, names in GROUPS.items() if name in names), None)
    return named or (PLAN if name in declared(ReadingPlan) else OTHERS)


def _order(group: str) -> tuple[int, str]:
    order = ["Arguments", OTHERS, *list(GROUPS)[:2], PLAN, *list(GROUPS)[2:]]
    return order.index(group), group
