"""A source: a reader of one format, with the test by which it knows its own files, registered under a name.

In: a file, or a folder of them. Out: transcripts and `Skipped` rows, lazily, ids checked, limit kept. It knows nothing
of what a format looks like inside; that is each reader's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..registry import Registry
from ..transcript import Transcript
from ._base import Item, Skipped, SourceOptions
from ._ids import Ids
from ._probe import Probe, probe

Place = Path | str
"""A file, a folder, or a URL of a kind that some reader knows."""
_Found = tuple[str, Item]
"""The name of a file, and what was read of it."""
ReadFile = Callable[[Path, SourceOptions], Iterator[Item]]


@dataclass(frozen=True)
class Source:
    """A reader of files."""

    name: str
    what: str
    """One line for a list of formats."""
    read_file: ReadFile | None = None
    """One file to its transcripts. Raises InputError when the file as a whole cannot be read."""
    fits: Callable[[Probe], bool] = lambda probe: False
    """Whether a file is of this format, by its content."""
    suffixes: tuple[str, ...] = ()
    """In a folder, files that end so are read even where they are not recognised: damage is reported as such."""
    generic: bool = False
    """Gives way to any reader that knows the file more closely."""
    packaged: Callable[[], tuple[Path, str]] | None = None
    """The file that a package carries, with its provenance, for a call without a place."""
    read_url: Callable[[str, SourceOptions], Iterator[Item]] | None = None
    """What a URL names to its transcripts, for readers of no files."""

    def __call__(self, where: Place | None, options: SourceOptions) -> Iterator[Item]:
        """Transcripts of a file, of every file of a folder in the order of their names, or of a URL.

        Raises:
            InputError: nothing there, or not one usable transcript in it.
        """
        if isinstance(where, str) and "://" in where:
            if self.read_url is None:
                raise InputError(f"source '{self.name}' reads no URLs; expected {self.what}")
            yield from _screened(_in(where, self.read_url(where, options)), options, where)
            return
        if where is None and self.packaged is not None:
            path, source = self.packaged()
            yield from _screened(self._file(path, options), options, source)
            return
        path = Path(where or "")
        if where is None or not path.exists() or self.read_file is None:
            raise InputError(f"source '{self.name}': no '{path.name}'; expected {self.what}")
        items = self._folder(path, options) if path.is_dir() else self._file(path, options)
        yield from _screened(items, options, path.name or str(path))

    def _file(self, path: Path, options: SourceOptions, name: str = "") -> Iterator[_Found]:
        if self.read_file is not None:
            yield from _in(name or path.name, self.read_file(path, options))

    def _folder(self, folder: Path, options: SourceOptions) -> Iterator[_Found]:
        for file in files_below(folder):
            name = str(file.relative_to(folder))
            if not (file.name.endswith(self.suffixes) or self.fits(probe(file))):
                yield name, Skipped(name, f"not what the reader '{self.name}' reads", foreign=True)
                continue
            try:
                yield from self._file(file, options, name)
            except InputError as error:
                yield name, Skipped(name, str(error))


def _in(file: str, items: Iterator[Item]) -> Iterator[_Found]:
    return ((file, item) for item in items)


def _screened(found: Iterator[_Found], options: SourceOptions, name: str) -> Iterator[Item]:
    """Pass items on up to the limit, each transcript under an id of its own.

    Raises:
        InputError: not one transcript came of it.
    """
    ids = Ids()
    count = 0
    first: Skipped | None = None
    for file, raw in found:
        if options.limit is not None and count >= options.limit:
            return
        item = ids.settled(raw, file) if isinstance(raw, Transcript) else raw
        if isinstance(item, Skipped):
            if first is None or (first.foreign and not item.foreign):
                first = item
        else:
            count += 1
        yield item
    if not count:
        why = f"the first reason: {first}" if first else "it is empty"
        raise InputError(f"{name}: no usable transcript in it; {why}")


SOURCES: Registry[Source] = Registry("source")


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder, sorted; hidden ones and Scout's index (folders and files named .* or _index) left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "_index" for part in parts):
            found.append(path)
    return found
