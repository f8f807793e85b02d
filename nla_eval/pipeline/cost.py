"""Cost of a planned run, before any weights are loaded: transcripts, positions, tokens, draws, time and bytes.

In: a planned run, its store, and the rates of the last similar run on this machine, from a small file in the cache.
Out: the cost as text. Without such a run the time is reported as unknown. This module knows no engine."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from dataclasses import asdict, dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from ..models.target import cache_dir
from ..progress import duration
from ..readings import LANES, Lane
from ..store.store import ReadingStore
from .plan import PlannedRun, Prepared
from .reading import Spent

_FILE = "rates.json"
_LEAST_SECONDS = 1.0
"""A stage shorter than this many seconds does not replace a known rate."""
_NUMBER_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "none": 0}
_READING_BYTES = 330
"""Bytes of a reading's numbers and names, without its context, token and explanation."""
_BYTES_PER_TOKEN = 5
"""Bytes of text per token. English has about four characters per token."""


@dataclass(frozen=True)
class Setting:
    """Everything that rates depend on, besides the machine."""

    target: str
    """Target hash."""
    pack: str
    """Pack id."""
    engine: str
    dtype: str
    threads: int

    @property
    def key(self) -> str:
        """Key in the file of rates."""
        return "|".join(map(str, asdict(self).values()))


class Rates(BaseModel):
    """Measured rates of a setting; None for a stage that has not run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    load_seconds: float = 0.0
    tokens_per_second: float | None = None
    """Rate of capture."""
    readings_per_second: float | None = None
    """Rate of drawing and scoring."""
    day: str = ""
    """Day of the run, as YYYY-MM-DD."""


@dataclass(frozen=True)
class Work:
    """The remaining work of a run, and the bytes it adds."""

    tokens: int
    """To capture."""
    readings: int
    """To draw."""
    present: int
    """Planned readings that are already in the store."""
    activation_bytes: int
    reading_bytes: int
    """Upper bound before compression, with every explanation as long as its token cap."""
    message_bytes: int


def remembered(setting: Setting) -> Rates | None:
    """Rates of the last run under `setting` on this machine; None if there was none."""
    try:
        return Rates.model_validate(_all().get(setting.key))
    except ValidationError:
        return None


def remember(setting: Setting, spent: Spent) -> None:
    """Store a run's rates for the next plan. A stage that did not run, or ran too briefly, keeps its old rate."""
    before = remembered(setting) or Rates()
    tokens = _rate(spent.captured_tokens, spent.capture_seconds, before.tokens_per_second)
    readings = _rate(spent.drawn, spent.draw_seconds, before.readings_per_second)
    if (tokens, readings) == (before.tokens_per_second, before.readings_per_second):
        return
    now = Rates(
        load_seconds=spent.load_seconds,
        tokens_per_second=tokens,
        readings_per_second=readings,
        day=time.strftime("%Y-%m-%d"),
    )
    path = cache_dir() / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{_FILE}-{uuid.uuid4().hex}")
    scratch.write_text(json.dumps({**_all(), setting.key: now.model_dump()}, indent=1, sort_keys=True))
    os.replace(scratch, path)


def work_of(run: PlannedRun, store: ReadingStore | None, *, retry_errors: bool = False) -> Work:
    """The work that `read_in_process` would do for `run`, given the content of `store` (None: no store yet)."""
    present = store.keys(errors=not retry_errors) if store else set()
    readable = run.readable(present)
    planned = {key for p in readable for key in run.keys(p)}
    pending = planned - present
    captured = store.captured() if store else set()
    captures = any(LANES[Lane(key[2])].verbalized for key in pending)
    missing = (
        [p for p in readable if any((p.digest, int(at)) not in captured for at in p.positions)] if captures else []
    )
    known = set(store.transcripts()["transcript_digest"]) if store else set()
    width = run.identity.d_model * _NUMBER_BYTES[run.identity.activations]
    per_site = Counter((digest, position) for digest, position, *_ in pending)
    text = {s.key: len(s.context.encode("utf-8", "replace")) + len(s.token) for p in readable for s in p.sites}
    explanation = run.identity.max_new_tokens * _BYTES_PER_TOKEN
    return Work(
        tokens=sum(len(p.token_ids) for p in missing),
        readings=len(pending),
        present=len(planned) - len(pending),
        activation_bytes=sum(len(p.positions) for p in missing) * width,
        reading_bytes=sum(n * (text[site] + explanation + _READING_BYTES) for site, n in per_site.items()),
        message_bytes=sum(p.row.tokens * _BYTES_PER_TOKEN for p in run.prepared if p.digest not in known),
    )


def expected(work: Work, rates: Rates | None) -> str:
    """Expected time in words and the rates behind it, or a note that no rates are known."""
    if not work.readings:
        return "none: every planned reading is in the store"
    lacks = work.tokens and (rates is None or rates.tokens_per_second is None)
    if rates is None or rates.readings_per_second is None or lacks:
        return "unknown: no run on this machine yet with this target, pack, engine, dtype and threads"
    capture = work.tokens / rates.tokens_per_second if rates.tokens_per_second else 0.0
    draw = work.readings / rates.readings_per_second
    return (
        f"about {duration(rates.load_seconds + capture + draw)}: load {duration(rates.load_seconds)}, capture "
        f"{duration(capture)}, verbalize {duration(draw)} at {rates.readings_per_second:.3g} readings/s; "
        f"rates of this machine's last run, {rates.day}"
    )


def plan_table(run: PlannedRun, work: Work, rates: Rates | None) -> str:
    """The whole plan, with one line each for transcripts, positions, tokens, draws, time and store."""
    readable = [p for p in run.prepared if p.error is None]
    rows = {
        "transcripts": _transcripts(run, readable),
        "positions": f"{sum(len(p.sites) for p in readable)} by {run.plan.positions}",
        "capture": f"{work.tokens:,} tokens",
        "draws": _draws(run, readable, work),
        "time": expected(work, rates),
        "store": bytes_line(run, work),
    }
    return "\n".join(f"{name:12} {text}" for name, text in rows.items())


def bytes_line(run: PlannedRun, work: Work) -> str:
    """Upper bound on the growth of the store, as one line."""
    parts = {
        f"activations ({run.identity.activations})": work.activation_bytes,
        "readings": work.reading_bytes,
        "conversations": work.message_bytes,
    }
    shown = ", ".join(f"{name} {_size(size)}" for name, size in parts.items())
    return f"at most {_size(sum(parts.values()))} more before compression: {shown}"


def _transcripts(run: PlannedRun, readable: list[Prepared]) -> str:
    arms = Counter(p.row.arm for p in readable)
    parts = [f"{len(readable)} ({', '.join(f'{count} {arm}' for arm, count in sorted(arms.items()))})"]
    if unreadable := len(run.prepared) - len(readable):
        parts.append(f"{unreadable} cannot be read")
    if lost := sum(p.row.lost_tokens for p in run.prepared):
        parts.append(f"{lost:,} tokens beyond the context")
    if run.duplicates:
        parts.append(f"{len(run.duplicates)} duplicates left out")
    return "; ".join(parts)


def _draws(run: PlannedRun, readable: list[Prepared], work: Work) -> str:
    return f"{run.describe_readings(readable)}; {work.present} are there, {work.readings} to draw"


def _rate(count: int, seconds: float, before: float | None) -> float | None:
    if not count or seconds <= 0 or (before is not None and seconds < _LEAST_SECONDS):
        return before
    return count / seconds


def _all() -> dict[str, object]:
    """Content of the file of rates; empty if the file cannot be read."""
    try:
        data = json.loads((cache_dir() / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"
