"""The bench's bookkeeping: goals, docs/bench.json and docs/performance.md; `make bench` runs the measurements."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nla_eval.bench.engine import Load, capture_requests
from nla_eval.bench.figures import BEGIN, END, GOALS, Figure, into_page, race, ratio, save, shown, table
from nla_eval.bench.pipeline import chats
from nla_eval.bench.profile import shares
from nla_eval.bench.tally import frames
from nla_eval.bench.training_memory import CONFIG, shorter, watched
from nla_eval.errors import InputError
from nla_eval.stats.interval import Resampling
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.training.config import TrainConfig, load_config

ROOT = Path(__file__).parents[1]


def test_the_table_of_the_page_is_the_one_that_the_record_gives() -> None:
    record = json.loads((ROOT / "docs" / "bench.json").read_text())
    page = (ROOT / "docs" / "performance.md").read_text()
    assert into_page(page, record) == page
    assert set(record["figures"]) <= set(GOALS)


def test_requests_are_seeded_and_end_at_the_last_token() -> None:
    load = Load(sequences=3, tokens=40, positions=4)
    one, two = capture_requests(load, 200), capture_requests(load, 200)
    assert all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(one, two, strict=True))
    assert all(r.positions[-1] == 39 and len(r.positions) == 4 for r in one)


def test_chats_are_distinct_and_in_both_arms() -> None:
    made = chats(6, 20)
    assert len({c.digest for c in made}) == 6
    assert {c.arm.value for c in made} == {"evaluation", "deployment"}


def test_the_frames_of_the_tally_bench_are_tallied_whole() -> None:
    made = frames(6, 10, 4)
    found = tally(made, TallyOptions(how=Resampling(resamples=50)))
    assert sum(s.denominators[0].planned for s in found.suites) == made.judgements.height == 240
    assert {s.arm for s in found.suites} == {"evaluation", "deployment"}
    assert found.notes == []


def test_a_race_gives_the_median_rate_of_each_way() -> None:
    calls: list[str] = []
    rates = race({"a": (lambda: calls.append("a"), 10), "b": (lambda: calls.append("b"), 20)}, 3)
    assert calls == ["a", "b"] * 3
    assert set(rates) == {"a", "b"}
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.parametrize(
    ("key", "value", "reached"),
    [
        ("capture_vs_full_logits", 1.7, True),
        ("capture_vs_full_logits", 1.6, False),
        ("rss_growth_2k_8k_mb", 149.0, True),
        ("rejudge_fraction", 0.03, False),
        ("vllm_vs_ours", 0.5, None),
    ],
)
def test_goals_know_which_side_is_good(key: str, value: float, reached: bool | None) -> None:
    assert GOALS[key].reached(value) is reached


def test_a_record_keeps_figures_that_were_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    save(path, {"ar_vs_one_by_one": ratio(30.0, 10.0, "explanations/s", "fp32")}, {"processor": "one"})
    save(path, {"capture_vs_full_logits": ratio(15.0, 10.0, "tokens/s", "fp32")}, {"processor": "two"})
    figures = json.loads(path.read_text())["figures"]
    assert list(figures) == ["capture_vs_full_logits", "ar_vs_one_by_one"]
    assert figures["ar_vs_one_by_one"]["machine"] == {"processor": "one"}
    assert figures["capture_vs_full_logits"]["reached"] is False
    rows = table(json.loads(path.read_text())).splitlines()
    assert "| 1.5x (missed) | 15 tokens/s | 10 tokens/s | >= 1.7x |" in rows[2]
    assert "| 3x | 30 explanations/s | 10 explanations/s | >= 1.5x |" in rows[9]
    assert "not measured" in rows[3]


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(InputError, match="no place for the table"):
        into_page("# title", {"figures": {}})
    assert into_page(f"x\n{BEGIN}\nold\n{END}\ny", {"figures": {}}).count("\n") > 5


def test_figures_are_shown_with_their_goal() -> None:
    assert shown({"rejudge_fraction": Figure(0.013)}) == "rejudge_fraction: 1.3 %; goal <= 2 %"


def test_a_profile_adds_up_and_names_the_largest_first() -> None:
    found = shares(lambda: torch.ones(200, 200) @ torch.ones(200, 200))
    assert sum(share for _, share, _ in found) == pytest.approx(1.0)
    assert [share for _, share, _ in found] == sorted((share for _, share, _ in found), reverse=True)
    assert any("mm" in name for name, _, _ in found)


def test_memory_is_summed_over_a_command_and_what_it_starts(tmp_path: Path) -> None:
    hold = "import time; held = bytearray(60_000_000); time.sleep(1.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    assert watched([sys.executable, "-c", start], tmp_path / "out") > 60_000_000


def test_a_failed_run_ends_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such target"):
        watched([sys.executable, "-u", "-c", "print('begun'); raise SystemExit('no such target')"], tmp_path / "out")


def test_memory_of_training_is_of_the_shipped_groups_and_lengths() -> None:
    shipped, shorter_ = load_config(CONFIG), TrainConfig.model_validate(shorter())
    assert shorter_.joint.groups == shipped.joint.groups
    assert shorter_.corpus.length_mix == shipped.corpus.length_mix
    assert (shorter_.av.batch, shorter_.ar.batch) == (shipped.av.batch, shipped.ar.batch)
    assert shorter_.ar_on_samples.samples < shipped.ar_on_samples.samples
    assert shorter_.joint.steps == 2, "also where the shipped pack's last run left the joint stage out"
