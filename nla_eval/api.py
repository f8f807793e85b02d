"""The Python interface: from transcripts to a store, a tally and a report, without Inspect and without a shell.

Each function runs the same code as the command of the same name. `import nla_eval` offers all of them, and nothing
heavy is imported before a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .progress import Progress, silent

if TYPE_CHECKING:
    from .commands.report import ReportRequest
    from .engines.base import Engine
    from .models.pack import Pack
    from .models.target import Target
    from .pipeline.reading import ReadResult
    from .pipeline.reading_plan import ReadingPlan
    from .sources import Skipped
    from .store.store import ReadingStore
    from .tally.types import Tally
    from .transcript import Transcript

DEFAULT_TARGET = "smollm2-135m"


@dataclass(frozen=True)
class Transcripts(Sequence["Transcript"]):
    """The transcripts of one place, in their original order, and the records that could not be used."""

    items: tuple[Transcript, ...]
    skipped: tuple[Skipped, ...] = ()
    """Records that were left out, each with its place and the reason."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Transcript]:
        return iter(self.items)


@dataclass(frozen=True)
class Weights:
    """Which weights to load and how to run them: `--target`, `--pack`, `--dtype`, `--threads`, `--engine`."""

    target: str = DEFAULT_TARGET
    """A target's name, folder or hub id."""
    pack: str | None = None
    """A pack's name or folder; None for the shipped pack of the target."""
    dtype: str = "auto"
    threads: int | None = None
    engine: str = "transformers"


@dataclass(frozen=True)
class ReadOptions:
    """The other options of `nla-eval read`."""

    deployment: tuple[str, ...] = ()
    """More places to read, as deployment transcripts for the donor lane."""
    arm: str = "evaluation"
    """Arm of the places that are not suites."""
    limit: int | None = None
    """Read at most this many transcripts of each source."""
    match: str = ""
    """Read only deployment transcripts that match the evaluation arm in these covariates, e.g.
    "length,turns,tools,language"."""
    scores: str = "new"
    """Which readings the AR scores: "new" ones, "none", or "missing": also those in the store without scores."""
    retry_errors: bool = False
    """Read again the readings that failed before."""
    ray: str | None = None
    """Run on a Ray cluster with these workers by stage: "4", or "capture=1,verbalize=4,verbalize.gpus=1"."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Extra facts for the store's manifest."""


def read_transcripts(
    place: str | Path, *, arm: str = "evaluation", suite: str = "imported", reader: str = "", **choices: Any
) -> Transcripts:
    """Read the transcripts of a suite, a file, a folder or `hf://owner/name@revision`.

    Args:
        place: A suite's name, or the location of the transcripts.
        arm: evaluation, deployment or monitor; ignored for a suite, which has its own.
        suite: Suite name for these transcripts; ignored for a suite, which has its own.
        reader: Name of the reader; if empty, it is detected from the content.
        choices: Fields of `nla_eval.cards.choices.ReadingChoices`, such as messages_key or limit.

    Raises:
        InputError: no reader fits, the place has no usable transcripts, or a choice is wrong.
    """
    from .cards.choices import ReadingChoices
    from .dataset.choices import source_options
    from .sources import read as read_source
    from .suite import get_suite, suite_names
    from .transcript import Transcript, arm_of

    name = str(place)
    if "://" not in name and not Path(name).exists() and name in suite_names():
        return Transcripts(tuple(get_suite(name).load()))
    options = source_options(ReadingChoices.parse(choices), suite, arm_of(arm))
    found = list(read_source(place, options, reader))
    return Transcripts(
        tuple(item for item in found if isinstance(item, Transcript)),
        tuple(item for item in found if not isinstance(item, Transcript)),
    )


def load_engine(target: Target, pack: Pack, *, dtype: str = "auto", engine: str = "transformers") -> Engine:
    """Load the engine that captures, verbalizes and reconstructs, and run its self-test.

    Args:
        target: From `load_target`.
        pack: From `load_pack`; checked against the target.
        dtype: "auto" is bfloat16 if the processor supports it, else float32.
        engine: Name of the engine that runs the weights.

    Raises:
        PackError: the pack does not belong to the target, or the self-test fails.
    """
    from .engines.kinds import ENGINES, RuntimeSettings

    kind = ENGINES.get(engine.partition(":")[0])
    return kind.engine(RuntimeSettings(target.name, pack.name, dtype, engine=engine), target, pack)


def read(
    sources: str | Path | Iterable[str | Path | Transcripts],
    store: str | Path,
    plan: ReadingPlan | None = None,
    *,
    weights: Weights | None = None,
    options: ReadOptions | None = None,
    progress: Progress = silent,
) -> ReadResult:
    """Read transcripts into a store. Call it again after a stop to resume.

    Args:
        sources: Names of suites, files and folders, or `Transcripts` read (and perhaps changed) before.
        store: Folder or fsspec URL of the store.
        plan: Positions, lanes, draws, seed ...; the default plan has the donor lane, which needs a deployment arm.
        weights: Target and pack.
        options: The other options.
        progress: Receives progress events of each stage.

    Raises:
        InputError: a source, an option or the plan cannot be used.
        StoreError: the store belongs to another plan or pack.
        PackError: the pack does not belong to the target.
    """
    from .commands.read import ReadRequest, read_into, scores_of
    from .dataset.matching import parse_measures
    from .engines.kinds import RuntimeSettings
    from .pipeline.reading_plan import ReadingPlan as Plan

    weights, options = weights or Weights(), options or ReadOptions()
    given = [sources] if isinstance(sources, str | Path | Transcripts) else list(sources)
    request = ReadRequest(
        sources=tuple(str(source) for source in given if not isinstance(source, Transcripts)),
        deployment=options.deployment,
        out=str(store),
        plan=plan or Plan(),
        settings=RuntimeSettings(weights.target, weights.pack, weights.dtype, weights.threads, engine=weights.engine),
        arm=options.arm,
        limit=options.limit,
        retry_errors=options.retry_errors,
        scores=scores_of(options.scores),
        match=parse_measures(options.match) if options.match else (),
        ray=options.ray,
        transcripts=tuple(t for source in given if isinstance(source, Transcripts) for t in source),
        provenance=dict(options.provenance),
    )
    return read_into(request, progress, lambda line: None)


def make_tally(
    *inputs: str | Path | ReadingStore,
    classifier: str | None = None,
    rubric: str | None = None,
    pack: str | None = None,
    preset: str | None = None,
    calibration: Sequence[str | Path] = (),
) -> Tally:
    """Count the judgements of Inspect logs, and judge and count what stores hold. Needs no weights.

    Args:
        inputs: Stores, `.eval` logs and folders of logs.
        classifier: Judge again with this classifier. Default: a log's own judgements; "linear" for stores.
        rubric: Judge again under this rubric: its name or a YAML file.
        pack: The pack whose card goes into the tally. Default: the pack named by the readings.
        preset: The protocol whose headline leads: "strict", "paper" or "mythos5". Default: the one of the inputs.
        calibration: Calibration files, each of one judge, made by `nla-eval validate merge`.

    Raises:
        InputError: an input is neither a store nor a log, a name is unknown, or several judges scored the logs: then
            use `make_tallies`.
    """
    from .commands.report import make_tally as counted

    return counted(_report_request(inputs, classifier, rubric, pack, preset, calibration))


def make_tallies(
    *inputs: str | Path | ReadingStore,
    classifier: str | None = None,
    rubric: str | None = None,
    pack: str | None = None,
    preset: str | None = None,
    calibration: Sequence[str | Path] = (),
) -> list[Tally]:
    """One tally per judge, rubric, and way of reading (target, pack, policy, draws, seed, temperature, window).

    Arguments as of `make_tally`.
    """
    from .commands.report import make_tallies as counted

    return counted(_report_request(inputs, classifier, rubric, pack, preset, calibration))


def _report_request(
    inputs: Sequence[str | Path | ReadingStore],
    classifier: str | None,
    rubric: str | None,
    pack: str | None,
    preset: str | None,
    calibration: Sequence[str | Path],
) -> ReportRequest:
    from .commands.report import ReportRequest

    if not inputs:
        raise InputError("make_tally: no inputs; expected stores or .eval logs")
    names = tuple(str(getattr(item, "url", item)) for item in inputs)
    files = tuple(str(file) for file in calibration)
    return ReportRequest(names, "", classifier, rubric, pack, preset=preset, calibration=files)


def write_report(tally: Tally, out: str | Path = "report.html", *, format: str = "html") -> Path:
    """Write one report file from a tally.

    Args:
        tally: From `make_tally`.
        out: The file to write, or a folder for a file with the default name.
        format: Report format.

    Returns:
        Path of the file written.
    """
    from .commands.report import write_report as written

    return written(tally, Path(out), format)
