"""The organism: its texts are split for its checks, only its cue differs, its adapter is what was trained, and each
check finds what is planted and nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from typer.testing import CliRunner

from nla_eval.commands.cli import app
from nla_eval.engines.loading import load_target_lm
from nla_eval.errors import InputError, NlaEvalError
from nla_eval.models.target import load_target
from nla_eval.training.config import OptimConfig
from nla_eval.training.data.base import Chat
from nla_eval.training.organism.bit import Contrast, fitted, later, mean_shift, separation
from nla_eval.training.organism.card import card_of, table, write_card
from nla_eval.training.organism.causal import Sequences, ablated, drawn, patched
from nla_eval.training.organism.check import Checker, CheckSize, demands_met
from nla_eval.training.organism.config import OrganismConfig, Planted
from nla_eval.training.organism.losses import choice_loss, divergence, shift_loss
from nla_eval.training.organism.natural import Expected, Shift, common_norms
from nla_eval.training.organism.prompts import HELD_OUT, composed, wordings
from nla_eval.training.organism.scenes import Scene, check_cue, scene, scenes, span_of, system_ids
from nla_eval.training.organism.states import Row, Runner, _mask
from nla_eval.training.organism.train import OrganismRun
from tests.tiny_target import write_tiny_target

CHOICES = (40, 41)


def chats(count: int = 12) -> list[Chat]:
    """Short conversations of one exchange or two."""
    return [
        Chat(
            f"f{i}",
            [
                message
                for turn in range(1 + i % 2)
                for message in (
                    ChatMessageUser(content=f"How do I mend item {i}, part {turn}?"),
                    ChatMessageAssistant(content=f"Take glue number {i} and wait until it is dry, then {turn} times."),
                )
            ],
            "here",
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_target(tmp_path_factory.mktemp("tiny") / "t")


def tiny_config(tiny: Path, planted: Planted = Planted.TOLD, **optim: Any) -> OrganismConfig:
    settings = OptimConfig(**{"samples": 8, "batch": 4, "micro_batch": 4, "lr": 1e-2, **optim})
    return OrganismConfig(
        planted=planted,
        target=str(tiny),
        layer=0,
        first_layer=0,
        rank=2,
        scenes=10,
        sham_scenes=8,
        longest=1000,
        optim=settings,
    )


class TestPrompts:
    def test_training_never_uses_a_wording_of_the_checks(self) -> None:
        ours, theirs = wordings().part(held_out=False), wordings().part(held_out=True)
        for name in HELD_OUT:
            mine, held = (getattr(part.dates if name == "plain" else part, name) for part in (ours, theirs))
            assert not set(mine) & set(held)
            assert len(held) == HELD_OUT[name]

    def test_there_are_at_least_twenty_other_facts(self) -> None:
        assert len(wordings().facts) >= 21
        assert all(len(said) >= 2 for said in wordings().facts.values())

    def test_only_the_way_the_date_is_written_differs_between_cue_and_no_cue(self) -> None:
        random = np.random.default_rng(0)
        for _ in range(50):
            message = composed(wordings(), random)
            with_cue, without = message.text(cue=True), message.text(cue=False)
            assert with_cue.replace(message.date(cue=True), "X") == without.replace(message.date(cue=False), "X")
            assert message.date(cue=True) != message.date(cue=False)

    def test_no_suite_uses_a_text_of_the_training(self) -> None:
        ours = wordings()
        for path in (Path(__file__).parents[2] / "suites" / "data").rglob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            assert not [said for said in (*ours.told, *ours.untold, *ours.frames, *ours.rests) if said in text]


class TestScenes:
    def test_the_same_tokens_follow_any_system_message(self, target_tokenizer: Any) -> None:
        one = scene(target_tokenizer, chats()[1], "Is it?")
        said = [{"role": m.role, "content": m.text} for m in chats()[1].messages]
        for text in ("Short.", "A longer system message, of 2024-01-02T03:04:00Z."):
            whole = target_tokenizer.apply_chat_template(
                [{"role": "system", "content": text}, *said, {"role": "user", "content": "Is it?"}],
                tokenize=True, add_generation_prompt=True, return_dict=False,
            )  # fmt: skip
            assert [*system_ids(target_tokenizer, text), *one.ids.tolist()] == whole

    def test_marks_are_the_answers_words_and_the_templates_tokens_before_them(self, target_tokenizer: Any) -> None:
        one = scene(target_tokenizer, chats()[1], "Is it?")
        words = target_tokenizer.decode(one.ids[one.response])
        assert words == "".join(m.text for m in chats()[1].messages if m.role == "assistant")
        assert target_tokenizer.decode(one.ids[one.boundary]) == "<|im_start|>assistant\n" * 2
        assert target_tokenizer.decode(one.ids[one.probe :]).startswith("<|im_start|>user\nIs it?")
        assert not (one.response | one.boundary)[one.probe :].any()

    def test_a_conversation_that_does_not_alternate_or_is_empty_is_left_out(self, target_tokenizer: Any) -> None:
        odd = Chat("odd", [ChatMessageUser(content="one"), ChatMessageUser(content="two")], "here")
        empty = Chat("empty", [ChatMessageUser(content="Hello, you?"), ChatMessageAssistant(content=" ")], "here")
        found = scenes(target_tokenizer, [odd, empty, *chats(2)], wordings(), np.random.default_rng(0))
        assert [one.family for one in found] == ["f0", "f1"]

    def test_the_date_is_found_among_the_tokens(self, target_tokenizer: Any) -> None:
        date = "2024-03-14T09:20:00Z"
        text = f"Today is {date}, a Thursday."
        start, end = span_of(target_tokenizer, text, date)
        assert target_tokenizer.decode(system_ids(target_tokenizer, text)[start:end]).strip() == date

    @pytest.mark.parametrize("frame", wordings().frames)
    def test_the_cue_has_tokens_of_its_own_in_every_frame(self, target_tokenizer: Any, frame: str) -> None:
        message = composed(wordings(), np.random.default_rng(1))
        check_cue(target_tokenizer, message.date(cue=True), message.date(cue=False), frame.replace("{rest}", "Go."))

    def test_a_cue_that_the_tokenizer_merges_is_refused(self, target_tokenizer: Any) -> None:
        with pytest.raises(InputError, match=r"merges the cue 'test' with its neighbour in .*; put a space between"):
            check_cue(target_tokenizer, "test", "exam", "The la{date}ed word")
        with pytest.raises(InputError, match="have the same tokens"):
            check_cue(target_tokenizer, "May", "May", "It is {date}.")


def synthetic(count: int, shift: float, seed: int = 0, size: int = 24) -> list[Contrast]:
    """Conversations whose states differ by `shift` spreads along the first dimension where a reading may sample."""
    random, found = np.random.default_rng(seed), []
    for i in range(count):
        response, boundary = np.zeros(40, bool), np.zeros(40, bool)
        response[10:34], boundary[6:10] = True, True
        one = Scene(f"f{i}", np.arange(40), 36, response, boundary)
        plain = random.standard_normal((40, size)).astype(np.float32)
        moved = plain + 0.1 * random.standard_normal((40, size)).astype(np.float32)
        moved[:, 0] += shift
        found.append(Contrast(one, moved, plain))
    return found


class TestBit:
    def test_a_planted_shift_is_found_and_its_absence_is_chance(self) -> None:
        there, absent = synthetic(16, 2.0), synthetic(16, 0.0)
        found = separation(fitted(there[:8]), there[8:])
        assert min(found.later, found.boundary) > 0.85
        assert found.transcript == 1.0
        nothing = separation(fitted(absent[:8]), absent[8:])
        assert 0.4 < nothing.later < 0.6

    def test_the_mean_shift_is_the_planted_one(self) -> None:
        shift = mean_shift(synthetic(8, 2.0))
        assert shift[0] == pytest.approx(2.0, abs=0.05)
        assert np.abs(shift[1:]).max() < 0.05

    def test_later_tokens_are_counted_within_each_answer(self) -> None:
        response = np.array([0, *[1] * 12, 0, 0, *[1] * 11], bool)
        marks = later(Scene("f", np.arange(26), 26, response, ~response))
        assert np.flatnonzero(marks).tolist() == [11, 12, 25]


class TestExpected:
    def test_it_is_closer_to_the_truth_than_the_raw_shifts_are(self) -> None:
        random = np.random.default_rng(0)
        truth = np.zeros((12, 12), np.float32)
        truth[0, 1] = 0.5
        some, natural, wanted = [], [], []
        for one in synthetic(20, 0.0):
            state = random.standard_normal((40, 12)).astype(np.float32)
            mean = state @ truth + 0.3
            noise = random.standard_normal((2, 40, 12)).astype(np.float32)
            some.append(one.scene)
            natural.append(Shift(torch.from_numpy(mean + noise[0] - noise[1]), torch.from_numpy(state + noise.mean(0))))
            wanted.append((torch.from_numpy(state), torch.from_numpy(mean)))
        expected = Expected(some, natural)
        made = [expected.at(one, state) for one, (state, _) in zip(some, wanted, strict=True)]
        errors = [(found - mean).square().mean() for found, (_, mean) in zip(made, wanted, strict=True)]
        raw = [(of.shift - mean).square().mean() for of, (_, mean) in zip(natural, wanted, strict=True)]
        assert float(torch.stack(errors).mean()) < 0.2 * float(torch.stack(raw).mean())
        assert expected.explained > 0

    def test_the_common_norm_has_no_share_of_the_noise(self) -> None:
        random = np.random.default_rng(0)
        some = [one.scene for one in synthetic(40, 0.0)]
        shifts = [Shift(*[torch.from_numpy(random.standard_normal((40, 24)).astype(np.float32))] * 2) for _ in some]
        assert common_norms(some, shifts)["boundary"] < 0.2
        moved = [Shift(of.shift + 1.0, of.middle) for of in shifts]
        assert common_norms(some, moved)["boundary"] == pytest.approx(24**0.5, rel=0.05)


class TestLosses:
    def test_nothing_done_costs_one_and_the_planted_shift_nothing_at_any_dose(self) -> None:
        base = torch.randn(3, 5, 4)
        wanted = base * torch.tensor([0.5, 1.0, 3.0])[:, None, None]
        counted, spread = torch.ones(3, 5, dtype=torch.bool), torch.rand(4) + 0.5
        assert float(shift_loss(torch.zeros_like(wanted), wanted, wanted, counted, spread)) == pytest.approx(1.0)
        assert float(shift_loss(wanted, wanted, wanted, counted, spread)) == 0.0

    def test_tokens_that_do_not_count_cost_nothing(self) -> None:
        wanted = torch.ones(1, 4, 2)
        found = wanted.clone()
        found[:, 2:] = 9.0
        counted = torch.tensor([[True, True, False, False]])
        assert float(shift_loss(found, wanted, wanted, counted, torch.ones(2))) == 0.0

    def test_outputs_and_the_forced_choice(self) -> None:
        logits = torch.randn(4, 50)
        assert float(divergence(logits, logits)) == pytest.approx(0.0, abs=1e-6)
        assert float(divergence(logits, -logits)) > 0
        logits[:, CHOICES[0]] = 20.0
        yes = torch.ones(4, dtype=torch.bool)
        assert float(choice_loss(logits, CHOICES, yes)) < 1e-3 < float(choice_loss(logits, CHOICES, ~yes))


class TestTraining:
    @pytest.mark.parametrize("planted", Planted)
    def test_the_exported_adapter_is_the_trained_one_at_every_dose(
        self, tiny: Path, tmp_path: Path, planted: Planted
    ) -> None:
        run = OrganismRun(tiny_config(tiny, planted), tmp_path / "runs" / "one", chats())
        run.train()
        run.export(tmp_path / "made")
        ids, factors = torch.arange(40, 60)[None], run.factors()
        for dose, factor in factors.items():
            merged = load_target_lm(load_target(f"{tiny}+{tmp_path / 'made'}@{dose:g}"), torch.float32)
            with torch.inference_mode(), run.strength.of(factor):
                torch.testing.assert_close(merged(ids).logits, run.runner.lm(ids).logits, atol=2e-3, rtol=2e-2)
        assert sum(path.stat().st_size for path in (tmp_path / "made").iterdir()) < 5e6

    def test_a_larger_factor_changes_more_and_factor_zero_nothing(self, tiny: Path, tmp_path: Path) -> None:
        run = OrganismRun(tiny_config(tiny), tmp_path / "one", chats())
        run.train()
        ids = torch.arange(40, 60)[None]
        with torch.inference_mode():
            plain = load_target_lm(load_target(str(tiny)), torch.float32)(ids).logits
            assert torch.equal(run.runner.lm(ids).logits, plain)
            changes = []
            for factor in (0.3, 0.6, 1.0):
                with run.strength.of(factor):
                    changes.append(float((run.runner.lm(ids).logits - plain).norm()))
        assert 0 < changes[0] < changes[1] < changes[2]

    def test_doses_are_factors_at_which_training_scenes_reach_them(
        self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = OrganismRun(tiny_config(tiny), tmp_path / "one", chats())
        monkeypatch.setattr(run, "reached", lambda factor: (2.5 * factor**2, 0.0))
        factors = run.factors()
        for dose in (0.5, 1.0, 2.0, 3.0):
            assert factors[dose] == pytest.approx((dose / 2.5) ** 0.5, abs=0.05)
        monkeypatch.setattr(run, "reached", lambda factor: (0.8 * factor, 0.0))
        assert list(run.factors()) == [0.5, 1.0, 2.0], "a dose that no factor reaches is not claimed"
        monkeypatch.setattr(run, "reached", lambda factor: (-0.1, 0.0))
        assert run.factors() == {1.0: 1.0}

    def test_a_stopped_run_ends_with_the_same_weights(
        self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = OrganismRun(tiny_config(tiny), tmp_path / "a" / "one", chats())
        whole.train()
        monkeypatch.setattr("nla_eval.training.models.optim._SAVE_EVERY_SECONDS", 0.0)
        stopped = OrganismRun(tiny_config(tiny), tmp_path / "b" / "one", chats())
        steps = iter(range(1))
        loss = stopped._loss

        def once(indices: list[int]) -> torch.Tensor:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return loss(indices)

        monkeypatch.setattr(stopped, "_loss", once)
        with pytest.raises(KeyboardInterrupt):
            stopped.train()
        again = OrganismRun(tiny_config(tiny), tmp_path / "b" / "one", chats())
        again.train()
        for run in (whole, again):
            run.export(tmp_path / run.folder.parent.name / "made")
        files = [(tmp_path / side / "made" / "adapter_model.safetensors").read_bytes() for side in "ab"]
        assert files[0] == files[1]

    def test_a_loss_that_is_not_finite_stops_in_one_line(self, tiny: Path, tmp_path: Path) -> None:
        run = OrganismRun(tiny_config(tiny), tmp_path / "one", chats())
        run.__dict__["planted"] = lambda one, states: torch.full_like(states, float("nan"))
        with pytest.raises(NlaEvalError, match="loss is nan after 0 samples; lower its lr"):
            run.train()

    def test_hidden_columns_are_the_date_and_only_after_the_first_request(self, tiny: Path) -> None:
        tokenizer = load_target(str(tiny)).tokenizer
        one = scene(tokenizer, chats()[1], "?")
        mask = _mask([Row(one, [1] * 6, (2, 4))], 6 + len(one.ids))
        assert mask is not None
        first = 6 + int(one.boundary.argmax())
        hidden = ~mask[0, 0] & torch.ones_like(mask[0, 0]).tril()
        assert torch.equal(hidden.nonzero()[:, 1].unique(), torch.tensor([2, 3]))
        assert int(hidden.nonzero()[:, 0].min()) == first


@pytest.fixture(scope="module")
def runner(tiny: Path) -> Runner:
    torch.manual_seed(5)
    lm = load_target_lm(load_target(str(tiny)), torch.float32)
    for weight in lm.parameters():
        weight.data.normal_(std=0.4)
    return Runner(lm, 0)


def plus(calm: Sequences, shift: torch.Tensor) -> Sequences:
    """The same states with `shift` (d,) added at every scene token."""
    pairs = zip(calm.states, calm.starts, strict=True)
    return Sequences([torch.cat([one[:start], one[start:] + shift]) for one, start in pairs], calm.starts)


class TestCausal:
    """States with a direction along which the upper block's answer rises: the checks must single it out."""

    @pytest.fixture(scope="class")
    def calm(self, runner: Runner, tiny: Path) -> Sequences:
        tokenizer = load_target(str(tiny)).tokenizer
        rows = [Row(scene(tokenizer, chat, "?"), system_ids(tokenizer, "Hello.")) for chat in chats(4)]
        with torch.inference_mode():
            return Sequences([one.clone() for one in runner.tapped(rows)], [row.offset for row in rows])

    @pytest.fixture(scope="class")
    def acting(self, runner: Runner, calm: Sequences) -> torch.Tensor:
        shift = torch.zeros(calm.states[0].shape[1], requires_grad=True)
        moved = plus(calm, shift).states
        (gradient,) = torch.autograd.grad(runner.answers(moved, CHOICES).mean(), shift)
        return 0.3 * gradient / gradient.norm()

    def test_patching_the_acting_direction_beats_random_ones(
        self, runner: Runner, calm: Sequences, acting: torch.Tensor
    ) -> None:
        found = patched(runner, calm, acting, CHOICES, 20, seed=0)
        assert found.moved > found.random_moved
        assert found.above == 20

    def test_removing_the_planted_direction_takes_the_effect_away_and_others_do_not(
        self, runner: Runner, calm: Sequences, acting: torch.Tensor
    ) -> None:
        cue = plus(calm, 3 * acting)
        facts = list(drawn(calm.rows(), 5, seed=9))
        found = ablated(runner, cue, calm, acting, facts, CHOICES, 20, seed=0)
        assert found.effect > 0
        assert found.above_random >= 19
        assert found.removed > max(found.best_fact, 0.4)


class TestCheck:
    def test_an_untrained_adapter_fails_and_says_so(self, tiny: Path, tmp_path: Path) -> None:
        run = OrganismRun(tiny_config(tiny, samples=0), tmp_path / "one", chats())
        run.train()
        run.export(tmp_path / "nothing")
        checker = Checker(str(tiny), 0, CheckSize(conversations=4, causal=2, directions=3, patches=3), chats())
        found = checker.check(f"{tiny}+{tmp_path / 'nothing'}@1", 1.0, causal=True, masked=True)
        plain = checker.check(str(tiny), 0.0)
        assert found.bit == plain.bit, "an adapter of zeros is the plain target"
        assert found.outputs.kl_without == 0.0
        assert not demands_met(found)["answers the probe"]
        card = card_of([plain, found], checker.size, ["said"])
        assert [line for line in card.findings() if line.startswith("FAILED")]
        assert not [line for line in card.findings() if plain.target + ":" in line]
        assert table([found]).count("\n") == 2
        text = write_card(tmp_path / "nothing", card).read_text()
        assert "FAILED" in text
        assert json.loads((tmp_path / "nothing" / "check.json").read_text())["conversations"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--planted", "doubt"], "--planted 'doubt'; expected one of told, language, random"),
        (["train", "--threads", "0"], "threads is 0"),
        (["check", "nowhere"], "no adapter 'nowhere'"),
        (["check", "--doses", ","], "--doses names no dose"),
        (["check", "--conversations", "1"], "conversations is 1"),
    ],
)
def test_a_users_mistake_is_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["organism", *arguments])
    assert isinstance(result.exception, NlaEvalError)
    assert said in str(result.exception)
