"""The joint stage increases its reward, resumes exactly, and stops with a one-line error when it cannot continue."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import nla_eval.training.joint.stage as joint
import nla_eval.training.joint.state as joint_state
from nla_eval.engines.base import Draw, Sampling, VerbalizeRequest
from nla_eval.errors import NlaEvalError
from nla_eval.readings import StopReason
from nla_eval.training.joint.plan import masked_groups, reward, rows_of
from nla_eval.training.joint.rollouts import Rollouts
from nla_eval.training.joint.stage import train_joint
from nla_eval.training.joint.state import JointState, Learner, core_hours, latest_weights
from nla_eval.training.joint_config import JointConfig
from nla_eval.training.models.optim import restore, trainable
from tests.training.tiny_pair import CAP, closing_with, tiny_models, tiny_pairs

Setting = dict[str, Any]
SMALL: Setting = {"groups": 2, "samples_per_group": 4, "max_new_tokens": CAP, "micro_tokens": 200, "evaluate_rows": 3}


def run(folder: Path, **setting: Any) -> list[dict[str, Any]]:
    """Run in `folder`; the lines of its log."""
    models = tiny_models(folder / "models", setting.pop("rank", 4), setting.pop("dtype", torch.float32))
    train_joint(models, tiny_pairs(), tiny_pairs(3, 1), JointConfig(**SMALL | setting), folder)
    return lines(folder)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "joint.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not given back after every phase, which takes longer than a phase of these models."""
    monkeypatch.setattr(joint, "release_memory", lambda: None)


@pytest.fixture
def closable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closing_with(monkeypatch, tiny_models(tmp_path / "pilot"))


def drawn(stop: StopReason = StopReason.CLOSED, tokens: int = 50, text: str = "text") -> Draw:
    return Draw("k", text, stop, tokens)


@pytest.mark.parametrize(
    ("draw", "setting", "earned"),
    [
        (drawn(), {}, -0.5),
        (drawn(), {"reward": "log"}, 0.6931472),
        (drawn(StopReason.TRUNCATED), {}, -2.0),
        (drawn(StopReason.TRUNCATED), {"reward": "log", "unclosed_reward": -3.0}, -3.0),
        (drawn(tokens=70), {"length_penalty": 0.01, "length_free": 60}, -0.6),
        (drawn(tokens=60), {"length_penalty": 0.01, "length_free": 60}, -0.5),
        (drawn(text="a game, Game, game\nthe game"), {"repeat_penalty": 0.3}, -0.6),
        (drawn(text="a / the\nthe / a"), {"repeat_penalty": 0.3}, -0.5),
        (drawn(text="game, gameplay, ant, anthem\nplay"), {"repeat_penalty": 0.5}, -0.6),
        (drawn(text="..."), {"repeat_penalty": 0.3}, -0.5),
    ],
)
def test_a_rollout_earns_its_reconstruction_and_an_unclosed_one_the_penalty(
    draw: Draw, setting: Setting, earned: float
) -> None:
    assert reward(draw, 0.5, JointConfig(**setting)) == pytest.approx(earned)


def test_every_row_is_used_once_before_any_is_used_again() -> None:
    used = [row for step in range(14) for row in rows_of(step, 3, 7, (0, 3))]
    for start in range(0, 42, 7):
        assert sorted(used[start : start + 7]) == list(range(7))
    assert used[:7] != used[7:14]


def test_a_kl_of_part_of_what_was_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="leave learnt_per_group out"):
        JointConfig(learnt_per_group=4, kl=0.1)


@pytest.mark.usefixtures("closable")
def test_a_stage_stopped_early_and_asked_for_no_more_keeps_its_last_weights(tmp_path: Path) -> None:
    run(tmp_path, steps=3, snapshot_every=50)
    shutil.rmtree(tmp_path / "joint")
    run(tmp_path, steps=2, snapshot_every=50)
    assert latest_weights(tmp_path) == tmp_path / "joint" / "00003"


@pytest.mark.usefixtures("closable")
def test_learning_from_part_of_each_group_resumes_exactly(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", steps=3, learnt_per_group=2, evaluate_every=3)
    run(tmp_path / "cut", steps=2, learnt_per_group=2, evaluate_every=3)
    cut = run(tmp_path / "cut", steps=3, learnt_per_group=2, evaluate_every=3)
    assert cut[-1]["av_loss"] == pytest.approx(whole[-1]["av_loss"], abs=1e-6)


@pytest.mark.usefixtures("closable")
@pytest.mark.parametrize("greedy", [0, 1])
def test_so_many_of_each_group_are_drawn_greedily(
    greedy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    asked: dict[str, bool] = {}

    def draw(self: Rollouts, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> list[Draw]:
        asked.update((request.key, request.greedy) for request in requests if "|" in request.key)
        return real(self, requests, sampling)

    real = Rollouts.draw
    monkeypatch.setattr(Rollouts, "draw", draw)
    run(tmp_path, steps=1, greedy_per_group=greedy)
    keys = [f"0|{group}|{sample}" for group in range(2) for sample in range(4)]
    assert list(asked) == keys
    assert [key for key in keys if asked[key]] == keys[::4] * greedy


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_masked_share_is_kept_over_the_steps(share: float) -> None:
    chosen = [masked_groups(step, 3, share, 0) for step in range(40)]
    assert sum(map(len, chosen)) == round(share * 120)
    assert share in (0.0, 1.0) or len({group for groups in chosen for group in groups}) == 3


@pytest.mark.usefixtures("closable")
def test_masked_groups_are_read_masked_and_only_they(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "masked", lambda text, recent: f"hidden {recent}")
    read: list[str] = []

    def texts_pass(model: Any, parameters: Any, scored: Any, layout: Any) -> Any:
        if parameters:
            read.extend(scored.texts)
        return real(model, parameters, scored, layout)

    real: Callable[..., Any] = joint.texts_pass
    monkeypatch.setattr(joint, "texts_pass", texts_pass)
    log = run(tmp_path, steps=2, masked_share=0.5, references_per_rollout=0, samples_per_group=8, evaluate_every=9)
    hidden = sum(text == "hidden ab cd" for text in read)
    assert 0 < hidden < len(read)
    assert log[1]["fve_nrm_masked"] is not None or log[2]["fve_nrm_masked"] is not None


@pytest.mark.full
@pytest.mark.usefixtures("closable")
def test_a_planted_reward_rises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an explanation earns 1 where it is closed, whatever the AR makes of it."""
    monkeypatch.setattr(joint, "reward", lambda draw, error, config: float(draw.stop is StopReason.CLOSED))
    setting = {"groups": 4, "samples_per_group": 8, "av_lr": 0.02, "ar_lr": 0, "reference_mix": 0, "evaluate_every": 99}
    log = run(tmp_path, steps=30, **setting)
    closed = [line["closed"] for line in log[1:]]
    assert sum(closed[-5:]) / 5 > 0.9
    assert sum(closed[:5]) / 5 < 0.75


@pytest.mark.usefixtures("closable")
@pytest.mark.parametrize(("rank", "dtype"), [(4, torch.float32), (0, torch.float32), (0, torch.bfloat16)])
def test_a_run_stopped_and_resumed_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, dtype: torch.dtype
) -> None:
    setting: Setting = {"steps": 4, "masked_share": 0.5, "kl": 0.05, "updates_per_step": 2, "evaluate_every": 2}
    setting |= {"rank": rank, "dtype": dtype}
    whole = run(tmp_path / "whole", **setting)
    save = JointState.save

    def killed(state: JointState, **how: Any) -> None:
        if state.step == 3:
            raise KeyboardInterrupt
        save(state, **how)

    monkeypatch.setattr(JointState, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", **setting)
    monkeypatch.setattr(JointState, "save", save)
    assert lines(tmp_path / "cut")[-1]["step"] == 3
    resumed = run(tmp_path / "cut", **setting)
    seconds = {"wall_s", "cpu_s"}
    assert [{k: v for k, v in line.items() if k not in seconds} for line in resumed] == [
        {k: v for k, v in line.items() if k not in seconds} for line in whole
    ]
    one, other = (load_file(tmp_path / name / "joint.safetensors") for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=0, msg=key)


@pytest.mark.usefixtures("closable")
def test_the_last_snapshot_restores_both_models(tmp_path: Path) -> None:
    run(tmp_path, steps=2, snapshot_every=1)
    latest, models = latest_weights(tmp_path), tiny_models(tmp_path / "again")
    assert latest is not None
    assert latest.name == "00002"
    assert core_hours(tmp_path) is not None
    assert core_hours(tmp_path / "models") is None
    for model, name in ((models.av, "av"), (models.ar, "ar")):
        before = {key: value.clone() for key, value in trainable(model).items()}
        restore(model, latest / f"{name}.safetensors")
        assert any(not torch.equal(before[key], value) for key, value in trainable(model).items())


@pytest.mark.usefixtures("closable")
def test_with_equal_rewards_the_av_stays_and_the_ar_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "reward", lambda draw, error, config: 1.0)
    log = run(tmp_path, steps=1)
    assert log[1]["av_skipped"]
    start = tiny_models(tmp_path / "start")
    saved = load_file(tmp_path / "joint.safetensors")
    for name, parameter in trainable(start.av).items():
        assert torch.equal(parameter, saved[f"av.param.{name}"])
    assert any(not torch.equal(p, saved[f"ar.param.{name}"]) for name, p in trainable(start.ar).items())


def test_a_run_in_which_nothing_is_closed_stops_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(NlaEvalError, match="no explanation of 3 steps in a row was closed within 12 tokens"):
        run(tmp_path, steps=9)
    assert int(load_file(tmp_path / "joint.safetensors")["step"]) == 2


@pytest.mark.usefixtures("closable")
@pytest.mark.parametrize(("model", "says"), [("av", "av_lr"), ("ar", "ar_lr")])
def test_a_loss_that_is_not_a_number_stops_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, says: str
) -> None:
    run(tmp_path, steps=1)
    before = (tmp_path / "joint.safetensors").read_bytes()
    name = "answers_pass" if model == "av" else "texts_pass"
    real: Callable[..., Any] = getattr(joint, name)

    def broken(*args: Any) -> Any:
        found = real(*args)
        return found.__class__(float("nan"), found.gradients, found.values)

    monkeypatch.setattr(joint, name, broken)
    with pytest.raises(NlaEvalError, match=f"loss is nan at step 1; lower {says}"):
        run(tmp_path, steps=2)
    assert (tmp_path / "joint.safetensors").read_bytes() == before


@pytest.mark.usefixtures("closable")
def test_a_checkpoint_of_other_models_is_refused_by_name(tmp_path: Path) -> None:
    run(tmp_path, steps=1)
    blob = torch.zeros(3)
    save_file({"step": torch.tensor(1), "av.param.other": blob}, tmp_path / "joint.safetensors")
    with pytest.raises(NlaEvalError, match=r"joint\.safetensors does not fit this configuration"):
        run(tmp_path, steps=2)


def test_masking_without_recent_text_is_refused(tmp_path: Path) -> None:
    pairs = replace(tiny_pairs(), recent=None)
    with pytest.raises(NlaEvalError, match="masked_share needs the recent text"):
        train_joint(tiny_models(tmp_path), pairs, pairs, JointConfig(steps=1, masked_share=0.5), tmp_path)


@pytest.mark.usefixtures("closable")
def test_the_kl_from_the_start_is_zero_before_the_first_update_and_grows(tmp_path: Path) -> None:
    log = run(tmp_path, steps=6, kl=0.01, av_lr=0.05, evaluate_every=9)
    measured = [line["kl"] for line in log if "kl" in line]
    assert measured[0] == pytest.approx(0.0, abs=1e-5)
    assert measured[-1] > 1e-3


@pytest.mark.usefixtures("closable")
def test_all_weights_without_kl_keep_no_copy_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(learner: Learner) -> dict[str, torch.Tensor]:
        raise AssertionError("a copy of all weights")

    monkeypatch.setattr(Learner, "weights", never)
    assert not any("kl" in line for line in run(tmp_path, steps=2, rank=0, evaluate_every=1))


@pytest.mark.usefixtures("closable")
def test_a_large_checkpoint_is_written_every_four_minutes_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def noted(blob: dict[str, torch.Tensor], path: Path) -> None:
        written.append(int(blob.get("step", 0)))
        save_file(blob, path)

    monkeypatch.setattr(joint_state, "save_file", noted)
    monkeypatch.setattr(joint_state, "_LARGE", 0)
    run(tmp_path, steps=4, snapshot_every=9)
    assert [step for step in written if step] == [1, 4]
