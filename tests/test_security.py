"""What docs/security.md promises: no code from data, no weights from pickles, no secret in anything that is written."""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import get_model
from transformers import LlamaConfig

from nla_eval.awareness import awareness_task
from nla_eval.commands.compared import run_report
from nla_eval.commands.report import ReportRequest
from nla_eval.engines.loading import load_lm
from nla_eval.errors import PackError
from nla_eval.transcript import Arm
from tests.planted_task import planted_suite

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for room in ("nla_eval", "suites", "classifiers", "reports") for path in (ROOT / room).rglob("*.py")
)

ALLOWED = {
    ("nla_eval/pipeline/ray_actors.py", "pickle"): "units between our own driver and our own actors",
    (
        "nla_eval/training/data/tracebacks.py",
        "exec",
    ): "programs of this repository, run to record Python's own errors",
}
"""Calls that can run code from data, and why each of these cannot."""


MODULES = {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
CALLS = {"eval", "exec", "torch.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "joblib.load"}
OPTIONS = {"shell", "allow_pickle", "trust_remote_code"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Names of what a module uses that can run code from data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from MODULES & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from MODULES & {node.module or ""}
        elif isinstance(node, ast.Call):
            yield from CALLS & {ast.unparse(node.func)}
            yield from (f"{k.arg}=True" for k in node.keywords if k.arg in OPTIONS and ast.unparse(k.value) == "True")


def test_no_module_runs_code_from_data() -> None:
    found = {(str(path.relative_to(ROOT)), name) for path in SOURCES for name in dangers(ast.parse(path.read_bytes()))}
    assert found == set(ALLOWED)


def test_remote_code_is_off_unless_asked_for() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.arguments):
                named = [*node.posonlyargs, *node.args, *node.kwonlyargs]
                defaults = [*([None] * (len(node.posonlyargs + node.args) - len(node.defaults))), *node.defaults]
                for argument, default in zip(named, [*defaults, *node.kw_defaults], strict=True):
                    if argument.arg in ("trust", "trust_remote_code") and default is not None:
                        assert ast.unparse(default) == "False", path


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_weights_in_pickles_are_refused_with_the_mend(tmp_path: Path, name: str) -> None:
    LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    ).save_pretrained(tmp_path)
    torch.save({"x": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(PackError, match=r"safetensors"):
        load_lm(tmp_path, torch.float32, "sdpa")


CANARIES = {
    "OPENAI_API_KEY": "sk-canary-openai-51c0ffee",
    "ANTHROPIC_API_KEY": "sk-ant-canary-51c0ffee",
    "HF_TOKEN": "hf_canary51c0ffee",
    "AWS_SECRET_ACCESS_KEY": "canaryAWS51c0ffee",
    "AWS_ACCESS_KEY_ID": "AKIACANARY51C0FFEE",
    "NLA_VLLM_API_KEY": "canary-vllm-51c0ffee",
}


def written(path: Path) -> str:
    """All text of a file, unpacked: parquet tables, members of a log."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        frame = pl.read_parquet(io.BytesIO(data))
        kept = [name for name, dtype in frame.schema.items() if not dtype.is_(pl.Array) and dtype != pl.Binary]
        return str(frame.select(kept).to_dicts())
    if path.suffix == ".eval":
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist()
        return read_eval_log(str(path)).model_dump_json()
    return data.decode("utf-8", "replace")


def test_no_secret_of_the_environment_is_in_anything_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NLA_EVAL_CACHE", str(tmp_path / "cache"))
    suites = [planted_suite("canary_use", Arm.DEPLOYMENT, 3), planted_suite("canary_test", Arm.EVALUATION, 3)]
    for suite in suites:
        task = awareness_task(
            suite, classifier="lexicon", store=str(tmp_path / "store"), positions="uniform_response(3)"
        )
        model = get_model("nla/bytes", engine="planted", memoize=False)
        (log,) = inspect_eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none")
        assert log.status == "success", log.error
    run_report(ReportRequest((str(tmp_path / "logs"),), str(tmp_path / "report.html")))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".eval", ".parquet", ".html", ".json"} <= {path.suffix for path in files}
    seen = {path.name: written(path) for path in files} | {"terminal": "".join(capfd.readouterr())}
    for name, text in seen.items():
        assert not [canary for canary in CANARIES.values() if canary in text], name
