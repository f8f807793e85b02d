"""The card of the linear classifier, how often it errs, made by one command: `python -m nla_eval.classifiers.card`.

Labelled texts that chose nothing give recall and false flags; real turns and explanations of no evaluation give the
false flags of daily use. Writes `data/card.json`, which every rate's sensitivity and specificity come from, and
`docs/classifier.md`. The labelled sets of `tests/data/frozen` are in the repository; the others are read from
--shared-data or NLA_EVAL_SHARED_DATA, and keep their figures where that is not given and the model is the same."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Judgement, Label, Outcome
from nla_eval.judging.classify import load_rubric
from nla_eval.judging.languages import languages_noted
from nla_eval.judging.turns import turn_texts

from ._card_counts import CARD_PATH, read_card
from ._card_page import page
from ._features import KINDS, WINDOW, model_hash
from .linear import Linear
from .train_linear import likeliest

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ROOT / "tests" / "data" / "frozen"
PAGE = ROOT / "docs" / "classifier.md"

FILES = {"turn": "turns.jsonl", "explanation": "explanations.jsonl"}
LABELLED = "awareness_labelled/labelled.jsonl"
TURN_SOURCES = ("oasst_en_100", "aider_sessions", "swe_agent_trajs", "tau_bench_airline")
EXPLANATION_SOURCES = {
    "nla_examples": ("nla_examples/nla_examples.jsonl", "explanation"),
    "nla_traces_canisli": ("nla_traces_canisli/traces.jsonl", "nla_output"),
}
NEAR_MISSES = frozenset(
    (
        *("denial", "asked", "fiction", "medical", "eval-word", "bench-word", "scenario", "science", "test-word"),
        *("word-sense", "trap", "watched", "reward", "grader", "probe", "training", "self"),
    )
)
"""Groups of the frozen sets' `none` texts that are hard negatives; its other `none` texts are ordinary."""
LENGTHS = ((0, 80), (80, 160), (160, 100_000))
"""Characters."""
CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Thresholds of the ROC points."""


@dataclass(frozen=True)
class Text:
    """One measured text."""

    text: str
    label: Label
    group: str = ""


def labelled_texts(path: Path, kind: str, source: str | None = None) -> list[Text]:
    """The texts of one kind, and of one source if given, of a labelled set; ambiguous ones are left out."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    kept = (r for r in rows if r["kind"] == kind and not r.get("ambiguous") and source in (None, r["source"]))
    return [Text(r["text"], Label(r["label"]), r.get("group", "")) for r in kept]


def real_turns(folder: Path) -> Iterable[tuple[str, list[str]]]:
    """Every part of every assistant turn of each source: what a model really said, of no evaluation."""
    from nla_eval.sources import SourceOptions, read
    from nla_eval.transcript import Arm, Transcript

    for source in TURN_SOURCES:
        options = SourceOptions(suite=source, arm=Arm.DEPLOYMENT, roles={"tool_output": "tool"})
        items = read(folder / source / "transcripts.jsonl", options)
        found = [part.text for item in items if isinstance(item, Transcript) for part in turn_texts(item.messages)]
        yield source, [text for text in found if text.strip()]


def real_explanations(folder: Path) -> Iterable[tuple[str, list[str]]]:
    """Public NLA explanations of no evaluation, by source."""
    for source, (file, field) in EXPLANATION_SOURCES.items():
        rows = (json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines())
        yield source, [row[field] for row in rows if row.get(field)]


def judge_all(linear: Linear, texts: Sequence[str], kind: str) -> list[Judgement]:
    """Judgements outside any event loop."""

    async def judge() -> list[Judgement]:
        return await linear.judge(list(texts), kind=kind)

    return anyio.run(judge)


def flags(judgements: Sequence[Judgement], linear: Linear) -> dict[str, int]:
    """How many judgements are aware under each headline, and how many are unclear, of how many."""
    counts = {h.value: sum(j.under(h, linear.rubric) is Outcome.AWARE for j in judgements) for h in Headline}
    return {"n": len(judgements), **counts, "unclear": sum(j.outcome is Outcome.UNCLEAR for j in judgements)}


def labelled_figures(linear: Linear, texts: Sequence[Text], kind: str) -> dict[str, Any]:
    """Hits and false flags by headline, and flags by label, of a labelled set."""
    judgements = judge_all(linear, [t.text for t in texts], kind)
    headlines: dict[str, dict[str, int]] = {}
    for headline in Headline:
        flagged = [j.under(headline, linear.rubric) is Outcome.AWARE for j in judgements]
        aware = [linear.rubric.aware(t.label, headline) for t in texts]
        headlines[headline.value] = {
            "hits": sum(f and a for f, a in zip(flagged, aware, strict=True)),
            "positives": sum(aware),
            "false": sum(f and not a for f, a in zip(flagged, aware, strict=True)),
            "negatives": len(aware) - sum(aware),
        }
    return {"headlines": headlines, "by_label": _by(linear, judgements, [t.label.value for t in texts])}


def frozen_figures(linear: Linear, kind: str) -> dict[str, Any]:
    """Everything that the frozen set of one kind says; needs a checkout.

    Raises:
        InputError: The frozen sets are not there, as in a wheel.
    """
    path = FROZEN / FILES[kind]
    if not path.is_file():
        raise InputError(f"no labelled set '{path.name}'; make the card in a checkout of the repository")
    texts = labelled_texts(path, kind)
    judgements = judge_all(linear, [t.text for t in texts], kind)
    none = ["none, near miss" if t.group in NEAR_MISSES else "none, ordinary" for t in texts]
    strata = [n if t.label is Label.NONE else "" for n, t in zip(none, texts, strict=True)]
    lengths = [f"{low}-{high}" for t in texts for low, high in LENGTHS if low <= len(t.text) < high]
    beliefs = [n if t.label is Label.BELIEF else "" for n, t in zip(lengths, texts, strict=True)]
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        **labelled_figures(linear, texts, kind),
        "none": _by(linear, judgements, strata),
        "belief_by_characters": _by(linear, judgements, beliefs),
        "roc": _roc(linear, texts, kind),
    }


def shared_figures(linear: Linear, folder: Path, show: bool = False) -> dict[str, Any]:
    """What the shared data say: the small labelled set, and real turns and explanations; `show` prints each flag."""
    sets = (("turn", "own"), ("explanation", "bare"), ("explanation", "inserted"))
    labelled = {
        f"{kind}, {source}": labelled_figures(linear, labelled_texts(folder / LABELLED, kind, source), kind)
        for kind, source in sets
    }
    real: dict[str, dict[str, Any]] = {}
    for kind, sources in (("turn", real_turns(folder)), ("explanation", real_explanations(folder))):
        real[kind] = {}
        for source, texts in sources:
            judgements = judge_all(linear, texts, kind)
            real[kind][source] = {
                **flags(judgements, linear),
                "languages": languages_noted(j.note for j in judgements),
            }
            for judgement in judgements if show else ():
                if judgement.outcome is Outcome.AWARE:
                    said = " | ".join(e.text for e in judgement.evidence)
                    print(f"flag: {source}: {','.join(judgement.labels)} {judgement.score:.3f}: {said}")
    return {"labelled": labelled, "real": real}


def make_card(shared: Path | None, looks: int, show: bool = False) -> dict[str, Any]:
    """The whole card.

    Args:
        shared: Folder of the data sets outside the repository; without it their figures are taken from the committed
            card of the same model.
        looks: How often the frozen sets were looked at while the classifier was built.
        show: Print every flag on a real text, to be read.

    Raises:
        InputError: Without `shared`, the committed card is of another model.
    """
    linear = Linear(load_rubric("strict"))
    if shared is not None:
        outside = shared_figures(linear, shared, show)
    else:
        before = read_card()
        if before["model"] != model_hash():
            raise InputError(
                "the card is of another model; give --shared-data (or NLA_EVAL_SHARED_DATA) to measure anew"
            )
        outside = {name: before[name] for name in ("labelled", "real")}
    return {
        "command": "python -m nla_eval.classifiers.card",
        "classifier": linear.name,
        "model": model_hash(),
        "rubric": f"{linear.rubric.id}@{linear.rubric.hash}",
        "looks_at_frozen": looks,
        "thresholds": {kind: linear.models[kind].thresholds for kind in KINDS},
        "window": WINDOW,
        "frozen": {kind: frozen_figures(linear, kind) for kind in KINDS},
        **outside,
    }


def _by(linear: Linear, judgements: Sequence[Judgement], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Flags by name; texts with an empty name are left out."""
    found: dict[str, list[Judgement]] = {}
    for name, judgement in zip(names, judgements, strict=True):
        if name:
            found.setdefault(name, []).append(judgement)
    return {name: flags(found[name], linear) for name in sorted(found)}


def _roc(linear: Linear, texts: Sequence[Text], kind: str) -> dict[str, list[dict[str, float | int]]]:
    """True and false flags by headline if its threshold stood elsewhere, without the rule of evidence."""
    mass: Mapping[Headline, Any] = likeliest(linear.models[kind], [t.text for t in texts], kind, linear.rubric)
    points: dict[str, list[dict[str, float | int]]] = {}
    for headline in Headline:
        aware = [linear.rubric.aware(t.label, headline) for t in texts]
        points[headline.value] = [
            {
                "from": cut,
                "hits": sum(bool(m >= cut) and a for m, a in zip(mass[headline], aware, strict=True)),
                "false": sum(bool(m >= cut) and not a for m, a in zip(mass[headline], aware, strict=True)),
            }
            for cut in CUTS
        ]
    return points


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the committed model; write the card and its page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    default = os.environ.get("NLA_EVAL_SHARED_DATA")
    parser.add_argument("--shared-data", type=Path, default=Path(default) if default else None)
    parser.add_argument("--looks", type=int, default=None, help="How often the frozen sets were looked at so far.")
    parser.add_argument("--show-flags", action="store_true", help="Print every flag on a real text.")
    options = parser.parse_args(arguments)
    looks = options.looks if options.looks is not None else read_card()["looks_at_frozen"]
    card = make_card(options.shared_data, looks, options.show_flags)
    CARD_PATH.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(card), encoding="utf-8")
    print(f"wrote {CARD_PATH.name} and {PAGE.name}")


if __name__ == "__main__":
    main()
