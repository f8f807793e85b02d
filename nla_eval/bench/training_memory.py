"""Peak memory of training the shipped pack with `nla-eval train`, from the corpus to the joint stage.

It takes fewer texts and steps than a real run, because the peak of a stage does not depend on their number. Ten times a
second it sums the resident memory of all processes; shared memory counts once per process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from ..errors import InputError
from ..models.dtypes import dtype_name
from ..training.config import load_config
from ..training.models.loading import dtype_of
from ..training.stages import NAMES
from .figures import Figure

KEY = "train_peak_mb"
CONFIG = Path(__file__).parents[1] / "training" / "smollm2-135m-l20.yaml"
_EVERY = 0.1


def peak() -> dict[str, Figure]:
    """The highest sum of resident memory during the run.

    Raises:
        InputError: The run failed. The message contains its last line of output.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(yaml.safe_dump(shorter()))
        stages = [word for stage in NAMES if stage != "pack" for word in ("--stage", stage)]
        train = [
            sys.executable,
            "-u",
            "-m",
            "nla_eval",
            "train",
            str(config),
            "--run-folder",
            f"{folder}/run",
        ]
        most = watched([*train, *stages], Path(folder) / "output")
    said = dtype_name(dtype_of(load_config(CONFIG).hardware))
    return {KEY: Figure(most / 1e6, how=f"AR, AV, samples and 2 joint steps; 60,000 tokens of corpus, {said}")}


def shorter() -> dict[str, Any]:
    """The shipped configuration with a small corpus, few samples and few steps. Batches, groups and lengths stay."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    corpus = {"token_budget": 60_000, "held_out_conversations": 16}
    few = {stage: {"samples": 128} for stage in ("ar", "av", "ar_on_samples")}
    changes = {"corpus": corpus, **few, "joint": {"steps": 2}}
    return {**config, "rollouts": 128, **{name: {**config[name], **changed} for name, changed in changes.items()}}


def watched(command: list[str], output: Path) -> int:
    """The highest sum of the resident bytes of `command` and its child processes. Its output goes to a file.

    Raises:
        InputError: The command failed. The message contains its last line of output.
    """
    most = 0
    with output.open("w") as file:
        process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            most = max(most, _resident(process))
            time.sleep(_EVERY)
    if process.returncode:
        raise InputError(f"{KEY}: {(output.read_text().splitlines() or ['no output'])[-1]}")
    return most


def _resident(process: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total
