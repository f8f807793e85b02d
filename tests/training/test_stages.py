"""A run goes through its stages, resumes after an interruption, and reruns what a changed setting makes stale."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import nla_eval.training.data.corpus as corpus_module
from nla_eval.errors import InputError, NlaEvalError
from nla_eval.models.trained_on import HASHES, family_hash
from nla_eval.training.data.corpus import build_corpus
from nla_eval.training.run import Run
from nla_eval.training.stages import RECORD, STAGES, Ledger, State, run_stages
from tests.engines.tiny_pack import write_tiny_pack
from tests.tiny_target import write_tiny_target
from tests.training.tiny_run import BEFORE_PACK, settings, write_chats


def states(run: Run) -> dict[str, str]:
    return {s.stage.name: str(s.state) for s in Ledger(run).standings()}


def test_every_stage_leaves_its_file_and_is_done(trained: Path) -> None:
    run = Run(settings(trained), trained / "run")
    assert states(run) == {**dict.fromkeys(BEFORE_PACK, "done"), "text_only": "off", "joint": "off", "pack": "to do"}
    assert not list(run.folder.rglob("*.part"))


def test_explanations_belong_to_their_activations_and_name_the_target_s_next_token(trained: Path) -> None:
    run = Run(settings(trained), trained / "run")
    frame, captured = run.explanations(), run.captured()
    assert frame["row"].to_list() == captured["row"][frame["captured"].to_list()].tolist()
    assert frame["position"].to_list() == captured["position"][frame["captured"].to_list()].tolist()
    corpus = run.corpus()
    ids = corpus["token_ids"][frame["row"][7]].to_list()
    model = torch.nn.Module()
    from nla_eval.engines.loading import load_lm

    model = load_lm(run.target.path, torch.float32)
    at = frame["position"][7]
    with torch.no_grad():
        out = model(torch.tensor([ids[: at + 1]]), output_hidden_states=True)
    assert int(captured["next"][frame["captured"][7], 0]) == int(out.logits[0, -1].argmax())


def test_a_captured_continuation_is_what_greedy_generation_gives(trained: Path) -> None:
    from nla_eval.engines.loading import load_lm

    run = Run(settings(trained), trained / "run")
    captured, corpus = run.captured(), run.corpus()
    model = load_lm(run.target.path, torch.float32)
    for i in range(0, len(captured["row"]), 97):
        ids = corpus["token_ids"][int(captured["row"][i])].to_list()[: int(captured["position"][i]) + 1]
        with torch.no_grad():
            for token in captured["continuation"][i].tolist():
                if token < 0:
                    assert ids[-1] == run.target.tokenizer.eos_token_id
                    break
                chosen = model(torch.tensor([ids])).logits[0, -1]
                assert float(chosen.max() - chosen[token]) < 1e-4
                ids.append(token)


def test_a_changed_field_makes_its_stage_and_those_after_it_stale_and_names_it(trained: Path) -> None:
    run = Run(settings(trained, ar={"samples": 64, "batch": 16, "lora_rank": 2}), trained / "run")
    found = states(run)
    assert [name for name, state in found.items() if state == "changed"] == ["ar", "ar_on_samples"]
    why = {s.stage.name: s.why for s in Ledger(run).standings()}
    assert why["ar"] == "ar.samples was 48, is 64"
    assert why["ar_on_samples"] == "ar runs again"


def test_what_a_changed_setting_made_stale_is_moved_aside_and_made_again(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    run = Run(settings(trained, explanation={"lines": [["now"]]}), tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "suite_messages", frozenset)
        run_stages(run, ["activations", "explanations"])
    assert set(run.explanations()["text"].str.slice(0, 4)) == {"now:"}
    assert {p.name.rsplit("-", 1)[0] for p in (tmp_path / "run" / "superseded").iterdir()} == {
        "activations", "explanations"
    }  # fmt: skip


def test_a_stage_whose_input_is_stale_is_refused(trained: Path) -> None:
    run = Run(settings(trained, seed=5), trained / "run")
    with pytest.raises(InputError, match=r"stage av needs the output of stage explanations, which is .*; run stage ex"):
        run_stages(run, ["av"])


def test_files_of_an_unknown_configuration_are_not_used(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus.parquet").write_bytes((trained / "run" / "corpus.parquet").read_bytes())
    standing = Ledger(Run(settings(trained), tmp_path)).standings()[0]
    assert (standing.state, standing.why) == (State.CHANGED, "of an unknown configuration")


def test_a_record_from_before_a_field_existed_holds_where_the_field_is_at_its_default(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    del record["stages"]["ar"]["facts"]["ar"]["micro_batch"]
    del record["stages"]["corpus"]["facts"]["trust_remote_code"]
    (tmp_path / "run" / RECORD).write_text(json.dumps(record))
    done = {**dict.fromkeys(BEFORE_PACK, "done"), "text_only": "off", "joint": "off", "pack": "to do"}
    assert states(Run(settings(trained), tmp_path / "run")) == done
    given = {"samples": 48, "batch": 16, "lora_rank": 2, "micro_batch": 4}
    changed = Ledger(Run(settings(trained, ar=given), tmp_path / "run")).standings()
    assert {s.stage.name: s.why for s in changed}["ar"] == "ar.micro_batch was 8, is 4"
    assert [s.stage.name for s in changed if s.state is State.CHANGED] == ["ar", "ar_on_samples"]


def test_a_stage_behind_one_that_was_switched_off_is_stale(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    joint = {"steps": 1}
    ledger = Ledger(Run(settings(trained, joint=joint), tmp_path / "run"))
    stage = next(s.stage for s in ledger.standings() if s.stage.name == "joint")
    ledger.begin(stage)
    (tmp_path / "run" / "joint.jsonl").write_text("")
    off = settings(trained, joint=joint, ar_on_samples={"samples": 0})
    assert states(Run(off, tmp_path / "run"))["joint"] == "changed"


@pytest.mark.parametrize("text", ["{", '{"format": 0, "stages": {}}', "[]"])
def test_a_damaged_record_is_refused_in_one_line(trained: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match=r"stages\.json .*damaged or of another version"):
        Ledger(Run(settings(trained), tmp_path))


def test_a_joint_stage_asked_for_more_steps_goes_on_and_the_pack_is_made_again(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")

    def ledger(**joint: Any) -> Ledger:
        return Ledger(Run(settings(trained, joint=joint), tmp_path / "run"))

    done = ledger(steps=4)
    for name, stage in ((stage.name, stage) for stage in STAGES if stage.name in ("joint", "pack")):
        done.finish(stage, 1.0)
        (tmp_path / "run" / stage.outputs[0]).write_text(name)

    def found(**joint: Any) -> list[State]:
        return [standing.state for standing in ledger(**joint).standings()[-2:]]

    assert found(steps=4) == [State.DONE, State.DONE]
    assert found(steps=6) == [State.BEGUN, State.CHANGED]
    assert found(steps=6, schedule="cosine") == [State.CHANGED, State.CHANGED]


def test_an_unknown_stage_is_refused_with_the_list(trained: Path) -> None:
    with pytest.raises(InputError, match="no stage 'rl'; give one of corpus, "):
        run_stages(Run(settings(trained), trained / "run"), ["rl"])


def test_a_corpus_of_fifty_lines_is_refused_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "suite_messages", frozenset)
    write_tiny_target(tmp_path / "target")
    write_chats(tmp_path / "chats.json", 12)
    with pytest.raises(InputError, match=r"the corpus gives \d+ training positions and \d held-out"):
        run_stages(Run(settings(tmp_path), tmp_path / "run"), ["corpus"])
    assert not (tmp_path / "run" / "corpus.parquet").exists()


def test_a_full_disk_leaves_no_half_written_file(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(corpus_module, "suite_messages", frozenset)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(NlaEvalError, match=r"no space left for corpus\.parquet"):
        Run(settings(trained), tmp_path / "run").corpus()
    assert not list((tmp_path / "run").glob("corpus*"))


def test_a_checkpoint_of_zero_samples_is_the_start_itself(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    run = Run(settings(trained, av={"samples": 0, "lora_rank": 2}), tmp_path / "run")
    run_stages(run, ["av"])
    saved = load_file(tmp_path / "run" / "av.safetensors")
    assert int(saved["seen"]) == 0
    assert all(np.all(saved[k].numpy() == 0) for k in saved if "lora_B" in k)


def test_conversations_a_pack_knows_come_after_those_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "suite_messages", frozenset)
    _, pack = write_tiny_pack(tmp_path)
    run = Run(settings(tmp_path), tmp_path / "run")
    write_chats(tmp_path / "chats.json")
    corpus = run.config.corpus.model_copy(update={"new_to": str(pack.path)})
    known = {f"chat{i}" for i in range(40)}
    hashes = pack.path / HASHES
    hashes.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"corpus\.new_to: pack '.*' does not say what it was trained on"):
        next(build_corpus(corpus, run.target, 0))
    hashes.write_text("\n".join(family_hash(name) for name in known))
    found = [c for c in build_corpus(corpus, run.target, 0) if c.split == "train"]
    are_known = [c.family in known for c in found]
    assert are_known == sorted(are_known), "new ones first"
    assert 0 < sum(are_known) < len(found)
    few = corpus.model_copy(update={"token_budget": len(found[0].replay) * 3})
    assert not any(c.family in known for c in build_corpus(few, run.target, 0) if c.split == "train")


def test_a_share_of_the_samples_is_drawn_greedily(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("samples*"))
    drawn = {}
    for share in (0.0, 0.25, 1.0):
        shutil.rmtree(tmp_path / "run" / "samples", ignore_errors=True)
        (tmp_path / "run" / "samples.parquet").unlink(missing_ok=True)
        drawn[share] = Run(settings(trained, greedy_share=share), tmp_path / "run").samples()["text"].to_list()
    assert len({tuple(texts) for texts in drawn.values()}) == 3
    for number, text in enumerate(drawn[0.25]):
        assert text == drawn[1.0 if number % 4 == 3 else 0.0][number]
