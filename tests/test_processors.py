"""Committed numbers were computed on one processor. These tests run with the instruction sets of older ones: every
library that selects code by processor (torch, oneDNN, MKL, OpenBLAS, numpy) is set to an older one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the settings are those of x86-64"),
]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Processor:
    """Settings that make every library compute as on a processor with these instructions and no newer ones."""

    aten: str
    onednn: str
    mkl: str
    openblas: str
    numpy_without: tuple[str, ...]
    """Beginnings of names of numpy's instruction sets that are turned off."""


PROCESSORS = {
    "sse4": Processor("default", "SSE41", "SSE4_2", "Nehalem", ("AVX", "FMA3", "X86_V3", "X86_V4")),
    "avx2": Processor("avx2", "AVX2", "AVX2", "Haswell", ("AVX512", "X86_V4")),
    "avx512": Processor("avx512", "AVX512_CORE", "AVX512", "SkylakeX", ()),
}

HERE = {"DEFAULT": "sse4", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability(), "avx512")
"""The newest of `PROCESSORS` that this one can be."""

COMMITTED = (
    "tests/classifiers/test_linear.py",
    "tests/engines/test_public_format.py",
    "tests/engines/test_shipped_packs.py",
    "tests/suites/test_suites.py::test_shipped_answers_belong_to_the_suites_own_prompts",
    "tests/test_public_traces.py",
    "tests/training/test_export_import.py",
)
"""Tests that compare with a committed number or with a golden file: weights, thresholds, published counts, the packs'
self-test vectors, the public client's texts and vectors."""

ROUNDED = (
    "tests/engines/test_capture.py",
    "tests/engines/test_decoding.py",
    "tests/engines/test_one_step.py",
    "tests/engines/test_packed.py",
    "tests/engines/test_public_pairs.py",
    "tests/engines/test_ragged.py",
    "tests/engines/test_generation.py",
    "tests/measure/test_held_out.py",
    "tests/measure/test_measure.py",
    "tests/pipeline/test_lanes.py",
    "tests/pipeline/test_reading.py",
    "tests/pipeline/test_runtime.py",
    "tests/training/test_group.py",
    "tests/training/test_passes.py",
)
"""Tests that compare two computations of this process to a tolerance that was measured on one processor."""

LEVELS = """
import json
import scipy.linalg, threadpoolctl, torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
pools = threadpoolctl.threadpool_info()
print(json.dumps({
    "aten": torch.backends.cpu.get_cpu_capability().lower(),
    "openblas": sorted({pool["architecture"] for pool in pools if pool["internal_api"] == "openblas"}),
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
}))
"""
"""What the libraries of a process say that they compute with; oneDNN and MKL do not say."""


def as_on(name: str) -> dict[str, str]:
    """The environment in which a new process computes as on that processor."""
    if list(PROCESSORS).index(name) > list(PROCESSORS).index(HERE):
        pytest.skip(f"this processor has no {name}")
    this = PROCESSORS[name]
    numpys = [f for f in __cpu_dispatch__ if __cpu_features__[f] and f.startswith(this.numpy_without)]
    return os.environ | {
        "ATEN_CPU_CAPABILITY": this.aten,
        "ONEDNN_MAX_CPU_ISA": this.onednn,
        "MKL_ENABLE_INSTRUCTIONS": this.mkl,
        "OPENBLAS_CORETYPE": this.openblas,
        "NPY_DISABLE_CPU_FEATURES": " ".join(numpys),
        "OMP_NUM_THREADS": "1",
    }


def python(*arguments: str, processor: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=as_on(processor), capture_output=True, text=True, timeout=1800
    )


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_libraries_take_the_code_of_the_processor_they_are_told(processor: str) -> None:
    """A library that ignored its setting would make the tests below prove nothing."""
    found = python("-c", LEVELS, processor=processor)
    assert found.returncode == 0, found.stderr
    levels, this = json.loads(found.stdout), PROCESSORS[processor]
    assert (levels["aten"], levels["openblas"]) == (this.aten, [this.openblas])
    assert not [feature for feature in levels["numpy"] if feature.startswith(this.numpy_without)]


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("tests", [COMMITTED, ROUNDED], ids=["committed", "rounded"])
def test_what_one_processor_computed_holds_on_another(tests: tuple[str, ...], processor: str) -> None:
    if processor == HERE:
        pytest.skip("these are this processor's own instructions: the other tests have run with them")
    both_cores = ("-n", "2", "--dist", "loadfile")
    run = python("-m", "pytest", "-p", "no:cacheprovider", *both_cores, *tests, processor=processor)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
