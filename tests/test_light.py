"""Help, lists and user errors are fast: they appear before anything slow is imported."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "scipy", "sklearn")
ENDED = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr))
"""
COMMAND = ENDED + "sys.argv = ['nla-eval', *sys.argv[1:]]\nfrom nla_eval.commands.cli import main\nmain()"


def ended(code: str, *arguments: str, folder: Path = ROOT, **settings: str) -> tuple[int, str, set[str]]:
    """(exit code, what was printed, modules at the end) of a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    said, _, modules = done.stderr.rstrip().rpartition("\n")
    return done.returncode, done.stdout + said, set(json.loads(modules))


def loaded(modules: set[str], *packages: str) -> list[str]:
    return [name for name in packages if name in modules]


def test_help_imports_nothing_but_the_parser() -> None:
    code, said, modules = ended(COMMAND, "--help")
    assert code == 0, said
    assert loaded(modules, *HEAVY, "inspect_ai", "polars", "numpy", "pydantic") == []


def test_the_list_of_suites_reads_cards_and_imports_neither_inspect_nor_a_suite() -> None:
    code, said, modules = ended(COMMAND, "suite", "list")
    assert code == 0, said
    assert loaded(modules, *HEAVY, "inspect_ai", "polars", "numpy", "nla_eval.suite", "nla_eval.suites.blackmail") == []
    names = {line.split()[0] for line in said.splitlines() if line and line[0] != " "}
    assert {card.stem for card in (ROOT / "suites").glob("*.yaml")} < names


def test_the_door_lists_suites_without_the_parser_and_leaves_all_else_to_it(tmp_path: Path) -> None:
    door = COMMAND.replace("commands.cli", "commands.door")
    code, said, modules = ended(door, "suite", "list")
    assert code == 0, said
    assert said == ended(COMMAND, "suite", "list")[1]
    assert loaded(modules, *HEAVY, "typer", "rich", "pydantic", "inspect_ai") == []
    code, said, modules = ended(door, "suite", "list", "--help")
    assert code == 0, said
    assert "typer" in modules
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "odd.yaml").write_text("name: odd\n")
    code, said, _ = ended(door, "suite", "list", folder=tmp_path)
    assert code == 2
    assert said.strip().splitlines()[-1].startswith("nla-eval: suite card odd.yaml: ")


@pytest.mark.parametrize(
    "code",
    [
        "import nla_eval._registry",
        "sys.argv = ['inspect', 'list', 'tasks', 'suites']\nfrom inspect_ai._cli.main import main\nmain()",
    ],
)
def test_listing_inspect_tasks_imports_nothing_heavy(code: str) -> None:
    status, said, modules = ended(ENDED + code)
    assert status == 0, said
    assert loaded(modules, *HEAVY) == []


MISTAKES = {
    "read nowhere --out s": "'nowhere' is neither a file nor a suite",
    "read here --deployment nowhere --out s": "'nowhere' is neither a file nor a suite",
    "read blackmail --out s --arm sideways": "arm is 'sideways'",
    "read blackmail --out s --target nope": "target 'nope' is neither",
    "read blackmail --out s --pack nope": "no pack 'nope'",
    "read blackmail --out s --engine nope": "unknown engine 'nope'",
    "read blackmail --out s --dtype int3": "dtype is 'int3'",
    "read blackmail --out s --lanes bogus": "unknown lane 'bogus'",
    "read blackmail --out s --match bogus": "'bogus'",
    "read gpqa --out s": "suite 'gpqa' needs the Hugging Face hub",
    "read hf://no-one/nothing --out s": "'hf://no-one/nothing' needs the Hugging Face hub",
    "read blackmail --out s --target no-one/nothing": "could not be fetched from the hub",
    "read blackmail --out s --pack qwen2.5-7b-l20": "could not be fetched from the hub",
    "read blackmail --out s --wrong": "No such option",
    "explore nowhere": "no file or folder 'nowhere'",
    "explore --port 99999": "port is 99999; expected a number from 0 to 65535",
    "explore --window sideways": "unknown window 'sideways'",
    "explore --max-tokens 0": "max_tokens is 0",
    "explore --port 0 --target nope": "target 'nope' is neither",
    "explore --port 0 --pack nope": "no pack 'nope'",
    "report nowhere.eval": "no log or store at 'nowhere.eval'",
    "report nowhere.eval --classifier nope": "unknown classifier 'nope'",
    "report nowhere.eval --rubric nope": "unknown rubric 'nope'",
    "report nowhere.eval --format nope": "unknown report 'nope'",
    "demo --target nope": "target 'nope' is neither",
    "store compact nowhere": "no store of readings at 'nowhere'",
    "suite inspect nowhere": "no file or folder 'nowhere'",
    "suite inspect hf://no-one/nothing": "needs the Hugging Face hub",
    "suite add nowhere --name mine --arm sideways --licence X": "--arm 'sideways'",
    "pack verify nope": "no pack 'nope'",
    "pack verify --target nope": "target 'nope' is neither",
    "pack card nope": "no pack 'nope'",
    "pack card nope --measure": "no pack 'nope'",
    "pack card --measure --source nope": "no held-out source 'nope'",
    "pack card --measure --run nowhere": "'nowhere' is not a folder",
    "pack card --measure --rows 1": "--rows 1",
    "pack card --measure --only nope": "unknown section 'nope'",
    "pack card --measure --dtype int3": "dtype is 'int3'",
    "pack compare nope nope": "no pack 'nope'",
    "pack compare nope nope --measure": "no pack 'nope'",
    "pack judge-sheet sheet.csv --pack nope": "no pack 'nope'",
    "pack curve nowhere.json": "record nowhere.json: no such file",
    "pack curve here --out plot.gif": "'plot.gif'; expected a .png or .svg file",
    "pack export here --pack nope": "exists already",
    "pack export new --format nope": "unknown format 'nope'",
    "pack import nowhere new": "no pack 'nowhere'",
    "pack merge new --pack nope": "no pack 'nope'",
    "train nowhere.yaml": "no training configuration 'nowhere.yaml'",
    "train wrong.yaml": "training config wrong.yaml",
    "train run.yaml --measure 1": "--measure 1",
    "train run.yaml --from-pack nope": "no pack 'nope'",
    "reed blackmail": "No such command 'reed'",
    "read blackmail": "Missing option '--out'",
    "suite add chats.jsonl --name mine": "Missing option '--arm'",
    "read blackmail --out s --positions nope": "unknown position policy 'nope'",
    "read blackmail --out s --limit 0": "limit is 0; expected a whole number of at least 1",
    "read blackmail --out s --draws 0": "draws is '0'",
    "read blackmail --out here": "--out 'here': 'here' is a file; give a folder",
    "demo --out here/deeper": "'here' is a file; give a folder",
    "read own_usage --out s": "inspect eval nla_eval/own_usage --model nla/smollm2-135m -T path=FILE",
    "report here": "give a finished .eval log",
    "report empty": "give a folder that nla-eval read or inspect eval wrote",
    "suite inspect here": "'here' is an empty file",
    "suite inspect wrong.yaml": "no reader knows it",
    "suite inspect empty": "no file in this folder has a known format",
    "suite inspect chats.jsonl --reader nope": "unknown source 'nope'",
    "suite inspect chats.jsonl --role x": "--role 'x'",
    "suite inspect chats.jsonl --near-duplicates 2": "--near-duplicates 2.0",
    "suite add chats.jsonl --name 1st --arm deployment --licence X": "--name '1st'",
    "suite add chats.jsonl --name blackmail --arm deployment --licence X": "is a shipped suite; choose another --name",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_before_anything_heavy_is_imported(line: str, tmp_path: Path) -> None:
    chat = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    files = {"here": "", "wrong.yaml": "colour: red\n", "run.yaml": "name: mine\n", "chats.jsonl": chat}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    code, said, modules = ended(COMMAND, *line.split(), folder=tmp_path, NO_COLOR="1", COLUMNS="200")
    assert code == 2, said
    assert MISTAKES[line] in " ".join(said.split())
    assert "Traceback" not in said
    assert loaded(modules, *HEAVY) == []


@pytest.mark.parametrize(
    "module",
    ["awareness", "_registry", "commands.read", "commands.report", "commands.demo", "commands.suites", "commands.store",
     "commands.pack", "commands.pack_cards", "commands.pack_measure", "engines.hf", "engines.self_test",
     "engines.vllm.server", "pipeline.runtime", "measure.card", "measure.evaluate", "measure.compare", "tally.gather"],
)  # fmt: skip
def test_a_user_without_a_training_run_never_imports_training(module: str) -> None:
    status, said, modules = ended(f"{ENDED}import nla_eval.{module}")
    assert status == 0, said
    assert [name for name in modules if name.startswith("nla_eval.training")] == []


@pytest.mark.parametrize("line", ["report {store}", "pack card", "pack compare smollm2-135m-l20 smollm2-135m-l20"])
def test_reports_and_cards_of_packs_do_not_import_training(line: str, tmp_path: Path) -> None:
    _, _, modules = ended(COMMAND, *line.format(store=tmp_path).split(), folder=tmp_path)
    assert [name for name in modules if name.startswith("nla_eval.training")] == []


def test_one_module_imports_what_inspect_keeps_private() -> None:
    private = ROOT / "nla_eval" / "inspect_ext" / "private.py"
    drawn = ROOT / "tests" / "inspect_ext" / "test_scoring.py"  # the terminal table has no public name
    found = set()
    rooms = ("nla_eval", "suites", "classifiers", "reports", "tests")
    for path in (path for room in rooms for path in ROOT.glob(f"{room}/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else []
            if any(name.startswith("inspect_ai.") and "._" in name for name in names):
                found.add(path)
    assert found == {private, drawn}


def test_the_lowest_versions_tested_are_the_lower_bounds() -> None:
    pinned = re.search(r"^OLDEST := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert pinned is not None
    allowed = (ROOT / "pyproject.toml").read_text()
    for name, version in (package.split("==") for package in pinned[1].split()):
        assert re.search(rf'"{name}>={re.escape(version.removesuffix(".0"))}(\.0)?,', allowed), name
