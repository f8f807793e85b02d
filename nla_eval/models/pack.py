"""The NLA pack: an AV and an AR with their sidecars, their target and layer, and the card with their measurements.

Loading a `Pack` reads no weights. Loading checks the two sidecars against each other; `check_target` checks them
against the target. A mismatch raises PackError."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PackError
from .pack_meta import PackMeta, read_meta
from .prompts import AVPrompt, ar_ids, av_prompt, check_ar_prompt, own_tokenizer
from .scores import Baselines
from .setting import Setting
from .target import Target
from .trained_on import trained_on

if TYPE_CHECKING:
    from .target import Target

DEFAULT_PACK = "smollm2-135m-l20"
PACKS = Path(__file__).resolve().parents[1] / "packs"
_HASHED = ("*.safetensors", "nla_meta.yaml", "adapter_config.json")
_WHOLE_FILE_LIMIT = 64 << 20
_FORMS = 4
"""Examples of a pack's form that another reader is shown."""


@dataclass(frozen=True)
class PublicPair:
    """A released pair: hub ids of its AV, its AR and the target whose activations it reads."""

    av: str
    ar: str
    target: str


PUBLIC_PAIRS = {
    "qwen2.5-7b-l20": PublicPair(
        "kitft/nla-qwen2.5-7b-L20-av", "kitft/nla-qwen2.5-7b-L20-ar", "Qwen/Qwen2.5-7B-Instruct"
    ),
    "gemma3-12b-l32": PublicPair("kitft/nla-gemma3-12b-L32-av", "kitft/nla-gemma3-12b-L32-ar", "google/gemma-3-12b-it"),
    "gemma3-27b-l41": PublicPair("kitft/nla-gemma3-27b-L41-av", "kitft/nla-gemma3-27b-L41-ar", "google/gemma-3-27b-it"),
    "llama3.3-70b-l53": PublicPair(
        "kitft/Llama-3.3-70B-NLA-L53-av", "kitft/Llama-3.3-70B-NLA-L53-ar", "meta-llama/Llama-3.3-70B-Instruct"
    ),
}
"""Released pairs by short name."""


@dataclass(frozen=True)
class Pack:
    """An AV folder and an AR folder whose sidecars agree."""

    name: str
    path: Path
    """Folder of card.json, if the pack has a card."""
    av_path: Path
    ar_path: Path
    av: PackMeta
    ar: PackMeta

    @property
    def layer(self) -> int:
        """K: activations are the output of block K."""
        return self.av.layer

    @property
    def d_model(self) -> int:
        """Width of an activation."""
        return self.av.d_model

    @property
    def min_position(self) -> int:
        """First token index the pack was trained to read."""
        return self.av.min_position

    @property
    def max_new_tokens(self) -> int:
        """Token cap of one explanation. An explanation without its close tag by then is TRUNCATED."""
        return self.av.max_new_tokens

    @property
    def text_window(self) -> int:
        """Tokens up to a position that a reader of the text sees."""
        return self.av.text_window

    @property
    def text_only(self) -> Path | None:
        """Adapter file of the pack's own text reader; None if it has none. Raises PackError if the file is missing."""
        if self.av.text_only is None:
            return None
        file = self.av_path / Path(self.av.text_only).name
        if not file.is_file():
            raise PackError(
                f"pack '{self.name}' names the adapter {file.name}, which its AV folder lacks; restore the pack"
            )
        return file

    @cached_property
    def setting(self) -> Setting | None:
        """The pack's setting adapter; None if it has none. Raises PackError if its folder is missing."""
        if self.av.setting is None:
            return None
        folder = self.av_path / Path(self.av.setting).name
        if not folder.is_dir():
            raise PackError(
                f"pack '{self.name}' names the adapter folder {folder.name}, which its AV folder lacks; restore the "
                "pack"
            )
        return Setting(self.name, folder)

    @property
    def forms(self) -> tuple[str, ...]:
        """Some explanations in the pack's own form, from its card: references of its training, else its own texts."""
        examples = (self.card or {}).get("examples") or ()
        return tuple(e.get("reference") or e["explanation"] for e in examples[:_FORMS])

    @property
    def baselines(self) -> Baselines:
        """FVE denominators. Raises PackError if the sidecar has none: FVE means nothing without its baseline."""
        variance = self.ar.baseline_variance or self.av.baseline_variance
        if variance is None:
            raise PackError(
                f"pack '{self.name}' states no baseline variance; add nla_eval.baseline_variance (the variance of "
                "L2-normalised training activations) to its nla_meta.yaml"
            )
        return Baselines(float(variance))

    @cached_property
    def id(self) -> str:
        """Name and content hash."""
        digest = hashlib.sha256()
        for folder in (self.av_path, self.ar_path):
            for pattern in _HASHED:
                for file in sorted(folder.glob(pattern)):
                    digest.update(file.name.encode())
                    digest.update(_content(file))
        return f"{self.name}@{digest.hexdigest()[:12]}"

    @cached_property
    def training_hashes(self) -> frozenset[str]:
        """Hashes of the families and contents that it was trained on; empty if the pack does not say."""
        return trained_on(self.path)

    @property
    def card(self) -> Mapping[str, Any] | None:
        """The pack's measurements, from card.json; None without a card."""
        file = self.path / "card.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def check_target(self, target: Target) -> AVPrompt:
        """Check width, layer, tokenizer, slot neighbours and AR suffix against the target; return the AV prompt.

        A target with an adapter is read with the pack of its base.

        Raises:
            PackError: The first mismatch, and how to fix it.
        """
        config, mend = target.config, f"give --target {self.av.target or 'the model the pack was trained on'}"
        if config.hidden_size != self.d_model:
            raise PackError(
                f"pack '{self.name}' reads {self.d_model}-wide activations, target '{target.name}' has "
                f"{config.hidden_size}; {mend}"
            )
        if not 0 <= self.layer < config.num_hidden_layers:
            raise PackError(
                f"pack '{self.name}' reads block {self.layer}, target '{target.name}' has only "
                f"{config.num_hidden_layers} blocks; {mend}"
            )
        expected = self.av.target_hash
        if expected is not None and expected != target.base_hash:
            raise PackError(
                f"pack '{self.name}' was trained on target '{self.av.target}' ({expected}), but '{target.base_name}' "
                f"hashes to {target.base_hash}; give --target {self.av.target}, or train a pack for this target with "
                "nla-eval train"
            )
        if target.adapter is not None:
            target.adapter.check_layer(self.layer)
        check_ar_prompt(self.ar, target.tokenizer)
        prompt = av_prompt(self.av, target.tokenizer)
        self._check_own_tokenizers(target)
        return prompt

    def _check_own_tokenizers(self, target: Target) -> None:
        """Check that the target's tokenizer gives the same ids as the pack's own tokenizers, which the pair was trained
        with. BOS matters most: without it the released Gemma AR falls from an FVE of 0.77 to 0.31."""
        prompts: dict[str, tuple[Path, Callable[[Any], list[int]]]] = {
            "AV": (self.av_path, lambda tokenizer: list(av_prompt(self.av, tokenizer).ids)),
            "AR": (self.ar_path, lambda tokenizer: ar_ids(self.ar, tokenizer, "One thing.")),
        }
        for role, (folder, ids) in prompts.items():
            own = own_tokenizer(folder)
            if own is None or (role == "AV" and own.chat_template is None):
                continue
            theirs, ours = ids(own), ids(target.tokenizer)
            if theirs != ours:
                shared = min(len(theirs), len(ours))
                at = next((i for i in range(shared) if theirs[i] != ours[i]), shared)
                raise PackError(
                    f"target '{target.name}' tokenises the {role} prompt of pack '{self.name}' differently from the "
                    f"pack's own tokenizer (token {at}: {ours[at : at + 3]} for {theirs[at : at + 3]}); give a target "
                    f"folder with the tokenizer files and chat template of '{folder.name}'"
                )


def default_pack() -> Pack:
    """The pack that ships with the package."""
    return load_pack(DEFAULT_PACK)


def load_pack(name: str) -> Pack:
    """Find a pack by name.

    Args:
        name: A shipped pack, a folder with `av/` and `ar/`, "AV_FOLDER,AR_FOLDER", or a released pair such as
            "qwen2.5-7b-l20" (fetched from the hub).

    Raises:
        PackError: No pack has that name, or its sidecars disagree.
    """
    if "," in name:
        av_path, ar_path = (Path(part).expanduser() for part in name.split(",", 1))
        return _pack(av_path.name, av_path.parent, av_path, ar_path)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = PACKS / name
    if folder.is_dir():
        return _pack(folder.name, folder, folder / "av", folder / "ar")
    if name in PUBLIC_PAIRS:
        from .target import fetch_snapshot

        pair = PUBLIC_PAIRS[name]
        av_path, ar_path = fetch_snapshot(pair.av, "pack"), fetch_snapshot(pair.ar, "pack")
        found = _pack(name, av_path, av_path, ar_path)
        return replace(found, av=replace(found.av, target=found.av.target or pair.target))
    known = sorted({p.name for p in PACKS.glob("*") if p.is_dir()} | set(PUBLIC_PAIRS))
    raise PackError(f"no pack '{name}'; known: {', '.join(known)}, or a folder with av/ and ar/ inside, or 'AV,AR'")


def _pack(name: str, path: Path, av_path: Path, ar_path: Path) -> Pack:
    for folder in (av_path, ar_path):
        if not folder.is_dir():
            raise PackError(f"pack '{name}' has no folder '{folder.name}'; expected one for the AV and one for the AR")
    av, ar = read_meta(av_path, "av"), read_meta(ar_path, "ar")
    for what, ours, theirs in (("d_model", av.d_model, ar.d_model), ("layer", av.layer, ar.layer)):
        if ours != theirs:
            raise PackError(
                f"pack '{name}': AV says {what} {ours}, AR says {theirs}; they are not a pair; "
                "give the AV and AR of one pack"
            )
    return Pack(name, path, av_path, ar_path, av, ar)


def _content(file: Path) -> bytes:
    """The file's bytes; for large weights only the size and the first and last megabyte."""
    size = file.stat().st_size
    if size <= _WHOLE_FILE_LIMIT:
        return file.read_bytes()
    with file.open("rb") as handle:
        head = handle.read(1 << 20)
        handle.seek(-(1 << 20), 2)
        return str(size).encode() + head + handle.read()


def shipped_pack(target: Target) -> Pack:
    """The shipped pack that was trained on `target`. Raises PackError if there is none."""
    from ..models.pack import DEFAULT_PACK, PACKS, load_pack
    from ..models.target import DEFAULT_TARGET

    if target.base_name == DEFAULT_TARGET:
        return load_pack(DEFAULT_PACK)
    packs = (load_pack(folder.name) for folder in sorted(PACKS.glob("*/")))
    found = next((pack for pack in packs if pack.av.target_hash == target.base_hash), None)
    if found is None:
        raise PackError(
            f"no shipped pack belongs to target '{target.base_name}' ({target.base_hash}); name one (--pack, or "
            "-M pack= in Inspect), or train one with nla-eval train"
        )
    return found
