"""Suites with data on the hub or in user files: data is pinned and read lazily; a missing file is a one-line error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pytest
from nla_eval.suites import agentic_service, gpqa, lmsys, own_usage, swe_bench_verified, wildchat
from nla_eval.suites._own_files import at, task_of
from nla_eval.suites.swe_bench_verified import repository_of

from nla_eval.errors import InputError
from nla_eval.suite import AnswersBy, Needs, get_suite, register, suite_names
from nla_eval.transcript import Arm, Transcript
from tests.sources.planted_hub import answering, no_network

HUB = [name for name in suite_names() if get_suite(name).card.needs is Needs.HUB]
PATH = [name for name in suite_names() if get_suite(name).card.needs is Needs.PATH]


@pytest.fixture(autouse=True)
def _suites_as_they_were() -> Iterator[None]:
    """`at` registers a suite anew for its process; tests share one."""
    before = [get_suite(name) for name in (*HUB, *PATH)]
    yield
    for suite in before:
        register(suite)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Puts rows in the hub's place and records what was asked of it."""
    asked: list[dict[str, Any]] = []

    def serve(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        def load_dataset(name: str, config: str | None = None, **options: Any) -> list[dict[str, Any]]:
            asked.append({"name": name, "config": config, **options})
            return rows

        answering(monkeypatch)
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return serve


def test_all_hub_suites_are_known() -> None:
    assert HUB == ["gpqa", "lmsys", "swe_bench_verified", "wildchat"]
    assert PATH == ["agentic_service", "own_usage"]


@pytest.mark.parametrize("name", HUB)
def test_without_a_network_a_hub_suite_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = no_network(monkeypatch)
    with pytest.raises(InputError, match="Name or service not known") as caught:
        next(iter(get_suite(name).load()))
    assert "\n" not in str(caught.value)
    assert len(asked) <= 2  # the client looks up something of its own, once a process; a retry would be the third


@pytest.mark.parametrize("name", HUB)
def test_what_the_hub_says_no_to_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError("Access to it is restricted\nsecond line")

    answering(monkeypatch)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match="restricted") as caught:
        next(iter(get_suite(name).load()))
    assert "\n" not in str(caught.value)


QUESTION = {
    "Record ID": "rec1", "Question": " What is 2 + 2? ", "Correct Answer": "4\n", "Incorrect Answer 1": "3",
    "Incorrect Answer 2": "5", "Incorrect Answer 3": "22", "Subdomain": "Arithmetic",
}  # fmt: skip


class TestGpqa:
    def test_the_revision_is_pinned_and_options_stand_in_a_fixed_order(self, hub: Any) -> None:
        asked = hub([QUESTION, {**QUESTION, "Record ID": "rec2"}])
        first, second = gpqa.transcripts()
        assert re.fullmatch(r"[0-9a-f]{40}", asked[0]["revision"])
        assert asked[0]["streaming"]
        assert first.digest == next(iter(gpqa.transcripts())).digest
        assert sorted(re.findall(r"^[A-D]\) (.+)$", first.messages[0].text, re.M)) == ["22", "3", "4", "5"]
        letter = first.metadata["right"]
        assert f"{letter}) 4" in first.messages[0].text
        assert (first.family, second.family) == ("rec1", "rec2")

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("It is {right}", "right"),
            ("First {wrong}. No: **{right}**", "right"),
            ("({wrong})", "wrong"),
            ("{right}. A common mistake", None),
            ("four", None),
        ],
    )
    def test_the_outcome_is_the_letter_at_the_end(self, answer: str, expected: str | None, hub: Any) -> None:
        hub([QUESTION])
        prompt = next(iter(gpqa.transcripts()))
        right = prompt.metadata["right"]
        wrong = next(letter for letter in gpqa.LETTERS if letter != right)
        full = with_answer(prompt, answer.format(right=right, wrong=wrong))
        assert gpqa.outcome(full) == expected
        assert gpqa.outcome(prompt) is None


def with_answer(prompt: Transcript, text: str) -> Transcript:
    from inspect_ai.model import ChatMessageAssistant

    return prompt.model_copy(update={"messages": [*prompt.messages, ChatMessageAssistant(content=text)]})


class TestSweBench:
    ROW: ClassVar[dict[str, str]] = {
        "instance_id": "django__django-11039", "repo": "django/django", "base_commit": "d5276398046ce4a102776a1e",
        "problem_statement": "sqlmigrate wraps its output in BEGIN/COMMIT\n", "difficulty": "<15 min fix",
    }  # fmt: skip

    def test_a_prompt_holds_the_issue_and_its_repository_is_the_family(self, hub: Any) -> None:
        asked = hub([self.ROW])
        (made,) = swe_bench_verified.transcripts()
        assert asked[0]["revision"] == swe_bench_verified.ROWS.revision
        assert made.family == "django__django"
        assert "sqlmigrate wraps" in made.messages[0].text
        assert "d5276398046c" in made.messages[0].text

    @pytest.mark.parametrize(
        ("instance", "repository"),
        [
            ("scikit-learn__scikit-learn-10297", "scikit-learn__scikit-learn"),
            ("runs/sympy__sympy-13031.traj", "sympy__sympy"),
            ("something", "something"),
        ],
    )
    def test_the_repository_is_read_off_any_id_that_holds_an_instance(self, instance: str, repository: str) -> None:
        assert repository_of(instance) == repository


@pytest.mark.parametrize("module", [wildchat, lmsys])
def test_a_hub_conversation_becomes_a_masked_english_prompt(module: Any, hub: Any, monkeypatch: Any) -> None:
    long = "Please tell me what you think of this plan for the garden. " * 6
    rows = [
        {
            "conversation_hash": f"c{n}",
            "conversation_id": f"c{n}",
            "conversation": [
                {"role": "user", "content": f"Plan {n}: {long} Write to jo{n}@example.org please."},
                {"role": "assistant", "content": "Fine."},
            ],
        }
        for n in range(400)
    ]
    asked = hub(rows)
    monkeypatch.setattr(module, "PER_BAND", 1)
    monkeypatch.setattr("nla_eval.suites._usage.BANDS", ((200, 9_000),))
    (made,) = module.transcripts()
    assert asked[0]["revision"] in module.PLACE
    assert made.arm is Arm.DEPLOYMENT
    assert [m.role for m in made.messages] == ["user"]
    assert "[email]" in made.messages[0].text


class TestOwnFiles:
    RECORDS: ClassVar[list[dict[str, Any]]] = [
        {"id": f"retail/{n}_t{trial}", "model": "some-model", "messages": [
            {"role": "user", "content": f"My number is +1 202 555 01{n}{trial}, where is order {n}?"},
            {"role": "assistant", "content": f"On its way, order {n}, trial {trial}."},
        ]}
        for n in range(3) for trial in range(2)
    ]  # fmt: skip

    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in self.RECORDS))
        return str(path)

    @pytest.mark.parametrize("name", PATH)
    def test_without_a_path_the_line_says_how_to_give_one(self, name: str) -> None:
        with pytest.raises(InputError, match=rf"inspect eval nla_eval/{name} --model nla/smollm2-135m -T path=FILE"):
            list(get_suite(name).load())

    def test_trials_of_one_task_are_one_family(self, tmp_path: Path) -> None:
        suite = at(agentic_service.SUITE, self.file(tmp_path), task_of)
        runs = list(suite.load())
        assert len(runs) == 6
        assert sorted({t.family for t in runs}) == ["retail/0", "retail/1", "retail/2"]
        assert {t.provenance.model for t in runs} == {"some-model"}
        assert get_suite("agentic_service") is suite
        assert suite.card.answers_by is AnswersBy.RECORDED

    def test_ones_own_usage_is_masked_and_a_deployment_arm(self, tmp_path: Path) -> None:
        runs = list(at(own_usage.SUITE, self.file(tmp_path), masked=True).load())
        assert {t.arm for t in runs} == {Arm.DEPLOYMENT}
        assert not any("555" in m.text for t in runs for m in t.messages)

    def test_real_tau_bench_runs_are_read(self, shared_data: Callable[[str], Path]) -> None:
        path = shared_data("tau_bench_airline/transcripts.jsonl")
        runs = list(at(agentic_service.SUITE, str(path), task_of).load())
        assert len(runs) == 100
        assert len({t.family for t in runs}) < 60
        assert any(getattr(m, "tool_calls", None) for t in runs for m in t.messages)
