"""Checks a training run before it begins: the target's architecture, its chat template, the injection character, the
layer, the pack to start from, free disk. Reads configs and tokenizers, no weights."""

from __future__ import annotations

import shutil
from typing import Any

from ..errors import InputError, NlaEvalError
from .estimate import checkpoint_bytes, empty_model, whole_bytes
from .models.marker import injection_marker
from .models.optim import LINEARS
from .run import AV_TEMPLATE, Run, joint_drawing, vllm_drawing

_LEAST_FREE = 1 << 30
"""Bytes reserved in the run folder for logs, corpus and explanations, which are not counted one by one."""


def check(run: Run) -> None:
    """Check everything. Raises InputError for the first thing that would stop the run."""
    try:
        config = run.target.config
    except (ValueError, KeyError) as err:
        reason = str(err).splitlines()[0]
        raise InputError(
            f"target '{run.config.target}': transformers does not know its architecture: {reason}; "
            "choose another target"
        ) from err
    blocks, width = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not blocks or not width:
        raise InputError(
            f"target '{run.config.target}': its config names no num_hidden_layers and hidden_size; "
            "choose another target"
        )
    if run.config.layer >= blocks:
        raise InputError(
            f"layer {run.config.layer}: target '{run.config.target}' has blocks 0 to {blocks - 1}; give one of these"
        )
    check_architecture(config, run.config.target)
    injection_marker(run.target.tokenizer, AV_TEMPLATE)
    run.start()
    if run.config.joint.steps:
        joint_drawing(run.config)
    elif run.config.ar_on_samples.samples:
        vllm_drawing(run.config)
    _check_disk(run, width)


def check_architecture(config: Any, target: str) -> None:
    """Check that the model has the modules that capture and adapters need: `model.layers`, `model.norm`, `lm_head` and
    the linears in `LINEARS`. The model is built without weights. Raises InputError naming the missing ones."""
    try:
        model = empty_model(config)
    except (ValueError, KeyError) as err:
        raise InputError(
            f"target '{target}': transformers knows no causal LM '{config.model_type}'; choose another"
        ) from err
    inner = getattr(model, "model", None)
    places = ((inner, "layers"), (inner, "norm"), (model, "lm_head"))
    missing = [name for place, name in places if getattr(place, name, None) is None]
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    missing += [name for name in LINEARS if name not in names]
    if missing:
        raise InputError(
            f"target '{target}' ({config.model_type}) has no {', '.join(missing)}; choose a target with Llama's modules"
        )


def _check_disk(run: Run, width: int) -> None:
    """Check that the disk has room for activations and checkpoints (weights and two moments in float32)."""
    run.folder.mkdir(parents=True, exist_ok=True)
    corpus = run.config.corpus
    average = sum(length * share for length, share in corpus.length_mix) / sum(share for _, share in corpus.length_mix)
    positions = corpus.token_budget / average * (corpus.positions_per_conversation + 2)
    adapters = (
        run.target.config.num_hidden_layers * width * 2 * 12 * max(run.config.ar.lora_rank, run.config.av.lora_rank)
    )
    whole = checkpoint_bytes(run.config, run.target) + whole_bytes(run.config, run.target)
    need = int(positions * width * 4 + 2 * adapters * 12 + whole) + _LEAST_FREE
    try:
        free = shutil.disk_usage(run.folder).free
    except OSError as err:
        raise NlaEvalError(
            f"run folder '{run.folder}' cannot be read: {err.strerror}; give another --run-folder"
        ) from err
    if free < need:
        raise InputError(
            f"run folder '{run.folder}' has {free / 2**30:.1f} GiB free and the run needs about {need / 2**30:.1f}; "
            "give --run-folder on a larger disk"
        )
