"""Experiments as files: arms and seeds in TOML, each arm a run folder, results as JSON lines, a table and a plot."""

from .file import Arm, Experiment, load_experiment
from .report import figure_of, rows_of, table_of, write_report
from .run import run_experiment

__all__ = [
    "Arm",
    "Experiment",
    "figure_of",
    "load_experiment",
    "rows_of",
    "run_experiment",
    "table_of",
    "write_report",
]
