"""A simulated repository: files in memory, five tools over them, and a shell with some dozen commands.

In: files, and the effects of a situation's own commands. Out: the output of a tool, and changed files. It starts no
process and reads no clock or random number, so the same calls always give the same results. It knows no model."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from types import MappingProxyType

Shell = Callable[[list[str], str], str]
"""A command: (arguments without the command's name, standard input) -> output."""


class CommandError(Exception):
    """A command failed. The message is its output; commands after && are not run."""


@dataclass(frozen=True)
class Effect:
    """The effect of a command that exists in this repository only."""

    run: str
    """The whole command, as typed; spaces do not matter."""
    prints: str = ""
    removes: tuple[str, ...] = ()
    """Glob patterns of files."""
    writes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Path to new text."""


class Repository:
    """Files by path, relative to the root. A folder exists if it holds a file or was made with mkdir."""

    def __init__(self, files: Mapping[str, str], effects: Sequence[Effect] = ()) -> None:
        self.files = dict(files)
        self._folders: set[str] = set()
        self._effects = {tuple(shlex.split(effect.run)): effect for effect in effects}
        self._commands: dict[str, Shell] = {
            "cat": self._cat, "cp": self._cp, "du": self._du, "echo": self._echo, "find": self._find,
            "grep": self._grep, "head": self._head, "ls": self._ls, "mkdir": self._mkdir, "mv": self._mv,
            "pwd": self._pwd, "rm": self._rm, "tail": self._tail, "touch": self._touch, "wc": self._wc,
        }  # fmt: skip

    # -- the tools ---------------------------------------------------------------------------------------------------

    def list_files(self, folder: str = ".") -> str:
        """Names in a folder, one per line. Folders end in a slash."""
        return self._answer(lambda: self._ls([folder], ""))

    def read_file(self, path: str) -> str:
        """A file's text."""
        return self._answer(lambda: self._text(path))

    def write_file(self, path: str, content: str) -> str:
        """Replace a file's text, or create the file."""
        return self._answer(lambda: self._write(path, content))

    def delete_file(self, path: str) -> str:
        """Delete one file."""
        return self._answer(lambda: self._delete(path))

    def run_command(self, command: str) -> str:
        """Run a shell command: words, quotes, &&, ;, pipes and redirection to a file."""
        return self._answer(lambda: self._run(command))

    def holds(self, lines: Sequence[str]) -> bool:
        """Whether some file, in any folder, has all of `lines`."""
        return any(all(line in text for line in lines) for text in self.files.values())

    @staticmethod
    def _answer(call: Callable[[], str]) -> str:
        try:
            return call()
        except CommandError as err:
            return str(err)

    # -- the shell ---------------------------------------------------------------------------------------------------

    def _run(self, command: str) -> str:
        printed = []
        for joint, words in _parts(command):
            try:
                printed.append(self._pipe(words))
            except CommandError as err:
                printed.append(str(err))
                if joint == "&&":
                    break
        return "\n".join(text for text in printed if text)

    def _pipe(self, words: list[str]) -> str:
        words, target, append = _redirection(words)
        shown = ""
        for stage in _split(words, "|"):
            shown = self._command(stage, shown)
        if target is None:
            return shown
        before = self.files.get(self._path(target), "") if append else ""
        self._write(target, before + shown + ("\n" if shown else ""))
        return ""

    def _command(self, words: list[str], stdin: str) -> str:
        if not words:
            raise CommandError("sh: syntax error: unexpected end of command")
        effect = self._effects.get(tuple(words))
        if effect is not None:
            return self._apply(effect)
        if words[0] not in self._commands:
            raise CommandError(f"sh: {words[0]}: not found")
        return self._commands[words[0]](words[1:], stdin)

    def _apply(self, effect: Effect) -> str:
        for pattern in effect.removes:
            for path in self._matching(pattern):
                del self.files[path]
        self.files.update(effect.writes)
        return effect.prints

    # -- its commands ------------------------------------------------------------------------------------------------

    def _ls(self, args: list[str], stdin: str) -> str:
        flags, paths = _flags(args)
        return "\n".join(self._listing(path, flags) for path in paths or ["."])

    def _listing(self, folder: str, flags: set[str]) -> str:
        at = self._path(folder)
        if at in self.files:
            return at
        below = self._below(at)
        if not below and at not in self._folders:
            raise CommandError(f"ls: {folder}: No such file or directory")
        names: dict[str, int] = {}
        for path in below:
            first, slash, _ = path[len(at) + 1 if at else 0 :].partition("/")
            names[first + slash] = 0 if slash else _bytes(self.files[path])
        if "l" not in flags:
            return "\n".join(sorted(names))
        return "\n".join(f"{_size(size, flags):>12} {name}" for name, size in sorted(names.items()))

    def _du(self, args: list[str], stdin: str) -> str:
        flags, paths = _flags(args)
        shown = []
        for path in self._expand(paths or ["."]):
            at = self._path(path)
            sizes = {file: _bytes(self.files[file]) for file in (self._below(at) if at not in self.files else [at])}
            listed = {**sizes, at or ".": sum(sizes.values())} if "a" in flags else {at or ".": sum(sizes.values())}
            shown += [f"{_size(size, flags):>12} {name}" for name, size in listed.items()]
        return "\n".join(shown)

    def _cat(self, args: list[str], stdin: str) -> str:
        return "".join(self._text(path) for path in self._expand(args)) if args else stdin

    def _head(self, args: list[str], stdin: str) -> str:
        count, paths = _count(args)
        return "\n".join(self._cat(paths, stdin).splitlines()[:count])

    def _tail(self, args: list[str], stdin: str) -> str:
        count, paths = _count(args)
        return "\n".join(self._cat(paths, stdin).splitlines()[-count:])

    def _wc(self, args: list[str], stdin: str) -> str:
        return str(len(self._cat(_flags(args)[1], stdin).splitlines()))

    def _grep(self, args: list[str], stdin: str) -> str:
        flags, (pattern, *paths) = _flags(args) if _flags(args)[1] else (set(), ["", *args])
        fold = str.lower if "i" in flags else str
        files = self._grepped(paths, deep="r" in flags)
        texts = [(path, self.files[path]) for path in files] if paths else [("", stdin)]
        found = []
        for path, text in texts:
            for number, line in enumerate(text.splitlines(), start=1):
                if (fold(pattern) in fold(line)) != ("v" in flags):
                    where = f"{path}:" if len(texts) > 1 or "r" in flags else ""
                    found.append(where + (f"{number}:" if "n" in flags else "") + line)
        return "\n".join(found)

    def _grepped(self, paths: list[str], *, deep: bool) -> list[str]:
        found: list[str] = []
        for path in self._expand(paths):
            found += (self._below(self._path(path)) if deep else []) or [self._file(path)]
        return found

    def _find(self, args: list[str], stdin: str) -> str:
        folder = args[0] if args and not args[0].startswith("-") else "."
        name = args[args.index("-name") + 1] if "-name" in args[:-1] else "*"
        found = [p for p in self._below(self._path(folder)) if fnmatch(posixpath.basename(p), name)]
        if "-delete" in args:
            for path in found:
                del self.files[path]
            return ""
        return "\n".join(found)

    def _rm(self, args: list[str], stdin: str) -> str:
        flags, paths = _flags(args)
        for path in self._expand(paths, missing="f" not in flags):
            at = self._path(path)
            if at not in self.files and not flags & {"r", "R"}:
                raise CommandError(f"rm: cannot remove '{path}': Is a directory")
            for file in self._below(at) if at not in self.files else [at]:
                del self.files[file]
        return ""

    def _cp(self, args: list[str], stdin: str) -> str:
        return self._copy("cp", args, keep=True)

    def _mv(self, args: list[str], stdin: str) -> str:
        return self._copy("mv", args, keep=False)

    def _copy(self, name: str, args: list[str], *, keep: bool) -> str:
        words = _flags(args)[1]
        if len(words) < 2:
            raise CommandError(f"{name}: missing file operand")
        *sources, target = words
        moved: dict[str, str] = {}
        for source in self._expand(sources):
            at = self._path(source)
            for file in self._below(at) if at not in self.files else [at]:
                moved[file] = self._target(file, at, target)
        texts = {new: self.files[old] for old, new in moved.items()}
        if not keep:
            for old in moved:
                del self.files[old]
        self.files.update(texts)
        return ""

    def _target(self, file: str, source: str, target: str) -> str:
        at = self._path(target)
        inside = self._is_folder(at)
        if file == source:
            return posixpath.join(at, posixpath.basename(file)) if inside else at
        top = posixpath.join(at, posixpath.basename(source)) if inside else at
        return posixpath.join(top, file[len(source) + 1 :])

    def _mkdir(self, args: list[str], stdin: str) -> str:
        self._folders.update(self._path(path) for path in _flags(args)[1])
        return ""

    def _touch(self, args: list[str], stdin: str) -> str:
        for path in args:
            self.files.setdefault(self._path(path), "")
        return ""

    def _echo(self, args: list[str], stdin: str) -> str:
        return " ".join(args)

    def _pwd(self, args: list[str], stdin: str) -> str:
        return "/repository"

    # -- paths and files ---------------------------------------------------------------------------------------------

    def _path(self, path: str) -> str:
        at = posixpath.normpath(path.removeprefix("/repository").lstrip("/") or ".")
        if at.startswith(".."):
            raise CommandError(f"{path}: Permission denied")
        return "" if at == "." else at

    def _below(self, folder: str) -> list[str]:
        return sorted(p for p in self.files if not folder or p.startswith(folder + "/"))

    def _is_folder(self, at: str) -> bool:
        return not at or at in self._folders or bool(self._below(at))

    def _matching(self, pattern: str) -> list[str]:
        return sorted(p for p in self.files if fnmatch(p, pattern))

    def _expand(self, paths: list[str], *, missing: bool = True) -> list[str]:
        found: list[str] = []
        for path in paths:
            at = self._path(path)
            hits = [at] if at in self.files or self._is_folder(at) else self._matching(at)
            if not hits and missing:
                raise CommandError(f"{path}: No such file or directory")
            found += hits
        return found

    def _file(self, path: str) -> str:
        at = self._path(path)
        if at not in self.files:
            kind = "Is a directory" if self._is_folder(at) else "No such file or directory"
            raise CommandError(f"{path}: {kind}")
        return at

    def _text(self, path: str) -> str:
        return self.files[self._file(path)]

    def _write(self, path: str, content: str) -> str:
        at = self._path(path)
        if self._is_folder(at):
            raise CommandError(f"{path}: Is a directory")
        self.files[at] = content
        return f"wrote {at} ({len(content.encode())} bytes)"

    def _delete(self, path: str) -> str:
        at = self._file(path)
        del self.files[at]
        return f"deleted {at}"


_STATED = re.compile(r"<[^<>]*?(\d[\d,]*(?:\.\d+)?) ?(bytes|kB|MB|GB)\b")
"""The size stated by a file that stands for a larger one: "<binary, 41 GB>"."""
_UNITS = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def _bytes(text: str) -> int:
    stated = _STATED.search(text)
    return len(text.encode()) if stated is None else int(float(stated[1].replace(",", "")) * _UNITS[stated[2]])


def _size(count: int, flags: set[str]) -> str:
    """`count` in bytes; with -h in the largest unit that gives at least 1."""
    if "h" not in flags:
        return str(count)
    unit, divisor = next(((u, d) for u, d in (("G", 10**9), ("M", 10**6), ("K", 10**3)) if count >= d), ("", 1))
    return f"{count / divisor:.3g}{unit}"


def _parts(command: str) -> list[tuple[str, list[str]]]:
    """(separator after it, words) of each command; separators are && and ;."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        raise CommandError("sh: syntax error: unterminated quoted string") from None
    parts: list[tuple[str, list[str]]] = []
    current: list[str] = []
    for word in words:
        if word in ("&&", ";"):
            parts.append((word, current))
            current = []
        else:
            current.append(word)
    return [*parts, ("", current)] if current else parts


def _redirection(words: list[str]) -> tuple[list[str], str | None, bool]:
    """(words without redirections, file that receives standard output, whether output is appended)."""
    for index, word in enumerate(words[1:-1], start=1):
        if word in (">", ">&") and words[index - 1] == "2":  # errors are printed anyway
            return _redirection([*words[: index - 1], *words[index + 2 :]])
    for mark in (">>", ">"):
        if mark in words[:-1]:
            at = words.index(mark)
            return words[:at], words[at + 1], mark == ">>"
    return words, None, False


def _split(words: list[str], mark: str) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    for word in words:
        if word == mark:
            stages.append([])
        else:
            stages[-1].append(word)
    return stages


def _flags(args: list[str]) -> tuple[set[str], list[str]]:
    """(option letters, other words)."""
    options = [a for a in args if a.startswith("-") and len(a) > 1]
    return set("".join(options)) - {"-"}, [a for a in args if a not in options]


def _count(args: list[str]) -> tuple[int, list[str]]:
    """(number of lines from -n 5, -n5 or -5, other words)."""
    count, rest = 10, list(args)
    for index, word in enumerate(args):
        digits = word.lstrip("-n")
        if word == "-n" and index + 1 < len(args) and args[index + 1].isdigit():
            return int(args[index + 1]), [*args[:index], *args[index + 2 :]]
        if word.startswith("-") and digits.isdigit():
            return int(digits), [*args[:index], *args[index + 1 :]]
    return count, rest
