"""Writes a pack's card: `card.json` from a record and the facts of its run, and the same as Markdown. Computes no
figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_text
from ..models.setting import SETTING
from .ablation import CONSTANT, EMPTY, REFERENCE, REFERENCE_MASKED, SHUFFLED, Condition
from .figures import Figure
from .markdown import markdown_table
from .record import Record
from .setting_card import SettingCard, setting_text
from .tasks import READERS, Task

CONTROLS = {
    "empty_fve_meannorm": EMPTY,
    "constant_fve_meannorm": CONSTANT,
    "shuffled_fve_meannorm": SHUFFLED,
    "reference_fve_meannorm": REFERENCE,
    "reference_masked_overlap_fve_meannorm": REFERENCE_MASKED,
}
"""Names of the controls in the first cards, and their rows in the ablation table."""
CANNOT = "this pack cannot express belief: words about testing do not set told positions apart from untold ones"


def card_entries(record: Record) -> dict[str, Any]:
    """The card.json entries of a record: headline figures by name, then the record itself.

    A record without told positions gives no entries on belief, so that the card keeps its own.
    """
    entries: dict[str, Any] = {name: f.as_dict() for name, f in record.figures.items()}
    entries["controls"] = {
        name: found.fve_meannorm.as_dict()
        for name, row in CONTROLS.items()
        if (found := record.condition(row)) is not None
    }
    if record.told is not None:
        told = record.told
        entries["told_recall"] = told.recall.as_dict()
        entries["expresses_belief"] = told.expresses_belief
        entries["expresses_belief_reason"] = "" if told.expresses_belief else CANNOT
        entries["told"] = {
            "recall": told.recall.as_dict(),
            "untold": told.untold.as_dict(),
            "difference": told.difference.as_dict(),
            "note": "any word about testing in the explanation; families of one notice, matched but for one sentence",
        }
    if record.told_judged is not None:
        entries["told_judged"] = record.told_judged.model_dump(mode="json")
    entries["record"] = record.model_dump(mode="json")
    return entries


def shown(figure: Figure) -> str:
    """A figure with its interval as text: "0.341 [0.299, 0.377]"."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def record_text(record: Record) -> str:
    """A record as Markdown: headline figures, ablation table, paraphrases, tasks, recurrence, claims."""
    facts = record.held_out
    lines = [
        f"Measured on {facts.rows} held-out positions of {facts.conversations} conversations ({facts.kind}, rows "
        f"{facts.digest}); 95 % intervals by conversation.",
        "",
        *markdown_table(("figure", "value", "n"), [(k, shown(f), str(f.n)) for k, f in record.figures.items()]),
        "",
        "## What the explanation is worth without its parts",
        "",
        *_conditions(record.conditions),
    ]
    if record.paraphrase:
        lines += ["", "## Hand-written explanations and their paraphrases", "", *_conditions(record.paraphrase)]
    if record.tasks:
        lines += ["", "## What can be told from the explanation", "", *_tasks(record.tasks)]
    lines += ["", *(f"Not measured: {name} ({why})." for name, why in record.not_measured.items())]
    lines += [*_told(record), *_told_judged(record), *_recurrence(record), *_said(record)]
    return "\n".join(lines)


def _told(record: Record) -> Iterator[str]:
    if (told := record.told) is not None:
        yield ""
        yield f"Words about testing: {shown(told.recall)} of told positions, {shown(told.untold)} of untold ones, "
        yield f"difference {shown(told.difference)}." + ("" if told.expresses_belief else f" So {CANNOT}.")


def _told_judged(record: Record) -> Iterator[str]:
    if (told := record.told_judged) is not None:
        yield from ("", f"## Told recall of N, judged by {told.classifier} under {told.rubric}", "")
        rows = [
            (name.value, shown(r.recall), shown(r.untold), shown(r.difference), str(r.recall.n + r.untold.n))
            for name, r in told.headlines.items()
        ]
        yield from markdown_table(("headline", "told", "untold", "difference", "n"), rows)
        if told.unjudged:
            yield f"{told.unjudged} explanations were not judged (truncated or failed) and are left out."


def _recurrence(record: Record) -> Iterator[str]:
    if record.recurrence:
        yield from ("", "## Claims that recur over ten neighbouring positions", "")
        rows = [
            (f"{r.least} to {r.most}", shown(r.supported), shown(r.by_chance), str(r.supported.n))
            for r in record.recurrence
        ]
        yield from markdown_table(("said at", "word stands in the context", "in another window's", "claims"), rows)


def _said(record: Record) -> Iterator[str]:
    if record.said:
        yield from ("", "## Claims held against the text", "")
        rows = [
            (c.name, shown(c.made), *(shown(f) if f else "-" for f in (c.true, c.by_chance)), str(c.undecided))
            for c in record.said
        ]
        yield from markdown_table(("claim", "made", "true", "true of another conversation", "not decided"), rows)


def card_text(card: Mapping[str, Any]) -> str:
    """A card as Markdown. An old card without a record shows its figures only."""
    lines = [f"# Pack {card['pack']}", "", f"Target `{card['target']}`, output of block {card['layer']}.", ""]
    if "record" in card:
        lines.append(record_text(Record.model_validate(card["record"])))
    else:
        figures = {**card, **card.get("controls", {})}
        rows = [(name, *_entry(f)) for name, f in figures.items() if isinstance(f, Mapping) and "interval" in f]
        lines += markdown_table(("figure", "value", "n"), rows)
    if SETTING in card:
        lines += setting_text(SettingCard.model_validate(card[SETTING]))
    lines += ["", *_claims(card), *_facts(card), *_examples(card.get("examples", []))]
    return "\n".join(lines).rstrip() + "\n"


def write_card(card: Mapping[str, Any], folder: Path) -> None:
    """Write card.json and CARD.md into a pack's folder, each whole or not at all."""
    write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", folder / "card.json")
    write_text(card_text(card), folder / "CARD.md")


def _entry(entry: Mapping[str, Any]) -> tuple[str, str]:
    found = Figure.read(entry)
    return shown(found), str(found.n)


def _conditions(conditions: Sequence[Condition]) -> list[str]:
    rows = [
        (c.name, shown(c.fve_nrm), shown(c.fve_meannorm), "" if c.drop is None else shown(c.drop), str(c.fve_nrm.n))
        for c in conditions
    ]
    return markdown_table(("explanation", "fve_nrm", "fve_meannorm", "lost against the whole", "n"), rows)


def _tasks(tasks: Sequence[Task]) -> list[str]:
    rows = [
        (t.name, t.metric, f"{t.chance:.3f}", *(shown(t.readers[r]) if r in t.readers else "-" for r in READERS))
        for t in tasks
    ]
    return [
        *markdown_table(("task", "metric", "chance", *(r.replace("_", " ") for r in READERS)), rows),
        "",
        *(f"- {t.name}: {t.note}" for t in tasks if t.note),
    ]


def _claims(card: Mapping[str, Any]) -> Iterator[str]:
    if truth := card.get("claims"):
        yield "## Claims about the context, read by hand"
        yield ""
        rows = [(name, *_entry(figure)) for name, figure in truth["figures"].items()]
        yield from markdown_table(("type", "true, of true and false", "n"), rows)
        yield ""
        yield f"{truth['read']} explanations read; {truth['note']}"
        yield ""


def _facts(card: Mapping[str, Any]) -> Iterator[str]:
    if run := card.get("regurgitation"):
        yield "Longest run of words shared with training text and not with its own context: "
        yield f'{run["longest_shared_run_words"]} ("{run["run"]}").'
        yield ""
    known = {key: card[key] for key in ("data", "hours", "config") if key in card}
    if known:
        yield from ("## Data and cost", "", "```json", json.dumps(known, indent=1), "```", "")


def _examples(examples: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if examples:
        yield from ("## Held-out examples, drawn with a fixed seed", "")
    for example in examples:
        yield from (
            "```",
            "explanation: " + example["explanation"],
            "",
            "reference:   " + example["reference"],
            "```",
            "",
        )
