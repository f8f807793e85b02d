"""A training run of the tiny target on chats of our own, small enough for seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nla_eval.training.config import TrainConfig

TOPICS = ("bread and butter", "the garden in spring", "a letter to my bank", "the night train", "old clocks")
BEFORE_PACK = ("corpus", "activations", "explanations", "ar", "av", "samples", "ar_on_samples")


def write_chats(path: Path, count: int = 90) -> Path:
    records = [
        {
            "id": f"chat{i}",
            "conversations": [
                {
                    "from": "human",
                    "value": f"Can you tell me about {TOPICS[i % 5]}? It is for class {i} in town.",
                },
                {
                    "from": "gpt",
                    "value": f"Of course. The story of {TOPICS[i % 5]} is that you do it for fun. " * 3,
                },
                {"from": "human", "value": "Thank you. And what is the best of it?"},
                {"from": "gpt", "value": f"It is that {TOPICS[(i + 1) % 5]} and the rest are the same to you."},
            ],
        }
        for i in range(count)
    ]
    path.write_text(json.dumps(records))
    return path


def settings(folder: Path, **changes: Any) -> TrainConfig:
    optim = {"samples": 48, "batch": 16, "lora_rank": 2}
    base: dict[str, Any] = {
        "name": "tiny",
        "target": str(folder / "target"),
        "layer": 1,
        "processes": 2,
        "corpus": {
            "sources": [{"name": "sharegpt", "path": str(folder / "chats.json")}],
            "token_budget": 30_000,
            "held_out_conversations": 6,
            "length_mix": [[600, 1.0]],
            "min_document_frequency": 3,
        },
        "explanation": {"lines": [["speaker", "themes(2)"], ["now", "like(1)", "expects(2)", "continuation(2)"]]},
        "max_new_tokens": 12,
        "ar": optim,
        "av": optim,
        "rollouts": 16,
        "ar_on_samples": {**optim, "samples": 32},
    }
    return TrainConfig.model_validate({**base, **changes})
