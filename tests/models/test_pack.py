"""Sidecars of every spelling are read; a mismatch refuses to load and says how to fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerBase

from nla_eval.errors import PackError
from nla_eval.models.pack import load_pack
from nla_eval.models.pack_meta import read_meta
from nla_eval.models.prompts import av_prompt, check_ar_prompt, parse_explanation

SIDECARS = Path(__file__).resolve().parents[1] / "data" / "sidecars"


def rewritten(tmp_path: Path, role: str, change: dict[str, Any]) -> Path:
    """A copy of the tiny sidecar with dotted keys changed; None removes one."""
    folder = tmp_path / f"changed-{role}"
    folder.mkdir(exist_ok=True)
    data = yaml.safe_load((SIDECARS / f"{role}.yaml").read_text())
    for dotted, value in change.items():
        node = data
        *path, last = dotted.split(".")
        for part in path:
            node = node.setdefault(part, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    (folder / "nla_meta.yaml").write_text(yaml.safe_dump(data))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"prompt_templates": {"actor": "x {injection_char} y", "critic": "a {explanation} b c d"}},
        {"extraction.layer_index": None, "critic.extraction_layer_index": 3},
        {"extraction.layer_index": None, "ar.num_hidden_layers": 3},
        {"extraction.layer_index": None, "extraction_layer_index": 3},
        {"extraction.mse_scale": "sqrt_d_model"},
        {"extraction.mse_scale": None},
    ],
)
def test_every_spelling_in_circulation_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    meta = read_meta(rewritten(tmp_path, "av", change), "av")
    assert meta.layer == 3
    assert meta.mse_scale == pytest.approx(32**0.5)
    assert "{injection_char}" in meta.av_template


def test_what_is_written_is_read_back_and_holds_every_spelling(tmp_path: Path) -> None:
    meta = read_meta(rewritten(tmp_path, "av", {}), "av")
    (tmp_path / "nla_meta.yaml").write_text(meta.to_yaml())
    assert read_meta(tmp_path, "av") == meta
    data = yaml.safe_load(meta.to_yaml())
    assert data["prompt_templates"]["actor"] == data["prompt_templates"]["av"]
    assert data["ar"]["num_hidden_layers"] == data["critic"]["extraction_layer_index"] == 3
    assert data["extraction_layer_index"] == data["extraction"]["layer_index"] == 3


def test_the_first_position_is_the_packs_own_even_where_it_is_the_first_token(tmp_path: Path) -> None:
    assert read_meta(rewritten(tmp_path, "av", {}), "av").min_position == 50
    assert read_meta(rewritten(tmp_path, "av", {"nla_eval": {"min_position": 0}}), "av").min_position == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "nla_dataset"}, "kind"),
        ({"role": "ar"}, "swap the two folders"),
        ({"extraction.injection_scale": None}, "injection_scale"),
        ({"extraction.injection_scale": "large"}, "expected a number, null or"),
        ({"tokens.injection_char": None}, "tokens.injection_char"),
        ({"prompt_templates": {}}, "prompt_templates.av"),
    ],
)
def test_a_sidecar_that_lacks_something_is_refused_by_name(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(PackError, match=says):
        read_meta(rewritten(tmp_path, "av", change), "av")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens.injection_token_id": 7}, "tokenizer drift"),
        ({"tokens.injection_left_neighbor_id": 7}, "neighbours"),
        ({"tokens.injection_char": "two tokens", "tokens.injection_token_id": 7}, "tokenizer drift"),
        ({"prompt_templates.av": "no slot here"}, "0 times"),
        ({"prompt_templates.av": "<a>{injection_char}</a> <b>{injection_char}</b>"}, "times"),
    ],
)
def test_a_slot_that_drifted_is_refused(
    tmp_path: Path, target_tokenizer: PreTrainedTokenizerBase, change: dict[str, Any], says: str
) -> None:
    meta = read_meta(rewritten(tmp_path, "av", change), "av")
    with pytest.raises(PackError, match=says):
        av_prompt(meta, target_tokenizer)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("Summary: {explanation}", "right after"),
        ("Summary: {explanation}\n", "right after"),
        ("Summary: {explanation}>", "fixed tokens"),
        ("Summary of a text", "exactly once"),
    ],
)
def test_an_ar_that_reads_right_after_a_quoted_tail_is_refused(
    tmp_path: Path, target_tokenizer: PreTrainedTokenizerBase, template: str, says: str
) -> None:
    changed = rewritten(tmp_path, "ar", {"prompt_templates.ar": template, "tokens.critic_suffix_ids": None})
    with pytest.raises(PackError, match=says):
        check_ar_prompt(read_meta(changed, "ar"), target_tokenizer)


def test_an_av_and_an_ar_of_different_layers_are_not_a_pair(tmp_path: Path) -> None:
    av = rewritten(tmp_path, "av", {})
    other = rewritten(tmp_path, "ar", {"extraction.layer_index": 2, "critic.extraction_layer_index": 2})
    with pytest.raises(PackError, match="not a pair"):
        load_pack(f"{av},{other}")


def test_an_unknown_pack_lists_what_exists() -> None:
    with pytest.raises(PackError, match=r"qwen2\.5-7b-l20"):
        load_pack("no-such-pack")


@pytest.mark.parametrize(
    ("written", "text", "closed"),
    [
        ("<explanation>\nabout cats\n</explanation>", "about cats", True),
        ("<explanation>about cats", "about cats", False),
        ("about cats</explanation> and more", "about cats", True),
        ("", "", False),
    ],
)
def test_an_unclosed_explanation_is_told_from_a_closed_one(written: str, text: str, closed: bool) -> None:
    assert parse_explanation(written) == (text, closed)


def test_released_pairs_denominators_are_known_by_width_and_layer(tmp_path: Path) -> None:
    assert read_meta(rewritten(tmp_path, "av", {}), "av").baseline_variance is None
    qwen = {"d_model": 3584, "extraction.layer_index": 20}
    assert read_meta(rewritten(tmp_path, "av", qwen), "av").baseline_variance == 0.7335
