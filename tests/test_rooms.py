"""Arrows between rooms hold in every file, and a wheel carries the rooms below the package and runs from anywhere."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("suites", "classifiers", "reports")


def imports(source: str) -> Iterator[tuple[int, str]]:
    """(relative level, dotted module) of every import in `source`, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module is None or (node.level == 0 and node.module == "nla_eval"):
                prefix = f"{node.module}." if node.module else ""
                yield from ((node.level, f"{prefix}{alias.name}") for alias in node.names)
            else:
                yield node.level, node.module


def room_breaks(source: str, room: str) -> list[str]:
    """Imports by which a content room reaches into another, or out of itself."""
    others = [r for r in ROOMS if r != room]
    found = []
    for level, module in imports(source):
        first, _, rest = module.partition(".")
        below = rest.partition(".")[0]
        if level > 1 or first in others or (level == 0 and first == "nla_eval" and below in others):
            found.append(module)
    return found


def house_breaks(source: str) -> list[str]:
    """Imports by which the instrument names a content room."""
    return [
        module
        for level, module in imports(source)
        if module.partition(".")[0] in ROOMS or (level == 0 and any(module.startswith(f"nla_eval.{r}") for r in ROOMS))
    ]


def named(source: str, *packages: str) -> list[str]:
    """Imports of any of `packages`."""
    return [module for level, module in imports(source) if level == 0 and module.partition(".")[0] in packages]


def files(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for room in ROOMS for p in files(room)], ids=ids)
def test_content_rooms_import_only_the_instrument_and_themselves(path: Path) -> None:
    assert room_breaks(path.read_text(), path.relative_to(ROOT).parts[0]) == []


@pytest.mark.parametrize("path", files("nla_eval"), ids=ids)
def test_the_instrument_names_no_content_room(path: Path) -> None:
    assert house_breaks(path.read_text()) == []


@pytest.mark.parametrize("path", files("nla_eval/stats"), ids=ids)
def test_statistics_are_pure(path: Path) -> None:
    assert named(path.read_text(), "torch", "inspect_ai", "transformers", "nla_eval") == []
    assert [m for level, m in imports(path.read_text()) if level > 1 and m != "errors"] == []


@pytest.mark.parametrize("path", files("nla_eval/engines"), ids=ids)
def test_engines_know_neither_suites_nor_rubrics(path: Path) -> None:
    assert named(path.read_text(), "inspect_ai") == []
    forbidden = {"suite", "judgement", "classify", "tally", "sources", "awareness", "store", "reading"}
    assert [m for level, m in imports(path.read_text()) if level == 2 and m.partition(".")[0] in forbidden] == []


@pytest.mark.parametrize("path", files("reports"), ids=ids)
def test_reports_compute_no_statistic(path: Path) -> None:
    assert named(path.read_text(), "scipy", "numpy", "sklearn", "polars", "statistics", "random", "torch") == []


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("from nla_eval.classifiers import lexicon", "suites"),
        ("from nla_eval import reports", "suites"),
        ("import classifiers.lexicon", "reports"),
        ("from ..suites import blackmail", "classifiers"),
        ("def f():\n    from nla_eval.suites.blackmail import SUITE", "reports"),
    ],
)
def test_a_planted_break_between_rooms_is_found(source: str, room: str) -> None:
    assert room_breaks(source, room)


@pytest.mark.parametrize(
    "source",
    ["import suites", "from .suites import x", "from nla_eval.reports.build import y", "from . import reports"],
)
def test_a_planted_break_of_the_house_is_found(source: str) -> None:
    assert house_breaks(source)


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
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nla_eval"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


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
