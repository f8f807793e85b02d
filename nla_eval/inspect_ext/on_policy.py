"""Has the target write the last assistant turn of a prompt, through Inspect, and keeps the answer.

The key of an answer is (prompt digest, target hash, generation settings). If any of them changes, the target answers
again. An answer book is a file of JSON lines: a suite may ship one (read only), and the user's cache has another."""

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
"""A target that acts with tools is cut off after this many turns."""


class AnswerSettings(BaseModel):
    """Generation settings of the target. Part of an answer's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(default=160, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(default=0, ge=0)


class Answer(BaseModel):
    """One assistant turn that the target wrote, with its settings."""

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
    """The text as written: no repetition penalty, and only the end token is cut."""
    turns: list[ChatMessage] = Field(default_factory=list)
    """If the target acted with tools: all its turns and the tools' results. `text` is then its last turn."""
    stop: str
    """"stop" or "max_tokens"; "max_turns" if it was cut off while acting with tools."""
    tokens: int
    """Tokens of everything it wrote."""
    repetition: float
    """Share of word 4-grams that repeat an earlier one. Small models loop, and a reader should know."""
    dtype: str
    """The dtype asked for. Answers differ slightly between dtypes."""
    made_with: dict[str, str] = Field(default_factory=dict)
    """Package versions."""


class AnswerBook:
    """Answers by key, from a shipped file (read only) and a cache (read and appended to).

    Raises:
        InputError: A line of the shipped file is not an answer. In the cache, such a line comes from an interrupted
            write; it is skipped and its prompt is answered again.
    """

    def __init__(self, shipped: Path | None, cache: Path) -> None:
        self.cache = cache
        self._answers = {a.key: a for a in _read(cache, strict=False)}
        self._shipped = {a.key: a for a in _read(shipped, strict=True)} if shipped else {}

    def get(self, key: str) -> Answer | None:
        """The answer under `key`. The user's own answer takes precedence over the shipped one."""
        return self._answers.get(key) or self._shipped.get(key)

    def is_shipped(self, key: str) -> bool:
        """Whether `get` returns the shipped answer."""
        return key in self._shipped and key not in self._answers

    def shipped(self) -> Iterable[Answer]:
        """The shipped answers, in the file's order."""
        return self._shipped.values()

    def add(self, answer: Answer) -> None:
        """Keep an answer, and write it to disk at once."""
        self._answers[answer.key] = answer
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with self.cache.open("ab") as file:
            if file.tell() and not _ends_line(self.cache):
                file.write(b"\n")
            file.write(answer.model_dump_json().encode("utf-8", "backslashreplace") + b"\n")


def answer_key(prompt_digest: str, target_hash: str, settings: AnswerSettings) -> str:
    """First 32 hex digits of a sha256 over everything that an answer depends on."""
    blob = json.dumps([prompt_digest, target_hash, settings.model_dump()], sort_keys=True)
    return hashlib.sha256(blob.encode()).hexdigest()[:32]


def repetition(text: str, n: int = 4) -> float:
    """Share of the text's word n-grams that repeat an earlier one; 0 for texts shorter than n + 1 words."""
    words = re.findall(r"\w+", text.lower())
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def book_for(suite: Suite) -> AnswerBook:
    """The suite's shipped answers together with the user's cache."""
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
    """`transcript` with the target's answer appended: a kept answer, or a new one.

    With tools, this runs Inspect's tool loop until the target calls no tool, or for `MAX_TURNS` turns. All its turns
    and the tools' results are appended.

    Args:
        transcript: A prompt; its last message is not an assistant message.
        model: The target, an `nla/` model. Each turn that it writes is logged as one model event.
        book: Where answers are looked up and kept.
        settings: Generation settings; the token cap applies to each turn.
        tools: Tools it may call, made for this transcript.
        fresh: Write a new answer even if the book has one.

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
    """`transcript` with `answer` appended, marked as on-policy."""
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
    """Facts of the assistant turns in the prompt."""
    turns = sum(message.role == "assistant" for message in transcript.messages)
    return transcript.turn_facts or (TurnFacts(),) * turns


def _facts_of(written: Sequence[ChatMessage], stop: str) -> tuple[TurnFacts, ...]:
    """Facts of the turns that the target wrote. Only the last turn has a stop reason."""
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

    Prompts are answered in batches. Recorded transcripts are returned unchanged.

    Args:
        suite: The suite.
        model: The target.
        settings: Generation settings.
        book: Where answers are kept; None for `book_for(suite)`.
        fresh: Write new answers even if the book has them.
        limit: Number of transcripts to take from the start; None for all.
        progress: Receives one step per finished answer.
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
        # Longest first: prompts that share a batch are then of similar length, which saves padding.
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
    """The target's turns with the tools' results, until it calls no tool; and its outputs."""
    config = GenerateConfig(
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        max_connections=MAX_CONNECTIONS,  # set here because Inspect's adaptive limit starts at 20
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
                    "write the file again with: python -m nla_eval.inspect_ext.on_policy SUITE --out FILE"
                ) from err


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the target's answers to a suite's prompts to a file that the suite can ship. An interrupted run resumes."""
    parser = argparse.ArgumentParser(prog="python -m nla_eval.inspect_ext.on_policy", description=main.__doc__)
    parser.add_argument("suite")
    parser.add_argument("--model", default="nla/smollm2-135m")
    parser.add_argument("--dtype", default="float32", help="float32 gives the same words on every machine")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--limit", type=int, help="answer only the first prompts")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fresh", action="store_true", help="write every answer again")
    args = parser.parse_args(argv)
    suite = get_suite(args.suite)
    if args.fresh:
        args.out.unlink(missing_ok=True)
    model = get_model(args.model, dtype=args.dtype, threads=args.threads)
    book = AnswerBook(None, args.out)
    anyio.run(lambda: complete(suite, model, AnswerSettings(), book, limit=args.limit))
    latest = {a.transcript_id: a for a in _read(args.out, strict=False)}
    ordered = [latest[t.id] for t in islice(suite.load(), args.limit)]
    args.out.write_text("".join(a.model_dump_json() + "\n" for a in ordered), encoding="utf-8")
    print(f"{len(ordered)} answers in {args.out}")


if __name__ == "__main__":
    main()
