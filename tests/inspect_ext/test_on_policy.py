"""Answers that the target writes: keyed by everything they depend on, saved at once, never mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.model import Model, get_model

from nla_eval.errors import InputError
from nla_eval.inspect_ext.on_policy import Answer, AnswerBook, AnswerSettings, answer_key, complete, repetition
from nla_eval.inspect_ext.target_api import target_api
from nla_eval.pipeline.runtime import release
from nla_eval.suite import Suite
from nla_eval.transcript import Arm, Transcript
from tests.planted_task import BATCHES, planted_suite


@pytest.fixture
def model() -> Model:
    BATCHES.clear()
    return get_model("nla/bytes", engine="planted")


@pytest.fixture
def suite() -> Suite:
    return planted_suite("planted_answers", Arm.EVALUATION, 4, answers_by="target")


def write(suite: Suite, model: Model, cache: Path, *, shipped: Path | None = None, **options: Any) -> list[Transcript]:
    settings = options.pop("settings", AnswerSettings())

    async def main() -> list[Transcript]:
        return await complete(suite, model, settings, AnswerBook(shipped, cache), **options)

    return anyio.run(main)


def test_every_prompt_is_answered_once_in_shared_batches_and_then_read_back(
    suite: Suite, model: Model, tmp_path: Path
) -> None:
    first = write(suite, model, tmp_path / "a.jsonl")
    assert sum(BATCHES) == 4
    assert len(BATCHES) < 4
    again = write(suite, model, tmp_path / "a.jsonl")
    assert sum(BATCHES) == 4
    assert [t.digest for t in again] == [t.digest for t in first]


def test_more_prompts_than_inspects_first_limit_share_a_batch(model: Model, tmp_path: Path) -> None:
    write(planted_suite("planted_many", Arm.EVALUATION, 40, answers_by="target"), model, tmp_path / "a.jsonl")
    assert BATCHES == [40]


def test_a_model_answers_after_its_runtime_was_released(suite: Suite, model: Model, tmp_path: Path) -> None:
    """Inspect keeps its models; a command that frees the weights between two stages meets the same model again."""
    write(suite, model, tmp_path / "a.jsonl", limit=2)
    release(target_api(model).settings)
    same = get_model("nla/bytes", engine="planted")
    assert same is model
    assert len(write(suite, same, tmp_path / "b.jsonl", limit=2)) == 2


def test_a_limit_answers_no_more_than_it_says(suite: Suite, model: Model, tmp_path: Path) -> None:
    assert [t.id for t in write(suite, model, tmp_path / "a.jsonl", limit=2)] == [t.id for t in suite.load()][:2]
    assert sum(BATCHES) == 2


def test_an_answered_transcript_is_on_policy_with_its_writer_and_settings(
    suite: Suite, model: Model, tmp_path: Path
) -> None:
    for transcript, prompt in zip(write(suite, model, tmp_path / "a.jsonl"), suite.load(), strict=True):
        assert [m.text for m in transcript.messages[:-1]] == [m.text for m in prompt.messages]
        assert transcript.messages[-1].role == "assistant"
        assert transcript.on_policy
        assert transcript.outcome == "city"
        assert transcript.provenance.model == "bytes"
        assert transcript.metadata["answer_target"] == "bytes@byte-target"
        assert AnswerSettings.model_validate_json(transcript.metadata["answer_settings"]) == AnswerSettings()


@pytest.mark.parametrize("change", [{"seed": 1}, {"temperature": 0.0}, {"max_tokens": 12}, {"top_p": 0.9}])
def test_another_setting_is_another_answer(suite: Suite, model: Model, tmp_path: Path, change: dict[str, Any]) -> None:
    write(suite, model, tmp_path / "a.jsonl")
    write(suite, model, tmp_path / "a.jsonl", settings=AnswerSettings.model_validate(change))
    assert sum(BATCHES) == 8


def test_the_key_separates_prompts_targets_and_settings() -> None:
    keys = {answer_key(p, t, AnswerSettings(seed=s)) for p in ("p", "q") for t in ("t", "u") for s in (0, 1)}
    assert len(keys) == 8


def test_fresh_answers_replace_shipped_ones_from_then_on(suite: Suite, model: Model, tmp_path: Path) -> None:
    shipped, cache = tmp_path / "shipped.jsonl", tmp_path / "cache.jsonl"
    write(suite, model, shipped)
    key = Answer.model_validate_json(shipped.read_text().splitlines()[0]).key
    assert AnswerBook(shipped, cache).is_shipped(key)
    write(suite, model, cache, shipped=shipped)
    assert sum(BATCHES) == 4
    write(suite, model, cache, shipped=shipped, fresh=True)
    assert sum(BATCHES) == 8
    assert not AnswerBook(shipped, cache).is_shipped(key)
    assert len(shipped.read_text().splitlines()) == 4


def test_an_interrupted_write_costs_one_answer_and_the_file_stays_readable(
    suite: Suite, model: Model, tmp_path: Path
) -> None:
    cache = tmp_path / "a.jsonl"
    write(suite, model, cache)
    cache.write_bytes(cache.read_bytes()[:-20])
    write(suite, model, cache)
    assert sum(BATCHES) == 5
    write(suite, model, cache)
    assert sum(BATCHES) == 5


def test_a_broken_line_in_a_shipped_file_is_named(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped.jsonl"
    shipped.write_text('{"key": "x"}\n')
    with pytest.raises(InputError, match=r"shipped.jsonl line 1 is not an answer"):
        AnswerBook(shipped, tmp_path / "cache.jsonl")


def test_a_recorded_suite_is_returned_as_it_is(model: Model, tmp_path: Path) -> None:
    recorded = planted_suite("planted_recorded", Arm.DEPLOYMENT, 3)
    digests = [t.digest for t in write(recorded, model, tmp_path / "a.jsonl")]
    assert digests == [t.digest for t in recorded.load()]
    assert not BATCHES


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("all of these words are different here", 0.0),
        ("go on go on go on go on go on", 1 - 2 / 7),
        ("yes " * 20, 1 - 1 / 17),
    ],
)
def test_repetition_is_the_share_of_four_grams_seen_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)
