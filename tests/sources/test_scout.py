"""What Scout itself writes is read: its database of an Inspect log gives the log's transcripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from nla_eval.sources import SourceOptions, read, source_of
from nla_eval.transcript import Arm, Author, Transcript
from tests.sources.fixtures import INSPECT, table

OPTIONS = SourceOptions(suite="s", arm=Arm.EVALUATION)


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
