"""One command makes a suite from a user's data: a card that pins it, and a task that Inspect runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import get_model
from typer.testing import CliRunner

from nla_eval import suite
from nla_eval.awareness import awareness
from nla_eval.cards.listing import listed_card
from nla_eval.commands.cli import app
from nla_eval.commands.suite_list import available
from nla_eval.errors import InputError
from nla_eval.inspect_ext.private import PrerequisiteError
from nla_eval.suite import AnswersBy, SuiteCard, suite_of
from nla_eval.transcript import Arm
from tests import planted_task  # noqa: F401  (registers the engine "planted")
from tests.sources.fixtures import FIXTURES

BY_NAME = {fixture.name: fixture for fixture in FIXTURES}
ASKED = [" ".join(f"{word}{number}" for number in range(80)) for word in ("rice", "poem")]


def data(folder: Path, count: int = 6) -> Path:
    path = folder / "mine.jsonl"
    with path.open("w") as file:
        for number in range(count):
            asked = ASKED[number % 2]
            chat = [{"role": "user", "content": asked}, {"role": "assistant", "content": f"Answer {number}."}]
            mail = {"role": "user", "content": f"mail me at a{number}@example.org"}
            file.write(json.dumps({"id": f"r{number}", "messages": [*chat, mail, chat[1]], "meta": {"k": number % 3}}))
            file.write("\n")
        file.write("{broken\n")
    return path


def add(place: Path | str, folder: Path, *more: str, name: str = "mine") -> str:
    arguments = ["suite", "add", str(place), "--name", name, "--arm", "deployment", "--licence", "CC0-1.0"]
    result = CliRunner().invoke(app, [*arguments, "--into", str(folder / "suites"), *more], catch_exceptions=False)
    return result.output


def test_a_card_says_everything_and_brings_the_transcripts_back(tmp_path: Path) -> None:
    shown = add(data(tmp_path), tmp_path)
    assert "6 transcripts in 2 families, 1 records left out (jsonl)" in shown
    card = SuiteCard.load(tmp_path / "suites" / "mine.yaml")
    assert (card.arm, card.licence, card.count, card.family_count) == (Arm.DEPLOYMENT, "CC0-1.0", 6, 2)
    assert card.data is not None
    assert (card.data.place, card.data.reader, len(card.data.sha256 or "")) == ("../mine.jsonl", "jsonl", 64)
    assert card.notes == ["Left out: 1 (mine.jsonl line 7: not JSON: Expecting property name enclosed in double quotes "
                          "at column 2)"]  # fmt: skip
    found = list(suite_of(tmp_path / "suites" / "mine.yaml").load())
    assert [t.id for t in found] == [f"r{n}" for n in range(6)]
    assert {(t.suite, t.arm, t.provenance.licence) for t in found} == {("mine", Arm.DEPLOYMENT, "CC0-1.0")}
    assert [t.family for t in found] == ["r0", "r1"] * 3


def test_a_card_names_the_keys_that_were_not_read(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "scratchpad": "I wonder."}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": chat}))
    add(tmp_path / "a.jsonl", tmp_path)
    card = SuiteCard.load(tmp_path / "suites" / "mine.yaml")
    assert card.notes == ["Keys not read: messages[].scratchpad in 1 (9 characters)"]


def test_the_rule_of_the_card_comes_before_near_duplicates(tmp_path: Path) -> None:
    add(data(tmp_path), tmp_path, "--family-key", "meta.k")
    found = list(suite_of(tmp_path / "suites" / "mine.yaml").load())
    assert [t.family for t in found] == ["0", "1", "2"] * 2


def test_nothing_unmasked_comes_back_where_masking_was_asked_for(tmp_path: Path) -> None:
    add(data(tmp_path), tmp_path, "--redact")
    found = list(suite_of(tmp_path / "suites" / "mine.yaml").load())
    assert all("[email]" in t.messages[2].text and "@" not in t.messages[2].text for t in found)
    assert {t.metadata["masked"] for t in found} == {"1"}


def test_changed_or_missing_data_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = data(tmp_path)
    add(path, tmp_path)
    card = tmp_path / "suites" / "mine.yaml"
    made = suite_of(card)
    assert available(listed_card(card)) == "offline"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match=r"'mine.jsonl' has changed: .*that made the suite and --force"):
        list(made.load())
    path.unlink()
    assert available(listed_card(card)) == "no: its data 'mine.jsonl' is missing"
    with pytest.raises(InputError, match=r"'mine.jsonl' is not there"):
        list(made.load())


def test_a_folder_is_pinned_by_its_files(tmp_path: Path) -> None:
    place = BY_NAME["Scout database"].write(tmp_path)
    add(place, tmp_path, name="scouted")
    made = suite_of(tmp_path / "suites" / "scouted.yaml")
    assert len(list(made.load())) == 4
    next(place.glob("*.parquet")).rename(place / "other.parquet")
    with pytest.raises(InputError, match="has changed"):
        list(made.load())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "colour"),
        ({"sha256": None}, "not pinned"),
        ({"sha256": "abc"}, "sha256"),
        ({"choices": {"reach": 1}}, "choices.reach"),
        ({"near_duplicates": 2}, "near_duplicates"),
    ],
)
def test_a_wrong_card_is_one_line_naming_the_key(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    add(data(tmp_path), tmp_path)
    path = tmp_path / "suites" / "mine.yaml"
    card = yaml.safe_load(path.read_text())
    card["data"].update(change)
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(InputError, match=complaint) as caught:
        suite_of(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--arm", "test"), "--arm 'test'; expected one of evaluation"),
        (("--name", "My suite"), "not a slug"),
        (("--name", "class"), "not a slug"),
        (("--role", "tool_output"), "expected NAME=system"),
        (("--branches", "some"), "'branches'"),
        (("--limit", "0"), "'limit'"),
        (("--near-duplicates", "3"), "above 0 and up to 1"),
        (("--reader", "csv"), "unknown source 'csv'"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(more: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint):
        add(data(tmp_path), tmp_path, *more)
    assert not (tmp_path / "suites").exists()


def test_a_suite_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    place = data(tmp_path)
    add(place, tmp_path)
    with pytest.raises(InputError, match=r"mine\.yaml and mine\.py in .* exist; .*--force"):
        add(place, tmp_path)
    assert "wrote" in add(place, tmp_path, "--force")


def run(task: str, folder: Path, **args: Any) -> Any:
    model = get_model("nla/bytes", engine="planted", memoize=False)
    options = {"positions": "uniform_response(2)", "lanes": "measured", "classifier": "lexicon", **args}
    log = inspect_eval(task, model=model, task_args=options, log_dir=str(folder / "logs"), display="none", limit=2)[0]
    assert log.status == "success", log.error
    return read_eval_log(log.location)


def test_the_written_task_runs_in_inspect_and_its_card_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    request.addfinalizer(lambda: suite._SUITES.pop("added_here", None))
    add(data(tmp_path), tmp_path, name="added_here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    log = run("suites/added_here.py", tmp_path)
    assert log.eval.task == "nla_eval/added_here"
    assert log.eval.metadata["card"]["data"]["sha256"]
    assert [len(s.store["NLAState:readings"]) for s in log.samples] == [2, 2]
    assert [s.metadata["arm"] for s in log.samples] == ["deployment", "deployment"]


def test_with_nothing_written_a_place_is_measured_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PWD", str(tmp_path))
    place = BY_NAME["SWE-agent"].write(tmp_path)
    log = run("nla_eval/awareness", tmp_path, source=place.name, outcome_key="info.submission")
    assert [s.metadata["family"] for s in log.samples] == ["repo__repo-7"]
    assert [len(s.store["NLAState:readings"]) for s in log.samples] == [2]


def test_prompts_need_a_suite_whose_target_answers(tmp_path: Path) -> None:
    place = BY_NAME["prompts only"].write(tmp_path)
    with pytest.raises(PrerequisiteError, match="suite add PLACE --prompts"):
        awareness(str(place), prompts=True)
    add(place, tmp_path, "--prompts", name="asked")
    assert suite_of(tmp_path / "suites" / "asked.yaml").card.answers_by is AnswersBy.TARGET


@pytest.mark.parametrize(("reader", "key"), [("OpenAI lines", "outcome"), ("WildChat", "conversation_hash")])
def test_choices_of_a_card_reach_the_reader(reader: str, key: str, tmp_path: Path) -> None:
    place = BY_NAME[reader].write(tmp_path)
    add(place, tmp_path, "--family-key", key, "--limit", "1", name="chosen")
    (found,) = suite_of(tmp_path / "suites" / "chosen.yaml").load()
    assert found.family == {"outcome": "r1", "conversation_hash": "h0"}[key]


def test_the_module_that_is_written_passes_the_linter(tmp_path: Path) -> None:
    add(data(tmp_path), tmp_path)
    module = tmp_path / "suites" / "mine.py"
    checks = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", str(module)]
    assert subprocess.run(checks, capture_output=True).returncode == 0
