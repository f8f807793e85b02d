"""The text reader: trained on the AV's lessons from the text, written into the pack, and read back by the lane."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import log_softmax

from nla_eval.engines.base import Sampling
from nla_eval.engines.kinds import ENGINES, RuntimeSettings
from nla_eval.errors import InputError, PackError
from nla_eval.models.pack import load_pack
from nla_eval.models.pack_check import check_files
from nla_eval.models.pack_meta import TEXT_ONLY, read_meta
from nla_eval.models.prompts import AVPrompt, text_prompt
from nla_eval.models.target import load_target
from nla_eval.pipeline.plan import ReadingPlan
from nla_eval.pipeline.readers import readers_for
from nla_eval.pipeline.runtime import Runtime
from nla_eval.pipeline.text_readers import TextRequest
from nla_eval.readings import Lane
from nla_eval.training.config import OptimConfig
from nla_eval.training.models.av import IGNORE, answer_ids
from nla_eval.training.models.text_only import TextReader, Windows, held_out_loss, lessons, train_text_only
from nla_eval.training.pack.export import Weights, write_checkpoint
from nla_eval.training.run import Run
from nla_eval.training.stages import Ledger, run_stages
from tests.engines.tiny_pack import write_tiny_pack
from tests.training.tiny_run import settings

WINDOW = 40


def test_a_lesson_is_the_av_s_prompt_with_the_text_in_the_slot_and_the_explanation_as_label(trained: Path) -> None:
    run = Run(settings(trained, text_only={"samples": 1, "window": WINDOW, "lora_rank": 2}), trained / "run")
    train, held = run.windows()
    frame, ids = run.explanations(), run.corpus()["token_ids"].to_list()
    rows = frame.filter(frame["split"] == "train")
    assert train.texts == rows["text"].to_list()
    assert held.texts
    row, position = rows["row"][5], rows["position"][5]
    assert list(train.windows[5]) == ids[row][max(0, position + 1 - WINDOW) : position + 1]
    assert max(map(len, train.windows)) == WINDOW
    prompt, tokenizer = AVPrompt((1, 2), (9, 3)), run.target.tokenizer
    given, labels = lessons(train, [5], prompt, tokenizer)
    answer = answer_ids(train.texts[5], tokenizer)
    assert given[0].tolist() == [1, 2, *train.windows[5], 3, *answer[:-1]]
    assert labels[0][labels[0] != IGNORE].tolist() == answer


def test_it_learns_what_only_the_text_says(tmp_path: Path) -> None:
    target = load_target(str(write_tiny_pack(tmp_path)[0].path))
    words = ["tea", "ice", "sun", "fog"]
    windows = [target.tokenizer(w * 4, add_special_tokens=False)["input_ids"] for w in words]
    rows = Windows(words, windows)
    torch.manual_seed(0)
    model = TextReader(target.path, AVPrompt((5,), (6, 7)), rank=8)
    before = held_out_loss(model, rows, target.tokenizer)
    config = OptimConfig(samples=200, batch=4, lr=2e-2, lora_rank=8)
    train_text_only(model, rows, rows, tokenizer=target.tokenizer, config=config, folder=tmp_path / "run")
    own, other = (held_out_loss(model, rows, target.tokenizer, shift) for shift in (0, 2))
    assert own < before
    assert own < other


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run with a text reader, and its pack."""
    folder = tmp_path_factory.mktemp("text_only")
    shutil.copytree(trained / "run", folder / "run")
    config = settings(trained, text_only={"samples": 16, "batch": 8, "lora_rank": 2, "window": WINDOW})
    run = Run(config, folder / "run")
    run_stages(run, ["text_only"])
    write_checkpoint(run, Weights.final(run), folder / "pack")
    return run, folder / "pack"


def test_the_stage_leaves_the_others_as_they_are(trained: Path, packed: tuple[Run, Path]) -> None:
    run, _ = packed
    states = {s.stage.name: str(s.state) for s in Ledger(run).standings()}
    assert (states["av"], states["ar"], states["text_only"], states["pack"]) == ("done", "done", "done", "to do")
    pack = next(s.stage for s in Ledger(run).standings() if s.stage.name == "pack")
    assert "stage text_only" in Ledger(run).facts(pack)
    without = Ledger(Run(settings(trained), run.folder)).facts(pack)
    assert set(without) == {"name", "stage av", "stage ar", "stage ar_on_samples"}


def test_the_pack_holds_both_adapters_of_one_rank_and_passes_its_check(packed: tuple[Run, Path]) -> None:
    run, folder = packed
    pack = load_pack(str(folder))
    assert pack.text_only == folder / "av" / TEXT_ONLY
    assert (pack.text_window, read_meta(folder / "av", "av").text_only) == (WINDOW, TEXT_ONLY)
    shapes = [
        {name: tuple(t.shape) for name, t in load_file(folder / "av" / file).items()}
        for file in (TEXT_ONLY, "adapter_model.safetensors")
    ]
    assert shapes[0] == shapes[1]
    checked = list(check_files(pack, run.target))
    assert any(line.startswith(f"av/{TEXT_ONLY}: ") for line in checked)
    (folder / "av" / TEXT_ONLY).rename(folder / "av" / "gone")
    with pytest.raises(PackError, match=f"names the adapter {TEXT_ONLY}"):
        _ = pack.text_only
    (folder / "av" / "gone").rename(folder / "av" / TEXT_ONLY)


def test_the_lane_s_reader_writes_what_the_trained_model_would(packed: tuple[Run, Path], tmp_path: Path) -> None:
    run, folder = packed
    runtime = Runtime(RuntimeSettings(str(run.target.path), pack=str(folder), dtype="float32", threads=1))
    readers = readers_for(runtime, ReadingPlan(lanes=(Lane.MEASURED, Lane.TEXT_ONLY)))
    reader = readers.texts[Lane.TEXT_ONLY]
    assert reader.name.startswith("pack@")
    assert reader.name.endswith("/text_only")
    train, _ = run.windows()
    requests = [TextRequest(str(i), np.array(train.windows[i], np.int32)) for i in range(3)]
    draws = anyio.run(reader.write, requests, Sampling(0.0, 6))
    assert [d.key for d in draws] == ["0", "1", "2"]
    model = ENGINES.get("transformers").text_reader(runtime.settings, runtime.target, runtime.pack).model  # type: ignore[attr-defined]
    ids = text_prompt(runtime.pack.check_target(runtime.target), train.windows[0])
    with torch.no_grad():
        first = int(log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), -1).argmax())
    written = runtime.target.tokenizer.decode([first], skip_special_tokens=True)
    assert draws[0].text.startswith(written.strip()) or not written.strip()
    again = anyio.run(reader.write, requests[::-1], Sampling(0.9, 6))[::-1]
    assert again == anyio.run(reader.write, requests, Sampling(0.9, 6))


def test_a_pack_without_the_adapter_says_so_with_the_mend(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path, adapter=True)
    with pytest.raises(PackError, match="no text_only adapter; name a chat model with --text-reader"):
        ENGINES.get("transformers").text_reader(RuntimeSettings(str(target.path)), target, pack)
    named = replace(pack, av=replace(pack.av, text_only=TEXT_ONLY))
    with pytest.raises(PackError, match="restore the pack"):
        _ = named.text_only


@pytest.mark.parametrize("rank", [0, 4])
def test_a_text_reader_of_another_rank_than_the_av_is_refused(trained: Path, rank: int) -> None:
    with pytest.raises((InputError, ValueError), match="the AV's own rank"):
        settings(trained, text_only={"samples": 16, "lora_rank": rank})
