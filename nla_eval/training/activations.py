"""Training activations: the output of block K at chosen positions, with the target's own next-token predictions there.

In: the corpus frame. Out: one safetensors file per shard (activations, top next tokens). Shards run in single-thread
worker processes, which on a shared machine beats one process of many threads, and a finished shard is not run again."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file

from ..engines.loading import load_lm

TOP = 3
_BATCH_TOKENS = 3072


def capture_shard(target: str, layer: int, corpus: str, shard: int, shards: int, out: str) -> None:
    """Capture every `shards`-th length-sorted conversation into `out`."""
    torch.set_num_threads(1)
    frame = pl.read_parquet(corpus).with_row_index("row")
    lengths = frame["token_ids"].list.len().to_numpy()
    mine = [int(i) for i in np.argsort(lengths, kind="stable")[shard::shards]]
    model = load_lm(Path(target), torch.float32)
    kept: list[torch.Tensor] = []
    model.model.layers[layer].register_forward_hook(lambda _m, _i, output: kept.append(output))
    rows, positions, activations, top = [], [], [], []
    started, done = time.monotonic(), 0
    for batch in _batches(mine, lengths):
        ids = [torch.tensor(frame["token_ids"][i].to_list()) for i in batch]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        kept.clear()
        with torch.inference_mode():
            final = model.model(input_ids=padded, use_cache=False).last_hidden_state
            for b, i in enumerate(batch):
                at = torch.tensor(frame["positions"][i].to_list())
                rows.append(torch.full((len(at),), i))
                positions.append(at)
                activations.append(kept[0][b, at].clone())
                top.append(model.lm_head(final[b, at]).topk(TOP).indices)
        done += int(sum(len(x) for x in ids))
        print(f"capture {shard}: {done} tokens, {done / (time.monotonic() - started):.0f} tok/s", flush=True)
    save_file(
        {"row": torch.cat(rows), "position": torch.cat(positions), "activation": torch.cat(activations),
         "next": torch.cat(top)},
        out + ".part",
    )  # fmt: skip
    Path(out + ".part").rename(out)


def _batches(order: list[int], lengths: np.ndarray) -> list[list[int]]:
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * int(lengths[i]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches


def capture_all(target: Path, layer: int, corpus: Path, folder: Path, processes: int) -> dict[str, torch.Tensor]:
    """Run the missing shards; return row, position, activation (N, d_model) and next (N, TOP), by (row, position)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"shard-{i}-of-{processes}.safetensors" for i in range(processes)]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=capture_shard, args=(str(target), layer, str(corpus), i, processes, str(path)))
        for i, path in enumerate(paths)
        if not path.exists()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a capture worker died; its messages are above. Run the same command again to resume")
    shards = [load_file(path) for path in paths]
    merged = {key: torch.cat([s[key] for s in shards]) for key in shards[0]}
    order = np.lexsort((merged["position"].numpy(), merged["row"].numpy()))
    return {key: value[order] for key, value in merged.items()}
