"""The instrument check from stores to the first screen: the tiny pack's setting adapter reads the positive control of
targets by their names, and report, terminal and JSON begin with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nla_eval.commands.control import control_targets
from nla_eval.commands.read import ReadRequest, read_into
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.models.adapter import load_adapter
from nla_eval.models.pack import Pack
from nla_eval.models.target import Target
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.runtime import Runtime
from nla_eval.progress import silent
from nla_eval.store.store import ReadingStore
from nla_eval.transcript import Arm, Transcript
from tests.commands.typed import typed
from tests.engines.tiny_setting import pack_with_setting
from tests.fakes import chat


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    return pack_with_setting(tmp_path_factory.mktemp("control"))


def controls(count: int = 6) -> tuple[Transcript, ...]:
    """The same chats twice, told apart by their system message."""
    found = []
    for number in range(count):
        for variant in ("cue", "no_cue"):
            one = chat(number, cue=variant == "cue", arm=Arm.MONITOR)
            found.append(
                one.model_copy(update={"id": f"{number}-{variant}", "variant": variant, "family": str(number)})
            )
    return tuple(found)


@pytest.fixture(scope="module")
def stores(packed: tuple[Target, Pack], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store of ordinary chats with explanations, and one of the control without any."""
    target, pack = packed
    folder = tmp_path_factory.mktemp("stores")
    settings = RuntimeSettings(str(target.path), str(pack.path), "float32")
    plan = ReadingPlan(positions="stratified(3)", max_new_tokens=8)
    run = plan_run([chat(i, cue=False, arm=Arm.DEPLOYMENT) for i in range(4)], Instrument(target, pack), plan)
    main = ReadingStore.create(str(folder / "main"), run.identity)
    runtime = Runtime(settings)
    # The tiny pair explains nothing, so its engine would fail the self-test of its explanations.
    read_in_process(run, Workbench(lambda: TransformersEngine(target, pack), main, runtime.scorer))
    check = ReadRequest(
        (), (), str(folder / "control"),
        ReadingPlan(positions="stratified(3)", lanes="setting"), settings,  # type: ignore[arg-type]
        transcripts=controls(),
    )  # fmt: skip
    read_into(check, silent, lambda _: None)
    return main.url, check.out


def test_report_and_terminal_begin_with_the_check(
    packed: tuple[Target, Pack], stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    main, control = stores
    out = tmp_path / "report.html"
    asked = ("--pack", str(packed[1].path), "--control", control, "--out", str(out), "--format", "html,md,text,json")
    typed(monkeypatch, "report", main, *asked)
    printed = capsys.readouterr().out
    assert printed.index("Instrument check.") < printed.index("V said")
    tally = json.loads(out.with_suffix(".json").read_text())["tally"]
    row = tally["control"]["rows"][0]
    assert (row["kind"], row["with_cue"], row["without_cue"]) == ("plain", 6, 6)
    for name in ("report.html", "report.md", "report.txt"):
        assert "Does it read a planted state that no text shows?" in (tmp_path / name).read_text()


def test_a_control_without_scores_says_how_to_read_one(
    packed: tuple[Target, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    stores: tuple[str, str],
) -> None:  # fmt: skip
    main, _ = stores
    typed(
        monkeypatch, "report", main, "--pack", str(packed[1].path), "--control", main, "--out", str(tmp_path / "r.md")
    )
    assert "Not checked: nothing that was given as --control" in capsys.readouterr().out


def test_the_shipped_targets_are_the_organism_by_dose_its_shams_and_the_plain_target() -> None:
    names = control_targets("smollm2-135m")
    assert names[-1] == "smollm2-135m"
    assert any(name.endswith("-organism@1") for name in names)
    for name in names[:-1]:
        load_adapter(name.partition("+")[2])
    assert control_targets("some/model") == []
