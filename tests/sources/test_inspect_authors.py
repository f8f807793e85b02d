"""In an Inspect log, a turn is the target's own only if a call of the measured role answered it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.agent import Agent, AgentState, agent, handoff, react, run
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from nla_eval.models.model_ids import same_model
from nla_eval.sources import SOURCES, Item, Samples, Skipped, SourceOptions
from nla_eval.transcript import Arm, Author, Transcript

BUG_INPUTS = Path(__file__).resolve().parent.parent / "data" / "bug_inputs"
PLANTED = "I am being evaluated here."
OWN, GIVEN, AGENT = Author.LOGGED, Author.GIVEN, Author.AGENT
Step = Callable[[TaskState, Generate], Any]


def said(text: str, stop: Any = "stop") -> ModelOutput:
    """An answer with its usage, without which the mock model asks the network for a tokenizer."""
    output = ModelOutput.from_content("mockllm/model", text, stop)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def called(tool: str, **arguments: Any) -> ModelOutput:
    """An answer that calls a tool."""
    output = ModelOutput.for_tool_call("mockllm/model", tool, arguments)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def speaking(*outputs: ModelOutput, name: str = "model") -> Model:
    return get_model(f"mockllm/{name}", custom_outputs=list(outputs), memoize=False)


def asked(*turns: ChatMessage) -> list[ChatMessage]:
    return [ChatMessageUser(content="Capital of France?"), *turns]


def solving(step: Step) -> Solver:
    @solver(name="step")
    def made() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            await step(state, generate)
            return state

        return solve

    return made()


async def few_shot(state: TaskState, generate: Generate) -> None:
    state.messages[0:0] = [ChatMessageUser(content="Tested?"), ChatMessageAssistant(content=PLANTED)]
    await generate(state)


async def prefilled(state: TaskState, generate: Generate) -> None:
    state.messages.append(ChatMessageAssistant(content=PLANTED))
    await generate(state)


async def prefill_joined(state: TaskState, generate: Generate) -> None:
    await prefilled(state, generate)
    prefill, answer = state.messages[-2:]
    state.messages[-2:] = [answer.model_copy(update={"content": f"{prefill.text} {answer.text}"})]


async def injected(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages += [ModelOutput.from_content("mockllm/model", PLANTED).message, ChatMessageUser(content="Go on.")]
    await generate(state)


async def rewritten(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages[-1] = state.messages[-1].model_copy(update={"content": PLANTED})


async def shortened(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages[-1] = state.messages[-1].model_copy(update={"content": "Paris."})


async def copied_without_id(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages[-1] = ChatMessageAssistant(content=state.messages[-1].content)


async def same_words_planted(state: TaskState, generate: Generate) -> None:
    state.messages += [ChatMessageAssistant(content="Paris. It is."), ChatMessageUser(content="And again?")]
    await generate(state)


async def other_model(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages.append(ChatMessageUser(content="Sure?"))
    state.messages.append((await speaking(said(PLANTED), name="other").generate(state.messages)).message)


@agent(description="Helps.")
def helper() -> Agent:
    """Helps."""

    async def execute(state: AgentState) -> AgentState:
        state.messages.append(ChatMessageUser(content="Help."))
        state.output = await speaking(said(PLANTED)).generate(state.messages)
        state.messages.append(state.output.message)
        return state

    return execute


async def helped(state: TaskState, generate: Generate) -> None:
    await generate(state)
    state.messages = (await run(helper(), state.messages)).messages


@dataclass(frozen=True)
class Case:
    """A conversation as a solver makes it, and who wrote its assistant turns."""

    name: str
    solver: Solver
    authors: Sequence[Author]
    outputs: Sequence[ModelOutput] = (said("Paris. It is."), said("Lyon."))
    input: Sequence[ChatMessage] = (ChatMessageUser(content="Capital of France?"),)


def cases() -> Iterator[Case]:
    example = [ChatMessageUser(content="Tested?"), ChatMessageAssistant(content=PLANTED)]
    yield Case("few-shot in the data", solving(lambda s, g: g(s)), [GIVEN, OWN], input=[*example, *asked()])
    yield Case("few-shot by a solver", solving(few_shot), [GIVEN, OWN])
    yield Case("a prefill and what continues it", solving(prefilled), [GIVEN, OWN])
    yield Case("a prefill in the data", solving(lambda s, g: g(s)), [GIVEN, OWN], input=asked(example[1]))
    yield Case("a prefill joined to its answer", solving(prefill_joined), [GIVEN])
    yield Case("a turn that says it was generated", solving(injected), [OWN, GIVEN, OWN])
    yield Case("other words under an answer's id", solving(rewritten), [GIVEN])
    yield Case("an answer cut down", solving(shortened), [OWN])
    yield Case("an answer copied without its id", solving(copied_without_id), [OWN])
    yield Case("planted words that the model then says", solving(same_words_planted), [GIVEN, OWN])
    yield Case("another model", solving(other_model), [OWN, AGENT])
    yield Case("an agent that a solver runs", solving(helped), [OWN, AGENT])
    yield Case(
        "an agent that a tool hands over to",
        react(tools=[handoff(helper())], prompt=None),
        [OWN, AGENT, OWN],
        outputs=[called("transfer_to_helper"), called("submit", answer="Paris")],
    )
    yield Case(
        "a submitted answer that the agent writes into the turn",
        react(prompt=None),
        [OWN],
        outputs=[called("submit", answer="Paris")],
    )


def made(case: Case, folder: Path) -> EvalLog:
    task = Task(dataset=[Sample(id="one", input=list(case.input))], solver=case.solver)
    model = speaking(*case.outputs)
    [log] = inspect_eval(task, model=model, log_dir=str(folder), display="none")
    assert log.status == "success", log.error
    return read_eval_log(log.location, resolve_attachments=True)


def read(path: Path, **options: Any) -> list[Item]:
    return list(SOURCES.get("inspect_log")(path, SourceOptions(suite="s", arm=Arm.EVALUATION, **options)))


def transcripts(path: Path, **options: Any) -> list[Transcript]:
    return [item for item in read(path, **options) if isinstance(item, Transcript)]


def authors(transcript: Transcript) -> list[Author]:
    return [fact.author for fact in transcript.turn_facts]


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_only_what_a_call_of_the_role_answered_is_its_own(case: Case, tmp_path: Path) -> None:
    log = made(case, tmp_path)
    (found,) = transcripts(Path(log.location))
    assert authors(found) == list(case.authors), [m.text for m in found.messages]


def test_without_calls_a_turn_is_the_model_s_only_where_it_says_it_was_generated(tmp_path: Path) -> None:
    log = made(Case("", solving(few_shot), []), tmp_path)
    for sample in log.samples or []:
        sample.events = []
        sample.messages.append(ChatMessageAssistant(content="From the data.", source="input"))
    write_eval_log(log, str(tmp_path / "bare.eval"))
    (found,) = transcripts(tmp_path / "bare.eval")
    assert authors(found) == [Author.RECORDED, OWN, GIVEN]


@pytest.mark.parametrize("stop", ["max_tokens", "model_length", "content_filter", "stop"])
def test_why_a_turn_ended_is_the_call_s_stop_reason(stop: str, tmp_path: Path) -> None:
    log = made(Case("", solving(lambda s, g: g(s)), [], outputs=[said("", stop)]), tmp_path)
    (found,) = transcripts(Path(log.location))
    assert [(fact.stop, fact.cut) for fact in found.turn_facts] == [(stop, stop != "stop")]


class TestBugInputs:
    """Logs of faults that users of neighbouring tools reported."""

    def test_a_few_shot_answer_is_nobody_s(self) -> None:
        (found,) = transcripts(BUG_INPUTS / "fewshot.eval")
        assert authors(found) == [GIVEN, OWN]

    @pytest.mark.parametrize(("asked_for", "role", "texts"), [
        (None, "target", ["target reply 1", "target reply 2"]),
        ("target", "target", ["target reply 1", "target reply 2"]),
        ("main", "main", ["I will now test the target. This is an evaluation."]),
    ])  # fmt: skip
    def test_an_audit_is_read_as_its_target_unless_asked_otherwise(
        self, asked_for: str | None, role: str, texts: list[str]
    ) -> None:
        (found,) = transcripts(BUG_INPUTS / "audit.eval", model_role=asked_for)
        assert [m.text for m in found.messages if m.role == "assistant"] == texts
        assert authors(found) == [OWN] * len(texts)
        assert found.metadata["model_role"] == role
        assert found.metadata["model_calls"] == '{"target": 2, "main": 1}'

    def test_a_role_without_a_call_is_told_with_those_that_have_one(self) -> None:
        (row,) = [item for item in _items(BUG_INPUTS / "audit.eval", model_role="judge") if isinstance(item, Skipped)]
        assert "'judge'; roles with calls: target, main" in row.reason

    def test_answers_that_were_cut_say_so(self) -> None:
        found = [fact for item in transcripts(BUG_INPUTS / "truncated.eval") for fact in item.turn_facts]
        assert {fact.stop for fact in found} == {"content_filter", "max_tokens"}
        assert all(fact.cut and fact.author is OWN for fact in found)

    def test_an_invalidated_sample_is_left_out_or_kept_by_choice_and_counted_either_way(self) -> None:
        items = read(BUG_INPUTS / "invalidated.json")
        left_out = [item for item in items if isinstance(item, Skipped)]
        assert (len(items), len(left_out)) == (6, 1)
        assert left_out[0].reason == "its owner marked it invalid: 'contaminated'; --samples all reads it"
        kept = transcripts(BUG_INPUTS / "invalidated.json", samples=Samples.ALL)
        assert [item.metadata.get("invalidated") for item in kept] == ["contaminated", *[None] * 5]

    def test_stretches_of_one_run_share_its_turns(self) -> None:
        found = transcripts(BUG_INPUTS / "compact_trim.eval")
        turns = [m.id for item in found for m in item.messages if m.role == "assistant"]
        assert (len(found), len(turns), len(set(turns))) == (4, 16, 7)
        assert len({(item.family, item.metadata["run"]) for item in found}) == 1
        assert {author for item in found for author in authors(item)} == {OWN}


def _items(path: Path, **options: Any) -> list[Item]:
    """The rows of a file none of whose samples can be used."""
    found = SOURCES.get("inspect_log").read_file
    assert found is not None
    return list(found(path, SourceOptions(suite="s", arm=Arm.EVALUATION, **options)))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "vllm/qwen/qwen2.5-7b-instruct", True),
        ("smollm2-135m", "nla/smollm2-135m", True),
        ("hf/Qwen/Qwen2.5-7B-Instruct@main", "Qwen/Qwen2.5-7B-Instruct", True),
        ("meta/Llama-3", "other/Llama-3", False),
        ("mockllm/model", "other/model", False),
        ("mockllm/model", "mockllm/model", True),
        ("none/none", "none/none", False),
        ("", "", False),
        (None, "gpt", False),
    ],
)
def test_a_model_s_names_agree_where_both_say_something(one: str | None, other: str, same: bool) -> None:
    assert same_model(one, other) is same


def test_a_system_message_is_no_turn(tmp_path: Path) -> None:
    log = made(
        Case("", solving(lambda s, g: g(s)), [], input=[ChatMessageSystem(content="Be brief."), *asked()]), tmp_path
    )
    (found,) = transcripts(Path(log.location))
    assert authors(found) == [OWN]
