"""CPU time, peak memory and file size of a report on 1,000 transcripts of 50 judged readings each, and on 20,000.

The chats, explanations and verdicts are made up in varied words; judging is not measured.
`python -m nla_eval.bench.report TRANSCRIPTS POSITIONS SUITES [FILE]` makes it and prints its figures as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from ..judging.classify import JUDGEMENT_SCHEMA, TURN_SCHEMA
from ..progress import peak_bytes
from ..readings import KEY, Lane, Reading, StopReason
from ..store.rows import SCHEMA, TRANSCRIPT_SCHEMA, TranscriptRow
from ..transcript import Arm, Author, Provenance, Transcript, TurnFacts
from .figures import Figure, apart

TRANSCRIPTS, POSITIONS = 1_000, 50
KEYS = ("report_50k_cpu_seconds", "report_50k_peak_mb", "report_50k_file_mb")
SUITES, OF_EACH = 20, 1_000
LARGE_KEYS = ("report_1m_cpu_seconds", "report_1m_peak_mb")
_PACK = "bench@0000000000000000"
_JUDGE = {"classifier": "bench@1", "rubric": "strict@0000000000000000"}
_WORDS = ("river", "stone", "market", "letter", "window", "garden", "engine", "paper", "winter", "music", "harbour")
_AWARE = "the assistant suspects that it is being evaluated"
_ANSWER, _ASKED = 1_200, 120
"""Words of an answer and of a question: about 8,000 characters a transcript."""


def measured(transcripts: int = TRANSCRIPTS, positions: int = POSITIONS) -> dict[str, Figure]:
    """CPU seconds, peak and size of the report, with 200 transcripts to open."""
    found = apart("nla_eval.bench.report", str(transcripts), str(positions), "2")
    how = f"{transcripts} transcripts, {found['readings']:.0f} judged readings; {found['seconds']:.0f} s on a clock"
    values = (found["cpu"], found["peak"], found["megabytes"])
    return {key: Figure(value, how=how) for key, value in zip(KEYS, values, strict=True)}


def large() -> dict[str, Figure]:
    """CPU seconds and peak of the report on 20 suites of 1,000 transcripts."""
    found = apart("nla_eval.bench.report", str(SUITES * OF_EACH), str(POSITIONS), str(SUITES))
    how = f"{SUITES} suites, {found['readings']:.0f} judged readings; {found['seconds']:.0f} s on a clock"
    return {LARGE_KEYS[0]: Figure(found["cpu"], how=how), LARGE_KEYS[1]: Figure(found["peak"], how=how)}


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(_WORDS, count))


def _chat(number: int, suites: int, rng: np.random.Generator) -> Transcript:
    """A chat of ordinary use in every odd suite, an exam in every even one."""
    suite = number % suites
    name = "bench-chats" if suite % 2 else "bench-exam"
    return Transcript(
        id=f"bench-{number}",
        suite=name if suites == 2 else f"{name}-{suite:02d}",
        arm=Arm.DEPLOYMENT if suite % 2 else Arm.EVALUATION,
        family=f"family-{number % (40 * suites)}",
        messages=[
            ChatMessageUser(content=f"{number}: {_words(rng, _ASKED)}"),
            ChatMessageAssistant(content=_words(rng, _ANSWER)),
        ],
        provenance=Provenance(source="bench"),
    )


def _row(chat: Transcript, positions: int) -> TranscriptRow:
    return TranscriptRow(
        transcript_digest=chat.digest,
        transcript_id=chat.id,
        suite=chat.suite,
        arm=chat.arm.value,
        family=chat.family,
        on_policy=True,
        planned_positions=positions,
        tokens=_ANSWER + _ASKED,
        turns=1,
        turn_facts=[TurnFacts(author=Author.TARGET)],
    )


def _readings(chat: Transcript, positions: int, rng: np.random.Generator) -> list[Reading]:
    answer = chat.messages[1].text
    words = answer.split(" ")
    flagged = chat.arm is Arm.EVALUATION and rng.random() < 0.3
    made = []
    for at in sorted(rng.choice(len(words) - 20, positions, replace=False) + 20):
        before = " ".join(words[: at + 1])
        aware = flagged and rng.random() < 0.1
        tail = _AWARE if aware else _words(rng, 12)
        made.append(
            Reading(
                pack=_PACK,
                transcript_digest=chat.digest,
                transcript_id=chat.id,
                suite=chat.suite,
                position=int(_ASKED + at),
                lane=Lane.MEASURED,
                draw=0,
                policy=f"uniform_response({positions})",
                seed=0,
                message=1,
                role="assistant",
                channel="response",
                turn=0,
                token=f" {words[at]}",
                context=before[-240:],
                explanation=f"a helpful answer about {_words(rng, 12)}; {tail}",
                stop=StopReason.CLOSED,
                tokens=40,
                cos=float(0.8 + 0.05 * rng.standard_normal()),
            )
        )
    return made


def _verdict(aware: bool, text: str) -> dict[str, Any]:
    at = text.find(_AWARE)
    return {
        "outcome": "AWARE" if aware else "NOT_AWARE",
        "labels": ["belief" if aware else "none"],
        "score": 0.9 if aware else 0.1,
        "evidence": [{"start": at, "end": at + len(_AWARE), "text": _AWARE}] if aware else [],
        "note": "",
        **_JUDGE,
    }


def _main(transcripts: int, positions: int, suites: int, out: str | None) -> None:
    from .._rooms import load_room
    from ..tally.browse import browse
    from ..tally.frames import Frames
    from ..tally.report_registry import REPORTS
    from ..tally.tally import TallyOptions, counted_in, tally_of
    from ..tally.where import where

    rng = np.random.default_rng(0)
    chats = [_chat(number, suites, rng) for number in range(transcripts)]
    readings, judged = [], []
    for some in (chats[at : at + OF_EACH] for at in range(0, len(chats), OF_EACH)):  # rows as dicts take much memory
        rows = [reading.model_dump(mode="json") for chat in some for reading in _readings(chat, positions, rng)]
        verdicts = [{key: r[key] for key in KEY} | _verdict(_AWARE in r["explanation"], r["explanation"]) for r in rows]
        readings.append(pl.DataFrame(rows, schema=SCHEMA))
        judged.append(pl.DataFrame(verdicts, schema=JUDGEMENT_SCHEMA))
        del rows, verdicts
    turns = [
        {"transcript_digest": c.digest, "message": 1, "part": "text", "author": "target", "text": c.messages[1].text}
        | _verdict(False, "")
        for c in chats
    ]
    frames = Frames(
        pl.concat(readings),
        pl.concat(judged),
        pl.DataFrame(turns, schema=TURN_SCHEMA),
        pl.DataFrame([_row(c, positions).plain() for c in chats], schema=TRANSCRIPT_SCHEMA),
    )
    messages = {chat.digest: chat.messages for chat in chats}
    del readings, judged, turns
    load_room("reports")
    began, spent = time.perf_counter(), time.process_time()
    options = TallyOptions()
    of = counted_in(frames, options)
    counted = tally_of(of, options).model_copy(
        update={
            "where": where(of.found, options.primary, options.how),
            "browse": browse(of.found, messages),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        written = REPORTS.get("html")(counted, {}, None, Path(out) if out else Path(folder) / "report.html")
        size = written.stat().st_size
    figures = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - spent,
        "peak": peak_bytes() / 1e6,
        "megabytes": size / 1e6,
        "readings": frames.readings.height,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
