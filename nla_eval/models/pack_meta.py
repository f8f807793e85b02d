"""The sidecar `nla_meta.yaml`: the contract between an NLA checkpoint and the programs that read it.

Several spellings of its keys are in use. All of them are read, and all are written, so that the public single-file
client and this package can read each other's packs. Pure data: no tokenizer, no weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..cards.yaml_file import parse_yaml
from ..errors import PackError
from ..printable import told

SIDECAR = "nla_meta.yaml"
SCHEMA_VERSION = 2
MIN_SUFFIX_TOKENS = 3
DEFAULT_MIN_POSITION = 50  # the released pairs were trained on positions >= 50
TEXT_WINDOW = 512
"""Tokens before a position that a reader of the text sees, unless the pack states another number."""
PUBLIC_VARIANCE = {(3584, 20): 0.7335, (3840, 32): 0.0302, (5376, 41): 0.0579, (8192, 53): 0.9169}
"""Published FVE denominators of the released pairs by (d_model, layer): the variance of their normalised training
activations (Qwen2.5-7B, Gemma-3-12B, Gemma-3-27B, Llama-3.3-70B)."""


@dataclass(frozen=True)
class PackMeta:
    """The content of one sidecar. The AV's and the AR's sidecar must agree on the fields they share."""

    role: str
    """ "av" or "ar"."""
    d_model: int
    layer: int
    """K: activations are the output of block K."""
    injection_char: str
    injection_token_id: int
    left_neighbor_id: int
    right_neighbor_id: int
    av_template: str
    """User message of the AV prompt, with `{injection_char}`."""
    ar_template: str
    """Raw text of the AR prompt, with `{explanation}` followed by a fixed suffix."""
    injection_scale: float | None
    """L2 norm of the injected vector; None in AR sidecars, because the AR injects nothing."""
    mse_scale: float
    """Norm to which the AR's regression scales vectors; sqrt(d_model) by default."""
    suffix_ids: tuple[int, ...] = ()
    min_position: int = DEFAULT_MIN_POSITION
    max_new_tokens: int = 200
    baseline_variance: float | None = None
    """Variance of the L2-normalised training activations: the denominator of fve_nrm."""
    target: str | None = None
    """Name of its target, for packs that are adapters."""
    target_hash: str | None = None
    expresses_belief: bool | None = None
    """Whether explanations mention evaluation more often if the prompt says so than if it does not; None if not
    measured."""
    norm_range: tuple[float, float] | None = None
    """1st and 99th percentile of training activation norms."""
    text_only: str | None = None
    """AV folder: file of the adapter that writes the same explanations from the text, without the activation."""
    text_window: int = TEXT_WINDOW
    """Tokens up to the position that this adapter was trained to read."""
    setting: str | None = None
    """AV folder: folder of the adapter that says what the prompt told the model of its setting."""

    def to_yaml(self) -> str:
        """The sidecar as YAML, with every spelling of each key that is in use."""
        data = {
            "schema_version": SCHEMA_VERSION,
            "kind": "nla_model",
            "role": self.role,
            "d_model": self.d_model,
            "extraction_layer_index": self.layer,
            "extraction": {
                "layer_index": self.layer,
                "injection_scale": self.injection_scale,
                "mse_scale": self.mse_scale,
            },
            "tokens": {
                "injection_char": self.injection_char,
                "injection_token_id": self.injection_token_id,
                "injection_left_neighbor_id": self.left_neighbor_id,
                "injection_right_neighbor_id": self.right_neighbor_id,
                "critic_suffix_ids": list(self.suffix_ids),
            },
            "prompt_templates": {
                "av": self.av_template,
                "ar": self.ar_template,
                "actor": self.av_template,
                "critic": self.ar_template,
            },
            "ar": {"num_hidden_layers": self.layer},
            "critic": {"extraction_layer_index": self.layer},
            "nla_eval": {
                "min_position": self.min_position,
                "max_new_tokens": self.max_new_tokens,
                "baseline_variance": self.baseline_variance,
                "target": self.target,
                "target_hash": self.target_hash,
                "expresses_belief": self.expresses_belief,
                "norm_range": list(self.norm_range) if self.norm_range else None,
                **self._beside(),
            },
        }
        return str(yaml.safe_dump(data, sort_keys=True, allow_unicode=True))

    def _beside(self) -> dict[str, object]:
        """The adapters beside the AV's own, by what they are for."""
        named = {"setting": self.setting, "text_only": self.text_only}
        present = {name: file for name, file in named.items() if file is not None}
        if not present:
            return {}
        window = {} if self.text_only is None else {"text_window": self.text_window}
        return {"adapters": {"explanation": ADAPTER, **present}, **window}


def read_meta(folder: Path, role: str) -> PackMeta:
    """Read the sidecar in `folder`.

    Args:
        folder: A checkpoint folder with `nla_meta.yaml`.
        role: "av" or "ar": the role in which the caller will use the checkpoint.

    Raises:
        PackError: The sidecar is missing or unreadable, or lacks a key.
    """
    path = folder / SIDECAR
    if not path.is_file():
        raise PackError(
            f"pack folder '{folder.name}' has no {SIDECAR}; expected an NLA checkpoint with it beside its weights"
        )
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as err:
        raise PackError(f"{folder.name}/{SIDECAR} is not YAML: {told(err)}; correct it") from err
    if not isinstance(data, dict):
        raise PackError(f"{folder.name}/{SIDECAR} is not a mapping; expected the keys of the public NLA sidecar")
    try:
        return _Reader(f"{folder.name}/{SIDECAR}", data).meta(role)
    except (ValueError, TypeError, OverflowError, LookupError) as err:
        raise PackError(
            f"{folder.name}/{SIDECAR} holds a value of another kind than its key takes: {told(err)}; correct it"
        ) from err


def _text(value: Any) -> str:
    """`value` as text. A list or mapping in its place is not spelt out: through YAML's aliases it can be endless."""
    if isinstance(value, list | dict):
        raise TypeError(f"expected text, found a {type(value).__name__}")
    return str(value)


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


class _Reader:
    """Looks up each value under all spellings of its key."""

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name, self.data = name, data

    def find(self, *spellings: str) -> Any:
        for spelling in spellings:
            node: Any = self.data
            for part in spelling.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if node is not None:
                return node
        return None

    def need(self, *spellings: str) -> Any:
        value = self.find(*spellings)
        if value is None:
            raise PackError(
                f"{self.name} lacks '{spellings[0]}' (also looked for: {', '.join(spellings[1:]) or 'nothing'}); add it"
            )
        return value

    def scale(self, value: Any, d_model: int) -> float | None:
        if value is None:
            return None
        if isinstance(value, str):
            if value.strip().lower() in ("sqrt_d_model", "sqrt(d_model)", "sqrt_d"):
                return math.sqrt(d_model)
            raise PackError(f"{self.name}: scale is '{value}'; expected a number, null or 'sqrt_d_model'")
        return float(value)

    def meta(self, role: str) -> PackMeta:
        kind, says = self.find("kind"), self.find("role")
        if kind != "nla_model":
            raise PackError(f"{self.name}: kind is {kind!r}, expected 'nla_model'")
        aliases = {"actor": "av", "critic": "ar"}
        if says is not None and aliases.get(str(says), str(says)) != role:
            raise PackError(
                f"{self.name}: role is '{says}', but it was given as the {role.upper()}; swap the two folders"
            )
        d_model = int(self.need("d_model", "extraction.d_model"))
        layer = int(
            self.need(
                "extraction_layer_index",
                "extraction.layer_index",
                "ar.num_hidden_layers",
                "critic.extraction_layer_index",
                "layer_index",
            )
        )
        scale = self.scale(self.find("extraction.injection_scale", "injection_scale"), d_model)
        if role == "av" and scale is None:
            raise PackError(
                f"{self.name} lacks 'extraction.injection_scale'; add the exact norm that the AV was trained at"
            )
        norms, begins = self.find("nla_eval.norm_range"), self.find("nla_eval.min_position")
        return PackMeta(
            role=role,
            d_model=d_model,
            layer=layer,
            injection_char=_text(self.need("tokens.injection_char")),
            injection_token_id=int(self.need("tokens.injection_token_id")),
            left_neighbor_id=int(self.need("tokens.injection_left_neighbor_id")),
            right_neighbor_id=int(self.need("tokens.injection_right_neighbor_id")),
            av_template=_text(self.need("prompt_templates.av", "prompt_templates.actor") if role == "av"
                            else self.find("prompt_templates.av", "prompt_templates.actor") or ""),
            ar_template=_text(self.need("prompt_templates.ar", "prompt_templates.critic") if role == "ar"
                            else self.find("prompt_templates.ar", "prompt_templates.critic") or ""),
            injection_scale=scale,
            mse_scale=self.scale(self.find("extraction.mse_scale"), d_model) or math.sqrt(d_model),
            suffix_ids=tuple(int(i) for i in self.find("tokens.critic_suffix_ids") or ()),
            min_position=DEFAULT_MIN_POSITION if begins is None else int(begins),
            max_new_tokens=int(self.find("nla_eval.max_new_tokens") or 200),
            baseline_variance=_number(self.find("nla_eval.baseline_variance"))
                              or PUBLIC_VARIANCE.get((d_model, layer)),
            target=_optional(self.find("nla_eval.target")),
            target_hash=_optional(self.find("nla_eval.target_hash")),
            expresses_belief=self.find("nla_eval.expresses_belief"),
            norm_range=(float(norms[0]), float(norms[1])) if norms else None,
            text_only=_optional(self.find("nla_eval.adapters.text_only")),
            text_window=int(self.find("nla_eval.text_window") or TEXT_WINDOW),
            setting=_optional(self.find("nla_eval.adapters.setting")),
        )  # fmt: skip


ADAPTER = "adapter_model.safetensors"
TEXT_ONLY = "text_only.safetensors"
"""The text reader's adapter, beside the AV's and under the AV's adapter_config.json: same base, same rank."""


VALUE_HEAD = "value_head.safetensors"
