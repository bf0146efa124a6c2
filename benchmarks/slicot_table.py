"""Every method on every SLICOT system, and on the steel rail: bound, measured error, peers, and what refinement gains.

Run it: `python benchmarks/slicot_table.py [--systems build pde]` with SSM_ZOO_DATA set. It writes results/slicot.json,
a row at a time, skipping the rows that are there, and then the page docs/reference/slicot.md from that file. In a row:

* bound: the a priori one of the H∞ error (kind "hinf"), or of the coprime factors (kind "coprime"); null if none;
* error, upper: the measured error, enclosed; rounding: how much of it may be rounding;
* peers: ‖G_r − G_peer‖_∞ / ‖G‖_∞ for those who have the method; a text where one failed;
* hankel: ‖G − G_r‖_H, and σ_{r+1}, which it should be;
* h2: ‖G − G_r‖₂ before and after `refine_h2`, null where a feedthrough makes it infinite.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import slicot_page
from peers import truncation as peers
from scipy import linalg
from slicot_methods import Setting, methods, names, rivals

import ssm_balance as sb
from ssm_balance import interop
from ssm_gramians import GramiansError, Sparse, StateSpace

RESULTS = Path(__file__).parent / "results" / "slicot.json"
ORDERS = {"build": 10, "pde": 4, "heat-cont": 6, "heat-disc": 6, "random": 8, "fom": 10}
ORDERS |= {"MNA_1": 10, "peec": 10, "rail_371": 20, "rail_1357": 20}
SINGULAR = ("MNA_1", "peec")
LARGE = ("low_rank_truncation", "h2_optimal")  # take a sparse system as it is
MADE_DENSE = ("balanced_truncation", "singular_perturbation")  # these take a sparse A and E, and make it dense
LONG = ("positive_real_truncation", "lqg_truncation")  # to pyMOR too; its bounded-real one takes a minute for fom
LARGEST = {"extended": 400, "slycot": 1100}  # states, for the sake of minutes
CERTIFIED = 3000  # states up to which an error is enclosed; half a minute at 1400


def load(name):
    """Return the system, sparse where the file is."""
    path = Path(os.environ["SSM_ZOO_DATA"]) / ("rail" if name.startswith("rail") else "slicot") / f"{name}.npz"
    return interop.load_slicot(path, dt=1.0 if name == "heat-disc" else 0.0).system


def coprime(reduction):
    """Enclose the error of the normalised coprime factors [N; M], from the regulator of the full system."""
    full = StateSpace(*peers.plain(reduction.full), reduction.full.dt)
    X, eye = _regulator(full), np.eye(full.inputs)
    weight = eye + full.B.T @ X @ full.B if full.is_discrete else eye
    F = -np.linalg.solve(weight, full.B.T @ X @ (full.A if full.is_discrete else np.eye(full.order)))
    root = np.linalg.inv(linalg.sqrtm(weight)).real

    def closed(system, F):
        output, direct = np.concatenate([system.C + system.D @ F, F]), np.concatenate([system.D @ root, root])
        return StateSpace(system.A + system.B @ F, system.B @ root, output, direct, system.dt)

    return sb.hinf_bracket(sb.difference(closed(full, F), closed(reduction.system, F @ reduction.right)))


def _regulator(full):
    """Solve its Riccati equation by SciPy, or where that takes minutes by pyMOR in low rank."""
    if full.order > LARGEST["extended"]:
        return peers.pymor_regulator(full)
    solve = linalg.solve_discrete_are if full.is_discrete else linalg.solve_continuous_are
    return solve(full.A, full.B, full.C.T @ full.C, np.eye(full.inputs))


def measured(method, reduction):
    """Return the bound and the error that it is one of."""
    if method == "lqg_truncation":
        bracket, bound = coprime(reduction), sb.coprime_error_bound(reduction.hsv, reduction.order)
        limit = 1e-8 * bound + 1e-13
        facts = {"kind": "coprime", "bound": bound, "rounding": 1e-13, "holds": bool(bracket.lower <= bound + limit)}
        return facts | {"error": bracket.lower, "upper": bracket.upper}
    found = reduction.certify(dense_limit=CERTIFIED)
    bound = found.error_bound if np.isfinite(found.error_bound) else None
    facts = {"kind": "hinf", "bound": bound, "holds": found.holds, "error": found.hinf.lower, "upper": found.hinf.upper}
    if method == "hankel_norm_approximation":
        error = sb.hankel_norm(sb.difference(reduction.full.to_dense(), reduction.system))
        facts["hankel"] = [float(error), float(reduction.hsv[reduction.order])]
    return facts | {"rounding": found.rounding, "stable": found.is_stable}


def compared(method, reduction, setting):
    """Return ‖G_r − G_peer‖ / ‖G‖ for each peer."""
    found = {}
    system = reduction.full
    for name, peer in rivals(method, setting).items():
        if system.order > LARGEST.get("extended" if method in LONG else name, np.inf):
            continue
        try:
            theirs = peer(system, reduction.order)
            found[name] = sb.linf_bracket(sb.difference(reduction.system, theirs)).lower / setting.gain
        except Exception as failure:  # whatever a peer says stands in the table
            found[name] = f"{type(failure).__name__}: {failure}".splitlines()[0][:120]
    return found


def refined(full, reduction):
    """Return the H2 errors before and after, and IRKA's from the same start."""
    try:
        found = sb.refine_h2(full, reduction.system)
    except (sb.BalanceError, GramiansError, ValueError) as failure:
        return {"refused": f"{type(failure).__name__}: {failure}"}
    before = found.before if np.isfinite(found.before) else None
    facts = {"before": before, "after": found.after, "steps": found.steps, "slope": found.slope}
    if reduction.method == "balanced truncation" and not full.is_discrete:
        try:
            irka = peers.pymor_irka(full, reduction.system)
            facts["irka"] = float(sb.refine_h2(full, irka, max_steps=0).before)
        except Exception as failure:
            facts["irka"] = f"{type(failure).__name__}"
    return facts


def row(name, method, system, setting):
    """Do one method on one system."""
    key = {"system": name, "method": method, "n": system.order}
    sparse = method in LARGE or name.startswith("rail")
    start = time.perf_counter()
    try:
        reduction = methods(setting)[method](system if sparse else system.to_dense(), ORDERS[name])
    except (sb.BalanceError, GramiansError, ValueError, ArithmeticError) as failure:
        return key | {"refused": f"{type(failure).__name__}: {failure}"}
    seconds = time.perf_counter() - start
    facts = measured(method, reduction) | {"peers": compared(method, reduction, setting)}
    full = reduction.full if method == "positive_real_truncation" else system
    facts["h2"] = refined(full if isinstance(full.A, Sparse) and full.order > 400 else full.to_dense(), reduction)
    return key | {"order": reduction.order, "gain": setting.gain, "seconds": round(seconds, 3), **facts}


def main():
    """Fill what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", default=list(ORDERS), choices=list(ORDERS))
    parser.add_argument("--again", nargs="*", default=[], help="methods whose rows are made anew")
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.exists() else []
    rows = [row for row in rows if row["method"] not in options.again or row["system"] not in options.systems]
    for name in options.systems:
        wanted = [m for m in names() if not name.startswith("rail") or m in LARGE + MADE_DENSE]
        missing = [m for m in wanted if (name, m) not in {(row["system"], row["method"]) for row in rows}]
        if not missing:
            continue
        system = load(name)
        setting = Setting.unknown(system) if name in SINGULAR else Setting.of(system)
        for method in missing:
            rows.append(row(name, method, system, setting))
            print(json.dumps(rows[-1]), flush=True)
            save(rows)
    save(rows)
    slicot_page.write(RESULTS)


def save(rows):
    """Write all rows, in the order of the table."""
    order = [(name, method) for name in ORDERS for method in names()]
    rows = sorted(rows, key=lambda row: order.index((row["system"], row["method"])))
    text = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    context = json.dumps({"threads": os.environ.get("OMP_NUM_THREADS", "all"), "versions": versions()})
    RESULTS.write_text(f'{{\n  "context": {context},\n  "rows": [\n{text}\n  ]\n}}\n', encoding="utf-8")


def versions():
    """Return the versions of what takes part."""
    return {name: version(name) for name in ("numpy", "scipy", "slycot", "pymor") if find_spec(name)}


if __name__ == "__main__":
    main()
