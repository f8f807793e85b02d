"""A run writes the same store and the same facts, whether one process, an Inspect task or Ray runs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatMessageUser, get_model
from polars.testing import assert_frame_equal

import nla_eval.pipeline.runtime as runtime_module
from nla_eval.awareness import awareness_task
from nla_eval.commands.read import ReadRequest, _provenance
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.pipeline.plan import plan_run
from nla_eval.pipeline.ray import RayResources, RayWorkbench, StageResources, read_on_ray
from nla_eval.pipeline.ray_actors import Weights
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.reading_plan import ReadingPlan
from nla_eval.pipeline.runtime import runtime_for
from nla_eval.readings import Lane
from nla_eval.store.conversations import kept
from nla_eval.store.store import Manifest, ReadingStore
from nla_eval.suite import register
from nla_eval.transcript import Arm, Transcript
from tests.fakes import PlantedEngine, chat, plain_scores
from tests.planted_task import planted_suite

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = RuntimeSettings("bytes", engine="planted")
LANES = (Lane.MEASURED, Lane.DONOR, Lane.GAUSSIAN, Lane.NO_INJECTION)
PLAN = ReadingPlan("uniform_response(3)", seed=3, draws=2, lanes=LANES)


def deployment() -> list[Transcript]:
    return [chat(number + 100, Arm.DEPLOYMENT) for number in range(5)]


def evaluation() -> list[Transcript]:
    """With one that has the content of another, and one that cannot be read."""
    asked = [chat(number, cue=True) for number in range(5)]
    twin = asked[0].model_copy(update={"id": "twin"})
    return [*asked, twin, chat(9, messages=[ChatMessageUser(content="hello")])]


def manifest(store: ReadingStore) -> Manifest:
    found = ReadingStore.open(store.url).manifest
    assert found is not None
    assert store.complete
    return found


def by_process(where: Path, plan: ReadingPlan = PLAN) -> ReadingStore:
    """Both arms in one run."""
    runtime = runtime_for(SETTINGS)
    store = ReadingStore.create(str(where), runtime.instrument.identity(plan))
    planned = plan_run(kept([*deployment(), *evaluation()], store), runtime.instrument, plan)
    request = ReadRequest((), (), store.url, plan, SETTINGS)
    read_in_process(planned, Workbench(PlantedEngine, store, plain_scores, _provenance(request, planned)))
    return store


def by_inspect(where: Path, plan: ReadingPlan) -> ReadingStore:
    """The arms one after the other, for a task takes donors and moments from what the store holds when it begins."""
    runtime_module._RUNTIMES.clear()
    used = "driven_deployment", Arm.DEPLOYMENT, deployment()
    for name, arm, transcripts in (used, used, ("driven_evaluation", Arm.EVALUATION, evaluation())):
        plain = planted_suite(name, arm, len(transcripts))
        suite = register(replace(plain, load=partial(iter, transcripts), outcome=lambda transcript: None))
        task = awareness_task(suite, classifier="lexicon", store=str(where / "store"), **plan.plain())
        model = get_model("nla/bytes", engine="planted", memoize=False)
        log = inspect_eval(task, model=model, log_dir=str(where / "logs"), display="none")[0]
        assert log.status == "success", log.error
    return ReadingStore.open(str(where / "store"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("activations", ["float32", "bfloat16"])
def test_a_process_and_a_task_make_the_same_store_and_say_the_same_of_it(tmp_path: Path, activations: str) -> None:
    plan = replace(PLAN, activations=activations)
    one, two = by_process(tmp_path / "process", plan), by_inspect(tmp_path / "inspect", plan)
    ours, theirs = manifest(one), manifest(two)
    assert ours.identity == theirs.identity
    assert ours.provenance == theirs.provenance
    assert ours.provenance["lanes"] == ",".join(LANES)
    assert ours.provenance["duplicates"] == "1"
    assert sum(int(count) for name, count in ours.provenance.items() if name.startswith("donors_")) == 15
    columns = ["transcript_digest", "position", "lane", "draw", "explanation", "stop", "donor", "error"]
    assert_frame_equal(one.readings().select(columns), two.readings().select(columns))
    assert set(one.transcripts()["transcript_digest"]) == set(two.transcripts()["transcript_digest"])


def planted_weights() -> Weights:
    """What a Ray actor loads."""
    return Weights(PlantedEngine(), plain_scores)


@pytest.fixture
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'nla_eval[ray]'")
    pytest.importorskip("ray.data", reason="ray has no data library here: pip install 'nla_eval[ray]'")
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield ray
    ray.shutdown()


@pytest.mark.full
def test_ray_makes_the_same_store_and_says_the_same_of_it(ray: Any, tmp_path: Path) -> None:
    one = by_process(tmp_path / "process")
    runtime = runtime_for(SETTINGS)
    two = ReadingStore.create(str(tmp_path / "ray"), runtime.instrument.identity(PLAN))
    planned = plan_run(kept([*deployment(), *evaluation()], two), runtime.instrument, PLAN)
    each = StageResources(cpus=0.25)
    provenance = _provenance(ReadRequest((), (), two.url, PLAN, SETTINGS), planned)
    read_on_ray(planned, RayWorkbench(planted_weights, two.url, RayResources(each, each, each), provenance))
    assert manifest(two).provenance == {**manifest(one).provenance, "ray": ray.__version__}
    assert_frame_equal(one.readings(), two.readings(), abs_tol=1e-9, rel_tol=0)
    assert json.loads((tmp_path / "ray" / "store.json").read_text())["positions"] == "uniform_response(3)"
