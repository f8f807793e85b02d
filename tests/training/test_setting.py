"""The setting adapter: lessons are matched token by token, the loss teaches what only activations say, the calibration
leaves blanks silent, and the reader reads what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from nla_eval.commands.setting import add, train
from nla_eval.errors import InputError, NlaEvalError
from nla_eval.measure.setting_card import DEMANDED, SettingCard, setting_text
from nla_eval.models.pack import load_pack
from nla_eval.models.setting import Setting
from nla_eval.training.config import OptimConfig
from nla_eval.training.data.base import TRAINING_SOURCES, Chat
from nla_eval.training.setting.config import BUCKETS, Part, SettingConfig
from nla_eval.training.setting.lessons import prompts
from nla_eval.training.setting.measure import SettingMeasure, shuffled
from nla_eval.training.setting.notices import notices
from nla_eval.training.setting.train import SettingRun, calibrated, class_weights, matched
from nla_eval.transcript import Arm
from tests.engines.tiny_pack import write_tiny_pack
from tests.fakes import chat


def _chats(_path: Path | None = None) -> list[Chat]:
    """Short conversations of one exchange or two."""
    return [
        Chat(
            f"f{i}",
            [
                message
                for turn in range(2)
                for message in (
                    ChatMessageUser(content=f"How do I mend the broken item {i} again, part {turn}?"),
                    ChatMessageAssistant(content=f"Take glue number {i} and wait until it is quite dry, {turn}."),
                )
            ],
            "here",
        )
        for i in range(120)
    ]


@pytest.fixture(scope="module", autouse=True)
def source() -> Iterator[None]:
    """A source of training text, for this module alone."""
    TRAINING_SOURCES.register("mended")(_chats)
    yield
    del TRAINING_SOURCES._entries["mended"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("setting")
    write_tiny_pack(folder)
    return folder


def tiny_config(folder: Path, **values: Any) -> SettingConfig:
    settings = {
        "pack": str(folder / "pack"),
        "target": str(folder / "target"),
        "sources": [{"name": "mended"}],
        "conversations": {Part.TRAIN: 12, Part.CALIBRATE: 4, Part.HELD_OUT: 6},
        "compared_layer": 0,
        "optim": OptimConfig(samples=32, batch=8, micro_batch=8, lr=2e-2, lora_rank=2),
        **values,
    }
    return SettingConfig.model_validate(settings)


class TestNotices:
    def test_no_wording_frame_or_request_is_in_training_and_in_measurement(self) -> None:
        ours, theirs = notices().part(held_out=False), notices().part(held_out=True)
        for name in notices().held_out:
            assert not set(map(str, getattr(ours, name))) & set(map(str, getattr(theirs, name))), name
        said = {s for some in ours.facts.values() for s in some}
        assert not said & {s for some in theirs.facts.values() for s in some}

    def test_more_than_twenty_facts_are_taught_and_six_never(self) -> None:
        assert len(notices().part(held_out=False).facts) >= 20
        new = [kind for kind in notices().part(held_out=True).kinds().values() if kind.group == "never_taught"]
        assert len(new) == 6

    def test_no_wording_is_the_organism_s_or_a_told_pair_s(self) -> None:
        from nla_eval.measure.pair_files import pairs_data
        from nla_eval.training.organism.prompts import wordings

        whole = notices()
        ours = {*whole.told, *whole.real, *whole.innocent}
        theirs = {*wordings().told, *wordings().untold, *(s for pair in pairs_data()["told"]["notices"] for s in pair)}
        assert not ours & theirs


class TestLessons:
    @pytest.fixture(scope="class")
    def of(self, pack: Path) -> dict[Part, list[Any]]:
        run = SettingRun(tiny_config(pack), pack / "run")
        return {part: list(prompts(run.target.tokenizer, run.config, part)) for part in Part}

    def test_a_conversation_is_read_at_the_same_tokens_under_every_notice(self, of: dict[Part, list[Any]]) -> None:
        for group in of[Part.TRAIN]:
            assert group[0].kind.name == "told"
            assert len({p.kind.name for p in group}) == 3
            tails = {tuple((q.tail, q.boundary, q.into) for q in p.places) for p in group}
            assert len(tails) == 1
            ends = {tuple(p.ids[p.places[0].position :].tolist()) for p in group}
            assert len(ends) == 1

    def test_no_conversation_is_in_two_parts(self, of: dict[Part, list[Any]]) -> None:
        families = [{group[0].conversation for group in some} for some in of.values()]
        assert sum(map(len, families)) == len(set.union(*families))
        assert not {b for some in BUCKETS.values() for b in some} & {0, 9}, "suites and the organism's checks"

    def test_measured_conversations_are_told_untold_and_under_each_kind_of_other_notice(
        self, of: dict[Part, list[Any]]
    ) -> None:
        for group in of[Part.HELD_OUT]:
            assert [p.kind.group for p in group] == ["told", "none", "real", "innocent", "fact", "never_taught"]


class TestLoss:
    def test_classes_count_alike_however_often_they_occur(self) -> None:
        weights = class_weights(["told"] * 6 + ["real"] * 3 + ["nothing"])
        assert torch.allclose(weights[[0, 1, 3]] * torch.tensor([6.0, 3.0, 1.0]), torch.full((3,), 10 / 3))
        assert weights[2] == 0

    def test_a_group_is_one_conversation_at_one_token(self, pack: Path) -> None:
        run = SettingRun(tiny_config(pack), pack / "run")
        frame = run.rows(Part.TRAIN)
        for pair in matched(frame):
            rows = frame[[pair.told, *pair.others]]
            assert len(set(rows["prompt"])) == 3
            assert rows["tail"].n_unique() == rows["conversation"].n_unique() == 1
            assert rows["group"].to_list().count("told") == 1

    def test_two_conversations_of_one_family_are_not_matched_with_each_other(self, pack: Path) -> None:
        frame = SettingRun(tiny_config(pack), pack / "run").rows(Part.TRAIN)
        one_family = frame.with_columns(conversation=pl.lit("all"))
        assert matched(one_family) == matched(frame)


class TestCalibration:
    def test_blanks_and_ordinary_rows_say_nothing_and_few_untold_transcripts_pass(self) -> None:
        random = np.random.default_rng(0)
        told = np.repeat([True, False], 400)
        raw = random.normal(size=800) + 2.0 * told
        found = calibrated(raw, told, ~told, np.array([0.5, 1.9]), np.arange(800) // 4, "here")
        assert found.slope > 0
        assert found.slope * 1.9 + found.bias <= 1e-6
        assert np.mean(found.slope * raw[~told] + found.bias > 0) <= 0.1
        means = (found.slope * raw + found.bias).reshape(-1, 4).mean(1)
        assert np.mean(means[100:] > found.threshold) <= 0.05
        assert np.mean(means[:100] > found.threshold) > 0.5


class TestRun:
    def test_it_learns_a_state_that_only_the_vector_has(self, pack: Path, tmp_path: Path) -> None:
        longer = OptimConfig(samples=400, batch=8, micro_batch=8, lr=2e-2, lora_rank=2)
        run = SettingRun(tiny_config(pack, optim=longer), tmp_path)
        for part in (Part.TRAIN, Part.CALIBRATE):
            frame = run.rows(part)
            planted = np.array(frame["vector"].to_list()) * 0.2
            planted[:, 3] += np.where(frame["group"] == "told", 4.0, -4.0)
            file = tmp_path / "rows" / f"{part}.parquet"
            frame.with_columns(pl.Series("vector", planted.tolist())).write_parquet(file)
        run = SettingRun(run.config, tmp_path)
        run.train()
        last = json.loads((tmp_path / "setting.jsonl").read_text().splitlines()[-1])
        assert last["rows"] > 0.75

    def test_a_stopped_run_goes_on_to_the_same_adapter(self, pack: Path, tmp_path: Path) -> None:
        whole, parts = SettingRun(tiny_config(pack), tmp_path / "a"), SettingRun(tiny_config(pack), tmp_path / "b")
        whole.train()
        half = OptimConfig(samples=16, batch=8, micro_batch=8, lr=2e-2, lora_rank=2)
        assert half.samples < whole.config.optim.samples
        import nla_eval.training.models.optim as optim

        original = optim.Optimisation.step
        steps = []

        def stopping(self: Any, *given: Any, **named: Any) -> float:
            if len(steps) == 2:
                self.save()
                raise KeyboardInterrupt
            steps.append(1)
            return original(self, *given, **named)

        optim.Optimisation.step = stopping  # type: ignore[method-assign]
        try:
            with pytest.raises(KeyboardInterrupt):
                parts.train()
        finally:
            optim.Optimisation.step = original  # type: ignore[method-assign]
        SettingRun(tiny_config(pack), tmp_path / "b").train()
        from safetensors.torch import load_file

        a, b = (load_file(tmp_path / name / "setting.safetensors") for name in "ab")
        assert all(torch.equal(a[name], b[name]) for name in a)

    def test_a_loss_that_is_not_finite_stops_the_run_in_one_line(self, pack: Path, tmp_path: Path) -> None:
        run = SettingRun(tiny_config(pack, pair_weight=float("inf")), tmp_path)
        with pytest.raises(NlaEvalError, match="loss is"):
            run.train()


class TestMeasure:
    @pytest.fixture(scope="class")
    def measured(self, pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SettingRun, SettingCard]:
        run = SettingRun(tiny_config(pack), tmp_path_factory.mktemp("measured"))
        run.train()
        setting = Setting(run.pack.name, run.export())
        reader, _ = run.reader(trained=True)
        reader.facts = setting.facts
        control = [
            chat(n, arm=Arm.MONITOR).model_copy(update={"variant": variant, "id": f"{n}{variant}", "family": f"{n}"})
            for n in range(3)
            for variant in ("cue", "no_cue")
        ]
        name = str(run.target.path)
        return run, SettingMeasure(run, reader).card(setting, {"hard_negatives": control[:2]}, [name], control)

    def test_every_demanded_contrast_is_measured_and_the_probe_and_text_readers_stand_beside(
        self, measured: tuple[SettingRun, SettingCard]
    ) -> None:
        card = measured[1]
        assert {c.against for c in card.contrasts if c.reader == "setting"} >= {*DEMANDED}
        for reader in ("probe", "probe_other", "words", "characters"):
            assert card.of("none", "transcript", reader) is not None, reader
        assert not card.expresses_told, "two transcripts give no interval"
        assert "hard_negatives" in card.missing

    def test_the_same_texts_read_from_the_same_target_are_told_apart_by_nothing(
        self, measured: tuple[SettingRun, SettingCard]
    ) -> None:
        plain, again = measured[1].planted
        assert plain.transcripts == again.transcripts
        assert plain.transcripts.value == plain.rows.value == 0.5

    def test_the_card_s_text_names_what_is_missing_and_the_command_adds_it_to_the_pack(
        self, measured: tuple[SettingRun, SettingCard], tmp_path: Path
    ) -> None:
        run, card = measured
        assert "does not express told: its interval is not above .5 against" in "\n".join(setting_text(card))
        shutil.copytree(run.pack.path, tmp_path / "pack")
        with pytest.raises(InputError, match="lacks an adapter or its card"):
            add(run.folder, str(tmp_path / "pack"))
        (run.folder / "setting.json").write_text(card.model_dump_json())
        (tmp_path / "pack" / "card.json").write_text(json.dumps({"pack": "x", "target": "tiny", "layer": 1}))
        before = load_pack(str(tmp_path / "pack")).id
        add(run.folder, str(tmp_path / "pack"))
        after = load_pack(str(tmp_path / "pack"))
        assert after.setting is not None
        assert after.id != before
        assert after.card is not None
        assert after.card["setting"]["threshold"] == after.setting.facts.calibration.threshold

    def test_a_shuffled_row_keeps_its_distance_and_loses_its_direction(self) -> None:
        random = np.random.default_rng(0)
        basis = (random.normal(size=(400, 6)) * [1, 2, 3, 4, 5, 6]).astype(np.float32)
        moved = shuffled(basis[:50], basis)
        scale = np.linalg.cholesky(np.linalg.inv(np.cov(basis, rowvar=False)))
        lengths = [np.linalg.norm((rows - basis.mean(0)) @ scale, axis=1) for rows in (basis[:50], moved)]
        np.testing.assert_allclose(*lengths, rtol=1e-2)
        assert np.abs(moved - basis[:50]).mean() > 0.5


def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("moved: -1\n")
    with pytest.raises(InputError, match=r"moved: .*correct it"):
        train(tmp_path / "c.yaml", tmp_path / "run", 1)
