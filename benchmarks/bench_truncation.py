"""Balanced truncation and singular perturbation on SLICOT systems and the steel rail, and of a million diagonal states.

Peers: slycot (`ab09ad`, `ab09nd`), pyMOR (`BTReductor`) and python-control (`balred`, which calls slycot). Accuracy is
‖G_r − exact‖_∞ / ‖G‖_∞ in digits, where exact is the reduction from Gramians refined in extended precision; for fom,
the rails and singular perturbation it is the largest distance from ours at some frequencies. What a peer makes of its
input, such as a model, is part of its time: it caches Gramians in it. The data come from the folder SSM_ZOO_DATA.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from peers import riccati
from peers import truncation as peers

import ssm_balance as sb
from ssm_balance.interop import load_slicot
from ssm_gramians import Diagonal, StateSpace

DATA = Path(os.environ.get("SSM_ZOO_DATA", "nowhere"))
ORDERS = {"build": 10, "pde": 4, "heat-cont": 6, "random": 8, "heat-disc": 6, "fom": 10}
MILLION = 10**6
needs_data = pytest.mark.skipif(not (DATA / "slicot").is_dir(), reason="SSM_ZOO_DATA has no SLICOT data")


def load(name):
    """Return the system, sparse where the file is."""
    folder = "rail" if name.startswith("rail") else "slicot"
    return load_slicot(DATA / folder / f"{name}.npz", dt=1.0 if name == "heat-disc" else 0.0).system


def digits(distance):
    """Return correct decimal digits, one after the point."""
    return round(float(-np.log10(max(distance, 1e-17))), 1)


def truncations(system, order):
    """Return everyone's balanced truncation of a dense system."""
    return {
        "ours": lambda: sb.balanced_truncation(system, order).system,
        "slycot": (lambda: peers.slycot_truncation(system, order)) if peers.HAS_SLYCOT else None,
        "pyMOR": (lambda: peers.pymor_balanced(system, order)) if peers.HAS_PYMOR else None,
        "python-control": None if not peers.HAS_CONTROL else lambda: peers.control_balred(system, order),
    }


@needs_data
@pytest.mark.parametrize("name", ["build", "pde", "heat-cont", "random", "heat-disc"])
def test_balanced_truncation(race, name):
    """Dense systems of 48 to 200 states; heat-disc with E, in discrete time, where no extended reference is."""
    system, order = load(name).to_dense(), ORDERS[name]
    contestants, facts = truncations(system, order), {}
    if system.is_discrete:
        contestants["python-control"] = None  # it calls the routine for continuous time
    else:
        exact, gain = riccati.refined(system, order, "truncation"), sb.hinf_norm(system)
        for who, call in contestants.items():
            facts[who] = {"digits": digits(sb.hinf_norm(sb.difference(call(), exact)) / gain)} if call else {}
            assert facts[who].get("digits", 9) >= 8, who
    race(f"balanced truncation, {name}, n={system.order} to {order}", contestants, facts, rounds=9)


@needs_data
def test_balanced_truncation_of_a_thousand_states(race):
    """Only fom: block diagonal, which its file keeps as sparse; ours takes it either way."""
    system, order = load("fom"), ORDERS["fom"]
    dense = system.to_dense()
    contestants = truncations(dense, order) | {
        "ours": lambda: sb.low_rank_truncation(system, order).system,
        "ours, dense": lambda: sb.balanced_truncation(dense, order).system,
        "pyMOR": (lambda: peers.pymor_balanced(system, order)) if peers.HAS_PYMOR else None,
        "python-control": None,  # slycot once more
    }
    points = 1j * np.logspace(-1, 3.3, 50)
    race(f"balanced truncation, fom, n=1006 to {order}", contestants, apart(contestants, points), rounds=3)


@needs_data
@pytest.mark.parametrize("name", ["rail_371", "rail_1357"])
def test_steel_rail(race, name):
    """Sparse A and E, seven inputs, six outputs, to 20 states; slycot works on the dense matrix."""
    system = load(name)
    contestants = {
        "ours": lambda: sb.low_rank_truncation(system, 20).system,
        "pyMOR": (lambda: peers.pymor_balanced(system, 20)) if peers.HAS_PYMOR else None,
        "slycot": (lambda: peers.slycot_truncation(system, 20)) if peers.HAS_SLYCOT and system.order < 1000 else None,
    }
    facts = apart(contestants, 1j * np.logspace(-6, 1, 50))
    race(f"balanced truncation, {name}, n={system.order} to 20", contestants, facts, rounds=3)


def apart(contestants, points):
    """Return each contestant's distance from ours, relative to the largest gain: all give one map."""
    maps = {name: call().transfer_function(points) for name, call in contestants.items() if call}
    largest = np.abs(maps["ours"]).max()
    facts = {name: {"from_ours": float(np.abs(values - maps["ours"]).max() / largest)} for name, values in maps.items()}
    assert all(fact["from_ours"] < 1e-8 for fact in facts.values()), facts
    return facts


@needs_data
def test_singular_perturbation(race):
    """The system `random`, which is stiff."""
    system, order = load("random").to_dense(), ORDERS["random"]
    control = lambda: peers.control_balred(system, order, method="matchdc")  # noqa: E731
    contestants = {
        "ours": lambda: sb.singular_perturbation(system, order).system,
        "slycot": (lambda: peers.slycot_residualization(system, order)) if peers.HAS_SLYCOT else None,
        "python-control": control if peers.HAS_CONTROL else None,
    }
    facts = apart(contestants, 1j * np.logspace(-3, 5, 80))
    race(f"singular perturbation, random, n=200 to {order}", contestants, facts, rounds=9)


def million(kind):
    """Return a million modes with four decades of time constants; with an imaginary part unless they are real."""
    rng, decay = np.random.default_rng(0), np.logspace(-2, 2, MILLION)
    B, C = rng.standard_normal((MILLION, 1)), rng.standard_normal((1, MILLION)) / MILLION
    if kind == "real":
        return StateSpace(Diagonal(-decay), B, C)
    poles = decay * (-1 + 1j * rng.uniform(0, 3, MILLION))
    B, C = (M * np.exp(2j * np.pi * rng.uniform(size=M.shape)) for M in (B, C))
    return StateSpace(Diagonal(poles, paired=kind == "paired"), B, C)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
def test_a_million_diagonal_states(benchmark, kind):
    """End to end to 25 states, or as many as rounding leaves; within the bound at 30 frequencies. Seconds of CPU."""
    system, points = million(kind), 1j * np.logspace(-3, 3, 30)
    found = benchmark.pedantic(sb.low_rank_truncation, (system, 25), rounds=3, warmup_rounds=1)
    full = np.array([system.transfer_function(points[[k]])[0, 0, 0] for k in range(points.size)])
    error = float(np.abs(full - found.system.transfer_function(points)[:, 0, 0]).max())
    benchmark.group = f"balanced truncation, {kind} diagonal, n=1000000"
    facts = {"order": found.order, "columns": found.hsv.size, "bound": found.error_bound / found.hsv[0]}
    benchmark.extra_info.update({**facts, "error": error / float(found.hsv[0])})
    assert error <= found.error_bound
