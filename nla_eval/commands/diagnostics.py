"""What helps when something goes wrong: messages for `--verbose`, and a report of a bug that holds no transcript.

A bug's traceback on the terminal may quote what was read: an exception's message often does. So the report has neither
messages nor values, only the type, the lines of code, versions, and the names of the options that were given."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from pathlib import Path

from ..printable import one_line
from ..provenance import versions

_PACKAGE = Path(__file__).resolve().parents[1]


def talk(verbose: int) -> None:
    """Show log messages on standard error. Without this, only warnings are shown.

    Args:
        verbose: 1: what each stage does; 2: every part that is written or read.
    """
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        log = logging.getLogger("nla_eval")
        log.addHandler(handler)
        log.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)


def report_of(bug: BaseException) -> str:
    """The report as JSON text: type of the exception and of its causes, lines of code, versions, names of options."""
    chain, seen = [], set[int]()
    err: BaseException | None = bug
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        frames = traceback.extract_tb(err.__traceback__)
        chain.append({"type": type(err).__name__, "at": [f"{_place(f.filename)}:{f.lineno} {f.name}" for f in frames]})
        err = err.__cause__ or err.__context__
    options = [arg.partition("=")[0] for arg in sys.argv[1:] if arg.startswith("-")]
    commands = [arg for arg in sys.argv[1:2] if arg.isidentifier()]
    found = {"bug": chain, "command": [*commands, *options], "platform": sys.platform, "versions": versions()}
    return json.dumps(found, indent=1) + "\n"


def keep_report(bug: BaseException) -> Path | None:
    """Write the report into the cache folder. Returns its path; None if it cannot be written."""
    from ..models.target import cache_dir

    path = cache_dir() / "bugs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{type(bug).__name__}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report_of(bug))
    except OSError:
        return None
    return path


def told_of(bug: BaseException) -> str:
    """The last line that a user sees of a bug."""
    path = keep_report(bug)
    where = f"its report, without transcripts, is {one_line(str(path))}" if path else "its report could not be written"
    return f"nla-eval: this is a bug ({type(bug).__name__}); {where}; what is finished is kept"


def _place(name: str) -> str:
    """A file's place within its package, without the folders of this machine."""
    path = Path(name)
    if path.is_relative_to(_PACKAGE.parent):
        return str(path.relative_to(_PACKAGE.parent))
    return "/".join(path.parts[-2:])
