"""The stages of a training run: their inputs, their outputs, and whether those outputs are still valid.

In: a `Run`. Out: files in its folder, and `stages.json`, which records the configuration that made each output. A stage
whose configuration has changed runs again, and so do the stages after it. Old outputs are moved aside, not deleted."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..errors import InputError, NlaEvalError
from ..files import write_text
from .config import TrainConfig
from .models.group import Group, launched
from .run import Run

RECORD = "stages.json"
_FORMAT = 1


class State(StrEnum):
    """State of a stage in a run folder."""

    DONE = "done"
    BEGUN = "begun"
    """Started under this configuration and stopped before its end; the next run resumes it."""
    CHANGED = "changed"
    """Its output was made under another or an unknown configuration."""
    TO_DO = "to do"
    OFF = "off"
    """The configuration leaves it out."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    after: tuple[str, ...]
    """Names of the stages whose output it reads."""
    fields: tuple[str, ...]
    """Configuration fields that its output depends on, as dotted names."""
    outputs: tuple[str, ...]
    """Files and folders in the run folder. The first one exists once the stage has run."""
    run: Callable[[Run], Any]
    off: Callable[[TrainConfig], bool] = lambda config: False
    length: Callable[[TrainConfig], int] = lambda config: 0
    """Number of steps. A stage that is done to a shorter length is continued, not repeated."""
    beside: tuple[str, ...] = ()
    """Names of stages whose output it also reads if they are on."""


def _pack(run: Run) -> None:
    from .pack.export import write_pack

    made = write_pack(run)
    write_text(json.dumps({"pack": made.name}), run.folder / "pack.json")
    print(f"pack: {made}", flush=True)


STAGES = (
    Stage("corpus", (), ("target", "trust_remote_code", "seed", "corpus"), ("corpus.parquet",), Run.corpus),
    Stage(
        "activations", ("corpus",), ("layer", "hardware.dtype", "explanation.continuation"), ("activations",),
        Run.captured,
    ),
    Stage(
        "explanations", ("activations",), ("writer", "explanation.lines"),
        ("explanations.parquet", "vocabulary.json"), Run.explanations,
    ),
    Stage(
        "ar", ("explanations",), ("ar", "explanation.masked_share", "start_from"), ("ar.safetensors", "ar.jsonl"),
        Run.train_ar,
    ),
    Stage(
        "av", ("explanations",), ("av", "injection_scale", "start_from"), ("av.safetensors", "av.jsonl"), Run.train_av
    ),
    Stage(
        "samples", ("av",), ("rollouts", "greedy_share", "max_new_tokens"), ("samples.parquet", "samples"), Run.samples,
        off=lambda c: not c.ar_on_samples.samples,
    ),
    Stage(
        "ar_on_samples", ("ar", "samples"), ("ar_on_samples", "references_per_rollout"),
        ("ar_on_samples.safetensors", "ar_on_samples.jsonl"), Run.train_ar_on_samples,
        off=lambda c: not c.ar_on_samples.samples,
    ),
    Stage(
        "text_only", ("explanations",), ("text_only", "start_from"), ("text_only.safetensors", "text_only.jsonl"),
        Run.train_text_only, off=lambda c: not c.text_only.samples,
    ),
    Stage(
        "joint", ("av", "ar", "ar_on_samples"), ("joint", "max_new_tokens"),
        ("joint.safetensors", "joint.jsonl", "joint"), Run.train_joint, off=lambda c: not c.joint.steps,
        length=lambda c: c.joint.steps,
    ),
    Stage("pack", ("joint",), ("name",), ("pack.json",), _pack, beside=("text_only",)),
)  # fmt: skip
NAMES = tuple(stage.name for stage in STAGES)
_TRAINING = ("ar", "av", "ar_on_samples", "text_only", "joint")
"""Stages that several processes can run together."""
_BY_NAME = {stage.name: stage for stage in STAGES}


@dataclass(frozen=True)
class Standing:
    """A stage and its state."""

    stage: Stage
    state: State
    why: str = ""
    """For `CHANGED`: what changed."""


class Ledger:
    """Reads and writes the `stages.json` of a run. Raises InputError if it is damaged or of another version."""

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, run.folder / RECORD
        self._settings = run.config.model_dump(mode="json")
        self._settings["explanation"]["continuation"] = run.config.explanation.continuation
        self._defaults = TrainConfig().model_dump(mode="json")
        if run.config.joint.schedule == "constant":
            self._settings["joint"].pop("steps")  # at a constant rate, 10 + 10 steps equal 20
        self._records: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                self._records = found["stages"] if found["format"] == _FORMAT else {}
            except (ValueError, KeyError, TypeError):
                found = {}
            if found.get("format") != _FORMAT:
                raise InputError(
                    f"{self.path.name} in run folder '{run.folder.name}' is damaged or of another version; delete it "
                    "to run every stage again (earlier outputs are kept in superseded/)"
                )

    def standings(self) -> list[Standing]:
        """Every stage, in order. If a stage has changed, so have all stages that depend on it."""
        return [self.standing(stage) for stage in STAGES]

    def standing(self, stage: Stage) -> Standing:
        """The state of one stage."""
        if stage.off(self.run.config):
            return Standing(stage, State.OFF)
        record = self._records.get(stage.name)
        present = any((self.run.folder / name).exists() for name in stage.outputs)
        if record is None:
            return (
                Standing(stage, State.CHANGED, "of an unknown configuration")
                if present
                else Standing(stage, State.TO_DO)
            )
        facts = self.facts(stage)
        if not self._holds(record["facts"], facts):
            if not present:
                return Standing(stage, State.TO_DO)
            return Standing(stage, State.CHANGED, _difference(self._recorded(record["facts"], facts), facts))
        far_enough = record.get("length", 0) >= stage.length(self.run.config)
        if record["done"] and far_enough and (self.run.folder / stage.outputs[0]).exists():
            return Standing(stage, State.DONE)
        return Standing(stage, State.BEGUN if present else State.TO_DO)

    def facts(self, stage: Stage) -> dict[str, Any]:
        """Everything that the output of `stage` depends on: its configuration fields and the keys of its inputs."""
        facts = {name: _field(self._settings, name) for name in stage.fields}
        for name in _inputs(stage, self.run.config):
            length = _BY_NAME[name].length(self.run.config)
            facts[f"stage {name}"] = self._key(_BY_NAME[name]) + (f" to {length}" if length else "")
        return facts

    def _key(self, stage: Stage) -> str:
        """The key of a stage's output in the facts of later stages: the recorded key while it is valid, else a new
        one."""
        record, facts = self._records.get(stage.name), self.facts(stage)
        return str(record["key"]) if record and self._holds(record["facts"], facts) else _key(facts)

    def _holds(self, recorded: dict[str, Any], facts: dict[str, Any]) -> bool:
        """Whether a record was made under `facts`. A record of an older version lacks later fields; they are taken to
        have had their defaults."""
        return self._recorded(recorded, facts) == facts

    def _recorded(self, recorded: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        """The recorded value of every field in `facts`, or the field's default, and every recorded input stage."""
        found = {name: key for name, key in recorded.items() if name.startswith("stage ")}
        for name, now in facts.items():
            default = _field(self._defaults, name)
            value = recorded.get(name, default)
            if isinstance(value, dict) and isinstance(default, dict) and isinstance(now, dict):
                whole = {**default, **value}
                value = {key: whole[key] for key in whole if key in now or key not in default}
            found[name] = value
        return found

    def begin(self, stage: Stage) -> None:
        """Record that `stage` is running. Output of another configuration is moved aside, and a line says so."""
        standing = self.standing(stage)
        if standing.state is State.CHANGED:
            old = self.run.folder / "superseded" / f"{stage.name}-{int(time.time())}"
            for name in stage.outputs:
                path = self.run.folder / name
                if path.exists():
                    old.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, old / name)
            print(f"{stage.name}: {standing.why}; its earlier output is in superseded/{old.name}", flush=True)
        self._put(stage, done=False)

    def finish(self, stage: Stage, seconds: float) -> None:
        """Record that `stage` is done."""
        self._put(stage, done=True, seconds=round(seconds, 1))

    def _put(self, stage: Stage, **values: Any) -> None:
        facts = self.facts(stage)
        length = stage.length(self.run.config)
        self._records[stage.name] = {"key": _key(facts), "facts": facts, "length": length, **values}
        write_text(json.dumps({"format": _FORMAT, "stages": self._records}, indent=1), self.path)


def run_stages(run: Run, names: Sequence[str] | None = None) -> None:
    """Run the stages that are not done, in order. With two or more processes, AR and AV train at the same time.

    Args:
        run: The run.
        names: Run only these stages; their inputs must exist. None: all stages.

    Raises:
        InputError: A stage name is unknown, or the input of a stage is missing.
    """
    for name in names or ():
        if name not in _BY_NAME:
            raise InputError(f"no stage '{name}'; give one of {', '.join(NAMES)}")
    run.folder.mkdir(parents=True, exist_ok=True)
    chosen = [stage for stage in STAGES if names is None or stage.name in names]
    while chosen:
        ledger = Ledger(run)
        stage = chosen.pop(0)
        state = ledger.standing(stage).state
        if state in (State.DONE, State.OFF):
            print(f"{stage.name}: {state}", flush=True)
            continue
        _check_inputs(ledger, stage)
        if launched() > 1 and stage.name not in _TRAINING:
            raise InputError(f"stage {stage.name} runs in one process; run nla-eval train --stage {stage.name} first")
        group = [stage]
        if stage.name == "ar" and _side_by_side(run.config) and chosen and chosen[0].name == "av":
            if ledger.standing(chosen[0]).state is not State.DONE:
                group.append(chosen[0])
            chosen = chosen[len(group) - 1 :]
        _run_group(run, ledger, group)


def _run_group(run: Run, ledger: Ledger, group: Sequence[Stage]) -> None:
    together = Group.joined()
    together.total(0.0)  # wait until every process has read the record
    leading = together.rank == 0
    for stage in group:
        if leading:
            ledger.begin(stage)
            print(f"{stage.name}: runs", flush=True)
    together.total(0.0)  # wait until the first process has moved old output aside
    started = time.monotonic()
    if together.size > 1 or group[0].name not in ("ar", "av"):
        group[0].run(run)
    else:
        _in_processes(run, [stage.name for stage in group])
    for stage in group:
        if leading:
            ledger.finish(stage, time.monotonic() - started)
    together.total(0.0)


def _check_inputs(ledger: Ledger, stage: Stage) -> None:
    for name in _inputs(stage, ledger.run.config):
        found = ledger.standing(_BY_NAME[name])
        if found.state is not State.DONE:
            why = f"{found.state} ({found.why})" if found.why else str(found.state)
            raise InputError(
                f"stage {stage.name} needs the output of stage {name}, which is {why}; run stage {name} first"
            )


def _inputs(stage: Stage, config: TrainConfig) -> list[str]:
    """The input stages of `stage` that are on. A stage that is off is replaced by its own inputs."""
    found: dict[str, None] = {}
    for name in stage.after:
        before = _BY_NAME[name]
        found.update(dict.fromkeys(_inputs(before, config) if before.off(config) else [name]))
    found.update((name, None) for name in stage.beside if not _BY_NAME[name].off(config))
    return list(found)


def _side_by_side(config: TrainConfig) -> bool:
    return config.processes >= 2 and config.hardware.device == "cpu" and launched() == 1


def _in_processes(run: Run, names: Sequence[str]) -> None:
    """Run each stage in its own process, so that its memory is freed when it ends."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_in_process, args=(run.config, run.folder, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    died = [name for name, worker in zip(names, workers, strict=True) if worker.exitcode]
    if died:
        raise NlaEvalError(f"stage {' and '.join(died)} stopped, see above; run the same command again to resume")


def _in_process(config: TrainConfig, folder: Path, name: str) -> None:
    try:
        _BY_NAME[name].run(Run(config, folder))
    except NlaEvalError as err:
        print(f"{name}: {' '.join(str(err).split())}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _field(settings: dict[str, Any], dotted: str) -> Any:
    found: Any = settings
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """A phrase that names the first fields that differ: the stage's own fields first, then its inputs."""
    changed = [name for name in new if old.get(name) != new[name]]
    own = [name for name in changed if not name.startswith("stage ")]
    if not own:
        return f"{changed[0].removeprefix('stage ')} runs again" if changed else "another version"
    return "; ".join(_changed(name, old.get(name), new[name]) for name in own[:2])


def _changed(name: str, old: Any, new: Any) -> str:
    """A phrase for one changed field; for a section, its first changed key."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next((k for k in {**new, **old} if old.get(k) != new.get(k)), "")
        return _changed(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
