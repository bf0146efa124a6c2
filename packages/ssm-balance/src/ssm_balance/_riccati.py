"""Stabilising solutions of algebraic Riccati equations, as factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device
from scipy import linalg

from ._descriptor import undivided, without_descriptor
from ._errors import RiccatiError
from ._host import dense_matrices, members, on_host
from ._single_factor import observability_factor

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Inexact

    from ssm_gramians import StateSpace

    from ._arrays import Array

_HALF = np.finfo(float).eps ** 0.5  # of the digits: with fewer right, the solution is no start for a factor


class Supply(NamedTuple):
    """xᴴ Q x + 2 Re xᴴ S u + uᴴ R u: what the state and the input cost; R may be indefinite."""

    Q: Inexact[np.ndarray, "n n"]
    S: Inexact[np.ndarray, "n m"]
    R: Inexact[np.ndarray, "m m"]


def regulator_factor(system: StateSpace) -> Inexact[np.ndarray, "n k"]:
    """Z Zᴴ = X, the least cost xᴴ X x of |y|² + |u|² from the state x on.

    Parameters
    ----------
    system
        One system in NumPy arrays, without E.

    Raises
    ------
    RiccatiError
        If it cannot be stabilised, or an undamped mode cannot be seen.
    """
    A, B, C, D = dense_matrices(system)
    Ch, Dh = C.conj().T, D.conj().T
    _, F, _ = stabilising(system, Supply(Ch @ C, Ch @ D, np.eye(D.shape[1]) + Dh @ D))
    closed, seen = A + B @ F, np.concatenate([C + D @ F, F])
    return observability_factor(closed, seen, discrete=system.is_discrete)  # a step of Newton's method as well


def storage_factor(system: StateSpace, supply: Supply, C: Inexact[np.ndarray, "q n"]) -> Inexact[np.ndarray, "n k"]:
    """Z Zᴴ = X, the energy xᴴ X x that can be drawn at the state x of a passive system, where R < 0 and Q = CᴴC.

    Parameters
    ----------
    system
        One stable system in NumPy arrays, without E.
    supply
        Minus the energy that goes in.
    C
        The root of Q, which may have no row.

    Raises
    ------
    RiccatiError
        If there is none: the system is not passive, or only just.
    """
    A = dense_matrices(system)[0]
    _, F, weight = stabilising(system, supply)
    try:
        root = linalg.cholesky(-weight)
    except np.linalg.LinAlgError as error:
        msg = "the weight of the input in the Riccati equation is not definite; is the system passive?"
        raise RiccatiError(msg) from error
    seen = np.concatenate([C, root @ F])  # AᴴX + XA + CᴴC + Fᴴ(−R)F = 0: an observability Gramian
    return observability_factor(A, seen, discrete=system.is_discrete)


def stabilising(system: StateSpace, supply: Supply) -> tuple[Array, Array, Array]:
    r"""AᴴX + XA + Q − (XB + S) R⁻¹ (BᴴX + Sᴴ) = 0; in discrete time AᴴXA − X + Q − (AᴴXB + S)(R + BᴴXB)⁻¹(…)ᴴ = 0.

    Parameters
    ----------
    system
        One system in NumPy arrays, without E.
    supply
        Q, S and R.

    Returns
    -------
    X, F, weight
        The Hermitian X for which all of A + B F decays, F = −weight⁻¹ (BᴴX + Sᴴ), and R or R + BᴴXB; in discrete time
        BᴴXA for BᴴX.

    Raises
    ------
    RiccatiError
        If there is no such X, or less than half of its digits are right.
    """
    failure = RiccatiError("")
    for solve in (_by_pencil,) if system.is_discrete else (_by_hamiltonian, _by_pencil):
        try:
            return _checked(system, supply, solve(system, supply))
        except (np.linalg.LinAlgError, ValueError, RiccatiError) as error:
            failure = RiccatiError(f"the Riccati equation has no stabilising solution, or rounding hides it: {error}")
    raise failure


def _by_hamiltonian(system: StateSpace, supply: Supply) -> Array:
    """From the stable invariant subspace of [A, −G; −Q, −Aᴴ], S eliminated: four times as fast as the pencil."""
    A, B, _, _ = dense_matrices(system)
    n, into = A.shape[0], np.linalg.solve(supply.R, np.concatenate([B.conj().T, supply.S.conj().T], axis=1))
    A = A - B @ into[:, n:]
    H = np.block([[A, -B @ into[:, :n]], [supply.S @ into[:, n:] - supply.Q, -A.conj().T]])
    scale = linalg.matrix_balance(H, permute=False, separate=True)[1][0]
    power = np.round(np.log2(scale[:n] / scale[n:]) / 2)
    d = 2.0 ** np.concatenate([power, -power])  # keeps the structure, as the two halves are each other's inverse
    _, U, stable = linalg.schur(H * d / d[:, None], output="complex" if np.iscomplexobj(H) else "real", sort="lhp")
    if stable != n:
        msg = "an eigenvalue of the Hamiltonian matrix is on the imaginary axis"
        raise RiccatiError(msg)
    U = U[:, :n] * d[:, None]
    return np.linalg.solve(U[:n].T, U[n:].T).T


def _by_pencil(system: StateSpace, supply: Supply) -> Array:
    """Without R⁻¹ (van Dooren 1981), by SciPy."""
    A, B, _, _ = dense_matrices(system)
    solve: Any = linalg.solve_discrete_are if system.is_discrete else linalg.solve_continuous_are
    return solve(A, B, _hermitian(supply.Q), _hermitian(supply.R), s=supply.S)


def _checked(system: StateSpace, supply: Supply, X: Array) -> tuple[Array, Array, Array]:
    """X, F, weight; half of the digits of X must be right, and A + B F stable."""
    A, B, _, _ = dense_matrices(system)
    X = _hermitian(X)
    gain = B.conj().T @ X
    weight = _hermitian(supply.R + gain @ B) if system.is_discrete else _hermitian(supply.R)
    cross = (gain @ A if system.is_discrete else gain) + supply.S.conj().T
    F = -np.linalg.solve(weight, cross)
    moved = A.conj().T @ X @ A - X if system.is_discrete else _hermitian(2 * X @ A)
    residual, rate = moved + supply.Q + cross.conj().T @ F, np.linalg.norm(A)
    scale = np.linalg.norm(X) * (1 + rate**2 if system.is_discrete else 2 * rate)
    poles = np.linalg.eigvals(A + B @ F)
    decays = np.all(np.abs(poles) < 1 if system.is_discrete else poles.real < 0)
    if not decays or np.linalg.norm(residual) > _HALF * (scale + np.linalg.norm(supply.Q)):
        msg = "a mode of the closed loop hardly decays"
        raise RiccatiError(msg)
    return X, F, weight


def factors_by_member(
    system: StateSpace, factor: Callable[[StateSpace], Inexact[np.ndarray, "n k"]]
) -> tuple[Inexact[Array, "*batch n k"], Inexact[Array, "*batch n k"]]:
    """Z_P of the dual system and Z_Q of the system itself, one member of a batch after another.

    Parameters
    ----------
    system
        Any; E is divided out, and Z_Qᴴ E Z_P has the values of the method.
    factor
        From one dense system in NumPy arrays to Z_Q.
    """
    plain = on_host(without_descriptor(system).to_dense())
    pairs = [(factor(member.dual()), factor(member)) for member in members(plain)]
    xp, like = array_namespace(system.B), {"device": device(system.B)}
    Z_P, Z_Q = (xp.asarray(_stacked([pair[k] for pair in pairs], plain), **like) for k in (0, 1))
    return Z_P, undivided(system, Z_Q)


def _stacked(factors: list[Array], system: StateSpace) -> Inexact[np.ndarray, "*batch n k"]:
    """Columns of zeros fill the narrow ones."""
    width = max((Z.shape[1] for Z in factors), default=system.order)
    filled = [np.pad(Z, [(0, 0), (0, width - Z.shape[1])]) for Z in factors]
    return np.reshape(np.array(filled, dtype=system.A.dtype), (*system.batch_shape, system.order, width))


def _hermitian(X: Array) -> Inexact[np.ndarray, "n n"]:
    return (X + X.conj().T) / 2
