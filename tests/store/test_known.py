"""What a store object remembers of its rows: nothing is written twice, and what counts is what all rows give."""

from __future__ import annotations

import uuid

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from nla_eval.readings import KEY
from nla_eval.store.rows import SCHEMA, TranscriptRow, resolved
from nla_eval.store.store import ReadingStore
from tests.store.test_store import IDENTITY, reading, row

ROWS = st.builds(
    lambda digest, outcome, planned: row(transcript_digest=digest, outcome=outcome, planned_positions=planned),
    st.sampled_from(["d1", "d2", "d3"]),
    st.sampled_from([None, "a", "b\ud800"]),
    st.sampled_from([0, 2]),
)
BATCHES = st.lists(st.tuples(st.booleans(), st.lists(ROWS, max_size=4)), max_size=6)


def two_writers() -> list[ReadingStore]:
    url = f"memory://{uuid.uuid4().hex}"
    return [ReadingStore.create(url, IDENTITY) for _ in range(2)]


@settings(deadline=None, max_examples=60)
@given(BATCHES)
def test_two_writers_in_turns_write_no_row_that_counts_already(batches: list[tuple[bool, list[TranscriptRow]]]) -> None:
    writers, counts, written = two_writers(), dict[str, TranscriptRow](), 0
    for second, batch in batches:
        writers[second].append_transcripts(batch)
        new = [one for one in batch if counts.get(one.transcript_digest) != one]
        written += len(new)
        for one in new:
            known = counts.get(one.transcript_digest)
            if one.planned_positions or known is None or not known.planned_positions:
                counts[one.transcript_digest] = one
    found = writers[0].transcripts()
    assert dict(found.select("transcript_digest", "planned_positions").iter_rows()) == {
        digest: one.planned_positions for digest, one in counts.items()
    }
    assert found["outcome"].to_list() == [
        one.outcome and one.outcome.replace("\ud800", "?") for _, one in sorted(counts.items())
    ]
    assert writers[0].rows("transcripts", {"transcript_digest": pl.String()}).height == written


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.dictionaries(st.sampled_from("abcde"), st.text(max_size=3))), max_size=6))
def test_a_conversation_is_written_once_whoever_writes(batches: list[tuple[bool, dict[str, str]]]) -> None:
    writers, first = two_writers(), dict[str, str]()
    for second, batch in batches:
        writers[second].append_messages(batch)
        first = {**batch, **first}
    assert writers[0].messages() == first
    assert writers[0].rows("messages", {"transcript_digest": pl.String()}).height == len(first)


READINGS = st.builds(
    lambda position, digest, text, stop, cos: reading(position, digest=digest, explanation=text, stop=stop, cos=cos),
    st.sampled_from([1, 2]),
    st.sampled_from(["d1", "d2"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["closed", "error"]),
    st.sampled_from([None, 0.1, 0.5]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(READINGS, max_size=12))
def test_one_reading_per_key_is_the_best_one_in_any_order(made: list) -> None:
    rows = [one.model_dump(mode="json") for one in made]

    def rank(one: dict) -> tuple:
        return one["stop"] == "error", *((one[name] is None, one[name]) for name in SCHEMA if name not in KEY)

    best: dict[tuple, dict] = {}
    for one in rows:
        key = tuple(one[name] for name in KEY)
        best[key] = min(best.get(key, one), one, key=rank)
    found = resolved("readings", pl.DataFrame(rows, schema=SCHEMA))
    assert found.to_dicts() == [{name: best[key][name] for name in SCHEMA} for key in sorted(best)]
    assert found.equals(resolved("readings", pl.DataFrame(rows[::-1], schema=SCHEMA)))
