"""The front door for Python: transcripts in, then a store, a tally, a report, without Inspect and without a shell.

Each function does what the command or option of the same name does, through the same code. `import nla_eval` offers
all of it; nothing heavy is imported before it is called."""

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
    """The transcripts of one place, in its order, and the records that could not be used."""

    items: tuple[Transcript, ...]
    skipped: tuple[Skipped, ...] = ()
    """Each with its place and the reason."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Transcript]:
        return iter(self.items)


@dataclass(frozen=True)
class Weights:
    """Which weights read, and what runs them: `--target`, `--pack`, `--dtype`, `--threads`, `--engine`."""

    target: str = DEFAULT_TARGET
    """A target's name, folder or hub id."""
    pack: str | None = None
    """A pack's name or folder; None for the one that belongs to the target."""
    dtype: str = "auto"
    threads: int | None = None
    engine: str = "transformers"


@dataclass(frozen=True)
class ReadOptions:
    """What else `nla-eval read` takes."""

    deployment: tuple[str, ...] = ()
    """Further places of ordinary use, for the donor lane."""
    arm: str = "evaluation"
    """Arm of places that are no suites."""
    limit: int | None = None
    """At most this many transcripts of each source."""
    match: str = ""
    """Of the deployment arm, read only what resembles the evaluation arm in "length,turns,tools,language"."""
    scores: str = "new"
    """AR scores of: new readings, none, or also those in the store that lack them (missing)."""
    retry_errors: bool = False
    """Read again what failed before."""
    ray: str | None = None
    """On a Ray cluster, workers by stage: "4", or "capture=1,verbalize=4,verbalize.gpus=1"."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Facts for the store's manifest."""


def read_transcripts(
    place: str | Path, *, arm: str = "evaluation", suite: str = "imported", reader: str = "", **choices: Any
) -> Transcripts:
    """Read the transcripts of a suite, a file, a folder or `hf://owner/name@revision`.

    Args:
        place: A suite's name, or where the transcripts lie.
        arm: evaluation, deployment or monitor; a suite knows its own.
        suite: What to call them; a suite has its own name.
        reader: Name of the reader; found by content where empty.
        choices: `nla_eval.dataset.choices.ReadingChoices`, such as messages_key or limit.

    Raises:
        InputError: no reader fits, nothing usable is there, or a choice is wrong.
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
    """The engine that captures, verbalizes and reconstructs, with its weights, after its self-test.

    Args:
        target: From `load_target`.
        pack: From `load_pack`; checked against the target.
        dtype: "auto" is bfloat16 where the processor has it, else float32.
        engine: What runs the weights.

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
    """Read transcripts into a store; called again, it goes on where it stopped.

    Args:
        sources: Suites, files and folders by name, or `Transcripts` that were read (and changed) before.
        store: Folder or fsspec URL of the store.
        plan: Positions, lanes, draws, seed ...; the default plan has the donor lane, which needs a deployment arm.
        weights: Target and pack.
        options: What else there is.
        progress: Told how far each stage is.

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
) -> Tally:
    """Count what Inspect logs were scored with and what stores hold, which is judged here. Needs no weights.

    Args:
        inputs: Stores, `.eval` logs and folders of logs.
        classifier: Judge again with this one. Default: as logs were scored; stores: linear.
        rubric: Judge again under this one: its name or a YAML file.
        pack: Whose card to keep with the tally. Default: the one the readings name.

    Raises:
        InputError: an input is neither; a name is unknown; or logs were scored by several judges: see `make_tallies`.
    """
    from .commands.report import make_tally as counted

    return counted(_report_request(inputs, classifier, rubric, pack))


def make_tallies(
    *inputs: str | Path | ReadingStore,
    classifier: str | None = None,
    rubric: str | None = None,
    pack: str | None = None,
) -> list[Tally]:
    """One tally per judge and rubric that logs were scored with, by name. Arguments as of `make_tally`."""
    from .commands.report import make_tallies as counted

    return counted(_report_request(inputs, classifier, rubric, pack))


def _report_request(
    inputs: Sequence[str | Path | ReadingStore], classifier: str | None, rubric: str | None, pack: str | None
) -> ReportRequest:
    from .commands.report import ReportRequest

    if not inputs:
        raise InputError("make_tally: no inputs; expected stores or .eval logs")
    names = tuple(str(getattr(item, "url", item)) for item in inputs)
    return ReportRequest(names, "", classifier, rubric, pack)


def write_report(tally: Tally, out: str | Path = "report.html", *, format: str = "html") -> Path:
    """Write one report file from a tally.

    Args:
        tally: From `make_tally`.
        out: The file, or a folder in which it gets its usual name.
        format: Kind of report.

    Returns:
        The file written.
    """
    from .commands.report import write_report as written

    return written(tally, Path(out), format)
