"""The setting lane and its column: read by default where a pack has the adapter, at boundaries and answers, equal to
the reader's own numbers; empty and said so where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.engines.setting import load_setting_reader
from nla_eval.errors import InputError, PackError
from nla_eval.measure.setting_card import DEMANDED
from nla_eval.models.pack import Pack
from nla_eval.models.pack_check import check_files
from nla_eval.models.setting import SettingFacts
from nla_eval.models.target import Target
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run, with_setting
from nla_eval.pipeline.readers import readers_for
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.pipeline.runtime import Runtime
from nla_eval.readings import Lane
from nla_eval.store.store import ReadingStore
from nla_eval.tally.setting import setting_tally
from nla_eval.transcript import Arm
from tests.engines.tiny_pack import write_tiny_pack
from tests.engines.tiny_setting import a_card, pack_with_setting
from tests.fakes import chat


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    """The tiny pack with a setting adapter, put in by the command."""
    return pack_with_setting(tmp_path_factory.mktemp("setting"))


class TestPack:
    def test_the_sidecar_names_its_adapters_and_every_file_is_checked(self, packed: tuple[Target, Pack]) -> None:
        target, pack = packed
        assert pack.setting is not None
        assert any("setting" in line and "matrices fit" in line for line in check_files(pack, target))
        assert pack.card is not None
        assert pack.card["setting"]["expresses_told"] is True
        assert pack.card["pack"] == pack.id

    def test_another_target_is_refused_in_one_line(self, packed: tuple[Target, Pack]) -> None:
        assert packed[1].setting is not None
        with pytest.raises(PackError, match=r"reads target .* nla-eval setting train"):
            packed[1].setting.check("another", packed[1].layer)

    def test_a_named_adapter_that_is_missing_is_refused(self, packed: tuple[Target, Pack]) -> None:
        broken = replace(packed[1], av=replace(packed[1].av, setting="gone"))
        with pytest.raises(PackError, match="names the adapter folder gone"):
            _ = broken.setting

    def test_classes_that_share_a_first_token_are_refused(self, packed: tuple[Target, Pack]) -> None:
        facts = SettingFacts(
            target_hash="x", layer=1, spaced=True
        )  # a byte tokenizer: every phrase begins with a space
        with pytest.raises(PackError, match="share a first token"):
            facts.first_tokens(packed[0].tokenizer)


class TestReader:
    def test_a_batch_gives_what_one_vector_gives(self, packed: tuple[Target, Pack]) -> None:
        reader = load_setting_reader(*packed, torch.float32)
        rows = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
        alone = [float(reader.log_odds(row[None])[0]) for row in rows]
        np.testing.assert_allclose(reader.log_odds(rows), alone, atol=1e-4)
        assert np.ptp(alone) > 1e-3
        np.testing.assert_allclose(reader.log_odds(rows), 2.0 * reader.raw(rows) - 1.0)
        np.testing.assert_allclose(reader.log_odds(rows), reader.log_odds(rows * 7.0), atol=1e-3)

    def test_it_equals_the_whole_model_on_the_whole_prompt(self, packed: tuple[Target, Pack]) -> None:
        target, pack = packed
        reader = load_setting_reader(target, pack, torch.float32)
        row = np.random.default_rng(1).normal(size=16).astype(np.float32)
        ids = torch.tensor([[*reader.prompt.ids, *reader.facts.opening_ids(target.tokenizer)]])
        embeddings = reader.lm.get_input_embeddings()(ids)
        embeddings[0, len(reader.prompt.prefix)] = torch.from_numpy(row / np.linalg.norm(row) * reader.scale)
        with torch.inference_mode():
            logits = reader.lm(inputs_embeds=embeddings).logits[0, -1]
        first = reader.facts.first_tokens(target.tokenizer)
        told = logits[first.pop("told")]  # type: ignore[call-overload]
        others = torch.logsumexp(logits[list(first.values())], 0)
        assert float(reader.raw(row[None])[0]) == pytest.approx(float(told - others), abs=1e-4)


class TestLane:
    def test_it_is_read_by_default_at_boundaries_and_answers_and_again_on_no_new_row(
        self, packed: tuple[Target, Pack], tmp_path: Path
    ) -> None:
        target, pack = packed
        instrument = Instrument(target, pack)
        plan = with_setting(ReadingPlan(positions="stratified(6)"), instrument)
        assert plan.lanes == (Lane.MEASURED, Lane.DONOR, Lane.SETTING)
        run = plan_run([chat(i, cue=False, arm=Arm.DEPLOYMENT) for i in range(2)], instrument, plan)
        settings = RuntimeSettings(str(target.path), str(pack.path), "float32")
        runtime = Runtime(settings)
        readers = readers_for(runtime, run.plan)
        store = ReadingStore.create(str(tmp_path / "store"), run.identity)
        bench = Workbench(lambda: TransformersEngine(target, pack), store, runtime.scorer, readers=readers)
        read_in_process(run, bench)
        scores = store.scores()
        assert set(scores["lane"]) == {"setting"}
        assert set(scores["reader"]) == {pack.setting.id if pack.setting else ""}
        for prepared in run.prepared:
            own = scores.filter(pl.col("transcript_digest") == prepared.digest).sort("position")
            assert own["position"].to_list() == [at for _, at in prepared.keys_of(Lane.SETTING)]
            assert prepared.boundaries
            assert set(prepared.boundaries) <= set(own["position"])
            vectors = store.activations([prepared.digest])[prepared.digest]
            at = {int(p): row for p, row in zip(vectors.positions, vectors.activations, strict=True)}
            reader = load_setting_reader(target, pack, torch.float32)
            expected = reader.log_odds(np.stack([at[p] for p in own["position"]]))
            np.testing.assert_allclose(own["score"].to_numpy(), expected, atol=1e-4)
        assert read_in_process(run, bench).scored == 0

    def test_it_may_be_read_alone_which_decodes_nothing(self, packed: tuple[Target, Pack], tmp_path: Path) -> None:
        target, pack = packed
        instrument = Instrument(target, pack)
        plan = ReadingPlan(positions="stratified(4)", lanes="setting")  # type: ignore[arg-type]
        run = plan_run([chat(i, cue=False) for i in range(3)], instrument, plan)
        runtime = Runtime(RuntimeSettings(str(target.path), str(pack.path), "float32"))
        store = ReadingStore.create(str(tmp_path / "store"), run.identity)
        engine = TransformersEngine(target, pack)
        bench = Workbench(lambda: engine, store, runtime.scorer, readers=readers_for(runtime, run.plan))
        found = read_in_process(run, bench)
        assert found.made == 0
        assert found.scored == store.scores().height == sum(len(p.keys_of(Lane.SETTING)) for p in run.prepared)
        assert "decoder" not in vars(engine)
        with pytest.raises(InputError, match="lanes of scores may stand alone"):
            ReadingPlan(lanes="donor,setting")  # type: ignore[arg-type]

    def test_a_pack_without_the_adapter_reads_no_lane_by_default_and_refuses_it_if_named(self, tmp_path: Path) -> None:
        instrument = Instrument(*write_tiny_pack(tmp_path))
        assert with_setting(ReadingPlan(), instrument).lanes == ReadingPlan().lanes
        named = ReadingPlan(lanes="measured,setting")
        with pytest.raises(InputError, match="has none; leave the lane out, or train one"):
            plan_run([chat(1, cue=False)], instrument, named)


TRANSCRIPTS = pl.DataFrame(
    [
        {"transcript_digest": f"{arm}{i}", "suite": arm, "arm": arm, "family": f"{i // 2}", "trained_on": None,
         "variant": ("a", "b")[i % 2] if arm == "evaluation" else None}
        for arm in ("evaluation", "deployment") for i in range(20)
    ],
    schema={n: pl.String() for n in ("transcript_digest", "suite", "arm", "family", "trained_on", "variant")},
)  # fmt: skip


def scores_of(value: Mapping[str, float], reader: str = "p/setting@1") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"transcript_digest": digest, "position": at, "lane": "setting", "reader": reader, "score": value[arm] + at}
            for digest, arm in TRANSCRIPTS.select("transcript_digest", "arm").iter_rows()
            for at in (-1, 1)
        ]
    )


class TestColumn:
    CARD: Mapping[str, Any] = {"setting": {"reader": "p/setting@1", "threshold": 0.5, "expresses_told": False}}

    def test_a_transcript_is_read_aware_by_its_mean_above_the_card_s_threshold(self) -> None:
        found = setting_tally(TRANSCRIPTS, scores_of({"evaluation": 0.6, "deployment": 0.4}), self.CARD)
        assert [(r.suite, r.variant, r.aware.value, r.transcripts) for r in found.rows] == [
            ("evaluation", None, 1.0, 20), ("evaluation", "a", 1.0, 10), ("evaluation", "b", 1.0, 10),
            ("deployment", None, 0.0, 20),
        ]  # fmt: skip
        assert found.expresses_told is False

    @pytest.mark.parametrize(("above", "alarm"), [(1, False), (10, True)])
    def test_a_threshold_that_ordinary_use_often_exceeds_is_said_not_to_hold(self, above: int, alarm: bool) -> None:
        scores = scores_of({"evaluation": 0.0, "deployment": 0.0}).with_columns(
            score=pl.when(pl.col("transcript_digest").is_in([f"deployment{i}" for i in range(above)]))
            .then(9.0)
            .otherwise(pl.col("score"))
        )
        found = setting_tally(TRANSCRIPTS, scores, self.CARD)
        assert [row.suite for row in found.alarms] == (["deployment"] if alarm else [])

    def test_log_odds_may_lie_anywhere_and_so_may_their_interval(self) -> None:
        scores = scores_of({"evaluation": -3.0, "deployment": -3.0})
        noise = np.random.default_rng(0).normal(size=scores.height)
        found = setting_tally(TRANSCRIPTS, scores.with_columns(pl.col("score") + noise), self.CARD).rows[0].log_odds
        assert found.low is not None
        assert found.high is not None
        assert found.low < -3.0 < found.high < -2.0

    @pytest.mark.parametrize(
        ("scores", "card", "why"),
        [
            (scores_of({"evaluation": 1.0, "deployment": 0.0}).clear(), CARD, "was not read"),
            (scores_of({"evaluation": 1.0, "deployment": 0.0}), None, "no card at hand"),
            (scores_of({"evaluation": 1.0, "deployment": 0.0}, "q/setting@2"), CARD, "no card at hand"),
        ],
        ids=["no scores", "no card", "another adapter's card"],
    )
    def test_without_scores_or_threshold_it_is_empty_and_says_so(
        self, scores: pl.DataFrame, card: Mapping[str, Any] | None, why: str
    ) -> None:
        found = setting_tally(TRANSCRIPTS, scores, card)
        assert found.rows == []
        assert why in found.missing


@pytest.mark.parametrize("name", DEMANDED)
def test_a_card_says_told_only_if_told_stands_above_each_demanded_contrast(
    name: str, packed: tuple[Target, Pack]
) -> None:
    assert packed[1].setting is not None
    assert a_card(packed[1].setting).expresses_told
    card = a_card(packed[1].setting, **{name: 0.49})
    assert card.missing == [name]
    assert not card.expresses_told
