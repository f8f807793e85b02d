"""The LLM judge: models that read one text under the rubric and answer in JSON, each judging alone.

Blind, it sees neither suite nor arm nor lane, only the text between delimiters that the text cannot forge. Told
("blurb"), it also sees one line about the suite; "swapped", the line of another suite: what changes is what leaks.
An answer that cannot be used is asked for again, then UNPARSED; a failed call is an ERROR row; neither stops a run.
Answers are cached for good by model, rubric, mode and text."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from inspect_ai.model import (
    CachePolicy,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
    model_roles,
)
from inspect_ai.util import LimitExceededError

from nla_eval.errors import InputError
from nla_eval.inspect_ext.private import PrerequisiteError
from nla_eval.judgement import Judgement, Label, Outcome, Rubric
from nla_eval.judging.classify import CLASSIFIERS, rubric_ref
from nla_eval.judging.panel import side_by_side
from nla_eval.judging.sentences import windows

from ._blurbs import blurb_of, swapped_blurb
from ._judge_prompt import Verdict, answer_schema, correction, instructions, question, read_answer

ROLE = "judge"
VERSION = "llm@2"
WINDOW = 24_000
"""Characters per call. A longer text is judged in overlapping windows, never cut."""
RETRIES = 2
"""How often an answer that cannot be used is asked for again, the judge being told what is wrong with it."""

_ANSWER_TOKENS = 600
_BAD_ANSWER_CHARS = 2_000
_CAUSE_CHARS = 160
_TOKEN = re.compile(r"\b(?=[\w.-]*\d)[\w.-]{12,}|\b(?:sk|key|rk)-[\w*-]+")
"""Request ids and keys in a provider's message: no part of a cause, and not for a log."""
_SCHEMA_REFUSED = re.compile(r"schema|response_format|structured output|output_config|guided", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Mode(StrEnum):
    """What a judge is told of the material."""

    BLIND = "blind"
    BLURB = "blurb"
    SWAPPED = "swapped"


@CLASSIFIERS.register("llm")
class LLMJudge:
    """One or more judges; see the module. Every model judges in every mode, and each is a judge of its own.

    Args:
        rubric: Its rules are the judges' instructions.
        mode: "blind", "blurb", "swapped", or several of them; the first leads. Default: blind, or told if there is a
            blurb.
        blurb: One line about the material for the mode "blurb". Default: the title of the suite's card.
        judges: Model roles, or models as provider/model; several by comma or as a list. The first leads. Default: the
            role "judge"; a role may hold several models.

    Raises:
        InputError: An unknown mode, or a blurb that no mode shows.
    """

    def __init__(
        self,
        rubric: Rubric,
        mode: str | Sequence[str] | None = None,
        blurb: str | None = None,
        judges: str | Sequence[str] = ROLE,
    ) -> None:
        self.name = VERSION
        self.rubric = rubric
        self.blurb = blurb
        self.modes = _modes(mode or (Mode.BLIND if blurb is None else Mode.BLURB))
        if blurb is not None and Mode.BLURB not in self.modes:
            raise InputError("the LLM judge has a blurb that it never shows; add mode=blurb, or leave the blurb out")
        self.judges = _listed(judges)
        self._known: dict[str, Memory] = {}

    def members(self) -> list[ModelJudge]:
        """Every model in every mode, the leading one first.

        Raises:
            InputError: A role has no model. The target is never used in its place.
        """
        models = {str(model): model for entry in self.judges for model in _models(entry)}
        return [
            ModelJudge(model, self.rubric, mode, self.blurb, memory=self._known.setdefault(name, Memory()))
            for mode in self.modes
            for name, model in models.items()
        ]

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        """The judgements of the leading judge; see `ModelJudge.judge`."""
        return await self.members()[0].judge(texts, kind=kind)


@dataclass
class Memory:
    """What was learnt of a model while it judged."""

    schema: bool = True
    """Whether its provider takes a response schema; until it refuses one, it does."""
    told: set[str] = field(default_factory=set)
    """Causes of failure that were logged: each once."""


@dataclass(frozen=True)
class ModelJudge:
    """One model in one mode."""

    model: Model
    rubric: Rubric
    mode: Mode = Mode.BLIND
    blurb: str | None = None
    suite: str = ""
    """Which suite the texts are from; empty: unknown."""
    memory: Memory = field(default_factory=Memory, compare=False)

    @property
    def name(self) -> str:
        """Version, model and mode, and a digest of a blurb of the user's own: what differs is never pooled."""
        own = "" if self.blurb is None or self.mode is not Mode.BLURB else f"={_digest(self.blurb)}"
        return f"{VERSION}:{self.model}" + ("" if self.mode is Mode.BLIND else f"+{self.mode.value}{own}")

    def about(self, suite: str) -> ModelJudge:
        """The same judge for texts of one suite."""
        return replace(self, suite=suite)

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        """One judgement per text; calls run side by side within the model's own connection limit."""
        system = ChatMessageSystem(content=instructions(self.rubric, self._shown_blurb()))
        return await side_by_side([partial(self._judge_text, system, text, kind) for text in texts])

    def _shown_blurb(self) -> str | None:
        if self.mode is Mode.BLIND:
            return None
        if self.mode is Mode.SWAPPED:
            return swapped_blurb(self.suite)
        return self.blurb or blurb_of(self.suite)

    async def _judge_text(self, system: ChatMessageSystem, text: str, kind: str) -> Judgement:
        spans = windows(text, WINDOW)
        return self._merged([await self._judge_window(system, text, start, end, kind) for start, end in spans])

    async def _judge_window(self, system: ChatMessageSystem, text: str, start: int, end: int, kind: str) -> Judgement:
        messages: list[ChatMessage] = [system, ChatMessageUser(content=question(text[start:end], kind, self.rubric))]
        why = ""
        for _ in range(1 + RETRIES):
            try:
                output = await self._generate(messages)
            except (LimitExceededError, PrerequisiteError):
                raise
            except Exception as err:  # whatever a provider raises is one row, not the end of a run
                return self._unjudged(Outcome.ERROR, f"judge call failed: {_cause(err)}")
            found = read_answer(output.completion, text, start, end, self.rubric)
            if isinstance(found, Verdict):
                return self._judgement(found)
            why = f"the judge's answer cannot be used: {found.why}{_ending(output)}"
            bad = output.completion[:_BAD_ANSWER_CHARS].strip() or "(no answer)"
            messages = [*messages, ChatMessageAssistant(content=bad), ChatMessageUser(content=correction(found))]
        return self._unjudged(Outcome.UNPARSED, why)

    async def _generate(self, messages: list[ChatMessage]) -> ModelOutput:
        """One cached call, held to the answer's schema until the provider refuses one; then by prompt alone."""
        cache = CachePolicy(expiry=None, per_epoch=False)
        config = GenerateConfig(temperature=0.0, max_tokens=self.model.config.max_tokens or _ANSWER_TOKENS)
        if self.memory.schema:
            try:
                held = config.model_copy(update={"response_schema": answer_schema()})
                return await self.model.generate(messages, config=held, cache=cache)
            except Exception as err:
                if not _SCHEMA_REFUSED.search(str(err)):
                    raise
                self.memory.schema = False
        return await self.model.generate(messages, config=config, cache=cache)

    def _judgement(self, found: Verdict) -> Judgement:
        return Judgement(
            outcome=found.outcome,
            labels=found.labels,
            evidence=found.evidence,
            classifier=self.name,
            rubric=rubric_ref(self.rubric),
            note=f"{found.lost} quote(s) not found in the text" if found.lost else "",
        )

    def _unjudged(self, outcome: Outcome, note: str) -> Judgement:
        if note not in self.memory.told:
            self.memory.told.add(note)
            _log.warning("%s: %s: %s (said once; the report counts them)", self.name, outcome.value, note)
        return Judgement(outcome=outcome, classifier=self.name, rubric=rubric_ref(self.rubric), note=note)

    def _merged(self, parts: Sequence[Judgement]) -> Judgement:
        """One word over all windows: AWARE if any is; a window that was not judged comes before UNCLEAR and silence."""
        order = (Outcome.AWARE, Outcome.ERROR, Outcome.UNPARSED, Outcome.UNCLEAR, Outcome.NOT_AWARE)
        outcome = next((o for o in order if any(p.outcome is o for p in parts)), Outcome.UNPARSED)
        chosen = [p for p in parts if p.outcome is outcome]
        if len(chosen) == 1:
            return chosen[0]
        labels = list(dict.fromkeys(label for p in chosen for label in p.labels))
        return Judgement(
            outcome=outcome,
            labels=[label for label in labels if label is not Label.NONE] or labels,
            evidence=list(dict.fromkeys(e for p in chosen for e in p.evidence)),
            classifier=self.name,
            rubric=rubric_ref(self.rubric),
            note="; ".join(dict.fromkeys(p.note for p in chosen if p.note)),
        )


def _cause(err: Exception) -> str:
    """What went wrong, without what differs from call to call."""
    said = next((line.strip() for line in str(err).splitlines() if line.strip()), "")
    said = _TOKEN.sub("…", said)
    said = said if len(said) <= _CAUSE_CHARS else said[: _CAUSE_CHARS - 1] + "…"
    return f"{type(err).__name__}: {said}" if said else type(err).__name__


def _ending(output: ModelOutput) -> str:
    stopped = {"max_tokens": "cut off at its token limit", "content_filter": "withheld by the provider's filter"}
    return f" ({stopped[output.stop_reason]})" if output.stop_reason in stopped else ""


def _modes(given: str | Sequence[str]) -> list[Mode]:
    known = [mode.value for mode in Mode]
    wrong = next((word for word in _listed(given) if word not in known), None)
    if wrong is not None:
        raise InputError(f"unknown mode '{wrong}' of the LLM judge; known: {', '.join(known)}; several by comma")
    return [Mode(word) for word in _listed(given)]


def _listed(given: str | Sequence[str]) -> list[str]:
    """Words by comma or as a list, each once: Inspect makes a list of what has commas."""
    words = given.split(",") if isinstance(given, str) else given
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def _models(entry: str) -> list[Model]:
    """The models of a role, or the model named provider/model."""
    if "/" in entry:
        try:
            return [get_model(entry)]
        except (PrerequisiteError, ValueError) as err:
            said = " ".join(str(getattr(err, "message", err)).split())
            raise InputError(
                f"judge '{entry}' is no model that Inspect can make: {said}; give <provider>/<model>"
            ) from err
    held = model_roles().get(entry)
    if held is None:
        raise InputError(
            f"classifier 'llm' needs a model in the role '{entry}'; add: --model-role {entry}=<provider>/<model>, or "
            "in nla-eval report: --judge <provider>/<model>"
        )
    return list(held) if isinstance(held, list) else [held]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
