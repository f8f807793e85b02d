"""`nla-eval suite inspect` and `add`: shows what a reader finds in the data, and writes the two files of a suite.
All transcript text is escaped before it is printed."""

from __future__ import annotations

import json
import keyword
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from ..cards.arm import Arm
from ..cards.card import SLUG, SuiteCard
from ..cards.choices import ReadingChoices, SuiteData
from ..cards.listing import shipped_cards
from ..cards.needs import AnswersBy, Needs
from ..dataset.choices import content_hash, source_options
from ..dataset.overview import Overview, TurnsRead, overview
from ..errors import InputError
from ..models.target import DEFAULT_TARGET
from ..printable import one_line
from ..sources import SourceNotes, source_of
from ..sources import read as read_source
from ..sources.hub import SCHEME, HubPlace, expect_hub, pinned
from ..transcript import Author
from .next_step import next_step

_MODULE = '''"""Made by `nla-eval suite add`: everything about this suite is in the card beside it."""

from __future__ import annotations

from typing import Any

from inspect_ai import Task

from nla_eval.awareness import awareness_task
from nla_eval.suite import register, suite_beside, task

SUITE = register(suite_beside(__file__))


@task(name="nla_eval/{name}", arm="{arm}")
def {name}(**options: Any) -> Task:
    """Options (`-T`) are `nla_eval.awareness.TaskOptions`."""
    return awareness_task(SUITE, **options)
'''
_FEW = 8
_AUTHORS = {
    Author.TARGET: "the target",
    Author.LOGGED: "the log's model (the target's where that is the target)",
    Author.RECORDED: "unknown (recorded words)",
    Author.GIVEN: "no model (prefill, few-shot, injected)",
    Author.AGENT: "another agent",
}
_MOST = 40


@dataclass(frozen=True)
class SourceRequest:
    """The data and how to read it."""

    place: str
    choices: ReadingChoices
    reader: str = ""
    near_duplicates: float | None = None
    redact: bool = False


@dataclass(frozen=True)
class CardRequest:
    """What the user adds to a card: facts that the data does not contain."""

    name: str
    arm: str
    licence: str
    title: str = ""
    into: Path = Path("suites")
    force: bool = False


def run_inspect(request: SourceRequest, *, as_json: bool = False) -> None:
    """Print what a reader finds in the data, as lines or as one JSON object."""
    reader, found = understood(request)
    if as_json:
        print(json.dumps({"place": request.place, "reader": reader, **asdict(found)}, indent=1, ensure_ascii=True))
        return
    console = Console(soft_wrap=True, highlight=False)
    for line in lines_of(request.place, reader, found):
        console.print(Text(line))


def run_add(request: SourceRequest, card: CardRequest) -> None:
    """Write a suite's card and its task file.

    Raises:
        InputError: The name is taken or not a slug; there is nothing to read; or the card would be invalid.
    """
    if not SLUG.fullmatch(card.name) or keyword.iskeyword(card.name):
        raise InputError(f"--name '{card.name}' is not a slug of lower-case letters, digits and underscores")
    if card.arm not in set(Arm):
        raise InputError(f"--arm '{card.arm}'; expected one of {', '.join(Arm)}")
    shipped = shipped_cards().get(card.name)
    if shipped is not None and shipped.parent != card.into.resolve():
        raise InputError(f"--name '{card.name}' is a shipped suite; choose another --name")
    yaml_file, module = (card.into / f"{card.name}{suffix}" for suffix in (".yaml", ".py"))
    taken = [file.name for file in (yaml_file, module) if file.exists()]
    if taken and not card.force:
        raise InputError(f"{' and '.join(taken)} in '{card.into}' exist; choose another --name, or --force")
    if request.place.startswith(SCHEME):
        request = replace(request, place=str(pinned(HubPlace.parse(request.place))))
    reader, found = understood(request)
    made = _card(request, card, reader, found)
    card.into.mkdir(parents=True, exist_ok=True)
    yaml_file.write_text(_dumped(made), encoding="utf-8")
    module.write_text(_MODULE.format(name=card.name, arm=card.arm), encoding="utf-8")
    SuiteCard.load(yaml_file)
    left_out = found.records - found.transcripts
    print(f"{found.transcripts} transcripts in {found.families} families, {left_out} records left out ({reader})")
    print(f"wrote {yaml_file} and {module}")
    print(f"next: {next_step('inspect', 'eval', str(module), '--model', f'nla/{DEFAULT_TARGET}')}")
    print(f"or, to read now and judge later: {next_step('nla-eval', 'read', _readable(card), '--out', 'store')}")


def _readable(card: CardRequest) -> str:
    """What `nla-eval read` calls the suite: its name in `suites/` of the current folder, else the path of its card."""
    return card.name if card.into.resolve() == Path("suites").resolve() else str(card.into / f"{card.name}.yaml")


def understood(request: SourceRequest) -> tuple[str, Overview]:
    """The name of the reader for the data, and what it finds there. Raises InputError."""
    if request.place.startswith(SCHEME):
        expect_hub(f"'{HubPlace.parse(request.place).name}'")
    reader = request.reader or source_of(request.place, request.choices.messages_key).name
    options = source_options(request.choices, "inspected", Arm.DEPLOYMENT)
    items = read_source(request.place, options, reader)
    found, _ = overview(items, notes=options.notes, near_duplicates=request.near_duplicates, redact=request.redact)
    return reader, found


def _card(request: SourceRequest, card: CardRequest, reader: str, found: Overview) -> SuiteCard:
    hub = request.place.startswith(SCHEME)
    where = None if hub else Path(request.place).resolve()
    place = request.place if where is None else _relative(where, card.into.resolve())
    by_key = request.choices.family_key
    rule = f"by '{by_key}' of the record" if by_key else "as its reader gives them (docs/sources.md)"
    if request.near_duplicates is not None:
        rule += f"; prompts alike from {request.near_duplicates:g} on (Jaccard, word triples) share one"
    return SuiteCard(
        name=card.name,
        title=card.title or card.name.replace("_", " "),
        arm=Arm(card.arm),
        source=HubPlace.parse(request.place).source if where is None else where.name,
        licence=card.licence,
        families=f"Families {rule}.",
        needs=Needs.HUB if hub else Needs.OFFLINE,
        count=found.transcripts,
        answers_by=AnswersBy.TARGET if request.choices.prompts else AnswersBy.RECORDED,
        notes=[
            *(f"Left out: {row.count} ({row.first}: {row.reason})" for row in found.dropped),
            *([f"Read although they ended early or in error: {_counts(found.turns.kept)}"] if found.turns.kept else []),
            *_notes(found),
        ],
        family_count=found.families,
        data=SuiteData(
            place=place,
            reader=reader,
            sha256=None if where is None else content_hash(where),
            choices=request.choices,
            near_duplicates=request.near_duplicates,
            redact=request.redact,
        ),
    )


def _notes(found: Overview) -> Iterator[str]:
    """Notes of the card: counts that the reader reports, and keys with text that it did not read."""
    yield from (f"{one_line(what).capitalize()}: {count}" for what, count in found.counts.items())
    if found.unread:
        yield f"Keys not read: {SourceNotes(found.unread).unread_line(_MOST)}"


def _relative(path: Path, folder: Path) -> str:
    """Relative if card and data are in one tree, so that they can move together; else absolute."""
    try:
        near = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return str(path)
    return str(path) if near.count("..") > 3 else Path(near).as_posix()


def _dumped(card: SuiteCard) -> str:
    fields = card.model_dump(mode="json", exclude_defaults=True)
    data = fields["data"]
    data["near_duplicates"] = card.data.near_duplicates if card.data else None
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110))


def lines_of(place: str, reader: str, found: Overview) -> Iterable[str]:
    """The overview as escaped lines."""
    yield f"{one_line(place)}: {reader}"
    yield f"records {found.records}, transcripts {found.transcripts}, left out {found.records - found.transcripts}"
    for row in found.dropped:
        yield f"  left out {row.count}: {one_line(row.reason)} (first: {one_line(row.first)})"
    yield f"keys not read: {SourceNotes(found.unread).unread_line(_FEW) or 'none'}"
    for what, count in found.counts.items():
        yield f"{one_line(what)}: {count}"
    yield f"messages {_counts(found.roles)}"
    for what, lengths in (("messages", found.messages), ("characters", found.characters)):
        yield f"{what} in a transcript: " + ", ".join(f"{share} %: {value:,}" for share, value in lengths.items())
    tools = found.tools
    yield (
        f"tools: defined in {tools.defined}, called in {tools.calling} transcripts; {tools.calls} calls "
        f"({tools.unanswered} without a result, {tools.unparsed} with arguments that are not a JSON object), "
        f"{tools.results} results ({tools.uncalled} without a call)"
    )
    if found.other_content:
        yield f"content that is not text and is not read: {_counts(found.other_content)}"
    yield f"languages: {_counts(found.languages)}"
    yield f"models: {_counts(found.models)}"
    yield from _turn_lines(found.turns)
    named = set(found.outcomes) - {"not recorded"}
    yield f"outcomes: {_counts(found.outcomes)}" + (
        "" if named else "; if records hold outcomes, name their key with --outcome-key"
    )
    yield (
        f"families {found.families}, by {_counts(found.family_rules) or 'no rule'}; "
        f"duplicate prompts: {found.exact_duplicates} exact, {found.near_duplicates} near"
    )
    for family in found.largest_families:
        yield f"  family of {family.transcripts}: {one_line(family.name)}: {one_line(family.opening)}"
    if found.masked:
        yield f"masked: {_counts(found.masked)}"
    for sample in found.samples:
        yield f"- {one_line(sample.id)} [{one_line(sample.family)}] {sample.roles}"
        yield f"    asked: {one_line(sample.first)}"
        yield f"    said:  {one_line(sample.last)}"


def _turn_lines(turns: TurnsRead) -> Iterable[str]:
    yield f"assistant turns by: {_counts({_AUTHORS[Author(name)]: count for name, count in turns.authors.items()})}"
    if turns.cut:
        yield f'assistant turns cut off (never judged "not aware"): {_counts(turns.cut)}'
    if turns.role:
        others = "; choose another with --model-role ROLE" if len(turns.calls) > 1 else ""
        yield f"model role read: {', '.join(map(one_line, turns.role))}; calls by role: {_counts(turns.calls)}{others}"
    if turns.kept:
        yield f"samples read although they ended early or in error: {_counts(turns.kept)}"


def _counts(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{one_line(name)} {count}" for name, count in list(counts.items())[:_FEW])
    return shown + (f" and {len(counts) - _FEW} more" if len(counts) > _FEW else "")
