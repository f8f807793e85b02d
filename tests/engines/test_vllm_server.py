"""The client gives the same draws as the engine in this process, spreads rows over servers, and loses none when they
fail. Servers are planted on loopback and run the real tiny AV through transformers' own `generate`."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from nla_eval.engines.base import Draw, Sampling, VerbalizeRequest
from nla_eval.engines.config import EngineConfig
from nla_eval.engines.hf import TransformersEngine
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.engines.loading import load_av
from nla_eval.engines.vllm.checkpoints import av_checkpoint
from nla_eval.engines.vllm.dispatch import ServerError
from nla_eval.engines.vllm.server import ServerConfig, VllmServerEngine, server_config, server_engine
from nla_eval.errors import InputError, NlaEvalError, PackError
from nla_eval.models.pack import Pack, default_pack
from nla_eval.models.target import Target, load_target
from nla_eval.pipeline.runtime import Runtime
from nla_eval.readings import StopReason
from tests.engines.planted_server import PlantedServer, serving
from tests.engines.tiny_pack import write_tiny_pack

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed; see docs/vllm.md"
)
GREEDY = Sampling(temperature=0.0, max_new_tokens=16)
ROWS = 24


@pytest.fixture(scope="module", params=["checkpoint", "adapter"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    return write_tiny_pack(tmp_path_factory.mktemp(request.param), adapter=request.param == "adapter")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Pack]:
    return write_tiny_pack(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(tiny: tuple[Target, Pack]) -> Any:
    return load_av(tiny[0].path, tiny[1].av_path, torch.float32)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def start() -> Iterator[Callable[[PlantedServer], PlantedServer]]:
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(serving(server))


def requests(count: int = ROWS) -> list[VerbalizeRequest]:
    vectors = np.random.default_rng(3).standard_normal((count, 16)).astype(np.float32) * 40
    return [VerbalizeRequest("silent", None), *(VerbalizeRequest(f"row-{i}", v) for i, v in enumerate(vectors[1:]))]


def client(pair: tuple[Target, Pack], *servers: PlantedServer, **options: Any) -> VllmServerEngine:
    quick = {"backoff": 0.01, "retries": 4, "rows_per_request": 3, "concurrency": 2, "timeout": 20.0} | options
    config = ServerConfig(tuple(server.url for server in servers), **quick)
    return VllmServerEngine(*pair, config, EngineConfig(dtype=torch.float32))


def by_key(draws: list[Draw]) -> dict[str, Draw]:
    assert len({d.key for d in draws}) == len(draws), "a row was drawn twice"
    return {d.key: d for d in draws}


@pytest.fixture(scope="module")
def expected(tiny: tuple[Target, Pack]) -> dict[str, Draw]:
    """What the engine in this process draws."""
    return by_key(list(TransformersEngine(*tiny).verbalize(requests(), GREEDY)))


def drawn(engine: VllmServerEngine, sampling: Sampling = GREEDY) -> dict[str, Draw]:
    return by_key(list(engine.verbalize(requests(), sampling)))


def test_greedy_draws_in_fp32_equal_the_engine_in_process(pair: tuple[Target, Pack], start: Any) -> None:
    model = load_av(pair[0].path, pair[1].av_path, torch.float32)
    ours = by_key(list(TransformersEngine(*pair).verbalize(requests(), GREEDY)))
    assert len({d.text for d in ours.values()}) > ROWS // 2, "the AV has to say different things for this to mean much"
    assert drawn(client(pair, start(PlantedServer(model)))) == ours


def test_servers_share_the_rows(tiny: Any, model: Any, start: Any, expected: dict[str, Draw]) -> None:
    servers = [start(PlantedServer(model)) for _ in range(3)]
    assert drawn(client(tiny, *servers)) == expected
    assert sum(s.rows for s in servers) == ROWS
    assert all(s.rows for s in servers)


def test_sampled_draws_travel_alone_with_seeds_of_their_own(tiny: Any, model: Any, start: Any) -> None:
    server = start(PlantedServer(model))
    engine = client(tiny, server)
    twice = [VerbalizeRequest(r.key, r.activation, seed) for seed in (0, 1) for r in requests()[:5]]
    for seed in (0, 1, 0):
        list(engine.verbalize([r for r in twice if r.seed == seed], Sampling(1.0, 4)))
    seeds = [body["seed"] for body in server.bodies]
    assert all(len(body["prompt_embeds"]) == 1 for body in server.bodies)
    assert len(set(seeds[:10])) == 10
    assert set(seeds[10:]) == set(seeds[:5])


def test_a_greedy_row_is_drawn_greedily_beside_others(tiny: Any, model: Any, start: Any) -> None:
    server = start(PlantedServer(model))
    asked = [replace(request, greedy=place == 0) for place, request in enumerate(requests()[:3])]
    list(client(tiny, server).verbalize(asked, Sampling(0.7, 4)))
    assert sorted((body["temperature"], "seed" in body) for body in server.bodies) == [(0.0, False), *[(0.7, True)] * 2]


def test_a_request_leaves_no_sampling_setting_to_the_servers_defaults(tiny: Any, model: Any, start: Any) -> None:
    server = start(PlantedServer(model))
    list(client(tiny, server).verbalize(requests()[:2], Sampling(0.7, 4)))
    body = server.bodies[0]
    said = {name: body[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")}
    assert said == {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    assert (body["presence_penalty"], body["frequency_penalty"], body["max_tokens"]) == (0.0, 0.0, 4)


def test_a_draw_is_closed_only_by_its_tag(tiny: Any, start: Any) -> None:
    written = ["<explanation>a test</explanation>", "<explanation>cut off he", "ends early<|im_end|>"]
    ids = [tiny[0].tokenizer.encode(text, add_special_tokens=False) for text in written]
    engine = client(tiny, start(PlantedServer(script=list(ids))))
    found = by_key(list(engine.verbalize(requests(3), GREEDY)))
    assert [(d.text, d.stop, d.tokens) for d in (found["silent"], found["row-0"], found["row-1"])] == [
        ("a test", StopReason.CLOSED, len(ids[0])),
        ("cut off he", StopReason.TRUNCATED, len(ids[1])),
        ("ends early", StopReason.TRUNCATED, len(ids[2])),
    ]


def test_a_non_finite_activation_is_an_error_row_and_never_sent(tiny: Any, model: Any, start: Any) -> None:
    server = start(PlantedServer(model))
    bad = VerbalizeRequest("bad", np.full(16, np.inf, np.float32))
    found = by_key(list(client(tiny, server).verbalize([bad, *requests(2)], GREEDY)))
    assert found["bad"].stop is StopReason.ERROR
    assert "not finite" in str(found["bad"].error)
    assert server.rows == 2


PASSING: dict[str, Callable[[int, torch.Tensor], Any]] = {
    "answers 503 a few times": lambda number, _: 503 if number < 3 else None,
    "drops a connection": lambda number, _: "reset" if number == 2 else None,
    "fails inside once": lambda number, _: 500 if number == 1 else None,
    "is silent once": lambda number, _: "hang" if number == 1 else None,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_passing_fault_of_the_only_server_changes_nothing(
    fault: Any, tiny: Any, model: Any, start: Any, expected: dict[str, Draw]
) -> None:
    server = start(PlantedServer(model, fault))
    assert drawn(client(tiny, server, timeout=1.5)) == expected


@pytest.mark.parametrize("way", ["die", 503, "hang"])
def test_the_rows_of_a_server_that_fails_mid_run_go_to_the_other(
    way: Any, tiny: Any, model: Any, start: Any, expected: dict[str, Draw]
) -> None:
    failing = start(PlantedServer(model, lambda number, _: way if number >= 2 else None))
    steady = start(PlantedServer(model))
    assert drawn(client(tiny, failing, steady, timeout=1.5)) == expected
    assert failing.rows == 6, "it answered two requests of three rows"
    assert steady.rows >= ROWS - 6


def test_when_all_servers_die_what_is_finished_comes_first_and_one_line_names_them(
    tiny: Any, model: Any, start: Any, expected: dict[str, Draw]
) -> None:
    servers = [start(PlantedServer(model, lambda number, _: "die" if number >= 2 else None)) for _ in range(2)]
    got: list[Draw] = []
    stream = client(tiny, *servers).verbalize(requests(), GREEDY)
    with pytest.raises(ServerError) as failure:
        got.extend(stream)
    assert len(got) == sum(s.rows for s in servers) == 12
    assert by_key(got).items() <= expected.items()
    line = str(failure.value)
    assert "\n" not in line
    assert all(s.url in line for s in servers)
    assert "run the same command" in line


def test_a_refused_prompt_ends_the_run_with_the_servers_own_words(tiny: Any, model: Any, start: Any) -> None:
    words = "prompt embeddings have hidden size 16\nbut the model has 576"
    server = start(PlantedServer(model, lambda *_: 400, message=words))
    with pytest.raises(
        ServerError, match="400: prompt embeddings have hidden size 16 but the model has 576"
    ) as failure:
        drawn(client(tiny, server))
    assert "\n" not in str(failure.value)
    assert server.requests <= 2, "a refused prompt is not tried again"


def test_a_server_without_room_for_an_explanation_is_refused_instead_of_truncating(
    tiny: Any, model: Any, start: Any
) -> None:
    engine = client(tiny, start(PlantedServer(model, room=9)))
    with pytest.raises(ServerError, match=r"after 9 of 16 tokens; .*--max-model-len"):
        drawn(engine)


def poisoned_by(prompt: torch.Tensor) -> Callable[[int, torch.Tensor], int | None]:
    return lambda _, prompts: 500 if any(torch.equal(prompt, sent) for sent in prompts) else None


@pytest.mark.parametrize("place", [5, ROWS - 1])
def test_only_the_rows_a_server_always_fails_on_become_errors(
    place: int, tiny: Any, model: Any, start: Any, expected: dict[str, Draw]
) -> None:
    bad = requests()[place]
    server = PlantedServer(model)
    engine = client(tiny, start(server), concurrency=1)
    server.fault = poisoned_by(engine._embeddings.rows([bad])[0])
    found = drawn(engine)
    failed = found.pop(bad.key)
    assert failed.stop is StopReason.ERROR
    assert "HTTP 500: planted fault" in str(failed.error)
    assert found == {key: draw for key, draw in expected.items() if key != bad.key}
    only = list(engine.verbalize([bad], Sampling(1.0, 4)))
    assert [d.stop for d in only] == [StopReason.ERROR], "also where no other row is left to show that the server works"


def test_stopping_early_leaves_no_request_under_way(tiny: Any, model: Any, start: Any) -> None:
    server = start(PlantedServer(model))
    stream = client(tiny, server, concurrency=1).verbalize(requests(), GREEDY)
    next(stream)
    stream.close()
    seen = server.requests
    assert seen < ROWS // 3
    assert server.requests == seen


REFUSED = {
    "vllm-server": "no server address",
    "vllm-server:localhost:8000": "no server address",
    "vllm-server:http://a:1,speed=9": "no option 'speed'; known: urls, model",
    "vllm-server:http://a:1,concurrency=0": "concurrency is '0'",
    "vllm-server:http://a:1,timeout=soon": "timeout is 'soon'",
}


@pytest.mark.parametrize(("engine", "message"), REFUSED.items())
def test_an_engine_name_that_cannot_be_used_is_refused_in_one_line(engine: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as failure:
        server_config(engine)
    assert "\n" not in str(failure.value)


def test_addresses_and_options_are_parted_by_commas_or_spaces() -> None:
    config = server_config("vllm-server:http://a:1/v1/,https://b:2 http://a:1 model=av timeout=9")
    assert config == ServerConfig(("http://a:1", "https://b:2"), model="av", timeout=9.0)


def test_servers_have_to_serve_the_same_one_av(tiny: Any, model: Any, start: Any) -> None:
    one, other = start(PlantedServer(model)), start(PlantedServer(model, served="another"))
    with pytest.raises(ServerError, match="do not serve the same"):
        drawn(client(tiny, one, other))
    with pytest.raises(ServerError, match="serves av, expected 'mine'; correct model=NAME"):
        drawn(client(tiny, one, model="mine"))
    gone = PlantedServer(port=one.port)
    with serving(PlantedServer(model)) as brief:
        gone.port = brief.port
    with pytest.raises(ServerError, match=f"{gone.url} \\(cannot be reached\\)"):
        drawn(client(tiny, gone))
    assert len(drawn(client(tiny, gone, one))) == ROWS


def test_the_runtime_finds_the_engine_by_its_name_and_proves_it_through_the_server(
    tiny: Any, model: Any, start: Any
) -> None:
    server = start(PlantedServer(model))
    name = f"vllm-server:{server.url},backoff=0.01"
    settings = RuntimeSettings(target=str(tiny[0].path), pack=str(tiny[1].path), dtype="float32", engine=name)
    with pytest.raises(PackError, match=r"AV and AR do not work together|injection changes nothing"):
        _ = Runtime(settings).engine
    assert server.rows == 21, "the self-test's twenty vectors and the prompt without one"


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Target, Pack]]:
    """A real vLLM server of the default pack's AV in float32; its log is shown where it does not come up."""
    try:
        target, pack = load_target(), default_pack()
    except NlaEvalError as missing:
        pytest.skip(str(missing))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    checkpoint = av_checkpoint(target, pack, torch.float32)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--served-model-name", "av", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "256", "--max-num-seqs", "32", "--enable-prompt-embeds"]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            time.sleep(0.5)
        yield url, target, pack
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.full
@needs_vllm
def test_a_real_server_draws_greedily_what_the_engine_in_process_draws(
    vllm_server: tuple[str, Target, Pack],
) -> None:
    url, target, pack = vllm_server
    config = EngineConfig(dtype=torch.float32)
    plain, served = TransformersEngine(target, pack, config), server_engine(f"vllm-server:{url}", target, pack, config)
    vectors = np.random.default_rng(0).standard_normal((31, pack.d_model)).astype(np.float32)
    asked = [VerbalizeRequest("silent", None), *(VerbalizeRequest(f"row{i}", v) for i, v in enumerate(vectors))]
    greedy = Sampling(temperature=0.0, max_new_tokens=pack.max_new_tokens)
    ours, theirs = by_key(list(served.verbalize(asked, greedy))), by_key(list(plain.verbalize(asked, greedy)))
    same = sum(ours[key] == theirs[key] for key in theirs)
    print(f"server: {same}/{len(theirs)} identical, {len({d.text for d in theirs.values()})} different texts")
    assert ours == theirs
    sampled = [list(served.verbalize(asked[:4], Sampling(1.0, 24))) for _ in range(2)]
    assert by_key(sampled[0]) == by_key(sampled[1])
    with pytest.raises(ServerError, match=r"HTTP 400: .*max_model_len=256"):
        list(served.verbalize(asked[:1], Sampling(0.0, 4000)))
    with pytest.raises(ServerError, match=r"of 250 tokens; .*--max-model-len"):
        list(served.verbalize(asked[:1], Sampling(2.0, 250)))  # hot enough to go on until it is cut


@pytest.mark.full
@needs_vllm
def test_a_real_server_of_another_width_refuses_in_one_line(
    vllm_server: tuple[str, Target, Pack], tiny: tuple[Target, Pack]
) -> None:
    engine = VllmServerEngine(*tiny, ServerConfig((vllm_server[0],)), EngineConfig(dtype=torch.float32))
    with pytest.raises(ServerError, match=r"HTTP 400: .*hidden") as failure:
        list(engine.verbalize(requests(2), GREEDY))
    assert "\n" not in str(failure.value)
