"""The statistics load light: no torch, no Inspect, and scipy and statsmodels only when a number is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("heavy", ["torch", "inspect_ai", "scipy", "statsmodels", "pandas"])
def test_importing_the_statistics_loads_no(heavy: str) -> None:
    code = "import sys, nla_eval.stats; sys.exit(sys.argv[1] in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, heavy], check=False).returncode == 0
