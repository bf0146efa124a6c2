"""Lyapunov, Stein and Sylvester solvers for state-space models: batched, structured, on any array library."""

__version__ = "0.1.0.dev0"
