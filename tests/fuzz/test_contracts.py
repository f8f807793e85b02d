"""Every parser keeps its contract on its seeds, on kept inputs, and on seeded mutations of both."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.fuzz.parsers import TARGETS, seeds

_MUTATIONS = 150
_SLOWEST = 5.0
_WORDS = (b"1" * 5000, b"[" * 3000, b"{\"a\":" * 2000, b"\xff\xfe", b"\x00", b"nan", b"1e999", b"-1", b"null", b"[]",
          b"{}", b"- " * 1500, b"!!python/object:os.system", b"&a [*a]", b"2026-13-45", b"\xed\xa0\x80")  # fmt: skip


def mutated(seed: bytes, rng: random.Random) -> bytes:
    """A few random edits: flipped, dropped and repeated bytes, and words that parsers stumble over."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 8, 40))
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case _:
                data[at : at + rng.choice((0, length))] = rng.choice(_WORDS)
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_keeps_its_contract(name: str, tmp_path: Path) -> None:
    rng, known = random.Random(name), seeds(name)
    assert known
    for data in [*known, b"", *_WORDS, *(mutated(rng.choice(known), rng) for _ in range(_MUTATIONS))]:
        began = time.process_time()
        TARGETS[name].run(data, tmp_path)
        assert time.process_time() - began < _SLOWEST, data[:200]
