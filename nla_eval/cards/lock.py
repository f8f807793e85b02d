"""`python -m nla_eval.cards.lock`: the environment of `make demo` and `make test`, locked and hashed.

`requirements.lock` names each package with its version and the hashes of its files, and no address, so that it serves
every index. torch and what only its CUDA builds need are left out: which build fits a machine is for its owner to say.
`make check` runs this: does the lock fit pyproject.toml, and does pip-audit know anything against it? `make lock`
writes it anew."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..errors import InputError, MissingExtraError

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
EXTRA = "dev"
_UNLOCKED = frozenset({"torch"})
_OF_CUDA = re.compile(r"(nvidia|cuda)-|triton\b")
_PACKAGE = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_ADDRESS = re.compile(r"https?://|file:|^--?(?:index|extra-index|find-links|i\b)", re.M)
HEAD = """\
# The environment of `make demo` and `make test`, without torch; Python 3.11 and newer. Written by `make lock`.
"""


@dataclass(frozen=True)
class Package:
    """One entry of the lock. A package may have several, for different Pythons."""

    name: str
    version: Version
    hashes: int


def entries(lock: str) -> list[Package]:
    """The entries of a lock."""
    found: list[Package] = []
    for part in _parts(lock):
        if named := _PACKAGE.match(part):
            found.append(Package(canonicalize_name(named[1]), Version(named[2]), part.count("--hash=sha256:")))
    return found


def _parts(lock: str) -> list[str]:
    """The text of each entry; before the first one, the head."""
    return re.split(r"\n(?=[A-Za-z0-9])", lock)


def faults(lock: str, project: str) -> Iterator[str]:
    """One line for each way in which a lock does not fit a pyproject.toml."""
    if address := _ADDRESS.search(lock):
        yield f"an address in the lock: {address.group()}"
    packages = entries(lock)
    yield from (f"{p.name} {p.version} has no hash" for p in packages if not p.hashes)
    known = tomllib.loads(project)["project"]
    for line in [*known["dependencies"], *known["optional-dependencies"][EXTRA]]:
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        versions = [p.version for p in packages if p.name == name]
        if name in _UNLOCKED:
            yield from (f"{name} {version} is locked; expected none" for version in versions)
        elif not versions:
            yield f"{name} is not locked; expected {line}"
        else:
            yield from (f"{name} {v} is locked; expected {line}" for v in versions if v not in wanted.specifier)


def newest() -> str:
    """A new lock of the newest versions that pyproject.toml allows, for all systems and Pythons.

    Raises:
        MissingExtraError: uv is not installed.
        InputError: uv found no versions that fit together; its last line.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise MissingExtraError("the lock", "uv", "pip install uv")
    command = [uv, "pip", "compile", str(PROJECT), "--extra", EXTRA, "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"the lock: {done.stderr.strip().splitlines()[-1]}; widen bounds in pyproject.toml, then run make lock"
        )
    kept = [p for p in _parts(done.stdout.strip()) if not _OF_CUDA.match(p) and p.partition("==")[0] not in _UNLOCKED]
    return HEAD + "\n".join(kept) + "\n"


def audited(lock: Path) -> tuple[int, list[str], list[str]]:
    """What is known against the packages of a lock.

    Returns:
        Number of packages looked up, a line for each that is known to be unsafe, and the names of those that the
        database could not be asked about.

    Raises:
        MissingExtraError: pip-audit is not installed.
    """
    tool = Path(sys.executable).with_name("pip-audit")
    if not tool.is_file():
        raise MissingExtraError("the audit", "pip-audit", 'pip install -e ".[dev]"')
    command = [str(tool), "-r", str(lock), "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run([*command, "--format", "json", "--timeout", "10"], capture_output=True, text=True)
    if not done.stdout.strip():
        return 0, [], sorted({package.name for package in entries(lock.read_text(encoding="utf-8"))})
    looked = json.loads(done.stdout)["dependencies"]
    asked = [one for one in looked if "skip_reason" not in one]
    unsafe = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, mended in {', '.join(vulnerability['fix_versions'])}"
        for one in asked
        for vulnerability in one["vulns"]
    ]
    return len(asked), unsafe, sorted(one["name"] for one in looked if "skip_reason" in one)


def main() -> None:
    """Check the lock. Exits with 1 if it does not fit pyproject.toml, or holds a version known to be unsafe."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.cards.lock", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write the lock anew, with the newest versions allowed")
    if parser.parse_args().write:
        LOCK.write_text(newest(), encoding="utf-8")
    text = LOCK.read_text(encoding="utf-8")
    wrong = list(faults(text, PROJECT.read_text(encoding="utf-8")))
    asked, unsafe, unknown = audited(LOCK)
    print("\n".join([*wrong, *unsafe, f"{len(entries(text))} packages locked"]))
    if unknown:
        print(f"pip-audit: {asked} looked up; its database could not be asked about {len(unknown)}, skipped: ", end="")
        print(", ".join(unknown[:3]) + (" and more" if len(unknown) > 3 else ""))
    if wrong:
        print("write the lock anew: make lock")
    sys.exit(bool(wrong or unsafe))


if __name__ == "__main__":
    main()
