"""A lint of the suites: the conventions of inspect_evals that apply here, each as a rule over a suite's file and card.

    python -m nla_eval.cards.conventions

`make check` runs it. It reads source, imports no suite, and fails for an exception that is no longer needed. What of
the conventions does not apply stands in docs/release.md."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .card import SuiteCard
from .listing import shipped_cards
from .needs import Needs

EXCEPTIONS: Mapping[tuple[str, str], str] = {}
"""(rule, suite) -> why the rule does not hold there."""
_LOADERS = frozenset(("load_dataset", "hf_dataset", "hf_hub_download", "snapshot_download"))
_DRAWS = frozenset(("choice", "choices", "random", "randint", "sample", "shuffle", "uniform"))


@dataclass(frozen=True)
class SuiteFile:
    """A suite as its author wrote it."""

    name: str
    tree: ast.Module
    card: SuiteCard

    @property
    def tasks(self) -> list[ast.FunctionDef]:
        """Functions with `@task`."""
        functions = [node for node in self.tree.body if isinstance(node, ast.FunctionDef)]
        return [f for f in functions if any(_called(decorator) == "task" for decorator in f.decorator_list)]

    @property
    def calls(self) -> list[ast.Call]:
        """Every call in the file."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]


Rule = Callable[[SuiteFile], Iterator[str]]


def one_task_of_its_name(suite: SuiteFile) -> Iterator[str]:
    """A file has one task, called as the file is."""
    names = [task.name for task in suite.tasks]
    if names != [suite.name]:
        yield f"tasks {', '.join(names) or 'none'}; expected {suite.name}"


def documented(suite: SuiteFile) -> Iterator[str]:
    """The file and its task have a docstring, and the task says that it returns a Task."""
    if not ast.get_docstring(suite.tree):
        yield "the file has no docstring"
    for task in suite.tasks:
        if not ast.get_docstring(task):
            yield f"task {task.name} has no docstring"
        if task.returns is None or ast.unparse(task.returns) != "Task":
            yield f"task {task.name} does not say '-> Task'"


def attributes(suite: SuiteFile) -> Iterator[str]:
    """A task's attributes are constants, so that `inspect list tasks` shows them without importing the file."""
    for task in suite.tasks:
        for decorator in task.decorator_list:
            for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if not isinstance(keyword.value, ast.Constant):
                    yield f"attribute {keyword.arg} of task {task.name} is no constant"


def pinned(suite: SuiteFile) -> Iterator[str]:
    """What is fetched is fetched at a revision."""
    for call in suite.calls:
        if _called(call) in _LOADERS and "revision" not in {keyword.arg for keyword in call.keywords}:
            yield f"line {call.lineno}: {_called(call)} without revision="


def seeded(suite: SuiteFile) -> Iterator[str]:
    """Nothing is drawn from the process's own random state."""
    for call in suite.calls:
        called = ast.unparse(call.func)
        if called.startswith("random.") and called.removeprefix("random.") in _DRAWS:
            yield f"line {call.lineno}: {called}; use random.Random(seed)"
        if called == "random.Random" and not call.args:
            yield f"line {call.lineno}: random.Random without a seed"


def public_inspect(suite: SuiteFile) -> Iterator[str]:
    """Only Inspect's public interface is imported."""
    for node in ast.walk(suite.tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module.startswith("inspect_ai.") and "._" in module:
                yield f"private import of {module}"


def silent(suite: SuiteFile) -> Iterator[str]:
    """A suite prints nothing and reads no environment variable."""
    for call in suite.calls:
        if ast.unparse(call.func) in ("print", "os.getenv", "os.environ.get"):
            yield f"line {call.lineno}: {ast.unparse(call.func)}"


def sized(suite: SuiteFile) -> Iterator[str]:
    """The card says how many samples there are, unless they are the user's own."""
    if suite.card.count is None and suite.card.needs not in (Needs.PATH, Needs.HUB):
        yield "the card has no count"


RULES: tuple[Rule, ...] = (
    one_task_of_its_name, documented, attributes, pinned, seeded, public_inspect, silent, sized
)  # fmt: skip


def lint(suites: Mapping[str, SuiteFile], exceptions: Mapping[tuple[str, str], str] = EXCEPTIONS) -> Iterator[str]:
    """One line for each break of a rule, and for each exception without one."""
    used = set()
    for suite in suites.values():
        for rule in RULES:
            for found in rule(suite):
                key = (rule.__name__, suite.name)
                used.add(key)
                if key not in exceptions:
                    yield f"{suite.name}: {found} ({rule.__name__}: {rule.__doc__})"
    yield from (f"{suite}: the exception from {rule} is not needed" for rule, suite in exceptions.keys() - used)


def shipped() -> dict[str, SuiteFile]:
    """The suites of this package, as files."""
    return {name: _file(name, path) for name, path in shipped_cards().items()}


def _file(name: str, card: Path) -> SuiteFile:
    source = card.with_suffix(".py").read_text(encoding="utf-8")
    return SuiteFile(name, ast.parse(source), SuiteCard.load(card))


def _called(node: ast.expr) -> str:
    """The last name of what is called."""
    named = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(named).rpartition(".")[2]


def main() -> None:
    """Print what breaks a rule. Exits with 1 if something does."""
    suites = shipped()
    found = list(lint(suites))
    print("\n".join([*found, f"{len(suites)} suites, {len(RULES)} rules, {len(EXCEPTIONS)} exceptions"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
