"""A trial trains one AR per variant on the same positions, measures each part, and is not done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from nla_eval.errors import InputError
from nla_eval.training.run import Run
from nla_eval.training.variants import Variant, main
from tests.training.tiny_run import settings


@pytest.mark.parametrize(("text", "share"), [("balanced", 0.0), ("balanced:0.5", 0.5), (" present:1", 1.0)])
def test_a_variant_reads_as_it_is_written(text: str, share: float) -> None:
    made = Variant.parse(text)
    assert made.masked_share == share
    assert Variant.parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [("plain", "unknown format 'plain'; known: ahead"), ("present:x", "is a number"), ("present:2", "between")],
)
def test_a_wrong_variant_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Variant.parse(text)


def test_variants_are_compared_on_the_same_positions_and_kept(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = settings(trained)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    given = [str(path), "--variants", "present,no_tail:0.5", "--samples", "48", "--run-folder", str(trained / "run")]
    main([*given, "--json", str(tmp_path / "found.json")])
    first, second = json.loads((tmp_path / "found.json").read_text())
    assert set(first["without"]) == {"speaker", "form", "now", "expects", "tail", "near"}
    assert "tail" not in second["without"]
    assert first["whole"]["fve_meannorm"]["n"] == second["masked"]["fve_nrm"]["n"] > 20
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in table[-2:]] == ["| present", "| no_tail:0.5"]
    kept = {p: p.stat().st_mtime_ns for p in (trained / "run" / "variants").glob("*.json")}
    main(given)
    assert {p: p.stat().st_mtime_ns for p in (trained / "run" / "variants").glob("*.json")} == kept
    assert Run(config, trained / "run").explanations()["text"][0]


def test_a_probe_finds_that_what_is_said_of_the_final_token_is_worth_more_than_a_constant(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(json.loads(settings(trained).model_dump_json())))
    main(
        [
            str(path),
            "--variants",
            "present,no_tail",
            "--probe",
            "--samples",
            "400",
            "--run-folder",
            str(trained / "run"),
        ]
    )
    found = [line.split() for line in capsys.readouterr().out.splitlines() if "fve_meannorm" in line]
    assert [line[0] for line in found] == ["present:", "no_tail:"]
    assert all(0.1 < float(line[2].rstrip(",")) < 1 for line in found)
