"""An adapter on a target: a LoRA in PEFT's format that makes an audited variant of a base model.

In: a folder with adapter_config.json and adapter_model.safetensors. Out: an `Adapter` whose tensors fit the base, or
one line that says why not. This module loads no model; `engines.loading` merges."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from ..printable import first_fault, one_line, told

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, DECLARED = "adapter_config.json", "adapter_model.safetensors", "nla_adapter.json"
SHIPPED = Path(__file__).resolve().parents[1] / "adapters"
"""Folder of the adapters that ship with the package; each is known by its folder's name."""
_MATRIX = re.compile(r"(?:^|\.)layers\.(?P<layer>\d+)\.(?P<name>.+)\.lora_(?P<side>[AB])(?:\.default)?(?:\.weight)?$")
_WEIGHT = re.compile(r"(?:^|\.)layers\.(?P<place>\d+\..+)\.weight$")
_REFUSED = {
    "use_dora": "DoRA",
    "alpha_pattern": "a different alpha for some matrices",
    "fan_in_fan_out": "transposed matrices",
    "modules_to_save": "whole matrices besides its low-rank ones",
    "trainable_token_indices": "new embeddings",
}
"""Settings of PEFT that change weights in other ways than adding a low-rank product."""


class Declared(BaseModel):
    """What `nla_adapter.json` says of an adapter, beside PEFT's own files. Optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_hash: str = ""
    """Hash of the base model (`Target.hash`)."""
    doses: Mapping[str, float] = Field(default_factory=dict)
    """Factor on the adapter by name of a dose, for `+PATH@DOSE`."""


@dataclass(frozen=True)
class LowRank:
    """One adapted matrix: its place and the two factors of its change."""

    layer: int
    name: str
    """Name of the linear within its block, such as "self_attn.q_proj"."""
    a: torch.Tensor
    """(rank, in)"""
    b: torch.Tensor
    """(out, rank)"""


@dataclass(frozen=True)
class Adapter:
    """A checked adapter. Its tensors are read when first needed."""

    name: str
    """The folder's name, and the dose if one was given."""
    path: Path
    factor: float
    """Strength relative to what the adapter's own config states."""

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """PEFT's configuration. Raises InputError if it is missing, not JSON, or not a plain LoRA."""
        file = self.path / CONFIG
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except OSError as err:
            raise InputError(
                f"adapter '{self.name}': {CONFIG}: {err.strerror}; expected a folder in PEFT's format"
            ) from err
        except (ValueError, RecursionError) as err:
            raise InputError(f"adapter '{self.name}': {CONFIG} is not JSON ({told(err)}); restore it") from err
        kind = found.get("peft_type") if isinstance(found, dict) else None
        if kind != "LORA":
            of = one_line(str(kind))
            raise InputError(f"adapter '{self.name}' is of type {of}, expected LORA; merge it and give the whole model")
        alpha = found.get("lora_alpha", 1)
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < float("inf"):
            found_alpha = one_line(str(alpha))
            raise InputError(f"adapter '{self.name}': lora_alpha is {found_alpha}, expected a number; restore {CONFIG}")
        if used := next((what for key, what in _REFUSED.items() if found.get(key)), None):
            raise InputError(
                f"adapter '{self.name}' uses {used}, which a merge at load does not cover; give the merged model"
            )
        return dict(found)

    @cached_property
    def declared(self) -> Declared:
        """What the adapter says of its base and doses; empty if it says nothing."""
        file = self.path / DECLARED
        if not file.is_file():
            return Declared()
        try:
            return Declared.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as err:
            reason = one_line(first_fault(err))
            raise InputError(f"adapter '{self.name}': {DECLARED}: {reason}; correct it") from err
        except ValueError as err:  # bytes that are no text
            raise InputError(f"adapter '{self.name}': {DECLARED} is not JSON ({told(err)}); restore it") from err

    @cached_property
    def matrices(self) -> tuple[LowRank, ...]:
        """The adapted matrices, by block. Raises InputError if the file is unreadable, or holds other tensors than
        pairs of finite factors."""
        import torch

        sides: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
        for key, tensor in self._tensors():
            match = _MATRIX.search(key)
            if match is None:
                named = one_line(key)
                raise InputError(
                    f"adapter '{self.name}': tensor '{named}' is no LoRA factor of a block; give the merged model"
                )
            if tensor.ndim != 2 or not tensor.is_floating_point():
                shape = "x".join(map(str, tensor.shape)) or "one number"
                raise InputError(
                    f"adapter '{self.name}': '{key}' is {shape} of {tensor.dtype}, expected a matrix of real numbers; "
                    f"restore {WEIGHTS}"
                )
            if not torch.isfinite(tensor).all():
                raise InputError(f"adapter '{self.name}': '{key}' holds numbers that are not finite; train it again")
            sides.setdefault((int(match["layer"]), match["name"]), {})[match["side"]] = tensor.float()
        if odd := next((f"layers.{layer}.{name}" for (layer, name), pair in sides.items() if len(pair) != 2), None):
            raise InputError(f"adapter '{self.name}': '{odd}' has one of its two factors; restore {WEIGHTS}")
        if not sides:
            raise InputError(f"adapter '{self.name}' holds no tensors; restore {WEIGHTS}")
        for (layer, name), pair in sides.items():
            if not 0 < len(pair["A"]) == pair["B"].shape[1]:
                shapes = " and ".join("x".join(map(str, pair[side].shape)) for side in "AB")
                raise InputError(
                    f"adapter '{self.name}': the factors of 'layers.{layer}.{name}' are {shapes} and share no rank; "
                    f"restore {WEIGHTS}"
                )
        return tuple(LowRank(*place, pair["A"], pair["B"]) for place, pair in sorted(sides.items()))

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        from safetensors import SafetensorError, safe_open

        file = self.path / WEIGHTS
        if not file.is_file():
            raise InputError(f"adapter '{self.name}' has no {WEIGHTS}; expected a folder in PEFT's format")
        try:
            with safe_open(file, "pt") as tensors:
                yield from ((key, tensors.get_tensor(key)) for key in tensors.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as err:
            raise InputError(f"adapter '{self.name}': {WEIGHTS} cannot be read ({told(err)}); restore it") from err

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks it changes, ascending."""
        return tuple(sorted({matrix.layer for matrix in self.matrices}))

    def change(self, matrix: LowRank) -> torch.Tensor:
        """(out, in) float32: what is added to the base's weight."""
        rank = len(matrix.a)
        alpha = float(self.config.get("lora_alpha", rank))
        return (matrix.b @ matrix.a) * (self.factor * alpha / (rank**0.5 if self.config.get("use_rslora") else rank))

    @cached_property
    def norm(self) -> float:
        """Largest Frobenius norm of a change. Raises InputError if it is not finite."""
        found = max(float(self.change(matrix).norm()) for matrix in self.matrices)
        if not found < float("inf"):
            raise InputError(f"adapter '{self.name}': its change has norm {found}; train it again, or lower its dose")
        return found

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of a sha256 over both files and the factor."""
        _ = self.matrices
        digest = hashlib.sha256(repr(self.factor).encode())
        for file in (CONFIG, WEIGHTS):
            digest.update((self.path / file).read_bytes())
        return digest.hexdigest()[:16]

    def facts(self) -> str:
        """One line for provenance."""
        layers = self.layers
        ranks = sorted({len(matrix.a) for matrix in self.matrices})
        return (
            f"{self.name} ({self.hash}): rank {'/'.join(map(str, ranks))}, blocks {layers[0]}-{layers[-1]}, "
            f"factor {self.factor:g}, largest change {self.norm:.3g}, merged at load"
        )

    def check_base(self, base: str, base_hash: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that it belongs to the base model `base`.

        Args:
            base: Name of the base, for messages.
            base_hash: The base's hash.
            shapes: Shapes of the base's tensors.

        Raises:
            InputError: It declares another base, or changes a matrix that the base lacks or has in another shape.
        """
        said = self.declared.base_hash
        named = self.config.get("base_model_name_or_path") or "the model it was trained on"
        its_base = f"{named}+{self.name}"
        if said and said != base_hash:
            raise InputError(
                f"adapter '{self.name}' declares base {said}, but '{base}' hashes to {base_hash}; it belongs to "
                f"another base: give --target {its_base}"
            )
        found = {match["place"]: shape for name, shape in shapes.items() if (match := _WEIGHT.search(name))}
        blocks = 1 + max((int(place.split(".")[0]) for place in found), default=-1)
        for matrix in self.matrices:
            ours = (matrix.b.shape[0], matrix.a.shape[1])
            theirs = found.get(f"{matrix.layer}.{matrix.name}")
            if matrix.layer >= blocks:
                raise InputError(
                    f"adapter '{self.name}' changes block {matrix.layer}, but '{base}' has blocks 0 to {blocks - 1}; "
                    f"it belongs to another base: give --target {its_base}"
                )
            if theirs != ours or matrix.a.shape[0] != matrix.b.shape[1]:
                raise InputError(
                    f"adapter '{self.name}': 'layers.{matrix.layer}.{matrix.name}' changes a matrix of {ours}, which "
                    f"in '{base}' is {theirs or 'not there'}; it belongs to another base: give --target {its_base}"
                )
        _ = self.norm

    def check_layer(self, layer: int) -> str:
        """What a reader of block `layer` must know, as one line; empty if every adapted block is at or below it.

        Raises:
            InputError: All adapted blocks are above it, so that no reading could show the adapter.
        """
        above = [number for number in self.layers if number > layer]
        if len(above) == len(self.layers):
            raise InputError(
                f"adapter '{self.name}' changes only blocks {above[0]}-{above[-1]}, above block {layer} that the pack "
                "reads: no reading could show it; take a pack of a higher layer, or read the base"
            )
        if not above:
            return ""
        return (
            f"adapter '{self.name}' also changes blocks {above[0]}-{above[-1]}, above block {layer} that the pack "
            "reads: they change what the target says, not what is read"
        )


def load_adapter(place: str) -> Adapter:
    """Find an adapter.

    Args:
        place: A folder, or the name of a shipped adapter; either with "@DOSE" at its end: a dose that the adapter
            declares, or a factor on its strength.

    Raises:
        InputError: There is no such folder, or no such dose.
    """
    folder, dose = place, ""
    if "@" in place and _folder(place) is None:
        folder, _, dose = place.rpartition("@")
    path = _folder(folder)
    if path is None:
        known = ", ".join(sorted(p.name for p in SHIPPED.glob("*") if p.is_dir())) or "none"
        raise InputError(f"no adapter '{folder}'; expected a folder in PEFT's format, or a shipped one: {known}")
    found = Adapter(path.name, path, 1.0)
    _ = found.config
    return replace(found, name=f"{path.name}@{dose}", factor=_factor(found, dose)) if dose else found


def _folder(place: str) -> Path | None:
    for path in (Path(place).expanduser(), SHIPPED / place):
        if place and path.is_dir():
            return path
    return None


def _factor(adapter: Adapter, dose: str) -> float:
    declared = adapter.declared.doses
    if dose in declared:
        return declared[dose]
    known = f"one of {', '.join(declared)}" if declared else "a positive number"
    try:
        factor = float(dose)
    except ValueError:
        factor = -1.0
    if declared or not 0 < factor < float("inf"):
        raise InputError(f"adapter '{adapter.name}': dose '{dose}' is unknown; expected {known}")
    return factor
