"""Activations of prompts at the tokens to read, one row per token. In: prompts and the target's blocks 0..K. Out: a
frame, kept in parts so that a stopped run goes on where it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ...files import written
from .config import Part, SettingConfig
from .lessons import Prompt, prompts

_PART = 40
"""Conversations per file: a stopped run loses about a minute."""
_TOGETHER = 12


class Capture:
    """Blocks 0..K of a target, which may carry an adapter.

    Args:
        trunk: Blocks 0..K, with the identity as final norm.
        others: Further blocks whose outputs are taken, below K.
    """

    def __init__(self, trunk: Any, others: Sequence[int] = ()) -> None:
        self.trunk, self.others = trunk, tuple(others)
        self._tapped: dict[int, torch.Tensor] = {}
        for layer in self.others:
            trunk.layers[layer].register_forward_hook(self._tap(layer))

    def _tap(self, layer: int) -> Any:
        def hook(_module: Any, _given: Any, output: Any) -> None:
            self._tapped[layer] = output if isinstance(output, torch.Tensor) else output[0]

        return hook

    @torch.inference_mode()
    def rows(
        self, sequences: Sequence[NDArray[np.int32]], positions: Sequence[Sequence[int]]
    ) -> list[list[NDArray[np.float32]]]:
        """(P, d) activations of each sequence: of block K, then of the other blocks."""
        found: dict[int, list[NDArray[np.float32]]] = {}
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        for start in range(0, len(order), _TOGETHER):
            group = order[start : start + _TOGETHER]
            ids = [torch.from_numpy(sequences[i].astype(np.int64)) for i in group]
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            last = self.trunk(input_ids=padded, use_cache=False).last_hidden_state
            for row, i in enumerate(group):
                states = [last, *(self._tapped[layer] for layer in self.others)]
                found[i] = [state[row, list(positions[i])].numpy() for state in states]
        return [found[i] for i in range(len(sequences))]


def stored_rows(folder: Path, capture: Capture, tokenizer: Any, config: SettingConfig, part: Part) -> pl.DataFrame:
    """The rows of one part, captured now, or from the files of a stopped run in `folder`.

    Columns: conversation, source, prompt (its number within the part), kind, group, setting, notice, boundary, into,
    tail, context (text up to the token), vector, and other (the compared block's, if there is one).

    Raises:
        InputError: No conversation could be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    numbers = itertools.count()
    made = prompts(tokenizer, config, part)
    parts = iter(lambda: list(itertools.islice(made, _PART)), [])
    for start, chunk in enumerate(parts):
        path, whole = folder / f"{part}-{start:03}.parquet", list(itertools.chain.from_iterable(chunk))
        own = [next(numbers) for _ in whole]
        if not path.is_file():
            frame = pl.DataFrame(list(_rows(capture, tokenizer, whole, own)))
            with written(path) as scratch:
                frame.write_parquet(scratch)
            print(f"rows of {part}: {len(own)} prompts, {len(frame)} rows in part {start}", flush=True)
        frames.append(pl.read_parquet(path))
    if not frames:
        raise InputError(f"no conversation of part '{part}' is plain English; give more sources in the configuration")
    frame = pl.concat(frames)
    with written(folder / f"{part}.parquet") as scratch:
        frame.write_parquet(scratch)
    return frame


def _rows(capture: Capture, tokenizer: Any, some: Sequence[Prompt], numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    read = capture.rows([p.ids for p in some], [[place.position for place in p.places] for p in some])
    for number, prompt, states in zip(numbers, some, read, strict=True):
        for i, place in enumerate(prompt.places):
            row = {
                "conversation": prompt.conversation,
                "source": prompt.source,
                "prompt": number,
                "kind": prompt.kind.name,
                "group": prompt.kind.group,
                "setting": prompt.kind.setting.value,
                "notice": prompt.notice,
                "boundary": place.boundary,
                "into": place.into,
                "tail": place.tail,
                "context": tokenizer.decode(prompt.ids[: place.position + 1].tolist()),
                "vector": states[0][i].tolist(),
            }
            yield row if len(states) == 1 else {**row, "other": states[1][i].tolist()}


def vectors(frame: pl.DataFrame, column: str = "vector") -> NDArray[np.float32]:
    """(n, d) activations of the rows."""
    return np.array(frame[column].to_list(), np.float32).reshape(len(frame), -1)
