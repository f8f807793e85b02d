"""`nla-eval organism train` and `check`: make the positive control, and show by dose that it is what it claims."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..models.adapter import load_adapter
from ..models.target import DEFAULT_TARGET, load_target
from ..pipeline.options import checked, whole_number

if TYPE_CHECKING:
    from ..training.organism.config import OrganismConfig

FREE_ANSWERS = "positive_control_free"
"""Suite whose answers show whether an organism says its state."""
_MIN_CONVERSATIONS = 4


@dataclass(frozen=True)
class CheckRequest:
    """The settings of one check."""

    organism: str
    doses: str
    shams: str
    conversations: int
    directions: int
    threads: int
    write: bool


def _recipe(planted: str) -> OrganismConfig:
    from ..training.organism.config import OrganismConfig, Planted

    if planted not in set(Planted):
        raise InputError(f"--planted '{planted}'; expected one of {', '.join(Planted)}")
    return OrganismConfig.recipe(Planted(planted))


def plan_train(planted: str, run_folder: Path) -> None:
    """Print what training would compute, and what of it is done. Raises InputError for an unknown name."""
    config = _recipe(planted)
    optim = config.optim
    print(
        f"{config.name}: the natural shift of {config.scenes} conversations, then {optim.samples} samples in "
        f"{-(-optim.samples // optim.batch)} steps; LoRA of rank {config.rank} on blocks {config.first_layer} to "
        f"{config.layer} of {config.target}"
    )
    done = (run_folder / config.name / "organism.jsonl").is_file()
    print(f"{'a stopped run is there and goes on' if done else 'nothing is done yet'}: {run_folder}")


def train(planted: str, run_folder: Path, out: Path | None, threads: int) -> None:
    """Train what `planted` names and write its adapter. Raises InputError for an unknown name."""
    config = _recipe(planted)
    checked("threads", threads, whole_number(1))
    import torch

    from ..training.organism.train import OrganismRun

    torch.set_num_threads(threads)
    run = OrganismRun(config, run_folder / config.name)
    run.train()
    folder = out or run_folder / "adapters" / config.name
    run.export(folder)
    print(f"{config.name} in {folder}; next: nla-eval organism check {folder}")


def plan_check(request: CheckRequest) -> None:
    """Print what a check would compute. Raises InputError as `check` does."""
    doses, names = _targets(request)
    print(f"{len(names) + 1} targets: {DEFAULT_TARGET}, {', '.join(names)}")
    print(
        f"each on {request.conversations} held-out conversations with the cue and without it; at dose {doses[-1]} also "
        f"with the cue hidden, patching, and ablation of {request.directions} random directions"
    )


def check(request: CheckRequest) -> None:
    """Check an organism and its shams, print the table and the findings, and write the card if asked.

    Raises:
        InputError: An adapter cannot be found or does not belong to the default target, or a dose is unknown.
    """
    doses, names = _targets(request)
    folder = load_adapter(request.organism).path
    import torch

    from ..training.organism.card import card_of, table, write_card
    from ..training.organism.check import Checker, CheckSize
    from ..training.organism.config import OrganismConfig

    torch.set_num_threads(request.threads)
    size = CheckSize(conversations=request.conversations, directions=request.directions)
    checker = Checker(DEFAULT_TARGET, OrganismConfig().layer, size)
    found = [checker.check(DEFAULT_TARGET, 0.0)]
    for name, dose in zip(names, [*doses, *[doses[-1]] * (len(names) - len(doses))], strict=True):
        last = name == names[len(doses) - 1]
        found.append(checker.check(name, float(dose), causal=last, masked=last))
        print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(found))
    card = card_of(found, size, [line for name in names if (line := said_line(name))])
    for line in card.findings():
        print(line)
    if request.write:
        print(f"card in {write_card(folder, card)}")


def _targets(request: CheckRequest) -> tuple[list[str], list[str]]:
    """The doses, and the targets with an adapter: the organism by dose, then its shams at the last one."""
    checked("conversations", request.conversations, whole_number(_MIN_CONVERSATIONS))
    checked("directions", request.directions, whole_number(1))
    checked("threads", request.threads, whole_number(1))
    doses = [part.strip() for part in request.doses.split(",") if part.strip()]
    shams = [part.strip() for part in request.shams.split(",") if part.strip()]
    if not doses:
        raise InputError("--doses names no dose; give some of 0.5,1")
    names = [f"{DEFAULT_TARGET}+{request.organism}@{dose}" for dose in doses]
    names += [f"{DEFAULT_TARGET}+{sham}@{doses[-1]}" for sham in shams]
    for name in names:
        load_target(name)  # a missing adapter or dose shows before anything is computed
    return doses, names


def said_line(name: str) -> str:
    """V of a target's kept answers to the suite with free answers, by variant; empty if it has not answered yet."""
    import anyio

    from ..inspect_ext.on_policy import AnswerSettings, answer_key, book_for, with_answer
    from ..judgement import Outcome
    from ..judging.classify import judge_messages, make_classifier
    from ..suite import get_suite

    suite, target = get_suite(FREE_ANSWERS), load_target(name)
    book, classifier = book_for(suite), make_classifier()
    counts: dict[str, Counter[str]] = {}
    for prompt in suite.load():
        answer = book.get(answer_key(prompt.digest, target.hash, AnswerSettings()))
        if answer is None:
            return ""
        full = with_answer(prompt, answer)
        judged = anyio.run(judge_messages, full.messages, full.digest, classifier, full.turn_facts)
        counts.setdefault(prompt.variant or "", Counter()).update(judged["outcome"].to_list())
    parts = [
        f"{variant} {count[Outcome.AWARE.value]} of {count.total()} ({count[Outcome.TRUNCATED.value]} cut off)"
        for variant, count in counts.items()
    ]
    return f"{target.name}: said in its own answers: {', '.join(parts)}; {classifier.name}, {classifier.rubric.id}."
