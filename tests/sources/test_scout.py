"""What Scout itself writes is read: its database of an Inspect log gives the log's transcripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.log import EvalSample, read_eval_log
from pydantic import TypeAdapter

from nla_eval.sources import Samples, Skipped, SourceOptions, read, source_of
from nla_eval.transcript import Arm, Author, Transcript
from tests.sources.fixtures import INSPECT, table

OPTIONS = SourceOptions(suite="s", arm=Arm.EVALUATION)
BUG_INPUTS = Path(__file__).resolve().parent.parent / "data" / "bug_inputs"
LOGS = ("fewshot.eval", "audit.eval", "truncated.eval", "compact_trim.eval", "invalidated.json")
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def row(sample: EvalSample, model: str) -> dict[str, Any]:
    """A sample as Scout writes it, with whole events."""
    return {
        "transcript_id": sample.uuid,
        "source_type": "eval_log",
        "model": model,
        "task_id": str(sample.id),
        "messages": _ANY.dump_json(sample.messages).decode(),
        "events": _ANY.dump_json(sample.events).decode(),
        "error": sample.error.message if sample.error else "",
    }


def found_of(place: Path) -> list[Any]:
    """What of each transcript must not depend on where it was read."""
    items = [item for item in read(place, OPTIONS) if isinstance(item, Transcript)]
    return sorted((t.digest, str(t.turn_facts), str(t.tools), t.metadata.get("model_role")) for t in items)


@pytest.mark.parametrize("name", LOGS)
def test_a_row_with_events_is_read_as_its_log_is(name: str, tmp_path: Path) -> None:
    log = read_eval_log(str(BUG_INPUTS / name), resolve_attachments=True)
    rows = [row(sample, log.eval.model) for sample in log.samples or () if sample.invalidation is None]
    found = found_of(table("db.parquet", rows)(tmp_path))
    assert found
    assert found == found_of(BUG_INPUTS / name)


@pytest.mark.parametrize("name", [name for name in LOGS if name.endswith(".eval")])
def test_the_database_that_scout_makes_of_a_log_is_read_as_the_log_is(name: str, tmp_path: Path) -> None:
    scout = pytest.importorskip("inspect_scout", reason="inspect_scout is not installed")

    async def fill() -> None:
        async with scout.transcripts_db(str(tmp_path / "db")) as db:
            await db.insert(scout.transcripts_from(str(BUG_INPUTS / name)))

    anyio.run(fill)
    assert found_of(tmp_path / "db") == found_of(BUG_INPUTS / name)


def test_a_row_that_ended_in_an_error_is_one_counted_reason(tmp_path: Path) -> None:
    held = {"transcript_id": "t", "source_type": "log", "messages": json.dumps(INSPECT), "error": "out of 'memory'"}
    place = table("db.parquet", [held, {**held, "transcript_id": "u", "error": ""}])(tmp_path)
    left, _ = read(place, OPTIONS)
    assert str(left) == "db.parquet row 1: it ended in an error: 'out of \u2019memory\u2019'; --samples all reads it"
    kept = list(read(place, SourceOptions(suite="s", arm=Arm.EVALUATION, samples=Samples.ALL)))
    assert [isinstance(item, Skipped) for item in kept] == [False, False]


def test_events_that_cannot_be_used_are_counted_and_the_messages_read(tmp_path: Path) -> None:
    options = SourceOptions(suite="s", arm=Arm.EVALUATION)
    held = {"transcript_id": "t", "source_type": "log", "messages": json.dumps(INSPECT), "events": '[{"event": 1}]'}
    (found,) = read(table("db.parquet", [held])(tmp_path), options)
    assert isinstance(found, Transcript)
    assert [fact.author for fact in found.turn_facts] == [Author.LOGGED] * 2
    assert sum(options.notes.counts.values()) == 1


def test_a_database_that_scout_wrote_gives_the_logs_transcripts(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    scout = pytest.importorskip("inspect_scout", reason="inspect_scout is not installed")
    log = shared_data("inspect_logs/raw/docent__log.eval")

    async def fill() -> None:
        async with scout.transcripts_db(str(tmp_path / "db")) as db:
            await db.insert(scout.transcripts_from(str(log)))

    anyio.run(fill)
    place = tmp_path / "db"
    assert source_of(place).name == "scout"
    found = [item for item in read(place, OPTIONS) if isinstance(item, Transcript)]
    wanted = [item for item in read(log, OPTIONS) if isinstance(item, Transcript)]
    assert len(found) == len(wanted) == 15
    assert {t.digest for t in found} == {t.digest for t in wanted}


def test_a_turn_is_the_models_where_its_message_says_it_was_generated(tmp_path: Path) -> None:
    planted = [{"role": "assistant", "content": "Planted.", "source": "input"}, {"role": "assistant", "content": "?"}]
    row = {"transcript_id": "t", "source_type": "log", "model": "m", "messages": json.dumps([*INSPECT, *planted])}
    (found,) = (item for item in read(table("db.parquet", [row])(tmp_path), OPTIONS) if isinstance(item, Transcript))
    assert [fact.author for fact in found.turn_facts] == [Author.LOGGED] * 2 + [Author.GIVEN, Author.RECORDED]
