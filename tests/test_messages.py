"""Every error says how to mend it, and every command and option that a message names exists.

The messages are read from the source, so that one that no test provokes is checked too."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from nla_eval.commands.reference import TREE

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nla_eval", "suites", "classifiers", "reports")
ERRORS = {"InputError", "PackError", "StoreError", "NlaEvalError", "PrerequisiteError"}
WORDS = """
    add again allow call capture check choose close convert copy correct declare delete expected fetch free give
    install judge keep known label leave lower make match measure move must name needs only option options pass
    put quote raise read reinstall remove rename restore run separate see set shorten spell start store swap
    tally try use with write writes
"""
MEND = re.compile(rf"--[a-z]|-[TM] |\b(?:its (?:keys|columns) are|{'|'.join(WORDS.split())})\b", re.IGNORECASE)
"""A word that tells what to do."""
WITHOUT = {
    "nla_eval/bench/training_memory.py": "carries the last line of the command it ran",
    "nla_eval/cards/choices.py": "carries pydantic's words, which say what was expected",
    "nla_eval/commands/train.py": "carries the reason of the system",
    "nla_eval/replay/replay.py": "a reason of one transcript, which becomes a row",
    "nla_eval/sources/_detect.py": "carries the hint of a reader",
    "nla_eval/sources/_source.py": "carries the reasons of the records",
    "nla_eval/sources/_tables.py": "a reason of one file, which becomes a row",
    "nla_eval/sources/inspect_log.py": "a reason of one record, which becomes a row",
    "nla_eval/sources/hub.py": "carries the hub's words and a hint",
    "nla_eval/engines/vllm/options.py": "carries what was expected",
    "nla_eval/models/pack.py": "carries the mend of the pack",
    "nla_eval/tally/gather.py": "asked for by code, with a signature that it was given",
    "classifiers/_features.py": "carries how the file is made again",
}
"""Files with a message that has no such word, and why."""
COMMAND = re.compile(r"nla-eval ([a-z][^;.,\n\"'`()|]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


class Message(NamedTuple):
    """A literal text of the source; "{}" stands for a value."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def literal(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
    if isinstance(node, ast.BinOp):
        left, right = literal(node.left), literal(node.right)
        return None if left is None or right is None else left + right
    return None


def messages() -> tuple[list[Message], list[Message]]:
    """The messages of raised errors; and every literal that is no docstring."""
    errors, texts = [], []
    for path in (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))):
        name, skipped = path.relative_to(ROOT).as_posix(), set()
        for node in ast.walk(ast.parse(path.read_text())):  # parents come before their children
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                error, text = getattr(node.exc.func, "id", ""), literal(node.exc.args[0])
                errors += [Message(name, node.lineno, text)] if error in ERRORS and text else []
            if isinstance(node, ast.Expr):
                skipped.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                skipped |= {id(value) for value in node.values}
            if isinstance(node, ast.expr) and id(node) not in skipped and (text := literal(node)):
                texts.append(Message(name, node.lineno, text))
    return errors, texts


RAISED, TEXTS = messages()


def lacking(found: list[Message]) -> list[str]:
    return [str(m) for m in found if not MEND.search(m.text) and m.file not in WITHOUT and m.text.strip("{}: ")]


def unknown(message: Message) -> list[str]:
    """Commands and options of nla-eval that a message names and that do not exist."""
    found = []
    for match in COMMAND.finditer(message.text):
        words = match[1].replace(":", " ").split()
        known = next((TREE[tuple(words[:n])] for n in (2, 1) if tuple(words[:n]) in TREE), None)
        if known is None or known.group:
            found.append(match[0])
            continue
        found += [f"{option} of {match[0]}" for option in OPTION.findall(match[1]) if option not in known.options]
    return found


def test_every_error_says_what_to_do() -> None:
    assert len(RAISED) > 150
    assert lacking(RAISED) == []


def test_an_error_that_only_complains_is_found() -> None:
    assert lacking([Message("nla_eval/planted.py", 1, "the file '{}' is bad")])


def test_every_command_that_a_message_names_exists_with_its_options() -> None:
    assert any("nla-eval report" in m.text for m in TEXTS)
    assert [f"{m.file}:{m.line}: {wrong}" for m in TEXTS for wrong in unknown(m)] == []


@pytest.mark.parametrize("text", ["run: nla-eval reed x", "run: nla-eval read x --wrong", "then nla-eval suite"])
def test_a_planted_command_of_nothing_is_found(text: str) -> None:
    assert unknown(Message("planted.py", 1, text))


def test_every_option_that_an_error_names_exists_somewhere() -> None:
    ours = {option for command in TREE.values() for option in command.options}
    inspects = {"--model", "--model-role", "--scorer"}
    others = {
        "--enable-prompt-embeds": "vllm serve",
        "--data-parallel-size": "vllm serve",
        "--max-model-len": "vllm serve",
        "--nproc-per-node": "torchrun",
        "--no-deps": "pip",
        "--only-binary": "pip",
        "--target": "pip",
        "--shared-data": "python -m nla_eval.classifiers.card",
        "--out": "python -m nla_eval.inspect_ext.on_policy",
    }
    named = {option: str(m) for m in RAISED for option in OPTION.findall(m.text)}
    assert {o: where for o, where in named.items() if o not in ours | inspects | others.keys()} == {}


def test_every_printed_inspect_eval_names_a_model() -> None:
    printed = [m for m in TEXTS if re.search(r"\binspect eval [\w{}]+(?:/|\.py)", m.text)]
    assert printed
    assert [str(m) for m in printed if "--model" not in m.text and "nla_eval/awareness.py" not in m.file] == []
