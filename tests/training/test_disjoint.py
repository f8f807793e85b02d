"""No shipped suite holds a conversation that the shipped pack was trained on, by family and by content."""

from __future__ import annotations

import hashlib

import pytest

from nla_eval.errors import MissingExtraError
from nla_eval.models.pack import default_pack
from nla_eval.suite import Needs, get_suite, suite_names

HASHES = "training_hashes.txt"


def test_the_hashes_of_the_training_conversations_ship_with_the_pack() -> None:
    lines = (default_pack().path / HASHES).read_text().split()
    assert len(lines) > 1000
    assert all(len(line) == 16 and int(line, 16) >= 0 for line in lines)


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_and_the_training_conversations_are_disjoint(name: str) -> None:
    trained = set((default_pack().path / HASHES).read_text().split())
    suite = get_suite(name)
    if suite.card.needs in (Needs.HUB, Needs.PATH):
        pytest.skip(f"suite '{name}' is not at hand: it needs a {suite.card.needs.value}")
    try:
        transcripts = list(suite.load())
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    assert transcripts
    for transcript in transcripts:
        assert hashlib.sha256(transcript.family.encode()).hexdigest()[:16] not in trained, transcript.id
        assert transcript.digest[:16] not in trained, transcript.id
