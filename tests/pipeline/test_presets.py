"""A preset is one word that means a whole protocol; whatever a run does differently from it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nla_eval.commands.plan_options import with_plan_options
from nla_eval.errors import InputError
from nla_eval.inspect_ext.options import TaskOptions
from nla_eval.judgement import Headline
from nla_eval.judging.classify import load_rubric
from nla_eval.pipeline.plan import Instrument, differences, plan_run
from nla_eval.pipeline.presets import DEFAULT_PRESET, PRESETS, Followed, Lead, deviations, preset_lines
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.store.store import ReadingStore
from nla_eval.tally.tally import TallyOptions
from tests.fakes import ByteTarget, PlantedEngine, TinyPack, both_arms, plain_scores

INSTRUMENT = Instrument(ByteTarget(), TinyPack())


def typed(*words: str, **defaults: str) -> ReadingPlan:
    app, got = typer.Typer(pretty_exceptions_enable=False), []

    @app.command()
    @with_plan_options(**defaults)
    def command(*, plan: ReadingPlan) -> None:
        got.append(plan)

    CliRunner().invoke(app, list(words), catch_exceptions=False)
    return got[0]


@pytest.mark.parametrize(
    ("name", "positions", "lead"),
    [
        ("strict", "stratified(12)", Lead.CERTIFIED),
        ("paper", "uniform_response(50)", Lead.ANY_OF_K),
        ("mythos5", "uniform_assistant(300)", Lead.FRACTION),
    ],
)
def test_one_word_sets_a_protocol_wherever_it_is_given(name: str, positions: str, lead: Lead) -> None:
    plans = [typed("--preset", name), TaskOptions.parse({"preset": name}).plan, ReadingPlan(preset=name)]
    assert plans == [ReadingPlan(positions=positions, draws=1, preset=name)] * 3
    assert PRESETS[name].lead is lead
    assert PRESETS[name].k == int(positions.partition("(")[2].rstrip(")"))
    assert Headline(PRESETS[name].headline) is Headline.PAPER
    assert load_rubric(PRESETS[name].rubric).id == "strict"


@pytest.mark.parametrize("positions", ["stratified(12)", "boundaries"])
def test_an_option_that_is_given_overrides_the_preset_even_with_the_default_value(positions: str) -> None:
    for plan in (
        typed("--preset", "paper", "--positions", positions),
        typed("--preset", "paper", "--policy", positions),
        TaskOptions.parse({"preset": "paper", "positions": positions}).plan,
        ReadingPlan(preset="paper", positions=positions),
        ReadingPlan.of(ReadingPlan(preset="paper", positions=positions).plain()),
    ):
        assert (plan.preset, plan.positions) == ("paper", positions)
        assert f"positions {positions} instead of uniform_response(50)" in deviations(
            PRESETS["paper"], Followed(plan.plain())
        )


@pytest.mark.parametrize(
    ("words", "positions"), [((), "stratified(10)"), (("--preset", "paper"), "uniform_response(50)")]
)
def test_a_commands_own_default_gives_way_to_a_preset(words: tuple[str, ...], positions: str) -> None:
    assert typed(*words, positions="stratified(10)").positions == positions


def test_strict_is_the_default_and_silent_until_an_option_changes_it() -> None:
    assert ReadingPlan().preset == DEFAULT_PRESET == "strict"
    assert TallyOptions().primary is Headline(PRESETS["strict"].headline)
    strict = PRESETS["strict"]
    assert preset_lines(strict, deviations(strict, Followed(ReadingPlan().plain()))) == []
    assert deviations(strict, Followed(ReadingPlan(draws=2).plain())) == ["draws 2 instead of 1"]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (Followed({}, classifier="linear@3"), "linear@3 judges, not an LLM grader told the evaluation in one line"),
        (Followed({}, classifier="llm@2:m+blurb"), "llm@2:m+blurb with this project's prompt judges, not"),
        (
            Followed({}, pack="small@1"),
            "explanations come from pack small@1, not from NLAs of the publisher's own models",
        ),
        (Followed({"lanes": ["measured", "donor"]}), "control lanes are read beside it: donor"),
        (Followed({}, planned=[50, 12, 20]), "2 of 3 transcripts have fewer than 50 such positions (at the least 12)"),
        (Followed({}, min_position=50), "tokens before position 50 are never read"),
        (Followed({}), "a truncated explanation is TRUNCATED, not a no"),
    ],
)
def test_what_differs_from_the_paper_is_said(run: Followed, said: str) -> None:
    assert any(said in line for line in deviations(PRESETS["paper"], run))


def test_a_preset_is_recorded_in_the_manifest_and_does_not_bind_the_store(tmp_path: Path) -> None:
    planned = plan_run(both_arms(), INSTRUMENT, ReadingPlan(preset="paper", positions="uniform_response(3)"))
    assert any("instead of uniform_response(50)" in line for line in differences(planned, INSTRUMENT))
    store = ReadingStore.create(str(tmp_path), planned.identity)
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores))
    assert store.manifest is not None
    assert store.manifest.provenance["preset"] == "paper"
    store.expect(INSTRUMENT.identity(ReadingPlan(positions="uniform_response(3)")))


def test_the_published_grader_was_told_the_evaluation_so_an_llm_judge_is_too() -> None:
    asked = {"classifier": {"classifier": "llm"}}
    assert TaskOptions.parse({"preset": "paper", **asked}).scorer()["mode"] == "blurb"
    assert "mode" not in TaskOptions.parse(asked).scorer()
    blind = {"classifier": {"classifier": "llm", "mode": "blind"}}
    assert TaskOptions.parse({"preset": "paper", **blind}).scorer()["mode"] == "blind"


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown preset 'lax'; known: strict, paper, mythos5"):
        ReadingPlan(preset="lax")
