"""The classifier's card as a page, from the card's JSON alone: `docs/classifier.md` is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nla_eval.judgement import Headline
from nla_eval.stats.wilson import wilson

KIND = {"turn": "Turns (V)", "explanation": "Explanations (N)"}
HEADLINES = [headline.value for headline in Headline]

_HEAD = """# How often the linear classifier errs

Made by `python -m nla_eval.classifiers.card`; do not edit.
Classifier {classifier}, model {model}, rubric {rubric}.

- *Recall*: flagged among texts labelled aware. *False*: flagged among texts that are not. UNCLEAR is no flag.
- Brackets: Wilson 95 % interval, in %, over texts.
- The frozen sets (`tests/data/frozen`) and the labelled set chose no feature, word list or threshold. The frozen sets'
  aggregate figures were looked at {looks_at_frozen} times while the classifier was built; no single text of them was.
- Their negatives are mostly near misses. Real turns and explanations of no evaluation say what is flagged in daily use.
- Flags on real explanations were read once and narrowed the words that an explanation must hold to be flagged: their
  false flags are therefore not those of unseen text.
- English only: a text in another language is UNCLEAR, counted by language.
"""


def page(card: Mapping[str, Any]) -> str:
    """The page, Markdown."""
    parts = [_HEAD.format_map(card)]
    for kind, name in KIND.items():
        frozen, thresholds = card["frozen"][kind], card["thresholds"][kind]
        cuts = ", ".join(f"{headline} {cut}" for headline, cut in thresholds.items())
        parts.append(f"## {name}\n\nThresholds: {cuts}; windows of {card['window'][kind]} characters.\n")
        rows = [_errors("frozen", frozen["headlines"], h) for h in HEADLINES]
        for source, figures in card["labelled"].items():
            if source.startswith(kind):
                rows += [_errors(source.split(", ")[1], figures["headlines"], h) for h in HEADLINES]
        parts.append(_table(("set", "headline", "recall", "of", "false flags", "of"), rows))
        real = [_flags(source, counts) for source, counts in card["real"][kind].items()]
        parts.append("Real texts of no evaluation, flags:\n")
        parts.append(_table(("source", "texts", *HEADLINES, "unclear", "other languages"), real))
        parts.append("The frozen set by label (and `none` by group), flags:\n")
        strata = [*frozen["by_label"].items(), *frozen["none"].items()]
        parts.append(_table(("label", "texts", *HEADLINES, "unclear", "per 1,000 (broad)"), map(_stratum, strata)))
        lengths = frozen["belief_by_characters"].items()
        parts.append("`belief` texts of the frozen set by characters, flags:\n")
        parts.append(
            _table(("characters", "texts", *HEADLINES, "unclear", "per 1,000 (broad)"), map(_stratum, lengths))
        )
        parts.append("ROC on the frozen set, had the threshold stood elsewhere (without the rule of evidence):\n")
        parts.append(_table(("headline", "from", "recall", "false flags"), _roc(frozen)))
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _errors(name: str, headlines: Mapping[str, Mapping[str, int]], headline: str) -> list[str]:
    counts = headlines[headline]
    recall, false = _share(counts["hits"], counts["positives"]), _share(counts["false"], counts["negatives"])
    return [name, headline, recall, str(counts["positives"]), false, str(counts["negatives"])]


def _share(successes: int, n: int) -> str:
    """A count as percent with its interval."""
    found = wilson(successes, n)
    if found.value is None or found.low is None or found.high is None:
        return "none"
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _flags(name: str, counts: Mapping[str, Any]) -> list[str]:
    languages = ", ".join(f"{language} {n}" for language, n in counts["languages"].items())
    return [name, str(counts["n"]), *(str(counts[h]) for h in HEADLINES), str(counts["unclear"]), languages]


def _stratum(item: tuple[str, Mapping[str, int]]) -> list[str]:
    name, counts = item
    per_thousand = f"{1000 * counts['broad'] / counts['n']:.0f}"
    return [name, str(counts["n"]), *(str(counts[h]) for h in HEADLINES), str(counts["unclear"]), per_thousand]


def _roc(frozen: Mapping[str, Any]) -> Iterable[list[str]]:
    for headline in HEADLINES:
        counts = frozen["headlines"][headline]
        for point in frozen["roc"][headline]:
            recall, false = _share(point["hits"], counts["positives"]), _share(point["false"], counts["negatives"])
            yield [headline, f"{point['from']}", recall, false]
