"""`nla-eval doctor` finds what would stop a run, and each finding ends in what mends it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from nla_eval.commands import doctor
from nla_eval.commands.doctor import Finding, State
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.errors import NlaEvalError
from nla_eval.store.store import ReadingStore, StoreIdentity

HERE = RuntimeSettings(target="smollm2-135m")


def only(found: list[Finding], about: str) -> Finding:
    return next(finding for finding in found if finding.about == about)


def test_this_environment_is_healthy(capsys: pytest.CaptureFixture[str], target_tokenizer: object) -> None:
    doctor.run(HERE, ())
    said = capsys.readouterr().out
    assert "wrong" not in said
    for about in ("python", "packages", "inspect", "processor", "memory", "cache", "folder", "target", "pack"):
        assert about in said


@pytest.mark.parametrize(("found", "said"), [("0.0.1", "0.0.1 is installed"), (None, "not installed")])
def test_a_package_outside_its_bounds_is_named_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, found: str | None, said: str
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name != "polars":
            return real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    polars = only(list(doctor.packages()), "polars")
    assert polars.state is State.WRONG
    assert said in polars.said
    assert polars.mend.startswith("run: pip install 'polars")


def test_little_memory_and_a_full_disk_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1 << 30))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert only(list(doctor.memory()), "memory").state is State.NOTE
    assert "NLA_EVAL_CACHE" in only(list(doctor.disk()), "cache").mend


def test_a_folder_without_the_right_to_write_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert only(list(doctor.disk()), "folder").state is State.WRONG


def test_an_absent_target_ends_the_check_of_weights(tmp_path: Path) -> None:
    (found,) = doctor.weights(RuntimeSettings(target=str(tmp_path)), deep=False)
    assert (found.about, found.state) == ("target", State.WRONG)


def test_a_damaged_store_fails_the_command_and_names_the_repair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "weights", lambda settings, *, deep: iter(()))
    made = ReadingStore.create(
        str(tmp_path / "store"),
        StoreIdentity(
            pack="tiny@1", target="t", layer=2, d_model=3, positions="last", seed=0, temperature=1.0, max_new_tokens=8
        ),
    )
    made.finish({})
    doctor.run(HERE, (made.url,))
    (tmp_path / "store" / "manifest.json").write_text("{")
    with pytest.raises(NlaEvalError, match="wrong: 1"):
        doctor.run(HERE, (made.url,))
    assert f"nla-eval store repair {made.url}" in capsys.readouterr().out
