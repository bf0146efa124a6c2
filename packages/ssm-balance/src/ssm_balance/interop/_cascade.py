"""A system from its zeros and poles that keeps them."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ssm_gramians import ShapeError, StateSpace

if TYPE_CHECKING:
    from jaxtyping import Inexact

Section: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, complex]  # A, B, C, D of one input and one output
Group: TypeAlias = tuple[complex, ...]


def cascade(zeros: Inexact[np.ndarray, " z"], poles: Inexact[np.ndarray, " p"], gain: complex, dt: float) -> StateSpace:
    """G = k ∏ (s − z_i) / ∏ (s − p_i) as a chain of sections: A is block triangular with the poles on its diagonal.

    Real if poles and zeros come in conjugate pairs.

    Parameters
    ----------
    zeros, poles
        At least as many poles as zeros, and at least one.
    gain
        k.
    dt
        Sampling time in seconds; 0 for continuous time.

    Raises
    ------
    ShapeError
        If there are more zeros than poles, or no poles.
    """
    if poles.size < max(1, zeros.size):
        msg = f"got {zeros.size} zeros and {poles.size} poles; want at least as many poles as zeros, and at least one"
        raise ShapeError(msg)
    real = _is_closed(zeros) and _is_closed(poles) and not np.imag(gain)
    sections = _sections(_groups(poles, real), _groups(zeros, real))
    A, B, C, D = sections[0]
    for section in sections[1:]:
        A, B, C, D = _in_series((A, B, C, D), section)
    k = complex(gain)
    feedthrough = np.array([[k * D]])
    A, B, C, feedthrough = (np.real(X) if real else X.astype(complex) for X in (A, B, k * C, feedthrough))
    return StateSpace(A, B, C, feedthrough, dt)


def _is_closed(values: np.ndarray) -> bool:
    """Whether conjugates come in pairs, to the last bit."""
    return bool(np.array_equal(np.sort_complex(values), np.sort_complex(np.conj(values))))


def _groups(values: np.ndarray, real: bool) -> list[Group]:
    """Take conjugates, then what is real, two at a time; the last may be alone."""
    upper = [complex(value) for value in values if real and value.imag > 0]
    rest = [complex(value) for value in values if not real or value.imag == 0]
    rest.sort(key=abs)
    return [(value, value.conjugate()) for value in upper] + [tuple(rest[k : k + 2]) for k in range(0, len(rest), 2)]


def _sections(poles: list[Group], zeros: list[Group]) -> list[Section]:
    """Share the zeros out, a pair to a pair; a single zero to the single pole, or to a pair that has none."""
    single = zeros.pop() if zeros and len(zeros[-1]) == 1 else ()
    alone = poles.pop() if len(poles[-1]) == 1 else ()
    if not alone and single:
        zeros, single = [*zeros, single], ()
    sections = [_section(pair, held) for pair, held in zip_longest(poles, zeros, fillvalue=())]
    return [*sections, _section(alone, single)] if alone else sections


def _section(poles: Group, zeros: Group) -> Section:
    if len(poles) == 1:
        p = poles[0]
        return np.array([[p]]), np.ones((1, 1)), np.array([[p - zeros[0]] if zeros else [1]]), float(bool(zeros))
    p, q = poles
    if p.imag and q == p.conjugate():
        return _rotation(p, zeros)
    # x₁ = u / (s − p), x₂ = x₁ / (s − q)
    C = {0: [0, 1], 1: [1, q - sum(zeros)], 2: [p + q - sum(zeros), np.prod([q - z for z in zeros])]}[len(zeros)]
    return np.array([[p, 0], [1, q]]), np.array([[1.0], [0.0]]), np.array([C]), float(len(zeros) == 2)


def _rotation(pole: complex, zeros: Group) -> Section:
    """Place the poles a ± bi by [[a, b], [−b, a]]: x₁ = t u / (t² + b²) and x₂ = −b u / (t² + b²) with t = s − a."""
    a, b = pole.real, pole.imag
    slope, level = 0.0, 1.0  # of the numerator, slope · t + level, apart from D (t² + b²)
    if zeros:
        slope = 1.0 if len(zeros) == 1 else (2 * a - sum(zeros)).real
        level = float(np.prod([a - z for z in zeros]).real) - (b * b if len(zeros) == 2 else 0)
    A = np.array([[a, b], [-b, a]])
    return A, np.array([[1.0], [0.0]]), np.array([[slope, -level / b]]), float(len(zeros) == 2)


def _in_series(first: Section, second: Section) -> Section:
    A, B, C, D = first
    F, G, H, J = second
    top = np.concatenate([A, np.zeros((A.shape[0], F.shape[0]))], axis=1)
    bottom = np.concatenate([G @ C, F], axis=1)
    return np.concatenate([top, bottom]), np.concatenate([B, G * D]), np.concatenate([J * C, H], axis=1), J * D
