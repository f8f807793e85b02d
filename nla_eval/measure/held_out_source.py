"""Makes held-out rows from transcripts of any source by replaying them through the target. Also captures short prompts.

In: a registered source or a file. Out: `HeldOut`. It knows no verbalizer. Conversations that the pack was trained on
are left out by hash. Everything left out is counted by reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..engines.base import CaptureRequest, Engine
from ..engines.loading import load_lm
from ..errors import InputError
from ..models.target import Target
from ..models.trained_on import training_hashes
from ..replay.positions import parse_policy, sample_positions
from ..replay.replay import ReplayConfig, replay
from ..replay.types import Channel, Replay
from ..sources import SOURCES, Skipped, SourceOptions
from ..suite import family_bucket
from ..transcript import Arm, Transcript
from .figures import Ints
from .held_out import Around, HeldOut, Window, neighbours
from .held_out_request import Request
from .shown_tokens import shown_token


def from_source(
    target: Target, layer: int, min_position: int, request: Request, exclude: frozenset[str] = frozenset()
) -> HeldOut:
    """Replay a source's transcripts, sample positions and capture their activations.

    Args:
        target: The model the pack belongs to.
        layer: K; activations are the output of block K.
        min_position: First position that the pack can verbalize.
        request: Source, number and split of rows.
        exclude: Hashes of training families and contents, from a pack's `training_hashes.txt`.

    Raises:
        InputError: The source gives no usable row.
    """
    left_out: dict[str, int] = {}
    chosen = list(_chosen(target, min_position, request, exclude, left_out))
    if not chosen:
        why = "; ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "the source is empty"
        raise InputError(f"no held-out row in '{request.source}' ({why}); give another --source")
    lm = load_lm(target.path, torch.float32, trust=target.trust_remote_code)
    rows: list[_Row] = []
    windows: list[Window] = []
    for number, (made, positions, window) in enumerate(chosen):
        wanted = np.unique(np.concatenate([positions, window]))
        vectors, ahead = _run(lm, layer, made.token_ids, wanted)
        at = {int(p): i for i, p in enumerate(wanted.tolist())}
        rows += [
            _row(made, p, vectors[at[p]], shown_next(target.tokenizer, made, p, ahead[at[p]]), number)
            for p in positions.tolist()
        ]
        if len(window):
            text = made.text[: int(made.char_end[window[-1]])]
            windows.append(Window(vectors[[at[p] for p in window.tolist()]], text))
    return _gathered(request.kind, rows[: request.rows], windows, left_out)


@dataclass(frozen=True)
class _Row:
    vector: NDArray[np.float32]
    around: Around
    role: str
    next_token: str
    conversation: int


def _gathered(kind: str, rows: Sequence[_Row], windows: list[Window], left_out: dict[str, int]) -> HeldOut:
    return HeldOut(
        kind=kind,
        activations=np.stack([r.vector for r in rows]),
        contexts=[r.around.context for r in rows],
        starts=[r.around.starts for r in rows],
        continuations=[r.around.continuation for r in rows],
        roles=[r.role for r in rows],
        next_token=[r.next_token for r in rows],
        conversation=np.array([r.conversation for r in rows], np.int64),
        windows=windows,
        left_out=left_out,
    )


def _row(made: Replay, position: int, vector: NDArray[np.float32], next_token: str, conversation: int) -> _Row:
    return _Row(
        vector=vector,
        around=Around.of(made.text, (made.char_start, made.char_end), position),
        role=Channel(int(made.channel[position])).label,
        next_token=next_token,
        conversation=conversation,
    )


def shown_next(tokenizer: Any, made: Replay, position: int, token_id: int) -> str:
    """The target's likeliest next token in the form that explanations use."""
    end = int(made.char_end[position])
    return shown_token(str(tokenizer.decode([token_id])), made.text[end - 1 : end].isalnum())


def _chosen(
    target: Target, min_position: int, request: Request, exclude: frozenset[str], left_out: dict[str, int]
) -> Iterator[tuple[Replay, Ints, Ints]]:
    """Yield (replay, positions, positions of a window) until there are enough rows."""
    policy, rng = parse_policy(f"stratified({request.per_conversation})"), np.random.default_rng(request.seed)
    rows = windows = 0
    for transcript in _transcripts(request, exclude, left_out):
        try:
            made = replay(
                transcript, target.tokenizer, ReplayConfig(max_tokens=min(request.max_tokens, target.max_context))
            )
        except InputError as fault:
            _count(left_out, str(fault).split(";")[0][:80])
            continue
        positions = sample_positions(made, policy, seed=request.seed, min_position=min_position)
        if len(positions) < request.per_conversation:
            _count(left_out, "shorter than the pack can read")
            continue
        window = neighbours(len(made), min_position, rng) if windows < request.windows else None
        windows += window is not None
        rows += len(positions)
        yield made, positions, np.empty(0, np.int64) if window is None else window
        if rows >= request.rows:
            return


def _transcripts(request: Request, exclude: frozenset[str], left_out: dict[str, int]) -> Iterator[Transcript]:
    name, path = request.reader
    seen: set[str] = set()
    for item in SOURCES.get(name)(path, SourceOptions(suite="held_out", arm=Arm.DEPLOYMENT)):
        if isinstance(item, Skipped):
            _count(left_out, item.reason.split(";")[0])
        elif item.family in seen:
            _count(left_out, "a second transcript of its family")
        elif request.bucket is not None and family_bucket(item.family) != request.bucket:
            continue
        elif not exclude.isdisjoint(training_hashes(item.family, item.digest)):
            _count(left_out, "the pack was trained on it")
        else:
            seen.add(item.family)
            yield item


def _count(left_out: dict[str, int], reason: str) -> None:
    left_out[reason] = left_out.get(reason, 0) + 1


@torch.inference_mode()
def _run(lm: Any, layer: int, ids: NDArray[np.int32], positions: Ints) -> tuple[NDArray[np.float32], list[int]]:
    """(activations (P, d_model), likeliest next ids (P,)) at `positions`, from one forward pass of the whole model."""
    kept: list[torch.Tensor] = []
    decoder = lm.get_decoder()
    hook = decoder.layers[layer].register_forward_hook(
        lambda _module, _inputs, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        final = decoder(input_ids=torch.tensor([ids.tolist()]), use_cache=False).last_hidden_state
    finally:
        hook.remove()
    at = torch.from_numpy(positions)
    ahead = lm.get_output_embeddings()(final[0, at]).argmax(dim=-1)
    return kept[0][0, at].float().numpy(), ahead.tolist()


def read_at(
    engine: Engine, tokenizer: Any, transcripts: Iterable[Transcript], policies: Sequence[str], min_position: int
) -> Iterator[tuple[int, Replay, Ints, NDArray[np.float32]]]:
    """Yield (index, replay, positions, activations (P, d_model)) of short transcripts, at the positions of all
    `policies`."""
    made: dict[str, tuple[int, Replay, Ints]] = {}
    for index, transcript in enumerate(transcripts):
        one = replay(transcript, tokenizer, ReplayConfig(max_tokens=1024))
        drawn = [sample_positions(one, parse_policy(p), seed=0, min_position=min_position) for p in policies]
        made[str(index)] = (index, one, np.unique(np.concatenate(drawn)))
    requests = [CaptureRequest(key, one.token_ids, at) for key, (_, one, at) in made.items() if len(at)]
    for captured in engine.capture(requests):
        if captured.error is not None:
            raise InputError(f"a validation prompt could not be read: {captured.error}; choose another target")
        yield *made[captured.key], captured.activations
