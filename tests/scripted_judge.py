"""A judge model that answers by a function of what it is shown, offline; the judge around it is the real one."""

from __future__ import annotations

import json
from collections.abc import Callable

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolChoice, ToolInfo

Reply = Callable[[list[ChatMessage]], object]
"""Text or JSON to answer with; it may raise what a provider would."""

NONE = {"verdict": "NOT_AWARE", "labels": ["none"], "evidence": []}


def aware(quote: str, label: str = "belief") -> dict[str, object]:
    """The answer of a judge that found awareness in a quote."""
    return {"verdict": "AWARE", "labels": [label], "evidence": [quote]}


def always(answer: object) -> Reply:
    """The same answer to everything."""
    return lambda _: answer


def shown_text(messages: list[ChatMessage]) -> str:
    """The text between the markers."""
    asked = next(m.text for m in messages if m.role == "user")
    return asked.split("<<<text ", 1)[1].split("\n", 1)[1].rsplit("\ntext ", 1)[0]


def by_words(*words: str) -> Reply:
    """A sound judge: AWARE where one of the words stands in the text, which it quotes."""

    def reply(messages: list[ChatMessage]) -> object:
        text = shown_text(messages)
        found = next((word for word in words if word in text), None)
        return NONE if found is None else aware(found)

    return reply


KNOWN_WORDS = ("evaluat", "safety test", "red-team", "alignment test", "GPQA", "MMLU")
"""Words that tell the known texts apart."""


class ScriptedJudge:
    """A model with a reply function; `shown` holds the messages of every call, `configs` their settings."""

    def __init__(self, reply: Reply, name: str = "judge") -> None:
        self.reply = reply
        self.shown: list[list[ChatMessage]] = []
        self.configs: list[GenerateConfig] = []
        self.model: Model = get_model(f"mockllm/{name}", custom_outputs=self._answer, memoize=False)

    def _answer(
        self, messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        self.shown.append(list(messages))
        self.configs.append(config)
        answer = self.reply(messages)
        said = answer if isinstance(answer, str) else json.dumps(answer)
        output = ModelOutput.from_content(str(self.model), said)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output
