"""The files of a store on any fsspec filesystem: parts that appear whole or not at all, and two JSON files.

In and out: names and bytes. Failures are one-line StoreErrors. On an object store a single PUT is atomic; elsewhere a
file is written under a temporary name and renamed. This module does not know what the bytes mean."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from ..errors import DamagedError, MissingExtraError, StoreError

T = TypeVar("T")

_log = logging.getLogger(__name__)
_TEMPORARY, _SUFFIX = ".tmp-", ".parquet"
_CHECKSUM = re.compile(r"-([0-9a-f]{16})\.parquet$")
_ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"})
"""Protocols on which writing a whole object is atomic and a rename is a copy."""
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_TOGETHER = 16
"""Number of parts fetched at the same time. Their bytes are in memory together."""
_LISTINGS = 50
_ABANDONED_SECONDS = 24 * 3600.0


class PartGoneError(Exception):
    """A listed part no longer exists, because a compaction replaced it. List the parts again."""


@dataclass(frozen=True, order=True)
class Part:
    """One parquet file of a kind."""

    name: str
    """File name. Names sort by time of writing."""
    size: int
    """Bytes."""


class StoreFiles:
    """The files under one folder or URL.

    Raises:
        StoreError: The URL cannot be opened.
        MissingExtraError: The package for its protocol is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, root = _filesystem(url)
        self._root = str(root).rstrip("/")
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._local = bool(protocols & {"file", "local"})
        self._atomic_put = bool(protocols & _ATOMIC_PUT)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The JSON object in file `name`; None if there is no such file. Raises DamagedError if it holds none."""
        try:
            data = json.loads(self._guarded(name, lambda: self._fs.cat_file(f"{self._root}/{name}")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError) as err:
            raise DamagedError(
                f"store '{self.url}': {name} is not JSON; run: nla-eval store repair {self.url}"
            ) from err
        if not isinstance(data, dict):
            raise DamagedError(f"store '{self.url}': {name} is no JSON object; run: nla-eval store repair {self.url}")
        return data

    def create(self, name: str, data: bytes) -> None:
        """Write `data` as `name` if no such file exists. If several writers do so at once, one wins."""
        self._write(name, data, exclusive=True)

    def replace(self, name: str, data: bytes) -> None:
        """Write `data` as `name`, replacing an existing file."""
        self._write(name, data, exclusive=False)

    def parts(self, kind: str) -> list[Part]:
        """The parts of a kind, sorted by name.

        A listing during a compaction may miss both the old parts and the new one. So a listing is repeated until it
        lacks no part of the listing before it.
        """
        before = self._listed(kind)
        for _ in range(_LISTINGS):
            now = self._listed(kind)
            if {part.name for part in before} <= {part.name for part in now}:
                return now
            before = now
        raise StoreError(f"the parts of '{self.url}/{kind}' change faster than they can be listed; try again later")

    def names(self, kind: str) -> list[str]:
        """Names of the parts of a kind, sorted, by one listing without sizes. Beside a compaction it may lack some, so
        it serves where that costs a repeated row, not a lost one."""
        entries = self._entries(kind, detail=False)
        return sorted(name for name in (str(entry).rsplit("/", 1)[-1] for entry in entries) if _is_part(name))

    def read(self, kind: str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of parts, in order. A few are fetched at a time.

        Raises:
            PartGoneError: A part no longer exists.
        """
        with ThreadPoolExecutor(_TOGETHER) as pool:
            for start in range(0, len(names), _TOGETHER):
                some = names[start : start + _TOGETHER]
                yield from zip(some, pool.map(lambda name: self._part(kind, name), some), strict=True)

    def write_part(self, kind: str, data: bytes, after: Part | None = None) -> Part:
        """Write a new part under a unique name that ends in its checksum. The name sorts last, or right after part
        `after` if that is given."""
        unique = f"{uuid.uuid4().hex[:12]}-{part_checksum(data)}"
        stem = f"{time.time_ns():020d}-{unique}" if after is None else f"{_origin(after.name)}_{unique}"
        self._write(f"{kind}/{stem}{_SUFFIX}", data, exclusive=False)
        _log.debug("wrote %s/%s, %d bytes", kind, stem + _SUFFIX, len(data))
        return Part(stem + _SUFFIX, len(data))

    def remove(self, kind: str, names: Iterable[str]) -> None:
        """Remove parts. Parts that are already gone are ignored."""
        for name in names:
            path = f"{self._root}/{kind}/{name}"
            try:
                self._guarded(f"{kind}/{name}", lambda path=path: self._fs.rm_file(path))  # type: ignore[misc]
            except FileNotFoundError:
                continue

    def set_aside(self, kind: str, name: str) -> str:
        """Move a part into the folder `damaged/KIND`, where no reader looks. Returns its path within the store.

        Raises:
            StoreError: It cannot be moved; it is where it was.
        """
        aside = f"damaged/{kind}/{name}"
        if self._local:  # a rename needs no bytes of a disk that may not give them
            target = Path(self._root, aside)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(self._root, kind, name), target)
            except OSError as err:
                raise StoreError(f"store cannot move '{self.url}/{kind}/{name}' aside: {_reason(err)}") from err
        else:
            self._write(aside, self._part(kind, name), exclusive=False)
            self.remove(kind, [name])
        return aside

    def remove_abandoned(self, kind: str) -> None:
        """Remove temporary files that killed writers left more than a day ago. Object stores have none."""
        if not self._local:
            return
        for path in Path(self._root, kind).glob(f"{_TEMPORARY}*"):
            with suppress(FileNotFoundError):  # its writer has renamed it since the listing
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def _listed(self, kind: str) -> list[Part]:
        entries = self._entries(kind, detail=True)
        found = (Part(str(entry["name"]).rsplit("/", 1)[-1], int(entry.get("size") or 0)) for entry in entries)
        return sorted(part for part in found if _is_part(part.name))

    def _entries(self, kind: str, *, detail: bool) -> list[Any]:
        folder = f"{self._root}/{kind}"
        self._fs.invalidate_cache(folder)  # fsspec caches listings, but other processes write too
        try:
            return list(self._guarded(kind, lambda: self._fs.ls(folder, detail=detail)))
        except FileNotFoundError:
            return []

    def _part(self, kind: str, name: str) -> bytes:
        try:
            data = self._guarded(f"{kind}/{name}", lambda: self._fs.cat_file(f"{self._root}/{kind}/{name}"))
        except FileNotFoundError as err:
            raise PartGoneError(name) from err
        return bytes(data)

    def _write(self, name: str, data: bytes, *, exclusive: bool) -> None:
        path = f"{self._root}/{name}"
        try:
            if self._atomic_put:
                self._fs.pipe_file(path, data, mode="create" if exclusive else "overwrite")
            elif self._local:
                _write_local(Path(path), data, exclusive=exclusive)
            else:
                self._write_renamed(path, data, exclusive=exclusive)
        except FileExistsError:
            if not exclusive:
                raise
        except Exception as err:
            if self._local and not isinstance(err, OSError):
                raise
            raise StoreError(f"store cannot write '{self.url}/{name}': {_reason(err)}") from err

    def _write_renamed(self, path: str, data: bytes, *, exclusive: bool) -> None:
        """Write on a remote filesystem that can rename: sftp, hdfs, smb."""
        if exclusive and self._fs.exists(path):
            return
        folder = path.rsplit("/", 1)[0]
        temporary = f"{folder}/{_TEMPORARY}{uuid.uuid4().hex}"
        self._fs.makedirs(folder, exist_ok=True)
        self._fs.pipe_file(temporary, data)
        self._fs.mv(temporary, path)

    def _guarded(self, name: str, work: Callable[[], T]) -> T:
        """Call `work`. A missing file raises FileNotFoundError; any other storage failure becomes a StoreError."""
        try:
            return work()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except Exception as err:
            # Drivers also raise exceptions that are not OSErrors: botocore does if an endpoint does not answer.
            if self._local and not isinstance(err, OSError):
                raise
            raise StoreError(
                f"store cannot read '{self.url}/{name}': {_reason(err)}; restore it, or choose another store"
            ) from err


def _write_local(path: Path, data: bytes, *, exclusive: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive and _linked(temporary, path):
            return
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(temporary: Path, path: Path) -> bool:
    """Give the file its final name by a hard link. Returns False on filesystems without hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def part_checksum(data: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:16]


def named_checksum(name: str) -> str | None:
    """The checksum that a part's name carries; None for a part of an earlier version, which carries none."""
    found = _CHECKSUM.search(name)
    return found[1] if found else None


def _is_part(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(_TEMPORARY)


def _origin(name: str) -> str:
    return name.removesuffix(_SUFFIX).split("_", 1)[0]


def _reason(err: Exception) -> str:
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{err.strerror}; free some room and run the same command again; finished readings are kept"
    text = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
    return " ".join(text.split()) or type(err).__name__


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except ImportError as err:
        protocol = url.split("://", 1)[0]
        if protocol in _EXTRAS:
            extra = _EXTRAS[protocol]
            raise MissingExtraError(f"a store at {protocol}://", "s3fs", f"pip install 'nla_eval[{extra}]'") from err
        raise StoreError(
            f"store '{url}' cannot be opened: {str(err).splitlines()[0]}; give a folder or a URL that fsspec knows"
        ) from err
    except ValueError as err:
        raise StoreError(
            f"store '{url}' cannot be opened: {str(err).splitlines()[0]}; give a folder or a URL that fsspec knows"
        ) from err
    return fs, str(root)
