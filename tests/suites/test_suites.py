"""Claims about every suite of the room: a card, no network at import, a task under one name, two samples end to end."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import get_model

from nla_eval._rooms import room_path
from nla_eval.errors import InputError
from nla_eval.inspect_ext.on_policy import AnswerBook, AnswerSettings, answer_key
from nla_eval.suite import AnswersBy, Needs, SuiteCard, get_suite, held_out
from nla_eval.transcript import Arm, Transcript
from tests import planted_task  # noqa: F401  (registers the engine "planted")

ROOM = room_path("suites")
FILES = sorted(p for p in ROOM.glob("*.py") if not p.name.startswith("_"))
NAMES = [path.stem for path in FILES]
HERE = [name for name in NAMES if SuiteCard.load(ROOM / f"{name}.yaml").needs in (Needs.OFFLINE, Needs.PACKAGE)]
"""Suites that load without a network and without a file of the user's."""
OFFLINE = [name for name in HERE if SuiteCard.load(ROOM / f"{name}.yaml").needs is Needs.OFFLINE]
SECONDS = 2
"""In which an offline suite is loaded."""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[Transcript]]:
    return {name: list(get_suite(name).load()) for name in HERE}


def test_the_room_has_the_two_arms() -> None:
    # In a process of its own: other tests register suites.
    asked = "from nla_eval.suite import suite_names; print(*sorted(suite_names()))"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.split() == NAMES
    assert {get_suite(name).card.arm for name in NAMES} >= {Arm.EVALUATION, Arm.DEPLOYMENT}


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_has_a_card_of_its_own_name(name: str) -> None:
    assert SuiteCard.load(ROOM / f"{name}.yaml").name == name
    assert get_suite(name).card.name == name


def test_no_suite_touches_the_network_when_it_is_imported() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('network at import')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from nla_eval.suite import suite_names; print(suite_names())"
    )
    assert socket.socket is not None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == str(NAMES)


@pytest.mark.parametrize("name", HERE)
def test_a_suite_holds_what_its_card_says(name: str, loaded: dict[str, list[Transcript]]) -> None:
    card, transcripts = get_suite(name).card, loaded[name]
    assert len(transcripts) == card.count
    assert len({t.id for t in transcripts}) == card.count
    assert {(t.suite, t.arm) for t in transcripts} == {(name, card.arm)}
    assert len({t.digest for t in transcripts}) == card.count
    assert all(m.id and (m.text.strip() or getattr(m, "tool_calls", None)) for t in transcripts for m in t.messages)
    last = {t.messages[-1].role for t in transcripts}
    assert last == {"user"} if card.answers_by is AnswersBy.TARGET else last == {"assistant"}


@pytest.mark.parametrize("name", HERE)
def test_a_suite_has_eight_families_and_loads_the_same_twice(name: str, loaded: dict[str, list[Transcript]]) -> None:
    assert len({t.family for t in loaded[name]}) >= 8
    assert [(t.id, t.digest) for t in get_suite(name).load()] == [(t.id, t.digest) for t in loaded[name]]


@pytest.mark.parametrize("name", [name for name in HERE if SuiteCard.load(ROOM / f"{name}.yaml").design])
def test_every_family_of_a_design_has_each_variant_once(name: str, loaded: dict[str, list[Transcript]]) -> None:
    design = get_suite(name).card.design
    assert design is not None
    families = {t.family for t in loaded[name]}
    assert Counter((t.family, t.variant) for t in loaded[name]) == Counter(product(families, design.variants))


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_suite_loads_in_two_seconds(name: str) -> None:
    started = time.process_time()
    assert list(get_suite(name).load())
    assert time.process_time() - started < SECONDS


def test_no_transcript_of_a_suite_was_trained_on(loaded: dict[str, list[Transcript]]) -> None:
    listed = sorted((ROOM.parent / "nla_eval" / "packs").glob("*/training_hashes.txt"))
    assert listed
    trained = {line for path in listed for line in path.read_text().split()}
    for name in HERE:
        for transcript in loaded[name]:
            assert hashlib.sha256(transcript.family.encode()).hexdigest()[:16] not in trained
            assert transcript.digest[:16] not in trained


def test_a_transcript_stands_in_one_suite_only(loaded: dict[str, list[Transcript]]) -> None:
    owners = Counter(t.digest for name in HERE for t in loaded[name])
    assert set(owners.values()) == {1}


def test_no_suite_answers_for_a_target_it_does_not_have(loaded: dict[str, list[Transcript]]) -> None:
    """What is recorded says whose words it is, and never that they are the target's."""
    for name in HERE:
        for transcript in loaded[name]:
            assert not transcript.on_policy
            assert get_suite(name).card.answers_by is AnswersBy.TARGET or transcript.provenance.model


def run(task: str, folder: Path) -> EvalLog:
    model = get_model("nla/bytes", engine="planted", memoize=False)
    args: dict[str, Any] = {"positions": "uniform_response(3)", "lanes": "measured", "classifier": "lexicon"}
    log = inspect_eval(task, model=model, task_args=args, log_dir=str(folder), display="none", limit=2)[0]
    return read_eval_log(log.location, resolve_attachments=True)


@pytest.mark.parametrize("path", [ROOM / f"{name}.py" for name in HERE], ids=HERE)
def test_a_file_and_the_package_run_two_samples_under_one_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOM.parent)
    by_file, by_name = run(f"suites/{path.name}", tmp_path), run(f"nla_eval/{path.stem}", tmp_path)
    for log in (by_file, by_name):
        assert log.status == "success", log.error
        assert log.eval.task == f"nla_eval/{path.stem}"
        assert log.eval.task_registry_name == f"nla_eval/{path.stem}"
        assert log.samples is not None
        assert [len(s.store["NLAState:readings"]) for s in log.samples] == [3, 3]
        assert [s.messages[-1].role for s in log.samples] == ["assistant", "assistant"]
    assert by_file.eval.task_args == by_name.eval.task_args


def test_shipped_answers_belong_to_the_suites_own_prompts(loaded: dict[str, list[Transcript]]) -> None:
    for name in HERE:
        shipped = get_suite(name).answers
        if shipped is None:
            continue
        rows = [json.loads(line) for line in shipped.read_text(encoding="utf-8").splitlines()]
        hashes = {row["target_hash"] for row in rows}
        assert len(hashes) == 1
        book = AnswerBook(shipped, Path("/nonexistent"))
        prompts = loaded[name][: len(rows)]
        answers = [book.get(answer_key(t.digest, next(iter(hashes)), AnswerSettings())) for t in prompts]
        assert [a.transcript_id if a else None for a in answers] == [t.id for t in prompts]
        # All prompts, or one of each family.
        assert len(rows) in (len(loaded[name]), len({t.family for t in loaded[name]}))
        assert {t.family for t in prompts} == {t.family for t in loaded[name]}


@pytest.mark.parametrize("name", ["real_usage", "wildchat", "lmsys", "own_usage"])
def test_real_conversations_are_never_shipped(name: str) -> None:
    assert get_suite(name).answers is None


class TestCards:
    GOOD: ClassVar[dict[str, Any]] = {
        "name": "x", "title": "X", "arm": "evaluation", "source": "s", "licence": "MIT", "families": "f",
        "needs": "offline", "count": 3, "answers_by": "recorded",
    }  # fmt: skip

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"colour": "red"}, r"x.yaml: colour: .*its keys are name, title"),
            ({"arm": "test"}, r"x.yaml: arm"),
            ({"count": 0}, r"x.yaml: count"),
            ({"name": "My suite"}, r"x.yaml: name: .*not a slug"),
            ({"licence": None}, r"x.yaml: licence"),
        ],
    )
    def test_a_wrong_card_is_one_line_naming_the_key(
        self, change: dict[str, Any], complaint: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.yaml"
        path.write_text(json.dumps({**self.GOOD, **change}))
        with pytest.raises(InputError, match=complaint) as caught:
            SuiteCard.load(path)
        assert "\n" not in str(caught.value)

    def test_a_missing_card_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"y.yaml: No such file"):
            SuiteCard.load(tmp_path / "y.yaml")

    def test_an_unknown_suite_lists_the_known_ones(self) -> None:
        with pytest.raises(InputError, match=r"unknown suite 'nope'; known: .*real_usage"):
            get_suite("nope")


def test_one_conversation_in_ten_is_held_out() -> None:
    share = Counter(held_out(f"family{i}") for i in range(5000))[True] / 5000
    assert 0.08 < share < 0.12
