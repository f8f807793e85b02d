"""Progress shows stage, count, rate and time left, and limits how often it prints a plain line."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from nla_eval.progress import Event, Lines, describe, duration, peak_bytes


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("verbalize", 96, 288, "readings", 32.0), "verbalize 96/288 readings, 3/s, 1 min 4 s left"),
        (Event("verbalize", 288, 288, "readings", 96.0), "verbalize 288/288 readings, 3/s, 1 min 36 s"),
        (Event("verbalize", 1, 864, "readings", 110.0), "verbalize 1/864 readings, 0.00909/s"),
        (Event("replay", 5, None, "transcripts", 10.0), "replay 5 transcripts, 0.5/s"),
        (Event("capture", 0, 9, "transcripts", 0.0), "capture 0/9 transcripts, 0/s"),
    ],
)
def test_an_event_is_one_line(event: Event, line: str) -> None:
    assert describe(event) == line


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_stage_shows_its_first_and_last_line_and_few_between() -> None:
    stream = io.StringIO()
    show = Lines(stream, every=1e9)
    for done in range(1, 101):
        show(Event("capture", done, 100, "transcripts", done / 10))
    show(Event("verbalize", 1, 2, "readings", 1.0))
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "capture 1/100 transcripts",
        "capture 100/100 transcripts",
        "verbalize 1/2 readings",
    ]


def test_a_terminal_gets_one_line_rewritten_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    show = Lines(stream)
    show(Event("capture", 1, 2, "transcripts", 1.0))
    assert "\n" not in stream.getvalue()
    show(Event("capture", 2, 2, "transcripts", 2.0))
    assert stream.getvalue().count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_the_peak_is_that_of_this_program_and_not_of_what_started_it() -> None:
    held = bytearray(300_000_000)
    code = "from nla_eval.progress import peak_bytes; print(peak_bytes())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) < len(held) < peak_bytes()
