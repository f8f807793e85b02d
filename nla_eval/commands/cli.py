"""The command `nla-eval`. It parses arguments and shows errors; each command's work is a module of `commands`,
imported when it is called, so that `--help` costs nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NlaEvalError
from ..pipeline.options import checked, whole_number
from ..pipeline.reading_plan import ReadingPlan
from .cli_pack import Dtype, Target, packs
from .cli_suite import suites
from .plan_options import with_plan_options

app = typer.Typer(
    name="nla-eval",
    help="Measure evaluation awareness of open-weights models with Natural Language Autoencoders.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text: the boxes of rich take longer to import than all else that --help needs
    add_completion=False,
    pretty_exceptions_enable=False,
)
stores = typer.Typer(no_args_is_help=True, help="Readings on disk or object store.")
app.add_typer(suites, name="suite")
app.add_typer(packs, name="pack")
app.add_typer(stores, name="store")

Pack = Annotated[
    str | None, typer.Option(help="Pack: its name or folder. Default: the one that belongs to the target.")
]


@app.command()
@with_plan_options()
def read(
    sources: Annotated[list[str], typer.Argument(help="Suites, .jsonl files, .eval logs or folders of logs.")],
    out: Annotated[str, typer.Option(help="Store to write to: a folder or an fsspec URL.")],
    deployment: Annotated[
        list[str] | None, typer.Option(help="File of ordinary use, for the donor lane. May be repeated.")
    ] = None,
    arm: Annotated[str, typer.Option(help="Arm of files in SOURCES; a suite knows its own.")] = "evaluation",
    target: Target = "smollm2-135m",
    pack: Pack = None,
    limit: Annotated[int | None, typer.Option(help="At most this many transcripts of each source.")] = None,
    dtype: Dtype = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    engine: Annotated[str, typer.Option(help="What runs the weights.")] = "transformers",
    retry_errors: Annotated[bool, typer.Option(help="Read again what failed before.")] = False,
    scores: Annotated[
        str, typer.Option(help="AR scores of: new readings, none, or also those in the store that lack them (missing).")
    ] = "new",
    match: Annotated[
        str,
        typer.Option(
            help="Of the deployment arm, only what resembles the evaluation arm: length,turns,tools,language."
        ),
    ] = "",
    plan_only: Annotated[bool, typer.Option("--plan", help="Print what it would take, load no weights, stop.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="On a Ray cluster, workers by stage: 4, or capture=1,verbalize=4,verbalize.gpus=1."),
    ] = None,
    model_role: Annotated[
        str | None, typer.Option(help="Inspect logs: whose conversation. Default: target if there is one, else main.")
    ] = None,
    samples: Annotated[
        str, typer.Option(help="Inspect logs: complete (no errored or invalidated samples), or all.")
    ] = "complete",
    *,
    plan: ReadingPlan,
) -> None:
    """Read transcripts into a store. Stopped and started again, it resumes."""
    from ..dataset.choices import ReadingChoices
    from ..dataset.matching import parse_measures
    from ..engines.kinds import RuntimeSettings
    from .read import ReadRequest, expect_sources, run, scores_of

    checked("limit", limit, whole_number(1, optional=True))
    expect_sources((*sources, *(deployment or ())), arm)
    settings = RuntimeSettings(target=target, pack=pack, dtype=dtype, threads=threads, engine=engine)
    how = scores_of(scores)
    files = tuple(sources), tuple(deployment or ())
    measures = parse_measures(match) if match else ()
    choices = ReadingChoices.parse({"model_role": model_role, "samples": samples})
    run(
        ReadRequest(
            *files, out, plan, settings, arm, limit, retry_errors, how, plan_only, measures, ray, choices=choices
        )
    )


@app.command()
def report(
    inputs: Annotated[list[str], typer.Argument(help=".eval logs, folders of logs, and stores.")],
    out: Annotated[str, typer.Option(help="The file to write.")] = "report.html",
    classifier: Annotated[
        str | None,
        typer.Option(help="Judge all again with this one. Default: as the logs were scored; stores: linear."),
    ] = None,
    rubric: Annotated[str | None, typer.Option(help="Judge again under this one: its name or a YAML file.")] = None,
    pack: Annotated[
        str | None, typer.Option(help="Pack whose card to show. Default: the one the readings name.")
    ] = None,
    builder: Annotated[str, typer.Option("--format", help="Kind of report.")] = "html",
    judge: Annotated[
        str | None, typer.Option(help="Judge again with these models (provider/model, several by comma).")
    ] = None,
    judge_mode: Annotated[
        str | None, typer.Option(help="What they are told: blind (default), blurb, swapped; several by comma.")
    ] = None,
) -> None:
    """Tally what logs were scored with, judge what was not, and write one report per judge. Needs no weights."""
    from .report import ReportRequest, run

    run(ReportRequest(tuple(inputs), out, classifier, rubric, pack, builder, judge, judge_mode))


@app.command()
@with_plan_options(positions="stratified(10)")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for store, logs and report.")] = Path("demo-out"),
    target: Target = "smollm2-135m",
    pack: Pack = None,
    limit: Annotated[int, typer.Option(help="At most this many transcripts of each suite; each has 27.")] = 24,
    dtype: Dtype = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    *,
    plan: ReadingPlan,
) -> None:
    """Measure both shipped suites end to end and write a report. Stopped and started again, it resumes."""
    from ..engines.kinds import RuntimeSettings
    from .demo import DemoRequest, run

    checked("limit", limit, whole_number(1, optional=True))
    run(DemoRequest(out, RuntimeSettings(target=target, pack=pack, dtype=dtype, threads=threads), plan, limit))


@stores.command("compact")
def store_compact(
    store: Annotated[str, typer.Argument(help="Folder or fsspec URL.")],
    part_mib: Annotated[int, typer.Option(help="About how large merged parts become, in MiB.")] = 64,
) -> None:
    """Merge small parts into few large ones. Others may read and write the store meanwhile."""
    from .store import run_compact

    run_compact(store, part_mib)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of the run.")],
    run_folder: Annotated[
        Path | None, typer.Option(help="For checkpoints and activations. Default: runs/<name> in the current folder.")
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage. May be repeated.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Print what is done and what will run, and stop.")] = False,
    writer: Annotated[
        str | None,
        typer.Option(help="Who writes the explanations: an Inspect model, a file of them, or self_supervised."),
    ] = None,
    from_pack: Annotated[
        str | None, typer.Option(help="Begin with this pack's AV and AR, as they are: its name or folder.")
    ] = None,
    measure: Annotated[
        int | None,
        typer.Option(help="Train nothing: measure the run's checkpoints on so many held-out rows, and plot them."),
    ] = None,
) -> None:
    """Train a pack. Stopped and started again, it resumes; a changed setting runs its stage and those after it
    again."""
    from .train import TrainRequest, run

    run(TrainRequest(config, run_folder, stage, writer, from_pack, plan_only, measure))


def main() -> None:
    """Entry point: what a user can mend is one line on standard error and exit code 2."""
    try:
        app()
    except NlaEvalError as err:
        print(f"nla-eval: {' '.join(str(err).split())}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
