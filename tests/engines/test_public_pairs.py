"""A pair in the released format of each family does what the format says, by folder and by public name, checked against
a forward in plain tensor operations. The weights are random; the released ones were not at hand."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from nla_eval.engines.base import CaptureRequest, Sampling, VerbalizeRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.loading import load_lm
from nla_eval.engines.side_by_side import Split
from nla_eval.engines.vllm.prompt import PromptEmbeddings
from nla_eval.errors import PackError
from nla_eval.models.pack import PUBLIC_PAIRS, Pack, load_pack
from nla_eval.models.pack_meta import read_meta
from nla_eval.models.prompts import ar_ids
from nla_eval.models.target import load_target
from nla_eval.pipeline.plan import Instrument, ReadingPlan, prepare
from nla_eval.training.pack.public_format import export
from nla_eval.transcript import Arm, Provenance, Transcript
from tests.engines.plain_forward import embedded, logits, states
from tests.engines.public_pairs import FAMILIES, WIDTH, Written, released_sidecar, write_public_pair

NEAR_TIE = 1e-3
GREEDY = Sampling(temperature=0.0, max_new_tokens=10)
TEXTS = ["A walk by the sea.", "", "user turn 1; next: the\nafter: go to\nabout: trips"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    made: dict[str, Written] = {}

    def of(family: str) -> Written:
        if family not in made:
            made[family] = write_public_pair(tmp_path_factory.mktemp(family), FAMILIES[family])
        return made[family]

    return of


@pytest.fixture(params=sorted(FAMILIES))
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Written]) -> Written:
    return pairs(request.param)


def engine_of(pair: Written, **config: Any) -> TransformersEngine:
    return TransformersEngine(pair.target, load_pack(pair.pack), EngineConfig(split=Split(), **config))


def vectors(count: int) -> np.ndarray:
    """Of very different norms: injection has to bring them all to one."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((count, WIDTH)) * 10.0 ** np.arange(count)[:, None]).astype(np.float32)


def plant_hub(monkeypatch: pytest.MonkeyPatch, folder: Path, pair: Written) -> None:
    """A hub that has this pair alone, and gives the files that are asked for."""
    public = PUBLIC_PAIRS[pair.family.pair]
    there = {public.av: pair.av, public.ar: pair.ar}

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        place = folder / name.replace("/", "--")
        place.mkdir()
        for file in there[name].iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, place / file.name)
        return str(place)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)


def test_a_pair_loaded_by_its_public_name_is_the_pair_in_its_folders(
    pair: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_hub(monkeypatch, tmp_path, pair)
    named, local = load_pack(pair.family.pair), load_pack(pair.pack)
    assert named.name == pair.family.pair
    assert (named.layer, named.d_model, named.min_position) == (pair.family.layer, WIDTH, 50)
    assert named.av.injection_scale == pair.family.scale
    assert named.av.target == PUBLIC_PAIRS[pair.family.pair].target
    assert replace(named.av, target=None) == local.av
    assert named.ar == local.ar
    assert named.check_target(pair.target) == local.check_target(pair.target)
    ours, theirs = (TransformersEngine(pair.target, pack).reconstruct(TEXTS) for pack in (named, local))
    np.testing.assert_array_equal(ours, theirs)


def test_the_slot_holds_the_vector_at_its_scale_and_every_other_row_is_the_familys_embedding(pair: Written) -> None:
    decoder = engine_of(pair).decoder
    looked_up = embedded(pair.family.config, pair.weights["av"], list(decoder.prompt.ids))
    for vector in vectors(3):
        rows = decoder.embeddings([VerbalizeRequest("r", vector)])[0]
        torch.testing.assert_close(rows[0], torch.from_numpy(vector / np.linalg.norm(vector)) * pair.family.scale)
        assert float(rows[0].norm()) == pytest.approx(pair.family.scale, rel=1e-5)
        torch.testing.assert_close(rows[1:], looked_up[len(decoder.prompt.prefix) + 1 :])
    silent = decoder.embeddings([VerbalizeRequest("silent", None)])[0]
    torch.testing.assert_close(silent, looked_up[len(decoder.prompt.prefix) :])


def test_a_servers_prompt_holds_the_same_embeddings(pair: Written) -> None:
    engine = engine_of(pair)
    table = PromptEmbeddings(pair.target, engine.pack, engine.prompt, torch.float32)
    (rows,) = table.rows([VerbalizeRequest("r", vectors(1)[0])])
    torch.testing.assert_close(rows, injected(pair, engine, vectors(1)[0]))


def injected(pair: Written, engine: TransformersEngine, vector: np.ndarray | None) -> torch.Tensor:
    """(T, d) the whole prompt by the reference."""
    rows = embedded(pair.family.config, pair.weights["av"], list(engine.prompt.ids))
    if vector is not None:
        rows[len(engine.prompt.prefix)] = torch.from_numpy(vector / np.linalg.norm(vector)) * pair.family.scale
    return rows


def asked_of(count: int) -> list[VerbalizeRequest]:
    """Draws of `count` vectors, and one without."""
    return [VerbalizeRequest(str(i), v) for i, v in enumerate([*vectors(count), None])]


def test_what_follows_the_prompt_is_as_likely_as_the_reference_finds_and_depends_on_the_vector(pair: Written) -> None:
    engine, asked = engine_of(pair), asked_of(3)
    _, found = engine.decoder.begin(asked)
    expected = [
        logits(pair.family.config, pair.weights["av"], injected(pair, engine, request.activation)) for request in asked
    ]
    rounding = float((found - torch.stack(expected)).abs().max())
    assert rounding < NEAR_TIE
    assert all(float((one - found[-1]).abs().max()) > 20 * rounding for one in found[:-1])


def test_every_word_of_a_greedy_explanation_is_the_one_the_reference_finds_likeliest(pair: Written) -> None:
    engine, asked = engine_of(pair), asked_of(3)
    config, weights = pair.family.config, pair.weights["av"]
    drawn = {d.key: d.ids for d in engine.verbalize(asked, GREEDY)}
    for request in asked:
        rows = injected(pair, engine, request.activation)
        for word in drawn[request.key]:
            found = logits(config, weights, rows)
            assert float(found.max() - found[word]) < NEAR_TIE * float(found.std()), request.key
            rows = torch.cat([rows, embedded(config, weights, [word])])


@pytest.mark.parametrize("chunk", [8192, 32], ids=["whole", "in chunks"])
def test_an_activation_is_the_output_of_block_k_of_the_language_model(pair: Written, chunk: int) -> None:
    engine = engine_of(pair, chunk_tokens=chunk)
    config, weights = pair.family.config, pair.weights["target"]
    rng = np.random.default_rng(1)
    asked = [
        CaptureRequest(str(n), rng.integers(5, 200, n).astype(np.int32), np.array([0, n // 2, n - 1])) for n in (90, 60)
    ]
    for found in engine.capture(asked):
        request = next(r for r in asked if r.key == found.key)
        hidden = states(config, weights, embedded(config, weights, request.token_ids.tolist()), pair.family.layer + 1)
        expected = hidden[pair.family.layer + 1][torch.from_numpy(request.positions)]
        torch.testing.assert_close(torch.from_numpy(found.activations), expected, rtol=1e-4, atol=1e-4)
        before = hidden[pair.family.layer][torch.from_numpy(request.positions)]
        assert not torch.allclose(before, expected, rtol=1e-2), "one block earlier is another vector"


def test_of_a_multimodal_checkpoint_the_whole_model_has_the_same_hidden_states(
    pairs: Callable[[str], Written],
) -> None:
    pair = pairs("gemma3")
    ids = np.arange(5, 85, dtype=np.int32)
    (found,) = engine_of(pair).capture([CaptureRequest("r", ids, np.arange(len(ids)))])
    whole = AutoModelForImageTextToText.from_pretrained(pair.target.path, dtype=torch.float32).eval()
    with torch.inference_mode():
        hidden = whole(input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True).hidden_states
    expected = hidden[pair.family.layer + 1][0]
    torch.testing.assert_close(torch.from_numpy(found.activations), expected, rtol=1e-4, atol=1e-4)
    words = load_lm(pair.target.path, torch.float32)
    assert not any("vision" in name for name, _ in words.named_parameters())


def test_a_reconstruction_is_the_head_on_block_k_at_the_last_token(pair: Written) -> None:
    engine = engine_of(pair)
    config, weights = pair.family.config, pair.weights["ar"]
    for text, ours in zip(TEXTS, engine.reconstruct(TEXTS), strict=True):
        ids = ar_ids(engine.pack.ar, pair.target.tokenizer, text)
        last = states(config, weights, embedded(config, weights, ids), pair.family.layer + 1)[-1][-1]
        torch.testing.assert_close(torch.from_numpy(ours), pair.head @ last, rtol=1e-4, atol=1e-4)


def test_bos_stands_once_at_the_front_of_both_prompts_where_the_family_has_one(pair: Written) -> None:
    tokenizer, pack = pair.target.tokenizer, load_pack(pair.pack)
    prompts = [list(pack.check_target(pair.target).ids), *(ar_ids(pack.ar, tokenizer, text) for text in TEXTS)]
    bos = tokenizer.bos_token_id
    assert (bos is None) == pair.family.name.startswith("qwen2")
    for ids in prompts:
        starts = [i for i, token in enumerate(ids) if token == bos]
        assert starts == ([] if bos is None else [0])


@pytest.mark.parametrize(
    ("name", "d_model", "layer", "scale", "variance"),
    [
        ("qwen2.5-7b-l20", 3584, 20, 150.0, 0.7335),
        ("gemma3-12b-l32", 3840, 32, 80000.0, 0.0302),
        ("gemma3-27b-l41", 5376, 41, 60000.0, 0.0579),
        ("llama3.3-70b-l53", 8192, 53, 30.0, 0.9169),
    ],
)
def test_a_released_sidecar_gives_scale_denominator_and_first_position(
    name: str, d_model: int, layer: int, scale: float, variance: float, pairs: Callable[[str], Written], tmp_path: Path
) -> None:
    family = next(f for f in FAMILIES.values() if f.pair == name)
    for role in ("av", "ar"):
        said = yaml.safe_load(released_sidecar(replace(family, layer=layer, scale=scale), role, pairs(family.name).av))
        said |= {"d_model": d_model, "extraction": said["extraction"] | {"mse_scale": d_model**0.5}}
        (tmp_path / role).mkdir()
        (tmp_path / role / "nla_meta.yaml").write_text(yaml.safe_dump(said))
    av, ar = read_meta(tmp_path / "av", "av"), read_meta(tmp_path / "ar", "ar")
    assert (av.d_model, av.layer, av.injection_scale, ar.injection_scale) == (d_model, layer, scale, None)
    assert av.mse_scale == ar.mse_scale == pytest.approx(math.sqrt(d_model))
    assert (av.min_position, ar.min_position) == (50, 50)
    assert load_pack(f"{tmp_path / 'av'},{tmp_path / 'ar'}").baselines.variance == variance


def test_no_lane_reads_before_the_first_position_of_the_pair(pair: Written) -> None:
    pack, everything = load_pack(pair.pack), ReadingPlan(positions="stratified(1000)")
    prepared = prepare(CHAT, Instrument(pair.target, pack), everything)
    assert prepared.error is None
    assert min(site.position for site in prepared.sites) >= pack.min_position == 50
    assert len(prepared.sites) > 100
    later = replace(pack, av=replace(pack.av, min_position=len(prepared.token_ids) + 50))
    none = prepare(CHAT, Instrument(pair.target, later), everything)
    assert none.sites == ()
    assert f"at or after token {later.min_position}" in str(none.error)


CHAT = Transcript(
    id="t", suite="s", arm=Arm.DEPLOYMENT, family="f", provenance=Provenance(source="written for the test"),
    messages=[
        ChatMessageUser(content="When does it leave?"),
        ChatMessageAssistant(content="The train to the coast leaves at nine, and it is late again. " * 4),
    ],
)  # fmt: skip


def other_target(pair: Written, folder: Path, change: Callable[[Path], None]) -> Any:
    """The pair's target, changed."""
    shutil.copytree(pair.target.path, folder / "other")
    change(folder / "other")
    return load_target(str(folder / "other"))


def wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["hidden_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))


def shallower(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 2
    (folder / "config.json").write_text(json.dumps(config))


def without_bos(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def another_system_message(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("system<|end_header_id|>", "system<|end_header_id|>\\n\\nBe brief."))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (wider, "32-wide activations.*has 64; give --target meta-llama/Llama-3.3-70B-Instruct"),
        (shallower, "reads block 2.*only 2 blocks; give --target meta-llama/Llama-3.3-70B-Instruct"),
        (without_bos, r"AR prompt.*token 0.*give a target folder with the tokenizer files"),
        (another_system_message, "AV prompt.*give a target folder with the tokenizer files and chat template"),
    ],
)
def test_a_target_that_does_not_belong_is_refused_in_one_line_with_the_mend(
    change: Callable[[Path], None],
    says: str,
    pairs: Callable[[str], Written],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = pairs("llama3")
    plant_hub(monkeypatch, tmp_path, pair)
    with pytest.raises(PackError, match=says) as refused:
        load_pack(pair.family.pair).check_target(other_target(pair, tmp_path, change))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("role", ["target", "av", "ar"])
def test_a_checkpoint_that_lacks_weights_is_refused_not_filled_at_random(
    role: str, pairs: Callable[[str], Written], tmp_path: Path
) -> None:
    pair = pairs("gemma3")
    broken = tmp_path / role
    shutil.copytree(getattr(pair, role).path if role == "target" else getattr(pair, role), broken)
    for shard in broken.glob("model-*.safetensors"):
        kept = {name: t for name, t in load_file(shard).items() if "layers.3." not in name}
        save_file(kept, shard, metadata={"format": "pt"})
    parts = {"av": pair.av, "ar": pair.ar} | {role: broken}
    target = load_target(str(broken)) if role == "target" else pair.target
    engine = TransformersEngine(target, load_pack(f"{parts['av']},{parts['ar']}"))
    use: dict[str, Callable[[], Any]] = {
        "target": lambda: engine.trunk,
        "av": lambda: engine.decoder,
        "ar": lambda: engine.reconstruct(["x"]),
    }
    with pytest.raises(PackError, match=rf"checkpoint '{role}' lacks 13 tensors.*layers\.3\."):
        use[role]()


def test_a_nested_pair_exported_is_a_text_model_the_public_client_can_read(
    pairs: Callable[[str], Written], tmp_path: Path
) -> None:
    pair = pairs("gemma3-nested")
    pack = replace_baseline(load_pack(pair.pack))
    made = export(pack, pair.target, tmp_path / "public")
    for folder in (made.av_path, made.ar_path):
        names = {n for file in folder.glob("model*.safetensors") for n in load_file(file)}
        assert all(name.startswith(("model.layers.", "model.embed_tokens.", "model.norm.")) for name in names)
        assert json.loads((folder / "config.json").read_text())["model_type"] == "gemma3_text"
    first, second = (TransformersEngine(pair.target, one) for one in (pack, made))
    np.testing.assert_allclose(second.reconstruct(TEXTS), first.reconstruct(TEXTS), rtol=1e-5, atol=1e-5)
    ours, theirs = ({d.key: d.ids for d in engine.verbalize(asked_of(3), GREEDY)} for engine in (first, second))
    assert ours == theirs


def replace_baseline(pack: Pack) -> Pack:
    return replace(pack, ar=replace(pack.ar, baseline_variance=0.5))
