"""The settings of each task."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {},
    "smnist": {
        "d_state": 256,
        "n_layers": 1,
        "steps": 200_000,
        "lr": 4e-4,
        "schedule": "constant",
        "eval_every": 5000,
        "checkpoint_every": 1000,
        "log_every": 100,
    },
    "bytes": {
        "layer": "mamba",
        "d_model": 128,
        "d_state": 16,
        "dropout": 0.0,
        "norm": "rms",
        "length": 256,
        "steps": 800,
        "batch_size": 16,
        "lr": 4e-3,
        "weight_decay": 0.1,
        "cuts": 0,
        "log_every": 10,
        "checkpoint_every": 100,
    },
}
"""Settings of each task that differ from the defaults of `TrainConfig`; those of smnist are the CompreSSM paper's."""
