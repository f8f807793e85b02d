"""The target as an Inspect model: it answers prompts, and its replays are logged as model events.

Construction loads no weights, so `inspect score` and `inspect list` work without them. Concurrent samples share batches
through the target's `Runtime`. It knows nothing of suites, positions or lanes."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from ..engines.base import Captured, CaptureRequest
from ..engines.kinds import NO_MODEL_ARGS, RuntimeSettings
from ..errors import InputError, NlaEvalError
from ..models.target import with_places
from ..pipeline.runtime import Runtime, runtime_for
from ..replay.tool_calls import tool_calls
from ..transcript import Arm, Provenance, Transcript
from .private import PrerequisiteError

if TYPE_CHECKING:
    from ..engines.generation import GenerateRequest

_COUNTS = ("best_of", "num_choices")

REPLAY_MARK = "nla_replay"
"""Key in `config.extra_body` that marks a model event as a replay: the target read the messages and wrote nothing."""

MAX_CONNECTIONS = 64
"""Number of samples that may wait for the target at once, about one batch."""

DEFAULT_MAX_TOKENS = 256
MODEL_ARGS = tuple(sorted(f.name for f in fields(RuntimeSettings) if f.name not in NO_MODEL_ARGS))
_UNSUPPORTED = (
    "best_of", "frequency_penalty", "presence_penalty", "logit_bias", "num_choices", "logprobs", "top_logprobs",
    "prompt_logprobs", "response_schema", "batch", "modalities",
)  # fmt: skip


@dataclass
class StagedReplay:
    """A replay that is about to be logged as a model event."""

    tokens: int
    """Tokens of the whole replay, for the event's usage."""
    request: CaptureRequest | None
    """What to capture; None if the store already has it."""
    captured: Captured | None = None
    """The activations, set by the forward."""


class NLATargetAPI(ModelAPI):
    """A local open-weights target.

    Model arguments (`-M`) are the fields of `RuntimeSettings`: `dtype` (auto, float32, bfloat16, float16), `pack` (name
    or folder), `threads` (CPU threads), `max_batch_tokens` (padded tokens per forward), `engine`.

    Raises:
        PrerequisiteError: A model argument is unknown or has an invalid value.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        try:
            self.settings = _settings(model_name, model_args)
            runtime_for(self.settings)  # says at once what is wrong with the engine
        except NlaEvalError as err:
            raise PrerequisiteError(str(err)) from err
        self.staged: dict[str, StagedReplay] = {}

    @property
    def runtime(self) -> Runtime:
        """The runtime of this target's settings. Looked up at each use: Inspect keeps its models for the whole process,
        and a runtime may have been released since."""
        return runtime_for(self.settings)

    def max_connections(self) -> int:
        """See `MAX_CONNECTIONS`."""
        return MAX_CONNECTIONS

    def connection_key(self) -> str:
        """One connection pool per set of weights."""
        return f"nla:{self.settings}"

    def max_tokens(self) -> int | None:
        """Default maximum number of tokens in an answer."""
        return DEFAULT_MAX_TOKENS

    async def tokenize(self, text: str) -> list[int]:
        """The target's token ids of `text`, without special tokens."""

        def ids() -> list[int]:
            return list(self.runtime.target.tokenizer(text, add_special_tokens=False).input_ids)

        return await self.runtime.call("tokenize", ids)

    async def count_text_tokens(self, text: str) -> int:
        """Number of tokens by the target's own tokenizer. Inspect's default would download another tokenizer."""
        return len(await self.tokenize(text))

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Write the next assistant message; if `config.extra_body` marks a replay, only read the messages.

        Raises:
            InputError: A setting is not supported, or the prompt exceeds the target's context.
        """
        if mark := (config.extra_body or {}).get(REPLAY_MARK):
            return await self._replay(self.staged[mark])
        _refuse_unsupported(config, tool_choice)
        offered = [] if tool_choice == "none" else tools
        seed = config.seed if config.seed is not None else secrets.randbelow(2**31)
        request = await self.runtime.call("render", lambda: self._request(input, offered, config, seed))
        written = await self.runtime.generate(request)
        output = _output(self.model_name, written.text, written.stop, offered)
        output.usage = _usage(len(request.token_ids), written.tokens)
        output.metadata = {"seed": seed}
        return output

    async def _replay(self, staged: StagedReplay) -> ModelOutput:
        if staged.request is not None:
            cost = len(staged.request.token_ids)
            staged.captured = await self.runtime.submit("capture", self._capture, staged.request, cost)
        return ModelOutput(model=self.model_name, choices=[], usage=_usage(staged.tokens, 0))

    def _capture(self, requests: list[CaptureRequest]) -> list[Captured]:
        """Runs in the worker thread. Epochs of one sample may share a batch, so equal keys are captured once."""
        unique = {request.key: request for request in requests}
        found = {captured.key: captured for captured in self.runtime.engine.capture(unique.values())}
        return [found[request.key] for request in requests]

    def _request(
        self, messages: list[ChatMessage], tools: list[ToolInfo], config: GenerateConfig, seed: int
    ) -> GenerateRequest:
        """The prompt that the target continues. Runs in the worker thread."""
        from ..engines.generation import GenerateRequest
        from ..replay.replay import ReplayConfig, replay

        target = self.runtime.target
        prompt = Transcript(
            id="prompt", messages=messages, tools=tools, arm=Arm.MONITOR, suite="prompt", family="prompt",
            provenance=Provenance(source="prompt"),
        )  # fmt: skip
        rendered = replay(prompt, target.tokenizer, ReplayConfig(2**31 - 1, add_generation_prompt=True))
        room = target.max_context - len(rendered)
        if room < 1:
            raise InputError(
                f"a prompt of {len(rendered)} tokens leaves no room in the context of {target.max_context} tokens of "
                f"target '{target.name}'; shorten it or leave it out"
            )
        return GenerateRequest(
            rendered.token_ids,
            max_new_tokens=min(config.max_tokens or DEFAULT_MAX_TOKENS, room),
            temperature=1.0 if config.temperature is None else config.temperature,
            top_p=1.0 if config.top_p is None else config.top_p,
            top_k=config.top_k or 0,
            seed=seed,
            stop_texts=tuple(config.stop_seqs or ()),
        )


def target_api(model: Model) -> NLATargetAPI:
    """The target behind an Inspect model. Raises InputError for any other provider."""
    if not isinstance(model.api, NLATargetAPI):
        raise InputError(
            f"model '{model}' is not a target whose activations can be read; run with --model nla/smollm2-135m, "
            "nla/<folder> or nla/<owner>/<name>"
        )
    return model.api


async def log_replay(model: Model, transcript: Transcript, staged: StagedReplay) -> Captured | None:
    """Replay `transcript` as exactly one model event and capture the requested activations.

    Returns:
        The activations, or None if none were requested.
    """
    api = target_api(model)
    mark = f"{transcript.digest[:16]}-{secrets.token_hex(4)}"
    api.staged[mark] = staged
    try:
        await model.generate(
            list(transcript.messages),
            tools=transcript.tools,
            tool_choice="none",
            config=GenerateConfig(extra_body={REPLAY_MARK: mark}),
            cache=False,
        )
    finally:
        del api.staged[mark]
    return staged.captured


def user_folder(path: str) -> str:
    """`path` as an absolute path, relative to the folder in which the user typed the command.

    Inspect changes into the folder of a task file while it loads it, so the current folder would be wrong.
    """
    return str(Path(os.environ.get("PWD") or ".", path).expanduser())


def _settings(model_name: str, model_args: dict[str, Any]) -> RuntimeSettings:
    unknown = sorted(set(model_args) - set(MODEL_ARGS))
    if unknown:
        raise InputError(f"unknown model argument '{unknown[0]}'; nla/ takes -M {', -M '.join(MODEL_ARGS)}")
    if not model_name:
        raise InputError("model 'nla/' names no target; write nla/smollm2-135m, nla/<folder> or nla/<owner>/<name>")
    args = {key: value for key, value in model_args.items() if value is not None}
    if "pack" in args:
        args["pack"] = ",".join(_folder_or_name(part) for part in str(args["pack"]).split(","))
    return RuntimeSettings(target=with_places(model_name, _folder_or_name), **args)


def _folder_or_name(name: str) -> str:
    folder = user_folder(name)
    return folder if Path(folder).is_dir() else name


def _usage(read: int, written: int) -> ModelUsage:
    return ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)


def _output(model: str, text: str, stop: StopReason, tools: list[ToolInfo]) -> ModelOutput:
    """The written text as a model output. Tool calls are parsed if tools were offered."""
    speech, calls = tool_calls(text, tools) if tools else (text, [])
    output = ModelOutput.from_content(model, speech, stop_reason="tool_calls" if calls else stop)
    output.choices[0].message.tool_calls = calls or None
    return output


def _refuse_unsupported(config: GenerateConfig, tool_choice: ToolChoice) -> None:
    """Refuse unsupported settings: ignoring one would silently change the measurement."""
    for name in _UNSUPPORTED:
        value = getattr(config, name)
        if value and not (name in _COUNTS and value == 1):
            raise InputError(f"nla/ targets do not support {name}={value!r}; leave {name} out")
    if tool_choice not in ("auto", "none"):
        raise InputError(f"tool_choice is {tool_choice!r}; expected 'auto' or 'none' for nla/ targets")
