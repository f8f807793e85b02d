"""A reading option is declared once: names, defaults and errors are the same wherever it is given."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from nla_eval.commands.plan_options import with_plan_options
from nla_eval.errors import InputError, StoreError
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.pipeline.options import declared
from nla_eval.pipeline.plan import Instrument, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.readings import Lane, Reading, StopReason
from nla_eval.store.rows import SCHEMA
from nla_eval.store.store import ReadingStore, StoreIdentity
from tests.fakes import ByteTarget, PlantedEngine, TinyPack, both_arms, plain_scores

INSTRUMENT = Instrument(ByteTarget(), TinyPack())

SAID: dict[str, tuple[str, Any]] = {
    "positions": ("uniform_response(3)", "uniform_response(3)"),
    "window": ("tail", "tail"),
    "draws": ("2", 2),
    "lanes": ("measured,mean", (Lane.MEASURED, Lane.MEAN)),
    "seed": ("7", 7),
    "temperature": ("0.5", 0.5),
    "max_new_tokens": ("40", 40),
    "activations": ("bfloat16", "bfloat16"),
    "target_is_author": ("true", True),
    "preset": ("paper", "paper"),
    "text_reader": ("openai/gpt-5-mini", "openai/gpt-5-mini"),
    "probe": ("/probes/told.safetensors", "/probes/told.safetensors"),
}
"""Every option as a word that is not its default, and as the value it means."""

WITH = {"text_reader": {"lanes": "measured,text_only"}, "probe": {"lanes": "measured,probe"}}
"""What an option needs beside it."""

WRONG = {
    "positions": ("some(3)", "known: "),
    "window": ("middle", "known: head, tail, skip"),
    "draws": ("-1", "at least 1"),
    "lanes": ("measured,placebo", "known: measured, donor"),
    "seed": ("x", "a whole number of at least 0"),
    "temperature": ("nan", "a number of at least 0"),
    "max_new_tokens": ("0", "at least 1"),
    "activations": ("int8", "one of float32, float16, bfloat16, none"),
    "target_is_author": ("perhaps", "true or false"),
    "preset": ("loose", "known: strict, paper, mythos5"),
    "text_reader": (" ", "a name"),
    "probe": ("", "a name"),
}


def typed(*words: str) -> list[ReadingPlan]:
    """The plan that a command gets for these words."""
    app, got = typer.Typer(pretty_exceptions_enable=False), []

    @app.command()
    @with_plan_options()
    def command(*, plan: ReadingPlan) -> None:
        got.append(plan)

    CliRunner().invoke(app, words, catch_exceptions=False)
    return got


def words(option: str, word: str) -> tuple[str, str]:
    return f"--{option.replace('_', '-')}", word


def test_every_option_is_tried_here() -> None:
    assert set(SAID) == set(WRONG) == set(declared(ReadingPlan))


@pytest.mark.parametrize("option", SAID)
def test_an_option_has_one_name_on_the_command_line_in_a_task_and_in_python(option: str) -> None:
    word, value = SAID[option]
    beside = WITH.get(option, {})
    plans = [
        *typed(*words(option, word), *(said for name, lanes in beside.items() for said in words(name, lanes))),
        TaskOptions.parse({option: word, **beside}).plan,
        TaskOptions.parse({option: value, **beside}).plan,
        ReadingPlan(**{option: value, **beside}),
        ReadingPlan.of({option: word, **beside}),
    ]
    assert [getattr(plan, option) for plan in plans] == [value] * 5
    assert plans.count(plans[0]) == 5
    assert ReadingPlan.of(json.loads(json.dumps(plans[0].plain()))) == plans[0]


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_value_is_one_line_with_the_option_and_what_was_expected(option: str) -> None:
    word, expected = WRONG[option]
    told = []
    for make in (
        lambda: typed(*words(option, word)),
        lambda: TaskOptions.parse({option: word}),
        lambda: ReadingPlan(**{option: word}),
    ):
        with pytest.raises(InputError) as caught:
            make()
        told.append(str(caught.value))
    assert told[0] == told[2]
    assert told[1] == f"task option {told[0]}"
    assert all(part in told[0] for part in (option.rstrip("s"), word.rpartition(",")[2].partition("(")[0], expected))
    assert "\n" not in told[0]


@pytest.mark.parametrize("value", [True, 1.5, None, float("inf"), [1]])
def test_what_is_no_whole_number_is_none(value: object) -> None:
    with pytest.raises(InputError, match=r"draws is .*; expected a whole number of at least 1"):
        ReadingPlan.of({"draws": value})


def test_help_has_a_line_for_every_option_and_none_for_its_older_names() -> None:
    app = typer.Typer()
    app.command()(with_plan_options()(_nothing))
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    for name, (what, _) in declared(ReadingPlan).items():
        assert f"--{name.replace('_', '-')}" in told
        assert what.help.split(";")[0][:40] in " ".join(re.sub(r"[│|]", " ", told).split())
    assert "--policy" not in told


def _nothing(*, plan: ReadingPlan) -> None:
    """Do nothing."""


def test_older_names_are_understood() -> None:
    assert typed("--policy", "all") == [ReadingPlan(positions="all")]
    assert ReadingPlan(window="whole") == TaskOptions.parse({"window": "whole"}).plan == ReadingPlan(window="skip")


def test_the_pack_caps_explanations_where_no_plan_does() -> None:
    assert INSTRUMENT.identity(ReadingPlan()).max_new_tokens == TinyPack().max_new_tokens
    assert INSTRUMENT.identity(ReadingPlan(max_new_tokens=3)).max_new_tokens == 3


def test_what_all_readings_of_a_store_share_is_in_its_identity_under_the_same_name() -> None:
    lanes = (Lane.MEASURED, Lane.TEXT_ONLY, Lane.PROBE)
    plan = ReadingPlan.of({option: value for option, (_, value) in SAID.items()} | {"lanes": lanes})
    held = INSTRUMENT.identity(plan).model_dump()
    shared = {name for name, (what, _) in declared(ReadingPlan).items() if what.shared}
    assert {name: held[name] for name in shared} == {name: SAID[name][1] for name in shared}
    assert {"draws", "lanes", "target_is_author", "preset", "text_reader", "probe"} == set(SAID) - shared


def test_an_option_that_comes_later_is_of_the_identity_without_a_change_of_the_store(tmp_path: Path) -> None:
    plain = INSTRUMENT.identity(ReadingPlan())
    later = StoreIdentity.model_validate({**plain.model_dump(), "depth": 2})
    store = ReadingStore.create(str(tmp_path / "later"), later)
    assert ReadingStore.open(store.url).identity == later
    store.expect(later)
    for held, asked in ((plain, later), (later, plain)):
        with pytest.raises(StoreError, match="made with depth"):
            ReadingStore.create(str(tmp_path / str(len(held.model_dump()))), held).expect(asked)


OLD_IDENTITY = {
    "format": 1, "pack": "planted@1", "target": "byte-target", "layer": 1, "d_model": 8,
    "policy": "uniform_response(3)", "seed": 0, "temperature": 1.0, "max_new_tokens": 80,
}  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "plan"),
    [
        ({}, ReadingPlan("uniform_response(3)")),
        ({"activations": "float32", "window": "head"}, ReadingPlan("uniform_response(3)")),
        ({"activations": "none", "window": "whole"}, ReadingPlan("uniform_response(3)", "skip", activations="none")),
    ],
)
def test_a_store_in_its_older_form_reads_as_before_and_goes_on(
    tmp_path: Path, beside: dict[str, str], plan: ReadingPlan
) -> None:
    planned = plan_run(both_arms(), INSTRUMENT, plan)
    identity = {**OLD_IDENTITY, **beside}
    (tmp_path / "store.json").write_text(json.dumps(identity))
    (tmp_path / "readings").mkdir()
    site = planned.prepared[0].sites[0]
    row = Reading(
        pack="planted@1", transcript_digest=site.transcript_digest, transcript_id=site.transcript_id, suite=site.suite,
        position=site.position, lane=Lane.MEASURED, draw=0, policy="uniform_response(3)", seed=0, message=1,
        role="assistant", channel="response", turn=0, token="x", context="x", explanation="made before",
        stop=StopReason.CLOSED, tokens=3,
    )  # fmt: skip
    part = "00000000000000000001-0123456789ab.parquet"
    pl.DataFrame([row.model_dump(mode="json")], schema=SCHEMA).write_parquet(tmp_path / "readings" / part)
    manifest = {"identity": identity, "provenance": {"lanes": "measured"}, "parts": {"readings": [part]}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    store = ReadingStore.open(str(tmp_path))
    assert store.complete
    assert store.identity == planned.identity
    result = read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    assert (result.present, result.made) == (1, 53)
    assert "made before" in store.readings()["explanation"]


def test_declaring_and_checking_an_option_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "inspect_ai", "polars", "numpy")
    code = f"import sys, nla_eval.pipeline.reading_plan; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
