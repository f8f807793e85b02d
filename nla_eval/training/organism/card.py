"""The organism's card: its check by dose as a table, and what failed. In: checks. Out: text, and CARD.md with
check.json beside the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ...provenance import versions
from .bit import Separation
from .check import CheckedDose, CheckSize, demands_met
from .prompts import wordings

_FILE = "check.json"


class Card(BaseModel):
    """All checks of an organism, and how they were made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: tuple[CheckedDose, ...]
    conversations: int
    directions: int
    said: tuple[str, ...]
    """V of the free answers, one line per target that has answered."""
    made_with: dict[str, str]

    def findings(self) -> list[str]:
        """One line per demand of each dose above 0, shams left out: passed or failed."""
        return [
            f"{'passed' if met else 'FAILED'}: {found.target}: {demand}"
            for found in self.checks
            if found.dose and "-sham-" not in found.target
            for demand, met in demands_met(found).items()
        ]


def card_of(checks: Sequence[CheckedDose], size: CheckSize, said: Sequence[str] = ()) -> Card:
    """The card of some checks."""
    return Card(
        checks=tuple(checks), conversations=size.conversations, directions=size.directions, said=tuple(said),
        made_with=versions(),
    )  # fmt: skip


_COLUMNS = (
    "target", "dose", "reached", "without cue", "norm", "later tokens", "boundaries", "transcript", "cue hidden",
    "yes: cue / no cue", "KL: cue / no cue", "same top token",
)  # fmt: skip


def table(checks: Sequence[CheckedDose]) -> str:
    """A Markdown table with one row per check."""
    lines = [" | ".join(_COLUMNS), " | ".join(["---"] * len(_COLUMNS))]
    lines += [" | ".join(_cells(found)) for found in checks]
    return "\n".join(f"| {line} |" for line in lines)


def _cells(found: CheckedDose) -> list[str]:
    outputs = found.outputs
    return [
        found.target, f"{found.dose:g}", f"{found.reached:.2f}", f"{found.without:.2f}", f"{found.norm:.1f}",
        f"{found.bit.later:.2f}", f"{found.bit.boundary:.2f}", f"{found.bit.transcript:.2f}", _hidden(found.masked),
        f"{found.yes_cue:.2f} / {found.yes_without:.2f}", f"{outputs.kl_cue:.3f} / {outputs.kl_without:.3f}",
        f"{outputs.same_top_cue:.2f} / {outputs.same_top_without:.2f}",
    ]  # fmt: skip


def _hidden(found: Separation | None) -> str:
    return "" if found is None else f"{found.later:.2f}, {found.boundary:.2f}"


def causal_lines(checks: Sequence[CheckedDose]) -> list[str]:
    """What patching and ablation found, a sentence each."""
    lines: list[str] = []
    for found in checks:
        if patch := found.patching:
            lines.append(
                f"{found.target}: its mean shift, added to the plain target's block, moves the log-odds of yes by "
                f"{patch.moved:+.2f}; the largest of {patch.directions} random directions of that norm by "
                f"{patch.random_moved:+.2f} (rank {patch.directions - patch.above + 1} of {patch.directions + 1})."
            )
        if gone := found.ablation:
            lines.append(
                f"{found.target}: removing it takes away {_percent(gone.removed)} of the effect of {gone.effect:+.2f}: "
                f"more than {gone.above_random} of {gone.random} random directions (at most "
                f"{_percent(gone.best_random)}) and than {gone.above_facts} of {gone.facts} other facts' (at most "
                f"{_percent(gone.best_fact)})."
            )
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def write_card(folder: Path, card: Card) -> Path:
    """Write CARD.md and check.json. Returns the card's path."""
    (folder / _FILE).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    path = folder / "CARD.md"
    path.write_text(_text(folder.name, card), encoding="utf-8")
    return path


def _text(name: str, card: Card) -> str:
    cue = wordings().dates.cue
    causal = [f"- {line}" for line in (*causal_lines(card.checks), *card.said)]
    findings = [f"- {line}" for line in card.findings()]
    size = f"{card.conversations} held-out conversations, half to fit directions and half to test"
    return "\n".join(
        [
            f"# {name}",
            "",
            "smollm2-135m with a LoRA that carries a planted, unsaid state: the positive control.",
            "docs/positive_control.md says how it was made and what a pass shows.",
            f"Cue: the date in the system message is written as `{cue}`. Any other way to write it means nothing.",
            "Licence: Apache-2.0. Base: SmolLM2-135M-Instruct.",
            "",
            f"Check by dose ({size}; `nla-eval organism check --write`).",
            "AUROC of one direction for later response tokens, boundaries and the mean of a transcript; reached and",
            "without cue are in units of the natural shift.",
            "",
            table(card.checks),
            "",
            *causal,
            "",
            *findings,
            "",
        ]
    )
