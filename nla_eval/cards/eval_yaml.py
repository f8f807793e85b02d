"""Suite cards in the form of inspect_evals: one `eval.yaml` per suite, for registers and listings.

    python -m nla_eval.cards.eval_yaml FOLDER

In: the cards of the shipped suites. Out: FOLDER/<suite>/eval.yaml. The cards stay the source."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from .card import SuiteCard
from .listing import shipped_cards
from .needs import Needs

GROUP = "Scheming"
"""Group of inspect_evals that evaluation awareness belongs to."""
CONTRIBUTORS = ["nla_eval"]
_HUB = re.compile(r"([\w.-]+/[\w.-]+) at [0-9a-f]{7,}")


def eval_yaml(card: SuiteCard) -> dict[str, Any]:
    """The fields of a suite's `eval.yaml`."""
    found = _HUB.findall(card.source) if card.needs is Needs.HUB else []
    how = {"fetch_method": "load_dataset", "state": "pinned"}
    return {
        "title": card.title,
        "description": f"Evaluation awareness, {card.arm} arm: {card.source}. Licence of the data: {card.licence}",
        "group": GROUP,
        "contributors": CONTRIBUTORS,
        "version": card.version,
        "tasks": [{"name": card.name, **({"dataset_samples": card.count} if card.count else {})}],
        "external_assets": [{"type": "huggingface", "source": source, **how} for source in found],
        "tags": ["evaluation awareness", card.arm.value],
        "metadata": {"requires": {"internet": card.needs is Needs.HUB}},
    }


def write(folder: Path) -> list[Path]:
    """Write one file per shipped suite below `folder`, and return their paths."""
    written = []
    for name, path in shipped_cards().items():
        out = folder / name / "eval.yaml"
        out.parent.mkdir(parents=True, exist_ok=True)
        fields = eval_yaml(SuiteCard.load(path))
        out.write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
        written.append(out)
    return written


def main() -> None:
    """Write the files into the folder named on the command line and print their paths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    for path in write(parser.parse_args().folder):
        print(path)


if __name__ == "__main__":
    main()
