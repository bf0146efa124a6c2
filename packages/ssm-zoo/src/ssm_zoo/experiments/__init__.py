"""Experiments as files: arms and seeds in TOML, each arm a run folder, results as JSON lines, a table and a plot."""

from .file import Arm, Experiment, load_experiment
from .report import rows_of, write_report
from .run import run_experiment

__all__ = ["Arm", "Experiment", "load_experiment", "rows_of", "run_experiment", "write_report"]
