"""Longer agentic conversations from Python packages: an agent finds and repairs a line that does not compile, or a desk
agent looks up, compares and changes records of a table in a package.

In: packages with a permissive licence. Out: `Chat`s, in a fixed order for fixed versions. Requests, rules and phrases
are our own; code, its SyntaxError, tables and values are real. Code is compiled, never run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from .base import TRAINING_SOURCES, Chat
from .packages import LARGEST, Package, by_turns, chat_of, packages, tool_step

_PHRASES = Path(__file__).with_name("session_phrases.yaml")
_LARGEST_TABLE = 4_000_000
"""Maximum bytes of a table file; larger files are skipped."""
_ROW = 1_500
"""Maximum characters of a record; longer records are left out."""
_REPAIRS = 6
"""Maximum repair sessions per package."""
_TABLES = 24
"""Maximum table files per package."""
_PER_TABLE = 2
"""Sessions per table."""
_AROUND = 30
"""Lines shown before and after the line in question."""


@TRAINING_SOURCES.register("repair_sessions")
def repair_sessions(path: Path | None = None) -> Iterator[Chat]:
    """Sessions that repair a file, round-robin over all usable packages: installed ones, or those in the folder
    `path`."""
    return by_turns(*map(_repairs, packages(path)))


@TRAINING_SOURCES.register("desk_sessions")
def desk_sessions(path: Path | None = None) -> Iterator[Chat]:
    """Sessions about records, round-robin over all usable packages with tables: installed ones, or those in the folder
    `path`."""
    return by_turns(*map(_desks, packages(path)))


class _Script:
    """Builds a conversation turn by turn. Its phrases are drawn with a seed from the name of its place."""

    def __init__(self, place: str) -> None:
        self.random = np.random.default_rng(list(hashlib.sha256(place.encode()).digest()[:8]))
        self.messages: list[ChatMessage] = []
        self._phrases = _phrases()

    def phrase(self, name: str, /, **values: object) -> str:
        """One of the phrases called `name`, with its fields filled in."""
        choices = self._phrases[name]
        return str(choices[int(self.random.integers(len(choices)))]).format(**values)

    def system(self, name: str, /, **values: object) -> None:
        self.messages.append(ChatMessageSystem(content=self.phrase(name, **values).strip()))

    def user(self, name: str, /, **values: object) -> None:
        self.messages.append(ChatMessageUser(content=self.phrase(name, **values).strip()))

    def say(self, text: str) -> None:
        self.messages.append(ChatMessageAssistant(content=text.strip()))

    def call(self, tool: str, arguments: Mapping[str, object], result: str, said: str = "") -> None:
        self.messages += tool_step(tool, arguments, result, said.strip(), len(self.messages))


@cache
def _phrases() -> dict[str, list[str]]:
    read: dict[str, list[str]] = yaml.safe_load(_PHRASES.read_text(encoding="utf-8"))
    return read


def _repairs(package: Package) -> Iterator[Chat]:
    made = 0
    for path in package.files:
        if made == _REPAIRS:
            return
        try:
            source = (package.root / path).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        messages = repaired(path.as_posix(), source)
        if messages:
            made += 1
            yield chat_of(package, f"repair/{path.as_posix()}", messages)


def repaired(path: str, source: str) -> list[ChatMessage] | None:
    """A session in which an agent finds and restores the one broken line of `source`. None if no line could be broken
    so that the file does not compile."""
    if not 600 < len(source) < LARGEST:
        return None
    script = _Script(path)
    broken = _broken(source, path, script.random)
    if broken is None:
        return None
    number, text, error = broken
    good, bad = source.splitlines()[number - 1], text.splitlines()[number - 1]
    name = path.rsplit("/", 1)[-1]
    script.system("repair_system")
    script.user("repair_issue", path=path, name=name, error=error)
    script.call("find_file", {"name": name}, f"1 match for {name}:\n{path}", script.phrase("repair_find", name=name))
    script.call("open_file", {"path": path, "line": number}, _window(path, text, number),
                script.phrase("repair_open", path=path, line=number))  # fmt: skip
    arguments = {"path": path, "old": bad.strip(), "new": good.strip()}
    said = script.phrase("repair_edit", line=number, bad=bad.strip(), good=good.strip())
    script.call("replace_line", arguments, f"Line {number} replaced.\n" + _window(path, source, number, 6), said)
    script.call("bash", {"command": f"python -m py_compile {path}; echo $?"}, "0", script.phrase("repair_check"))
    script.say(script.phrase("repair_done", name=name, line=number, good=good.strip(), bad=bad.strip()))
    return script.messages


def _broken(source: str, path: str, random: np.random.Generator) -> tuple[int, str, str] | None:
    """(line number, source with that line broken, Python's message) for the first random line whose break Python
    reports near that line; None if there is none."""
    lines = source.splitlines()
    if _failure(source, path):
        return None
    able = [i for i, line in enumerate(lines) if 8 < len(line.strip()) < 120 and re.search(r"(:|[)\]}])$", line)]
    for index in random.permutation(able)[:8] if able else []:
        text = "\n".join([*lines[:index], lines[index][:-1], *lines[index + 1 :]]) + "\n"
        error = _failure(text, path)
        if isinstance(error, SyntaxError) and error.lineno and abs(error.lineno - int(index) - 1) <= 3:
            return int(index) + 1, text, "".join(traceback.format_exception_only(error)).rstrip()
    return None


def _failure(source: str, path: str) -> Exception | None:
    """The error of compiling `source`, a SyntaxError or another; None if it compiles."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        return err
    return None


def _window(path: str, text: str, line: int, around: int = _AROUND) -> str:
    """Numbered lines around `line`."""
    lines = text.splitlines()
    start, end = max(0, line - 1 - around), min(len(lines), line + around)
    return f"{path}, lines {start + 1} to {end} of {len(lines)}\n" + "\n".join(
        f"{i:>5}  {lines[i - 1]}" for i in range(start + 1, end + 1)
    )


@dataclass(frozen=True)
class Table:
    """Records of a data file."""

    name: str
    """Name of the file or key, singular or plural as it is there, with words joined by "_"."""
    key: str
    rows: tuple[dict[str, Any], ...]


def _desks(package: Package) -> Iterator[Chat]:
    made = 0
    for path in package.tables:
        if made == _TABLES:
            return
        tables = tables_of(package.root / path)
        made += bool(tables)
        for table in tables[:2]:
            for number in range(_PER_TABLE):
                place = f"desk/{path.as_posix()}/{table.name}/{number}"
                messages = desk_session(place, table)
                if messages:
                    yield chat_of(package, place, messages)


def tables_of(path: Path) -> list[Table]:
    """The tables of a JSON or CSV file: lists of flat or nested records, or records by key. Empty if it has none."""
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            return []
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            found: list[tuple[str, Any]] = [(path.stem, list(csv.DictReader(io.StringIO(text))))]
        else:
            read = json.loads(text)
            found = [(path.stem, read), *(read.items() if isinstance(read, dict) else ())]
    except (OSError, ValueError, csv.Error, RecursionError):
        return []
    return [table for name, data in found if (table := _table(name, data))]


def _table(name: str, data: Any) -> Table | None:
    plain = "_".join(re.findall(r"[a-z0-9]+", name.lower()))[:40] or "records"
    if isinstance(data, dict) and len(data) >= 8 and all(isinstance(v, dict) for v in data.values()):
        rows = [{"id": key, **value} for key, value in data.items()]
    elif isinstance(data, list) and len(data) >= 8 and all(isinstance(v, dict) for v in data):
        rows = data
    else:
        return None
    rows = [{str(k): v for k, v in row.items() if k} for row in rows]
    rows = [row for row in rows if len(row) >= 3 and len(json.dumps(row, default=str)) <= _ROW]
    if len(rows) < 8:
        return None
    for key in rows[0]:
        values = [str(row.get(key)) for row in rows[:200] if isinstance(row.get(key), str | int)]
        if len(set(values)) == len(rows[:200]) and all(1 <= len(v) <= 60 for v in values):
            return Table(plain, key, tuple(rows))
    return Table(plain, "id", tuple({"id": number, **row} for number, row in enumerate(rows, 1)))


def desk_session(place: str, table: Table) -> list[ChatMessage] | None:
    """A user asks a desk agent about a record. The agent looks it up, finds similar ones, and changes one field after
    the user agrees. None if the record has fewer than two plain fields."""
    script = _Script(place)
    row = table.rows[int(script.random.integers(len(table.rows)))]
    plain = {k: v for k, v in row.items() if k != table.key and _plain(v)}
    if len(plain) < 2:
        return None
    thing, key, value = table.name.replace("_", " "), table.key, str(row[table.key])
    get, search, update = f"get_{table.name}", f"search_{table.name}", f"update_{table.name}"
    script.system("desk_system", thing=thing, get=get, search=search, update=update, key=key,
                  fields=", ".join(list(row)[:12]))  # fmt: skip
    script.user("desk_hello", thing=thing)
    script.say(script.phrase("desk_ask", key=key))
    script.user("desk_key", key=key, value=value)
    script.call(get, {key: value}, json.dumps(row, default=str))
    shown = list(plain.items())[:7]
    script.say(script.phrase("desk_found", value=value) + "\n\n" + "\n".join(f"- **{k}**: {v}" for k, v in shown))
    field = str(script.random.choice(list(plain)))
    like = [r for r in table.rows if r.get(field) == row[field] and r is not row]
    others = (like or [r for r in table.rows if r is not row])[:4]
    if like:
        script.user("desk_like", field=field, value=row[field])
        arguments: dict[str, object] = {field: row[field], "limit": len(others)}
    else:
        script.user("desk_more", thing=thing, value=value)
        arguments = {"offset": 0, "limit": len(others)}
    script.call(search, arguments, json.dumps(others, default=str))
    named = [f"{i}. **{r[key]}**" + _first(r, key) for i, r in enumerate(others, 1) if key in r]
    script.say(script.phrase("desk_list", count=len(named)) + "\n" + "\n".join(named))
    donor = others[int(script.random.integers(len(others)))]
    changed = str(script.random.choice(list(plain)))
    new = donor.get(changed)
    if not _plain(new) or new == row[changed]:
        script.user("desk_thanks")
        script.say(script.phrase("desk_bye"))
        return script.messages
    script.user("desk_change", field=changed, old=row[changed], new=new, value=value)
    script.say(script.phrase("desk_confirm", field=changed, old=row[changed], new=new, value=value))
    script.user("desk_yes")
    script.call(update, {key: value, changed: new}, json.dumps({**row, changed: new}, default=str))
    script.say(script.phrase("desk_changed", field=changed, new=new, value=value))
    return script.messages


def _plain(value: object) -> bool:
    """Whether a value fits into a sentence."""
    return isinstance(value, str | int | float) and 0 < len(str(value)) <= 80


def _first(row: Mapping[str, Any], key: str) -> str:
    """Up to three fields of a record as text."""
    said = [f"{k} {v}" for k, v in row.items() if k != key and _plain(v)][:3]
    return ": " + ", ".join(said) if said else ""
