"""`nla-eval setting train`, `check` and `add`: make a pack's setting adapter, measure it, and put it into the pack."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_ai.model import ChatMessageAssistant

from ..cards.yaml_file import YAMLError, read_yaml
from ..errors import InputError
from ..files import write_text
from ..models.pack import load_pack
from ..models.pack_meta import SIDECAR, read_meta
from ..models.setting import FACTS, SETTING, Setting, checked_setting
from ..pipeline.options import checked, whole_number
from ..printable import first_fault
from ..suite import get_suite
from ..transcript import Transcript
from .pack_cards import card_of, keep_card

if TYPE_CHECKING:
    from ..models.target import Target
    from ..training.setting.config import SettingConfig
    from ..training.setting.train import SettingRun

_FILES = ("adapter_config.json", "adapter_model.safetensors", "nla_adapter.json", FACTS)
_CARD = "setting.json"
_FIXED = "Of course. Here is what I can say about that."
_NEGATIVES, _CONTROL = "hard_negatives", "positive_control"


def plan_train(config: Path | None, run_folder: Path) -> None:
    """Print what training would compute, and what of it is done. Raises InputError as `train` does."""
    settings = _settings(config)
    parts = ", ".join(f"{count} to {part}" for part, count in settings.conversations.items())
    optim = settings.optim
    print(
        f"conversations: {parts}; {optim.samples} samples in {-(-optim.samples // optim.batch)} steps; LoRA of rank "
        f"{optim.lora_rank} for pack {settings.pack}"
    )
    kept = len(list((run_folder / "rows").glob("*-*.parquet")))
    print(f"files of captured rows that are there: {kept}, in {run_folder}")


def plan_check(config: Path | None, run_folder: Path, organisms: str) -> None:
    """Print what a check would read. Raises InputError as `check` does."""
    from ..training.setting.config import Part

    settings = _settings(config)
    _trained(run_folder, settings.pack)
    suites = [_NEGATIVES, *([_CONTROL] if organisms else [])]
    print(f"{settings.conversations[Part.HELD_OUT]} held-out conversations, and suites {', '.join(suites)}")
    if organisms:
        print(f"read from: {settings.target or 'the target of the pack'}, {', '.join(_named(organisms))}")


def train(config: Path | None, run_folder: Path, threads: int) -> None:
    """Capture, train, calibrate and write the adapter into the run folder. A stopped run resumes.

    Raises:
        InputError: The configuration has an unknown or wrong field, or no conversation can be used.
        NlaEvalError: The loss is not finite.
    """
    run = _run(config, run_folder, threads)
    run.train()
    folder = run.export()
    print(f"setting adapter in {folder}; next: nla-eval setting check --run-folder {run_folder}")


def check(config: Path | None, run_folder: Path, threads: int, organisms: str) -> None:
    """Measure the adapter of a run folder on held-out wordings, frames and conversations, and print its card.

    Raises:
        InputError: The run folder has no adapter.
    """
    run = _run(config, run_folder, threads)
    from ..measure.setting_card import setting_text
    from ..training.setting.measure import SettingMeasure

    setting = _trained(run_folder, run.pack.name)
    reader, _ = run.reader(trained=True)
    reader.facts = setting.facts
    named = _named(organisms)
    control = list(get_suite(_CONTROL).load()) if named else []
    measure = SettingMeasure(run, reader)
    card = measure.card(setting, {_NEGATIVES: answered(_NEGATIVES, run.target)}, named, control)
    write_text(card.model_dump_json(indent=1) + "\n", run_folder / _CARD)
    print("\n".join(setting_text(card)).strip())


def _trained(run_folder: Path, pack: str) -> Setting:
    """The adapter of a run folder."""
    setting = Setting(pack, run_folder / "adapter")
    if not setting.path.is_dir():
        raise InputError(f"{run_folder} has no adapter; make one with: nla-eval setting train")
    return setting


def _named(organisms: str) -> list[str]:
    return [part.strip() for part in organisms.split(",") if part.strip()]


def answered(name: str, target: Target) -> list[Transcript]:
    """A suite's prompts with the answers that the target has written to them; a prompt without one gets a fixed answer,
    so that the boundary before it can be read."""
    from ..inspect_ext.on_policy import AnswerSettings, answer_key, book_for, with_answer

    suite = get_suite(name)
    book, found = book_for(suite), []
    for prompt in suite.load():
        answer = book.get(answer_key(prompt.digest, target.hash, AnswerSettings()))
        said = [*prompt.messages, ChatMessageAssistant(content=_FIXED)]
        found.append(with_answer(prompt, answer) if answer else prompt.model_copy(update={"messages": said}))
    return found


def add(run_folder: Path, name: str) -> None:
    """Put the adapter of a run folder and its card into a pack. Its other adapters stay as they are; the pack's id
    changes, and its card takes the new one.

    Raises:
        InputError: The run folder has no adapter or no card.
        PackError: The adapter reads another target or block than the pack.
    """
    pack = load_pack(name)
    own, card = Setting(pack.name, run_folder / "adapter"), run_folder / _CARD
    if not own.path.is_dir() or not card.is_file():
        raise InputError(f"{run_folder} lacks an adapter or its card; run nla-eval setting train, then check")
    from ..measure.setting_card import SettingCard

    said = SettingCard.model_validate_json(card.read_text(encoding="utf-8"))
    if said.reader != own.id:
        raise InputError(f"{card} is of {said.reader}, the adapter is {own.id}; run nla-eval setting check again")
    if pack.av.target_hash is not None:
        own.check(pack.av.target_hash, pack.layer)
    checked_setting(own)
    place = pack.av_path / SETTING
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for file in _FILES:
        shutil.copyfile(own.path / file, place / file)
    meta = replace(read_meta(pack.av_path, "av"), setting=SETTING)
    write_text(meta.to_yaml(), pack.av_path / SIDECAR)
    changed = load_pack(name)
    keep_card(changed, {**(card_of(pack) or {}), "pack": changed.id, SETTING: said.model_dump(mode="json")})
    print(f"{changed.id} has the setting adapter {said.reader}")


def _run(config: Path | None, run_folder: Path, threads: int) -> SettingRun:
    checked("threads", threads, whole_number(1))
    settings = _settings(config)
    import torch

    from ..training.setting.train import SettingRun

    torch.set_num_threads(threads)
    return SettingRun(settings, run_folder)


def _settings(config: Path | None) -> SettingConfig:
    from pydantic import ValidationError

    from ..training.setting.config import SettingConfig

    try:
        given = {} if config is None else read_yaml(config)
        return SettingConfig.model_validate(given)
    except (OSError, YAMLError) as err:
        raise InputError(f"configuration {config} cannot be read: {str(err).splitlines()[0]}; correct it") from err
    except ValidationError as err:
        raise InputError(f"configuration {config}: {first_fault(err)}; correct it") from err
