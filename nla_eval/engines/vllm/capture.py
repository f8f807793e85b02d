"""Runs inside vLLM's workers: a hook on block K that keeps the residual stream at the positions a request asks for.

vLLM loads the class by its dotted name (`worker_extension_cls`). It needs V1's model runner, eager mode and no prefix
cache. Chunked prefill, tensor parallel and pipeline parallel work. Rows return as safetensors bytes, never pickled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import save

POSITIONS, KEY = "nla_positions", "nla_key"
"""Names in a request's `extra_args`: the key of the result, and the ascending positions to keep."""


class CaptureExtension:
    """Mixin for vLLM's worker, which provides `model_runner`."""

    model_runner: Any

    def nla_install(self, layer: int) -> bool:
        """Hook block `layer`. Returns whether this worker has the block and is the one to return its rows."""
        from vllm.distributed import get_tensor_model_parallel_rank
        from vllm.model_executor.models.utils import PPMissingLayer

        model = self.model_runner.get_model()
        block = getattr(model, "language_model", model).model.layers[layer]
        self._nla_kept: dict[str, list[torch.Tensor]] = {}
        if isinstance(block, PPMissingLayer) or get_tensor_model_parallel_rank() != 0:
            return False
        block.register_forward_hook(self._nla_keep)
        return True

    def nla_collect(self) -> bytes:
        """Return the rows kept since the last call, as safetensors of (P, d_model) float32 by key."""
        kept, self._nla_kept = self._nla_kept, {}
        return bytes(save({key: torch.cat(rows) for key, rows in kept.items()}))

    def _nla_keep(self, module: Any, inputs: Any, output: Any) -> None:
        from vllm.forward_context import get_forward_context, is_forward_context_available

        if not is_forward_context_available() or get_forward_context().attn_metadata is None:
            return  # a warm-up run
        stream = _residual_stream(output)
        runner = self.model_runner
        batch, ends = runner.input_batch, runner.query_start_loc.cpu
        for row, request in enumerate(batch.req_ids):
            asked = runner.requests[request].sampling_params.extra_args or {}
            if KEY not in asked:
                continue
            start, stop = int(ends[row]), int(ends[row + 1])
            before = int(batch.num_computed_tokens_cpu[row])
            inside = places(np.asarray(asked[POSITIONS]), before, stop - start)
            if len(inside):
                rows = stream[torch.from_numpy(inside + start).to(stream.device)]
                self._nla_kept.setdefault(asked[KEY], []).append(rows.float().cpu())


def places(positions: np.ndarray, before: int, count: int) -> np.ndarray:
    """Indices, from 0, of the requested positions among the `count` tokens after the first `before`."""
    low, high = np.searchsorted(positions, [before, before + count])
    return np.asarray(positions[low:high] - before, np.int64)


def _residual_stream(output: Any) -> torch.Tensor:
    """A block's output (T, d). vLLM's fused blocks return it as two summands, the update and the residual."""
    if isinstance(output, tuple):
        hidden, residual = output[0], output[1] if len(output) > 1 else None
        return torch.as_tensor(hidden if residual is None else hidden + residual)
    return torch.as_tensor(output)
