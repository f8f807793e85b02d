"""The command line `nla-eval`: parses arguments and prints errors. Each command does its work in a module of
`commands`, imported on call, so that `--help` is fast."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NlaEvalError
from ..pipeline.options import checked, whole_number
from ..pipeline.reading_plan import ReadingPlan
from .cli_explore import explore
from .cli_organism import organisms
from .cli_pack import Dtype, PlanOnly, Target, packs
from .cli_probe import probes
from .cli_setting import settings
from .cli_suite import suites
from .cli_validate import validation
from .plan_options import with_plan_options
from .screen import Commands
from .source_options import ModelRole, Samples

app = Commands(
    name="nla-eval",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text: importing rich takes longer than everything else that --help needs
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # every command inherits it
)
stores = Commands(no_args_is_help=True, help="Maintain stores of readings.")
app.add_typer(suites, name="suite")
app.add_typer(packs, name="pack")
app.add_typer(probes, name="probe")
app.add_typer(stores, name="store")
app.add_typer(organisms, name="organism")
app.add_typer(settings, name="setting")
app.add_typer(validation, name="validate")


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"nla_eval {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version, then exit.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say what each stage does; -vv: every part, too.")
    ] = 0,
) -> None:
    """Measure evaluation awareness of open-weights models with Natural Language Autoencoders."""
    from .diagnostics import talk

    talk(verbose)


Pack = Annotated[str | None, typer.Option(help="Pack: name or folder. Default: the target's own pack.")]


@app.command()
@with_plan_options()
def read(
    sources: Annotated[list[str], typer.Argument(help="Suites, .jsonl files, .eval logs or folders of logs.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Store to write: a folder or an fsspec URL.")],
    deployment: Annotated[
        list[str] | None,
        typer.Option(help="File of ordinary use: the deployment arm, source of the donor lane. Repeatable."),
    ] = None,
    arm: Annotated[str, typer.Option(help="Arm of the files in SOURCES. A suite states its own arm.")] = "evaluation",
    target: Target = "smollm2-135m",
    pack: Pack = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of transcripts per source.")] = None,
    dtype: Dtype = "auto",
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads.")] = None,
    engine: Annotated[str, typer.Option(help="Engine that runs the models.")] = "transformers",
    retry_errors: Annotated[bool, typer.Option(help="Retry readings that failed before.")] = False,
    scores: Annotated[
        str, typer.Option(help="Readings that the AR scores: new, missing (also unscored ones in the store), or none.")
    ] = "new",
    match: Annotated[
        str,
        typer.Option(help="Match the deployment arm to the evaluation arm in any of length,turns,tools,language."),
    ] = "",
    plan_only: PlanOnly = False,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on a Ray cluster, with workers per stage: 4, or capture=1,verbalize=4,verbalize.gpus=1."
        ),
    ] = None,
    model_role: ModelRole = None,
    samples: Samples = "complete",
    *,
    plan: ReadingPlan,
) -> None:
    """Read transcripts into a store. An interrupted run resumes."""
    from ..dataset.choices import ReadingChoices
    from ..dataset.matching import parse_measures
    from ..engines.kinds import RuntimeSettings
    from .read import ReadRequest, expect_folder, expect_sources, run, scores_of

    checked("limit", limit, whole_number(1, optional=True))
    expect_folder(out)
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
    inputs: Annotated[list[str], typer.Argument(help="Inputs: .eval logs, folders of logs, and stores.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Report to write.")] = "report.html",
    compare: Annotated[
        bool,
        typer.Option("--diff", help="Compare two inputs instead: which rates moved, and what else differs."),
    ] = False,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Judge all again with this classifier. Default: the logs' own judgements; linear for stores."
        ),
    ] = None,
    rubric: Annotated[str | None, typer.Option(help="Judge again under this rubric: name or YAML file.")] = None,
    pack: Annotated[
        str | None, typer.Option(help="Pack whose card is shown. Default: the pack that made the readings.")
    ] = None,
    builder: Annotated[
        str,
        typer.Option("--format", help="Formats, several by comma: html, md, text, json, csv, parquet, svg, png, pdf."),
    ] = "html",
    judge: Annotated[
        str | None, typer.Option(help="Judge again with these models (provider/model, several by comma).")
    ] = None,
    judge_mode: Annotated[
        str | None, typer.Option(help="What the judges are told: blind (default), blurb, swapped; several by comma.")
    ] = None,
    transcripts: Annotated[int, typer.Option(help="Number of transcripts that the report can open.")] = 200,
    vary: Annotated[
        bool,
        typer.Option("--sensitivity", help="Also count the headline under other choices, and say where it flips."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(help="Protocol to report by: strict, paper or mythos5. Default: the one the inputs were read by."),
    ] = None,
    calibration: Annotated[
        list[str] | None,
        typer.Option(
            help="Calibration file of the judge, from nla-eval validate merge. Repeatable, one for each judge."
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Log or store of suite positive_control, for the instrument check. Repeatable."),
    ] = None,
    view_url: Annotated[
        str, typer.Option(help="Address of a running inspect view, e.g. http://127.0.0.1:7575: transcripts link to it.")
    ] = "",
) -> None:
    """Tally what logs were scored with, judge what was not, and write one report per judge. Needs no weights."""
    from .compared import run_diff, run_report
    from .report import ReportRequest

    checked("transcripts", transcripts, whole_number(0))
    asked = (classifier, rubric, pack, builder, judge, judge_mode, preset, tuple(calibration or ()), transcripts, vary)
    request = ReportRequest(tuple(inputs), out, *asked, control=tuple(control or ()), view_url=view_url)
    run_diff(request) if compare else run_report(request)


@app.command()
def sensitivity(
    inputs: Annotated[list[str], typer.Argument(help="Inputs: .eval logs, folders of logs, and stores; first leads.")],
    classifier: Annotated[
        list[str] | None,
        typer.Option(help="Judge again with this classifier. Repeatable. Default: the inputs' own judgements."),
    ] = None,
    rubric: Annotated[str | None, typer.Option(help="Judge again under this rubric: name or YAML file.")] = None,
    headline: Annotated[str, typer.Option(help="Headline: belief, paper or broad.")] = "paper",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. Default: the terminal.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of Markdown.")] = False,
) -> None:
    """Count the headline again under other choices and say where its conclusion flips. Needs no weights."""
    from .sensitivity import SensitivityRequest, run

    run(SensitivityRequest(tuple(inputs), tuple(classifier or ()), rubric, headline, out), as_json=as_json)


@app.command()
def power(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Stores and .eval logs. Default: the numbers given.")
    ] = None,
    families: Annotated[int | None, typer.Option(help="Number of prompt families.")] = None,
    per_family: Annotated[int | None, typer.Option(help="Transcripts per family.")] = None,
    k: Annotated[int | None, typer.Option(help="Positions per transcript.")] = None,
    draws: Annotated[int | None, typer.Option(help="Explanations per position.")] = None,
    false_positive_rate: Annotated[
        float | None, typer.Option(help="Share of explanations of ordinary use that are flagged.")
    ] = None,
    family_correlation: Annotated[
        float | None, typer.Option(help="Correlation of two transcripts of a family. Default: measured, or 0.1.")
    ] = None,
    position_correlation: Annotated[
        float | None, typer.Option(help="Correlation of two positions of a transcript. Default: measured, or 0.2.")
    ] = None,
    draw_correlation: Annotated[
        float | None, typer.Option(help="Correlation of two draws of a position. Default: measured, or 0.5.")
    ] = None,
    rate: Annotated[
        list[float] | None, typer.Option(help="Any-of-k rate that a run is to tell. Repeatable. Default: 1 to 20 %.")
    ] = None,
    chance: Annotated[float, typer.Option("--power", help="Chance to find the rate if it is so.")] = 0.8,
    level: Annotated[float, typer.Option(help="1 - the chance to find more where there is none.")] = 0.95,
    classifier: Annotated[str | None, typer.Option(help="Judge the inputs with this classifier.")] = None,
    headline: Annotated[str, typer.Option(help="Headline: belief, paper or broad.")] = "paper",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a run can tell from zero, and how many transcripts and families would do."""
    from dataclasses import fields

    from ..tally.power import RATES, Asked, RunSize
    from .power import PowerRequest, run

    named = {f.name: context.params.get(f.name) for f in fields(RunSize)}
    given = {name: value for name, value in named.items() if value is not None}
    asked = Asked(tuple(rate or RATES), chance, level)
    run(PowerRequest(tuple(inputs or ()), given, asked, classifier, headline), as_json=as_json)


@app.command()
def gain(
    inputs: Annotated[list[str], typer.Argument(help="Inputs: .eval logs, folders of logs, and stores.")],
    headline: Annotated[str, typer.Option(help="Headline of N: belief, paper or broad.")] = "paper",
    rate: Annotated[float, typer.Option(help="Share of deployment transcripts that either reader may flag.")] = 0.05,
    classifier: Annotated[
        str | None,
        typer.Option(
            help="Judge all again with this classifier. Default: the logs' own judgements; linear for stores."
        ),
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Pack whose told recall is shown. Default: the pack that made the readings.")
    ] = None,
) -> None:
    """Compare N with other readers of the same transcripts: text_only, text_raw, probe, asked. Needs no weights."""
    from .gain import run
    from .report import ReportRequest

    run(ReportRequest(tuple(inputs), "", classifier, None, pack), headline, rate)


@app.command()
@with_plan_options(positions="stratified(10)")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for store, logs and report.")] = Path("demo-out"),
    target: Target = "smollm2-135m",
    pack: Pack = None,
    limit: Annotated[int, typer.Option(help="Maximum number of transcripts per suite (of 27).")] = 24,
    dtype: Dtype = "auto",
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads.")] = None,
    plan_only: PlanOnly = False,
    *,
    plan: ReadingPlan,
) -> None:
    """Measure both shipped suites end to end and write a report. An interrupted run resumes."""
    from ..engines.kinds import RuntimeSettings
    from .demo import DemoRequest, run
    from .read import expect_folder

    checked("limit", limit, whole_number(1, optional=True))
    expect_folder(str(out))
    settings = RuntimeSettings(target=target, pack=pack, dtype=dtype, threads=threads)
    run(DemoRequest(out, settings, plan, limit, plan_only))


@app.command()
def simulate(
    write: Annotated[Path | None, typer.Option(help="Page to write (Markdown). Default: print it.")] = None,
    replications: Annotated[int, typer.Option(help="Replications of each world.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of all worlds.")] = 0,
    processes: Annotated[int | None, typer.Option(help="Number of processes. Default: one per core.")] = None,
) -> None:
    """Check every estimate and test on planted worlds whose truth is known. Needs no weights."""
    from .simulate import SimulateRequest, run

    checked("replications", replications, whole_number(1))
    checked("processes", processes, whole_number(1, optional=True))
    run(SimulateRequest(write, replications, seed, processes))


@app.command()
def doctor(
    target: Target = "smollm2-135m",
    pack: Pack = None,
    store: Annotated[list[str] | None, typer.Option(help="Store to check part by part. Repeatable.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also load the weights and run the self-test (about a minute).")
    ] = False,
) -> None:
    """Check packages, processor, memory, disk, target, pack and stores, and say what to mend. Changes nothing."""
    from ..engines.kinds import RuntimeSettings
    from .doctor import run

    run(RuntimeSettings(target=target, pack=pack), tuple(store or ()), deep=deep)


app.command()(explore)


@stores.command("compact")
def store_compact(
    store: Annotated[str, typer.Argument(help="Store: a folder or an fsspec URL.")],
    part_mib: Annotated[int, typer.Option(help="Approximate size of a merged part, in MiB.")] = 64,
) -> None:
    """Merge small parts into large ones. Other processes may read and write the store meanwhile."""
    from .store import run_compact

    run_compact(store, part_mib)


@stores.command("check")
def store_check(store: Annotated[str, typer.Argument(help="Store: a folder or an fsspec URL.")]) -> None:
    """Verify every part by its checksum and parse it. Changes nothing. Exit code 2 if something is damaged."""
    from .store import run_check

    run_check(store)


@stores.command("repair")
def store_repair(store: Annotated[str, typer.Argument(help="Store: a folder or an fsspec URL.")]) -> None:
    """Set damaged parts aside and write damaged JSON files anew. Deletes nothing."""
    from .store import run_repair

    run_repair(store)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training configuration (YAML).")],
    run_folder: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoints and activations. Default: runs/<name> in the current folder."),
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Run only this stage. Repeatable.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Print the state of each stage, then exit.")] = False,
    writer: Annotated[
        str | None,
        typer.Option(help="Writer of the explanations: an Inspect model, a file of explanations, or self_supervised."),
    ] = None,
    from_pack: Annotated[
        str | None, typer.Option(help="Start from the AV and AR of this pack, unchanged: name or folder.")
    ] = None,
    measure: Annotated[
        int | None,
        typer.Option(help="Do not train: measure the run's checkpoints on this many held-out rows and plot them."),
    ] = None,
) -> None:
    """Train a pack. An interrupted run resumes; a changed setting reruns its stage and every later one."""
    from .train import TrainRequest, run

    run(TrainRequest(config, run_folder, stage, writer, from_pack, plan_only, measure))


def main() -> None:
    """Entry point. A user error is one line on standard error and exit code 2. A bug is a traceback, a line that names
    its report, and exit code 1."""
    try:
        app()
    except NlaEvalError as err:
        print(f"nla-eval: {' '.join(str(err).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # before a command has begun
        print("nla-eval: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as bug:
        import traceback

        from .diagnostics import told_of

        traceback.print_exc()
        print(told_of(bug), file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
