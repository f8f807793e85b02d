"""The table of rooms: a room imports only from rooms below it; a wheel contains all rooms and runs from any folder."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTENT = ("suites", "classifiers", "reports")
FLOORS: tuple[tuple[str, ...], ...] = (
    CONTENT,
    ("nla_eval.__main__", "nla_eval._registry", "nla_eval.api", "nla_eval.bench"),
    ("nla_eval.awareness", "nla_eval.commands", "nla_eval.scanners"),
    ("nla_eval.explore", "nla_eval.inspect_ext", "nla_eval.simulate", "nla_eval.training", "nla_eval.validation"),
    ("nla_eval.measure", "nla_eval.tally"),
    ("nla_eval.suite",),
    ("nla_eval.dataset", "nla_eval.pipeline"),
    ("nla_eval.engines", "nla_eval.sources", "nla_eval.replay", "nla_eval.judging"),
    ("nla_eval.models", "nla_eval.store"),
    ("nla_eval.judgement", "nla_eval.registry", "nla_eval.files"),
    (
        "nla_eval.stats",
        "nla_eval.transcript",
        "nla_eval.readings",
        "nla_eval.progress",
        "nla_eval.provenance",
    ),
    ("nla_eval.cards",),
    ("nla_eval.errors", "nla_eval._rooms", "nla_eval.printable"),
)
"""The house, top floor first. A room imports from rooms on floors below its own and from itself."""
FACE = "nla_eval"
"""`nla_eval/__init__.py`: importing any room runs it; what it offers it imports lazily."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

Imports = dict[str, set[str]]
"""The modules of the house that each module imports, also inside functions and for types alone."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


HOUSE = {
    module_name(path): path
    for room in ("nla_eval", *CONTENT)
    for path in sorted((ROOT / room).rglob("*.py"))
    if "__pycache__" not in path.parts
}


def imports(source: str, name: str = "", is_package: bool = False, modules: Iterable[str] = ()) -> Iterator[str]:
    """Absolute name of everything that a module `name` with this source imports, wherever in it.

    Args:
        source: Its text.
        name: Its dotted name: what relative imports start from.
        is_package: Whether it is an `__init__.py`.
        modules: Modules that can be imported by name from their package.
    """
    known = set(modules)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if is_package else name.split(".")[:-1]
            start = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if in_checkout(inner) in known or not node.module else module


def in_checkout(module: str) -> str:
    """`nla_eval.suites.x` and `suites.x` are one module: in a wheel the content rooms lie below the package."""
    first, _, rest = module.partition(".")
    return rest if first == "nla_eval" and rest.partition(".")[0] in CONTENT else module


def house_imports() -> Imports:
    found: Imports = {}
    for name, path in HOUSE.items():
        named = {in_checkout(m) for m in imports(path.read_text(), name, path.name == "__init__.py", HOUSE)}
        found[name] = {m for m in named if m in HOUSE} - {name}
    return found


def room_of(module: str) -> str:
    """The room a module lies in: the longest name of the table that begins its own."""
    owners = [room for room in FLOOR if module == room or module.startswith(f"{room}.")]
    return max(owners, key=len, default="")


def breaks(found: Imports) -> list[str]:
    """Imports that do not lead to a lower floor, or that are not of the table."""
    wrong = []
    for module in found.keys() - {FACE}:
        for target in found[module] - {FACE}:
            here, there = room_of(module), room_of(target)
            if here != there and (not here or not FLOOR[here] < FLOOR.get(there, -1)):
                wrong.append(f"{module} imports {target}")
    return sorted(wrong)


def circle(found: Imports) -> list[str]:
    """Modules that import each other in a circle; empty where there is none."""
    left = {module: targets - {FACE} for module, targets in found.items() if module != FACE}
    while ready := [m for m, targets in left.items() if not targets & left.keys()]:
        for module in ready:
            del left[module]
    return sorted(left)


def test_every_module_belongs_to_a_room_of_the_table() -> None:
    assert [m for m in HOUSE if m != FACE and not room_of(m)] == []
    assert [room for room in FLOOR if room not in HOUSE] == []


def test_a_room_imports_only_from_floors_below() -> None:
    assert breaks(house_imports()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(house_imports()) == []


def test_at_most_sixteen_modules_stand_directly_in_the_package() -> None:
    assert len(list((ROOT / "nla_eval").glob("*.py"))) <= 16


OUTSIDE = {
    "nla_eval.cards": ("inspect_ai", "numpy", "polars", "torch"),
    "nla_eval.stats": ("torch", "inspect_ai", "transformers"),
    "nla_eval.engines": ("inspect_ai",),
    "reports": ("scipy", "numpy", "sklearn", "polars", "statistics", "random", "torch"),
}
"""Packages a room never imports: cards are light, statistics pure, engines know no Inspect, reports no statistics."""


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_does_not_import_what_it_must_not_know(room: str) -> None:
    inside = [name for name in HOUSE if room_of(name) == room]
    named = {(name, m.partition(".")[0]) for name in inside for m in imports(HOUSE[name].read_text(), name)}
    assert sorted((name, package) for name, package in named if package in OUTSIDE[room]) == []


def test_statistics_import_only_each_other_and_errors() -> None:
    found = {(m, t) for m, targets in house_imports().items() if room_of(m) == "nla_eval.stats" for t in targets}
    assert {(m, t) for m, t in found if room_of(t) != "nla_eval.stats" and t != "nla_eval.errors"} == set()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("suites.mine", "from nla_eval.classifiers import lexicon"),
        ("suites.mine", "from nla_eval import reports"),
        ("reports.mine", "import classifiers.lexicon"),
        ("classifiers.mine", "from ..suites import blackmail"),
        ("reports.mine", "def f():\n    from nla_eval.suites.blackmail import SUITE"),
        ("nla_eval.tally.mine", "import suites"),
        ("nla_eval.tally.mine", "from nla_eval.reports.build import y"),
        ("nla_eval.store.mine", "from ..pipeline.reading import read"),
        ("nla_eval.pipeline.mine", "from ..dataset import families"),
        ("nla_eval.nowhere.mine", "from ..errors import InputError"),
    ],
)
def test_a_planted_break_is_found(name: str, source: str) -> None:
    named = {in_checkout(m) for m in imports(source, name, modules=HOUSE)}
    assert breaks({name: named & HOUSE.keys()})


@pytest.mark.parametrize(
    "found",
    [{"a": {"b"}, "b": {"a"}}, {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}],
)
def test_a_planted_circle_is_found(found: Imports) -> None:
    assert circle(found)


def test_statistics_load_without_torch_or_inspect() -> None:
    code = "import sys, nla_eval.stats; print([m for m in ('torch', 'inspect_ai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TASK = """
import sys
from pathlib import Path
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model
import nla_eval
from tests import planted_task

here = Path(nla_eval.__file__).resolve()
assert here.is_relative_to(Path(sys.prefix).resolve()), here
model = get_model("nla/bytes", engine="planted")
log = inspect_eval("nla_eval/blackmail", model=model, limit=1, log_dir="logs", display="none",
                   task_args={"lanes": "measured", "positions": "stratified(2)"})[0]
assert log.status == "success", log.error
assert log.eval.task == "nla_eval/blackmail", log.eval.task
print("read", len(log.samples[0].store["NLAState:readings"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_a_wheel_holds_the_rooms_below_the_package_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "nla_eval/suites/blackmail.py" in names
    assert "nla_eval/suites/blackmail.yaml" in names
    assert any(name.startswith("nla_eval/classifiers/rubrics/") for name in names)
    assert "nla_eval/simulate/frozen/turns.jsonl" in names
    assert {f"nla_eval/explore/page/explore.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert not any("smollm2-135m-l20-start" in name for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nla_eval"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 40 * 2**20


def interpreters() -> list[str]:
    """Every other Python that the package says it runs on and that is found here."""
    named = (f"python3.{minor}" for minor in (11, 12, 13) if minor != sys.version_info.minor)
    return [name for name in named if shutil.which(name) and _runs(name)]


def _runs(name: str) -> bool:
    """Whether it is more than a version manager's stand-in for an interpreter that is not installed."""
    return subprocess.run([name, "-c", ""], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", interpreters())
def test_the_wheels_source_compiles_on_every_interpreter_found(name: str, wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are those of this environment, so another interpreter can only compile it."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import compileall, sys; sys.exit(not compileall.compile_dir('nla_eval', quiet=1, force=True))"
    done = subprocess.run([name, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    version = "import nla_eval; print(nla_eval.__version__)"
    shown = subprocess.run([name, "-c", version], cwd=tmp_path, capture_output=True, text=True)
    assert (shown.returncode, bool(shown.stdout.strip())) == (0, True), shown.stderr


@pytest.mark.slow
def test_an_installed_wheel_runs_a_task_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    instrument = tmp_path / "instrument" / "tests"
    instrument.mkdir(parents=True)
    for name in ("fakes.py", "planted_task.py"):
        (instrument / name).write_bytes((ROOT / "tests" / name).read_bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {"PYTHONPATH": str(instrument.parent), "NLA_EVAL_CACHE": str(tmp_path / "cache"), "PWD": str(empty)}
    done = subprocess.run(
        [str(python), "-c", TASK], cwd=empty, env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("read 2")
