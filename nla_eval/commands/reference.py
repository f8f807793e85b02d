"""Every command of `nla-eval` with its arguments and options, found in the parser itself, as one Markdown page.

    python -m nla_eval.commands.reference

The documentation site shows this page; tests check every command that a page prints against `TREE`. So a new command or
option needs no entry anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer.main

from .cli import app


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a command."""

    name: str
    """What the user types: "--out", or "SOURCES" for an argument."""
    spellings: tuple[str, ...]
    """All spellings of an option; empty for an argument."""
    flag: bool
    """Whether the option takes no value."""
    required: bool
    repeatable: bool
    default: str
    """The default as a user would type it; empty if there is none."""
    help: str

    @property
    def is_option(self) -> bool:
        """Whether it is given by name."""
        return bool(self.spellings)


@dataclass(frozen=True)
class Command:
    """A command, or a group of commands."""

    words: tuple[str, ...]
    """Words after `nla-eval`; empty for `nla-eval` itself."""
    help: str
    parameters: tuple[Parameter, ...]
    group: bool

    @property
    def options(self) -> dict[str, Parameter]:
        """Options by each of their spellings."""
        return {spelling: found for found in self.parameters for spelling in found.spellings}

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """What is given by place."""
        return tuple(found for found in self.parameters if not found.is_option)


def _walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[Command]:
    below = getattr(command, "commands", None)
    shown = tuple(_parameter(found) for found in command.params if not getattr(found, "hidden", False))
    yield Command(words, " ".join((command.help or "").split()), shown, below is not None)
    for name, child in (below or {}).items():
        yield from _walk(child, (*words, name))


def _parameter(found: Any) -> Parameter:
    option = found.param_type_name == "option"
    default = str(found.default).lower() if found.default in (True, "True", "False") else found.default
    several = found.nargs == -1 or getattr(found, "multiple", False)
    return Parameter(
        name=found.opts[0] if option else str(found.name).upper(),
        spellings=tuple(found.opts) if option else (),
        flag=bool(getattr(found, "is_flag", False)),
        required=bool(found.required),
        repeatable=several,
        default="" if default in (None, "", (), []) or found.default is False or callable(default) else str(default),
        help=getattr(found, "help", None) or "",
    )


TREE: dict[tuple[str, ...], Command] = {found.words: found for found in _walk(typer.main.get_command(app))}
"""Every command and group by its words."""


def page() -> str:
    """The reference of all commands as Markdown."""
    parts = ["# Commands and options", "", "Made from the parser of `nla-eval`. Every command takes `-h`.", ""]
    for command in TREE.values():
        parts += _section(command)
    return "\n".join(parts).rstrip() + "\n"


def _section(command: Command) -> Iterator[str]:
    if command.words:
        yield f"## nla-eval {' '.join(command.words)}"
        yield ""
        yield command.help
        yield ""
    rows = [_row(found) for found in command.parameters]
    if rows:
        yield "| | | default |"
        yield "|---|---|---|"
        yield from rows
        yield ""


def _row(found: Parameter) -> str:
    notes = [*(["required"] if found.required else []), *(["repeatable"] if found.repeatable else [])]
    name = ", ".join(f"`{spelling}`" for spelling in found.spellings) or f"`{found.name}`"
    default = f"`{found.default}`" if found.default else ", ".join(notes)
    return f"| {name} | {_cell(found.help)} | {default} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
