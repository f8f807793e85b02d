"""Training configurations: the committed ones load, and a wrong key or value is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import nla_eval.training.config as config_module
from nla_eval.commands.train import TrainRequest, configured
from nla_eval.errors import InputError
from nla_eval.training.config import formats, load_config

FOLDER = Path(config_module.__file__).parent
COMMITTED = sorted(path for path in FOLDER.glob("*-l*.yaml"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_every_committed_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.explanation.lines == tuple(map(tuple, formats()[str(config.explanation.format)]))
    assert sum(share for _, share in config.corpus.length_mix) == pytest.approx(1.0)


def test_there_is_one_for_a_cpu_one_for_a_gpu_and_one_sharded() -> None:
    hardware = {load_config(path).hardware for path in COMMITTED}
    assert {(h.device, h.sharding) for h in hardware} == {("cpu", "none"), ("cuda", "none"), ("cuda", "fsdp")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lawyer: 3", "lawyer"),
        ("layer: many", "layer"),
        ("a: [", "training config"),
        ("ar: {samples: -1}", "ar.samples"),
        ("explanation: nice", "unknown format 'nice'; known: ahead, balanced"),
        ("explanation: {lines: [[mood]]}", "unknown part of an explanation 'mood'; known: continuation"),
        ("explanation: {lines: [[themes]]}", "part 'themes' needs a size"),
        ("hardware: {device: tpu}", "hardware.device"),
        ("corpus: {source: sharegpt}", "corpus.source"),
        ("explanation: {format: present, masked_share: 2}", "explanation.masked_share"),
    ],
)
def test_a_wrong_configuration_is_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as found:
        load_config(path)
    assert says in str(found.value)


@pytest.mark.parametrize(
    ("given", "writer"),
    [
        ("openai/gpt-5-mini", {"name": "inspect_model", "model": "openai/gpt-5-mini"}),
        ("said.parquet", {"name": "file", "path": "said.parquet"}),
        ("self_supervised", {"name": "self_supervised"}),
    ],
)
def test_the_command_line_can_name_another_writer(given: str, writer: dict[str, str]) -> None:
    path = COMMITTED[-1]
    made = configured(load_config(path), TrainRequest(path, writer=given)).writer.model_dump()
    assert writer.items() <= made.items()


def test_a_writer_that_is_nothing_is_refused() -> None:
    path = COMMITTED[-1]
    with pytest.raises(InputError, match="unknown writer 'bard'; expected a model"):
        configured(load_config(path), TrainRequest(path, writer="bard"))


def test_starting_from_a_pack_takes_its_adapters_as_they_are() -> None:
    path = COMMITTED[-1]
    made = configured(load_config(path), TrainRequest(path, from_pack="mine"))
    assert (made.start_from, made.ar.samples, made.av.samples, made.ar_on_samples.samples) == ("mine", 0, 0, 0)
    assert made.ar.lora_rank == load_config(path).ar.lora_rank
