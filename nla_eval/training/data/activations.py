"""Captures training activations: the output of block K at chosen positions, the target's likeliest next tokens there,
and its own greedy continuation.

In: the corpus frame. Out: one safetensors file per shard. Each conversation is run once. The continuations of its
positions start from copies of its keys and values and are decoded together, each row from its own length. Shards run in
single-thread worker processes, which are faster on a shared machine than one process with many threads. Finished shards
are not run again."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

from ...engines.loading import load_lm
from ...engines.one_step import GROUPED
from ...engines.ragged import RaggedCache, empty_room
from ...errors import NlaEvalError
from ...files import written

TOP = 8
"""Number of next tokens kept per position, likeliest first."""
NOTHING = -1
"""Padding of a continuation after its end token."""
_BATCH_TOKENS = 3072
_DECODE_TOKENS = 12_288
"""Maximum size (rows times padded tokens) of the key-value cache for continuations."""


@dataclass(frozen=True)
class CaptureJob:
    """What to capture, and on which hardware."""

    target: Path
    layer: int
    """K: activations are the output of block K."""
    corpus: Path
    continuation: int = 0
    """Tokens of the target's own greedy continuation at each position; 0: none."""
    device: str = "cpu"
    """ "cpu", or "cuda": worker i runs on accelerator i modulo their number."""
    dtype: torch.dtype = torch.float32
    spread: bool = False
    """Spread one copy of the weights over all accelerators, instead of one copy per worker."""
    trust_remote_code: bool = False


def capture_shard(job: CaptureJob, shard: int, shards: int, out: Path) -> None:
    """Capture every `shards`-th conversation, ordered by length. Writes row, position, activation, next and
    continuation to `out`."""
    torch.set_num_threads(1)
    frame = pl.read_parquet(job.corpus)
    lengths = frame["token_ids"].list.len().to_numpy()
    mine = [int(i) for i in np.argsort(lengths, kind="stable")[shard::shards]]
    reader = Reader(job, shard)
    kept: dict[str, list[torch.Tensor]] = {}
    started, done = time.monotonic(), 0
    for batch in _batches(mine, lengths):
        ids = [np.asarray(frame["token_ids"][i].to_list()) for i in batch]
        positions = [np.asarray(frame["positions"][i].to_list(), np.int64) for i in batch]
        found = reader.read(ids, positions)
        found["row"] = torch.from_numpy(np.repeat(batch, [len(p) for p in positions]))
        found["position"] = torch.from_numpy(np.concatenate(positions))
        for name, values in found.items():
            kept.setdefault(name, []).append(values)
        done += sum(map(len, ids))
        print(f"capture {shard}: {done} tokens, {done / (time.monotonic() - started):.0f} tok/s", flush=True)
    with written(out) as part:
        save_file({name: torch.cat(values) for name, values in kept.items()}, part)


class Reader:
    """Runs the target over conversations and continues them."""

    def __init__(self, job: CaptureJob, worker: int = 0) -> None:
        self.job = job
        model = load_lm(job.target, job.dtype, GROUPED, trust=job.trust_remote_code)
        if job.spread:
            from accelerate import dispatch_model, infer_auto_device_map
            from accelerate.utils import get_balanced_memory

            kinds = list(getattr(model, "_no_split_modules", None) or [])
            memory = get_balanced_memory(model, no_split_module_classes=kinds)
            devices = infer_auto_device_map(model, max_memory=memory, no_split_module_classes=kinds)
            model = dispatch_model(model, devices)
        elif job.device == "cuda":
            model = model.to(f"cuda:{worker % torch.cuda.device_count()}")
        self.model = model
        ends = getattr(model.generation_config, "eos_token_id", None)
        self._ends = torch.tensor([ends] if isinstance(ends, int) else list(ends or []))
        self._tapped: list[torch.Tensor] = []
        model.model.layers[job.layer].register_forward_hook(self._tap)

    def _tap(self, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self._tapped = [output]

    @torch.inference_mode()
    def read(self, ids: Sequence[NDArray[np.int64]], positions: Sequence[NDArray[np.int64]]) -> dict[str, torch.Tensor]:
        """Run a batch of conversations.

        Args:
            ids: Token ids of each conversation, (T_i,).
            positions: Positions in each conversation, (P_i,); N in all.

        Returns:
            activation (N, d_model) float32 raw, next (N, TOP) ids, continuation (N, n) ids with `NOTHING` after the
            end. Rows are ordered by conversation, then position."""
        device = self.model.device
        padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(i) for i in ids], batch_first=True).to(device)
        cache = DynamicCache() if self.job.continuation else None
        final = self.model.model(input_ids=padded, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        row = torch.from_numpy(np.repeat(np.arange(len(ids)), [len(p) for p in positions]))
        at = torch.from_numpy(np.concatenate(positions))
        tapped = self._tapped[0]
        activation = tapped[row.to(tapped.device), at.to(tapped.device)].float().cpu()
        ahead = self.model.lm_head(final[row.to(final.device), at.to(final.device)]).topk(TOP).indices.cpu()
        found = {"activation": activation, "next": ahead}
        if cache is not None:
            found["continuation"] = self._continued(cache, row, at, ahead[:, 0])
        return found

    def _continued(self, cache: DynamicCache, row: torch.Tensor, at: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """(N, n) greedy continuations. `first` (N,) are their first tokens, known from the forward pass."""
        count = self.job.continuation
        out = torch.full((len(row), count), NOTHING, dtype=torch.int64)
        order = torch.argsort(at, descending=True).tolist()
        size = max(1, _DECODE_TOKENS // (int(at.max()) + 1 + count))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            out[rows] = self._group(cache, row[rows], at[rows], first[rows])
        return out

    def _group(self, cache: DynamicCache, row: torch.Tensor, at: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """(n, count) continuations of one batch of rows, longest prefix first; see `_continued`."""
        count, lengths = self.job.continuation, (at + 1).tolist()
        layers: Any = cache.layers
        rooms = [empty_room(layer.keys, layer.values, len(row), max(lengths) + count) for layer in layers]
        for room, layer in zip(rooms, layers, strict=True):
            for buffer, held in zip(room, (layer.keys, layer.values), strict=True):
                for place, (source, length) in enumerate(zip(row.tolist(), lengths, strict=True)):
                    buffer[place, :, :length] = held[source, :, :length]
        ragged = RaggedCache(rooms, lengths)
        written = [first]
        for _ in range(count - 1):
            ids = written[-1][:, None].to(self.model.device)
            logits = self.model(input_ids=ids, **ragged.step()).logits[:, -1]
            written.append(logits.argmax(-1).cpu())
        made = torch.stack(written, 1)
        over = torch.isin(made, self._ends).long().cumsum(1)
        behind = torch.nn.functional.pad(over[:, :-1], (1, 0)) > 0
        return made.masked_fill(behind, NOTHING)


def _batches(order: list[int], lengths: NDArray[np.int64]) -> Iterator[list[int]]:
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * int(lengths[i]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def capture_all(job: CaptureJob, folder: Path, processes: int) -> dict[str, torch.Tensor]:
    """Run the missing shards and return all of them, ordered by (row, position). A complete set of shards is used as it
    is, whatever the number of processes that made it.

    Returns:
        row and position (N,), activation (N, d_model), next (N, TOP), and, if requested, continuation (N, n).

    Raises:
        NlaEvalError: A worker died; finished shards are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = _complete(folder) or [folder / f"shard-{i}-of-{processes}.safetensors" for i in range(processes)]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=capture_shard, args=(job, i, processes, path))
        for i, path in enumerate(paths)
        if not path.exists()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise NlaEvalError("a capture worker died; its messages are above. Run the same command again to resume")
    return merged(paths)


def merged(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The tensors of the shards at `paths`, ordered by (row, position)."""
    shards = [load_file(path) for path in paths]
    found = {key: torch.cat([s[key] for s in shards]) for key in shards[0]}
    order = np.lexsort((found["position"].numpy(), found["row"].numpy()))
    return {key: value[order] for key, value in found.items()}


def _complete(folder: Path) -> list[Path]:
    """A complete set of shards in `folder`; empty if there is none."""
    found = sorted(folder.glob("shard-*-of-*.safetensors"))
    for last in found:
        count = int(last.stem.rsplit("-", 1)[1])
        shards = [folder / f"shard-{i}-of-{count}.safetensors" for i in range(count)]
        if all(path in found for path in shards):
            return shards
    return []
