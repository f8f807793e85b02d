"""Claims about the `nla/` provider: nothing is loaded early, the target really answers, nothing is silently ignored."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.tool import ToolInfo

from nla_eval.errors import InputError
from nla_eval.inspect_ext.private import PrerequisiteError
from nla_eval.inspect_ext.target_api import NLATargetAPI, target_api
from tests.tiny_target import write_tiny_target

ASK = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="Name a city.")]
SLOW = (
    *("torch", "transformers", "sklearn", "scipy", "pyarrow", "datasets"),
    *("datasketch", "py3langid", "detect_secrets", "phonenumbers", "stdnum", "ijson"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_target(tmp_path_factory.mktemp("tiny"), context=256)


@pytest.fixture
def model(tiny: Path) -> Model:
    return get_model(f"nla/{tiny}", dtype="float32")


def ask(model: Model, messages: list[Any] | None = None, n: int = 1, **config: Any) -> list[ModelOutput]:
    settings = GenerateConfig(**({"max_tokens": 8, "temperature": 0.9, "seed": 1} | config))
    out: dict[int, ModelOutput] = {}

    async def one(index: int) -> None:
        out[index] = await model.generate(messages or ASK, config=settings)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for index in range(n):
                group.start_soon(one, index)

    try:
        anyio.run(main)
    except ExceptionGroup as errors:  # not except*: what it raises is a group again in Python 3.11.2
        raise errors.exceptions[0] from None
    return [out[index] for index in range(n)]


def test_building_the_model_and_the_registry_imports_nothing_that_is_slow_to_load() -> None:
    others = "import inspect_evals._registry;" if importlib.util.find_spec("inspect_evals") else ""
    code = (  # Inspect loads every package that registers with it: what theirs import is not ours
        f"import sys; import inspect_ai.model; {others} before = set(sys.modules);"
        "import nla_eval._registry; inspect_ai.model.get_model('nla/no-such-model', pack='none');"
        f"print(sorted({set(SLOW)} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_the_target_answers_a_prompt_with_usage(model: Model) -> None:
    output = ask(model)[0]
    assert output.completion
    assert output.stop_reason == "max_tokens"
    assert output.usage is not None
    assert output.usage.output_tokens == 8
    assert output.usage.total_tokens == output.usage.input_tokens + 8
    assert target_api(model).runtime.loaded == ["generator"]


def test_the_prompt_is_the_targets_own_template_with_a_generation_prompt(model: Model) -> None:
    tokenizer = target_api(model).runtime.target.tokenizer
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.text} for m in ASK], tokenize=False, add_generation_prompt=True
    )
    usage = ask(model)[0].usage
    assert usage is not None
    assert usage.input_tokens == len(tokenizer(text, add_special_tokens=False).input_ids)


def test_concurrent_prompts_get_the_answers_they_get_alone(model: Model) -> None:
    assert len({o.completion for o in ask(model, n=5)} | {ask(model)[0].completion}) == 1
    assert ask(model, seed=2)[0].completion != ask(model)[0].completion


def test_a_seed_is_drawn_and_recorded_where_none_is_given(model: Model) -> None:
    output = ask(model, seed=None)[0]
    assert output.metadata is not None
    assert ask(model, seed=output.metadata["seed"])[0].completion == output.completion


def test_an_answer_never_runs_beyond_the_context(model: Model) -> None:
    output = ask(model, messages=[ChatMessageUser(content="x" * 200)], max_tokens=1000)[0]
    assert output.usage is not None
    assert output.usage.total_tokens <= 256


def test_a_prompt_beyond_the_context_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="leaves no room in the context of 256"):
        ask(model, messages=[ChatMessageUser(content="x" * 300)])


@pytest.mark.parametrize("setting", [{"frequency_penalty": 0.5}, {"num_choices": 2}, {"logprobs": True}])
def test_a_setting_that_would_do_nothing_is_refused(model: Model, setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        ask(model, **setting)


def test_a_target_cannot_be_made_to_call_a_tool(model: Model) -> None:
    async def main() -> None:
        await model.generate(ASK, tools=[ToolInfo(name="f", description="d")], tool_choice="any")

    with pytest.raises(InputError, match="tool_choice"):
        anyio.run(main)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({"dtpye": "auto"}, "unknown model argument 'dtpye'; nla/ takes -M dtype"),
        ({"dtype": "int3"}, "dtype is 'int3'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": "two"}, "threads is 'two'"),
        ({"engine": "warp"}, "unknown engine 'warp'"),
    ],
)
def test_a_wrong_model_argument_is_one_line(args: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        get_model("nla/x", **args)
    assert complaint in str(caught.value.message)


def test_models_of_equal_settings_share_their_weights(tiny: Path) -> None:
    first = NLATargetAPI(str(tiny), dtype="float32")
    assert first.runtime is NLATargetAPI(str(tiny), dtype="float32").runtime
    assert first.runtime is not NLATargetAPI(str(tiny), dtype="bfloat16").runtime


def test_a_relative_folder_is_where_the_command_was_typed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(tiny.parent))
    assert NLATargetAPI(tiny.name).runtime.settings.target == str(tiny)
    assert NLATargetAPI(tiny.name).runtime.target_name == tiny.name


def test_tokens_are_counted_by_the_target(model: Model) -> None:
    async def main() -> int:
        return await model.api.count_text_tokens("abc de")

    assert anyio.run(main) == 6
