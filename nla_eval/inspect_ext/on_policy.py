"""Lets the target write the last assistant turn of a prompt, through Inspect, and keeps what it wrote.

An answer is kept under (prompt digest, target hash, generation settings), so a changed prompt, target or setting is
answered anew. Books of answers are JSON lines: one that a suite ships, read only, and one in the user's cache."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import anyio
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelOutput,
    execute_tools,
    get_model,
)
from inspect_ai.tool import Tool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..models.target import cache_dir
from ..progress import Meter, Progress, silent
from ..provenance import versions
from ..sources import message_id
from ..suite import AnswersBy, Suite, get_suite
from ..transcript import Author, Transcript, TurnFacts
from .target_api import MAX_CONNECTIONS, target_api

Outcome = Callable[[Transcript], str | None]
MAX_TURNS = 16
"""Turns of a target that acts with tools, after which it is cut off."""


class AnswerSettings(BaseModel):
    """How the target writes. Part of an answer's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(default=160, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=0)


class Answer(BaseModel):
    """One assistant turn the target wrote, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    suite: str
    transcript_id: str
    prompt_digest: str
    target: str
    """The target's name."""
    target_hash: str
    settings: AnswerSettings
    text: str
    """As written: no repetition penalty was applied and nothing was cut but the end token."""
    turns: list[ChatMessage] = Field(default_factory=list)
    """Where the target acted with tools: all it said and what the tools gave back; `text` is then its last words."""
    stop: str
    """"stop" or "max_tokens"; "max_turns" where it was cut off while acting."""
    tokens: int
    """Of all it wrote."""
    repetition: float
    """Share of the text's word 4-grams that stood in it before: small models loop, and a reader should know."""
    dtype: str
    """As asked for; the target's own numbers differ slightly between dtypes."""
    made_with: dict[str, str] = Field(default_factory=dict)
    """Package versions."""


class AnswerBook:
    """Answers by key, from a shipped file (read only) and a cache (read and appended to).

    Raises:
        InputError: A line of the shipped file is not an answer. In the cache such a line (an interrupted write) is
            passed over, and its prompt is answered again.
    """

    def __init__(self, shipped: Path | None, cache: Path) -> None:
        self.cache = cache
        self._answers = {a.key: a for a in _read(cache, strict=False)}
        self._shipped = {a.key: a for a in _read(shipped, strict=True)} if shipped else {}

    def get(self, key: str) -> Answer | None:
        """The answer under `key`: the user's own before the shipped one, so that a fresh one stays in force."""
        return self._answers.get(key) or self._shipped.get(key)

    def is_shipped(self, key: str) -> bool:
        """Whether `get` gives the shipped answer."""
        return key in self._shipped and key not in self._answers

    def add(self, answer: Answer) -> None:
        """Keep an answer, on disk at once."""
        self._answers[answer.key] = answer
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with self.cache.open("ab") as file:
            if file.tell() and not _ends_line(self.cache):
                file.write(b"\n")
            file.write(answer.model_dump_json().encode("utf-8", "backslashreplace") + b"\n")


def answer_key(prompt_digest: str, target_hash: str, settings: AnswerSettings) -> str:
    """First 32 hex digits of a sha256 over what an answer depends on."""
    blob = json.dumps([prompt_digest, target_hash, settings.model_dump()], sort_keys=True)
    return hashlib.sha256(blob.encode()).hexdigest()[:32]


def repetition(text: str, n: int = 4) -> float:
    """Share of the text's word n-grams that stood in it before; 0 for texts shorter than n + 1 words."""
    words = re.findall(r"\w+", text.lower())
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def book_for(suite: Suite) -> AnswerBook:
    """The suite's shipped answers with the user's cache."""
    return AnswerBook(suite.answers, cache_dir() / "answers" / f"{suite.name}.jsonl")


async def answered(
    transcript: Transcript,
    model: Model,
    book: AnswerBook,
    settings: AnswerSettings,
    *,
    tools: Sequence[Tool] = (),
    fresh: bool = False,
) -> tuple[Transcript, Answer]:
    """`transcript` with the assistant turn that the target writes, or has written, after its last message.

    With tools, all its turns and the tools' results: Inspect's tool loop, until it calls none or `MAX_TURNS` are over.

    Args:
        transcript: A prompt; its last message is not the assistant's.
        model: The target, an `nla/` model. One model event is logged when it writes.
        book: Where answers are looked up and kept.
        settings: How it writes; the cap on tokens holds for each turn.
        tools: What it may act with, made for this transcript.
        fresh: Write anew even where the book has an answer.

    Raises:
        InputError: The transcript already ends in an assistant turn, or the model is not a target.
    """
    if transcript.messages and transcript.messages[-1].role == "assistant":
        raise InputError(f"transcript {transcript.id} already ends in an assistant turn; it needs no answer")
    runtime = target_api(model).runtime
    target = await runtime.call("target", lambda: (runtime.target_name, runtime.target.hash))
    key = answer_key(transcript.digest, target[1], settings)
    answer = None if fresh else book.get(key)
    if answer is None:
        answer = await _written(transcript, model, key, target, settings, tools)
        book.add(answer)
    return with_answer(transcript, answer), answer


def with_answer(transcript: Transcript, answer: Answer) -> Transcript:
    """`transcript` ending in `answer`, on-policy."""
    turns: list[ChatMessage] = answer.turns or [ChatMessageAssistant(content=answer.text, model=answer.target)]
    numbered = [
        turn.model_copy(update={"id": message_id(transcript.id, number)})
        for number, turn in enumerate(turns, start=len(transcript.messages))
    ]
    facts = {
        "answer_stop": answer.stop,
        "answer_tokens": str(answer.tokens),
        "answer_repetition": f"{answer.repetition:.3f}",
        "answer_settings": answer.settings.model_dump_json(),
        "answer_target": f"{answer.target}@{answer.target_hash}",
    }
    return transcript.model_copy(
        update={
            "messages": [*transcript.messages, *numbered],
            "turn_facts": (*_facts_before(transcript), *_facts_of(numbered, answer.stop)),
            "on_policy": True,
            "provenance": transcript.provenance.model_copy(update={"model": answer.target}),
            "metadata": {**transcript.metadata, **facts},
        }
    )


def _facts_before(transcript: Transcript) -> tuple[TurnFacts, ...]:
    """Of the turns that stood in the prompt."""
    turns = sum(message.role == "assistant" for message in transcript.messages)
    return transcript.turn_facts or (TurnFacts(),) * turns


def _facts_of(written: Sequence[ChatMessage], stop: str) -> tuple[TurnFacts, ...]:
    """Of what the target wrote: an answer keeps why its last turn ended."""
    turns = sum(message.role == "assistant" for message in written)
    ends = [None] * (turns - 1) + [stop]
    return tuple(TurnFacts(author=Author.TARGET, stop=end) for end in ends[:turns])


async def complete(
    suite: Suite,
    model: Model,
    settings: AnswerSettings,
    book: AnswerBook | None = None,
    *,
    fresh: bool = False,
    limit: int | None = None,
    progress: Progress = silent,
) -> list[Transcript]:
    """The transcripts of a suite, each ending in an assistant turn, for callers outside an Inspect task.

    Prompts are answered together, in batches; a suite of recorded transcripts is returned as it is.

    Args:
        suite: Whose transcripts.
        model: The target.
        settings: How it writes.
        book: Where answers are kept; `book_for(suite)` where none is given.
        fresh: Write anew.
        limit: Only the first so many.
        progress: Told of every answer that is there.
    """
    transcripts = list(islice(suite.load(), limit))
    if suite.card.answers_by is AnswersBy.RECORDED:
        return transcripts
    book = book or book_for(suite)
    done: dict[str, Transcript] = {}
    limiter = anyio.CapacityLimiter(MAX_CONNECTIONS)
    meter = Meter(progress, f"answer {suite.name}", len(transcripts), "prompts")

    async def one(transcript: Transcript) -> None:
        async with limiter:
            tools = suite.tools(transcript) if suite.tools else ()
            full, _ = await answered(transcript, model, book, settings, tools=tools, fresh=fresh)
            done[transcript.id] = full.model_copy(update={"outcome": suite.outcome(full)})
            meter.advance()

    async with anyio.create_task_group() as group:
        # The longest first: what then waits together is of similar length, and little of a batch is padding.
        for transcript in sorted(transcripts, key=lambda t: -sum(len(m.text) for m in t.messages)):
            group.start_soon(one, transcript)
    return [done[t.id] for t in transcripts]


async def _written(
    transcript: Transcript,
    model: Model,
    key: str,
    target: tuple[str, str],
    settings: AnswerSettings,
    tools: Sequence[Tool],
) -> Answer:
    messages, outputs = await _acted(transcript, model, settings, tools)
    output = outputs[-1]
    cut = len(outputs) == MAX_TURNS and output.message.tool_calls
    return Answer(
        key=key,
        suite=transcript.suite,
        transcript_id=transcript.id,
        prompt_digest=transcript.digest,
        target=target[0],
        target_hash=target[1],
        settings=settings,
        text=output.completion,
        turns=messages if tools else [],
        stop="max_turns" if cut else str(output.stop_reason),
        tokens=sum(o.usage.output_tokens for o in outputs if o.usage),
        repetition=repetition(output.completion),
        dtype=target_api(model).runtime.settings.dtype,
        made_with=versions(),
    )


async def _acted(
    transcript: Transcript, model: Model, settings: AnswerSettings, tools: Sequence[Tool]
) -> tuple[list[ChatMessage], list[ModelOutput]]:
    """What the target says and what tools give back, until it calls none; and its outputs."""
    config = GenerateConfig(
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        max_connections=MAX_CONNECTIONS,  # said here, for Inspect's adaptive limit begins with 20
    )
    said: list[ChatMessage] = []
    outputs: list[ModelOutput] = []
    while len(outputs) < MAX_TURNS:
        output = await model.generate([*transcript.messages, *said], tools=tools, config=config, cache=False)
        outputs.append(output)
        said.append(output.message)
        if not output.message.tool_calls:
            break
        said.extend((await execute_tools([*transcript.messages, *said], tools)).messages)
    return said, outputs


def _read(path: Path, *, strict: bool) -> Iterable[Answer]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield Answer.model_validate_json(line)
        except ValidationError as err:
            if strict:
                raise InputError(
                    f"{path.name} line {number} is not an answer ({err.errors()[0]['msg']}); "
                    "remake the file with: python -m nla_eval.inspect_ext.on_policy SUITE --out FILE"
                ) from err


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write a suite's answers to a file, for suites whose prompts allow them in a repository. Stopped, it resumes."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.inspect_ext.on_policy", description=main.__doc__)
    parser.add_argument("suite")
    parser.add_argument("--model", default="nla/smollm2-135m")
    parser.add_argument("--dtype", default="float32", help="float32 gives the same words on every machine")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fresh", action="store_true", help="write every answer anew")
    args = parser.parse_args(argv)
    suite = get_suite(args.suite)
    if args.fresh:
        args.out.unlink(missing_ok=True)
    model = get_model(args.model, dtype=args.dtype, threads=args.threads)
    book = AnswerBook(None, args.out)
    anyio.run(lambda: complete(suite, model, AnswerSettings(), book))
    latest = {a.transcript_id: a for a in _read(args.out, strict=False)}
    ordered = [latest[t.id] for t in suite.load()]
    args.out.write_text("".join(a.model_dump_json() + "\n" for a in ordered), encoding="utf-8")
    print(f"{len(ordered)} answers in {args.out}")


if __name__ == "__main__":
    main()
