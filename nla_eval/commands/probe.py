"""`nla-eval probe`: trains a linear probe, and measures a probe or the target's own answers on told pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..models.dtypes import checked_dtype, torch_dtype
from ..models.probe import load_probe, write_probe
from ..models.target import Target, load_target
from ..transcript import Arm

if TYPE_CHECKING:
    from ..measure.told import ToldPair


@dataclass(frozen=True)
class PairRequest:
    """The told pairs to read, and the target."""

    target: str
    conversations: str | None = None
    """Source of conversations that notices are placed in; None for the short shipped pairs."""
    limit: int = 60
    """Number of conversations."""
    dtype: str = "auto"

    def pairs(self) -> list[ToldPair]:
        """The pairs. Raises InputError if the source gives no conversation."""
        from ..measure.told import placed_pairs, told_pairs
        from ..sources import Skipped, SourceOptions, read

        if self.conversations is None:
            return told_pairs()
        options = SourceOptions(suite="conversations", arm=Arm.DEPLOYMENT)
        found = (item for item in read(self.conversations, options) if not isinstance(item, Skipped))
        return placed_pairs(islice(found, self.limit))


@dataclass(frozen=True)
class ProbeRequest:
    """What to train a probe on."""

    out: str
    read: PairRequest
    pack: str | None = None
    """The pack whose layer is read; None for the target's own."""
    layer: int | None = None
    """Block to read, in place of a pack's."""
    tokens: int = 6
    """Tokens read per conversation, the same on both sides."""


def train(request: ProbeRequest) -> None:
    """Train a probe, write its file and print its figures."""
    checked_dtype(request.read.dtype)
    out, target = Path(request.out), load_target(request.read.target)
    if out.suffix != ".safetensors":
        raise InputError(f"--out '{out.name}'; expected a .safetensors file")
    layer = _layer(request, target)
    from ..engines.capture import capture
    from ..engines.config import EngineConfig
    from ..engines.loading import load_trunk
    from ..engines.side_by_side import Split
    from ..measure.probe import describe, matched_rows, train_probe

    pairs = request.read.pairs()
    config = EngineConfig(dtype=torch_dtype(request.read.dtype))
    trunk = load_trunk(target.path, layer, config.dtype, config.attention, trust=target.trust_remote_code)
    read = partial(capture, trunk, config=config, split=Split())
    rows = matched_rows(pairs, target.tokenizer, read, request.tokens)
    for reason, count in rows.left_out.items():
        print(f"{count} pairs left out: {reason}")
    probe = train_probe(rows, pairs, target, layer, out.stem)
    write_probe(probe, out)
    print("\n".join(describe(probe)))
    print(f"{out}; read with it: nla-eval read SOURCE --out STORE --lanes measured,probe --probe {out}")


def plan(request: ProbeRequest) -> None:
    """Print what training a probe would read. Loads no weights."""
    target = load_target(request.read.target)
    layer = _layer(request, target)
    pairs = request.read.pairs()
    print(_size(pairs, target, f"blocks 0 to {layer}"))
    print(f"at most {2 * request.tokens * len(pairs):,} activations; writes {request.out}")


def plan_asked(request: PairRequest) -> None:
    """Print what asking the target would read. Loads no weights."""
    print(_size(request.pairs(), load_target(request.target), "all blocks"))
    print("each transcript is asked the questions of the lane asked, without a text being drawn")


def _size(pairs: list[ToldPair], target: Target, through: str) -> str:
    from ..replay.replay import ReplayConfig, replay

    cut = ReplayConfig(target.max_context)
    tokens = sum(len(replay(side, target.tokenizer, cut)) for pair in pairs for side in (pair.told, pair.untold))
    return f"{len(pairs):,} pairs, {2 * len(pairs):,} transcripts: {tokens:,} tokens through {through} of {target.name}"


def show(file: str) -> None:
    """Print the facts of a probe file."""
    from ..measure.probe import describe

    print("\n".join(describe(load_probe(Path(file)))))


def asked(request: PairRequest) -> None:
    """Ask the target after every told pair, and print what its answers are worth beside readers of the text."""
    from ..engines.kinds import ENGINES, RuntimeSettings
    from ..measure.asked import asked_figures
    from ..measure.probe import said

    settings, pairs = RuntimeSettings(request.target, dtype=request.dtype), request.pairs()
    kind = ENGINES.get(settings.engine)
    target = kind.target(settings)
    found = asked_figures(pairs, target.tokenizer, target.max_context, kind.answerer(settings, target))
    print(f"{found.transcripts} transcripts asked; {found.unasked} could not be")
    print(f"mean score told {found.told:.3f}, untold {found.untold:.3f}; a yes or no has probability {found.mass:.2f}")
    print("AUROC of told over untold transcripts, 95 % interval over notices:")
    for name, figure in found.readers.items():
        print(f"  {name:<11}{said(figure)}")


def _layer(request: ProbeRequest, target: Target) -> int:
    from ..models.pack import load_pack, shipped_pack

    if request.layer is None:
        pack = load_pack(request.pack) if request.pack else shipped_pack(target)
        pack.check_target(target)
        return pack.layer
    if request.pack is not None:
        raise InputError("--layer and --pack both say which block to read; give only one")
    blocks = int(target.config.num_hidden_layers)
    if not 0 <= request.layer < blocks:
        raise InputError(f"--layer {request.layer}; expected 0 to {blocks - 1}, the blocks of '{target.name}'")
    return request.layer
