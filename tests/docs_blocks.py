"""The code blocks of the tutorial, the how-tos and the README, and the commands in them.

In: a page. Out: its blocks in order, each with its language and, if it is marked, the reason why it is not run.
`python -m tests.docs_blocks` prints the table of docs/how-to/index.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/tutorial.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs/how-to").glob("*.md")))
REASONS = ("setup", "hub", "gpu", "key", "server", "ray", "scout", "weights")
"""Why a block is not run; docs/how-to/index.md explains each."""
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>\w+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    language: str
    text: str
    reason: str | None
    """Why it is not run; None for a block that is."""

    @property
    def first(self) -> str:
        """Its first line, without the sign that it goes on."""
        return self.text.partition("\n")[0].removesuffix(" \\")


class Option(NamedTuple):
    """One option of a command, as typed."""

    name: str
    value: str
    """Empty for a flag."""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page that name a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block. A here document is left out of its command."""
    text = _HERE_DOCUMENT.sub("\n", block.text).replace("\\\n", " ")
    for line in text.splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def not_run_table() -> str:
    """The blocks of the tutorial and the how-tos that are not run, as a table in docs/how-to/index.md."""
    rows = [
        f"| [{Path(page).stem}]({_from_how_to(page)}) | {block.reason} | `{block.first}` |"
        for page in PAGES
        for block in blocks(page)
        if block.reason is not None
    ]
    return "\n".join(["| page | needs | begins with |", "|---|---|---|", *rows])


def _from_how_to(page: str) -> str:
    return Path(page).name if "how-to" in page else f"../{Path(page).name}"


if __name__ == "__main__":
    print(not_run_table())
