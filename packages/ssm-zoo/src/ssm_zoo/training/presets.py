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
    "listops": {
        "d_model": 128,
        "d_state": 256,
        "n_layers": 6,
        "dropout": 0.0,
        "steps": 80_000,
        "batch_size": 32,
        "lr": 1e-3,
        "ssm_lr_factor": 0.5,
        "weight_decay": 0.05,
        "eval_every": 2000,
        "checkpoint_every": 500,
    },
    "imdb": {
        "d_model": 256,
        "d_state": 192,
        "n_layers": 1,
        "dropout": 0.2,
        "steps": 50_000,
        "batch_size": 32,
        "lr": 1e-3,
        "ssm_lr_factor": 0.1,
        "weight_decay": 0.05,
        "eval_every": 1250,
        "checkpoint_every": 500,
    },
}
"""Settings of each task that differ from the defaults of `TrainConfig`.

Those of smnist, listops and imdb are the CompreSSM paper's.
"""
