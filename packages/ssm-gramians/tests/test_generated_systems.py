"""Laws on generated systems: the spectrum, its distance from instability and the departure from normality are drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ssm_gramians as sg

EPS = np.finfo(float).eps
deterministic = settings(derandomize=True, max_examples=20, deadline=None, database=None)


@st.composite
def stable_matrices(draw, *, discrete=True):
    r"""Return $A = U T U^H$: the margin is that of the slowest mode, the entries above the diagonal are drawn large."""
    n = draw(st.integers(1, 7), label="n")
    margin = 10.0 ** draw(st.floats(-7, -0.5), label="log10 margin")
    departure = draw(st.sampled_from([0.0, 0.1, 1.0, 10.0]), label="departure from normality")
    rng = np.random.default_rng(draw(st.integers(0, 2**16), label="seed"))
    is_complex = draw(st.booleans(), label="complex")
    if discrete:
        modes = np.append((1 - margin) * rng.uniform(0, 0.9, n - 1), 1 - margin)
        modes = modes * (np.exp(2j * np.pi * rng.uniform(size=n)) if is_complex else rng.choice([-1, 1], n))
    else:
        modes = -np.append(rng.uniform(0.2, 5, n - 1), margin) + (1j * rng.standard_normal(n) if is_complex else 0)
    above = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if is_complex else 0)
    U = unitary(rng, n, is_complex)
    return U @ (np.diag(modes) + departure / n * np.triu(above, 1)) @ U.conj().T


def unitary(rng, n, is_complex):
    return np.linalg.qr(rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if is_complex else 0))[0]


def condition(equation):
    """Return the norm of the operator times that of its inverse, which is the norm of the answer to Q = I, exactly."""
    eye = sg.solve(equation(np.eye(equation.order))).value
    return (1 + equation.norm) * np.linalg.norm(eye, 2)


class Operator:
    """An equation waiting for its right-hand side."""

    def __init__(self, kind, A):
        self.kind, self.A, self.order = kind, A, A.shape[-1]
        self.norm = np.linalg.norm(A, 2) ** 2 if kind is sg.Stein else 2 * np.linalg.norm(A, 2)

    def __call__(self, Q):
        return self.kind(self.A, Q)

    def backward_error(self, X, Q):
        """Return the residual over what rounding alone may leave; A X may cancel, so its norm is no measure."""
        rest = np.linalg.norm(sum(self(Q).terms(X)))
        return rest / ((1 + self.norm) * np.linalg.norm(X) + np.linalg.norm(Q))


def input_of(A, m=2):
    rng = np.random.default_rng(A.shape[-1])
    return rng.standard_normal((A.shape[-1], m)) + (
        1j * rng.standard_normal((A.shape[-1], m)) if A.dtype == complex else 0
    )


both = pytest.mark.parametrize("kind", [sg.Stein, sg.Lyapunov], ids=lambda kind: kind.name)


def operators(kind):
    return stable_matrices(discrete=kind is sg.Stein).map(lambda A: Operator(kind, A))


def usable(equation):
    """Return the tolerance for a relative error in X, or None where no digit would be left."""
    tolerance = 100 * equation.order * EPS * condition(equation)
    return tolerance if tolerance < 1e-2 else None


@both
@deterministic
@given(data=st.data())
def test_the_residual_is_small_however_near_to_instability(kind, data):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)

    solution = sg.solve(equation(B @ B.conj().T))

    assert solution.converged, solution.status
    assert equation.backward_error(solution.value, B @ B.conj().T) < 100 * equation.order * EPS


@both
@deterministic
@given(data=st.data())
def test_a_gramian_is_hermitian_and_positive(kind, data):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)
    system = sg.StateSpace(equation.A, B, B.conj().T, dt=float(kind is sg.Stein))
    tolerance = usable(equation)

    P = sg.controllability_gramian(system)

    assert np.array_equal(P, P.conj().T)
    if tolerance:
        assert np.linalg.eigvalsh(P)[0] >= -tolerance * np.linalg.norm(P)


@both
@deterministic
@given(data=st.data())
def test_a_factor_reproduces_the_gramian(kind, data):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)
    system = sg.StateSpace(equation.A, B, B.conj().T, dt=float(kind is sg.Stein))
    tolerance = usable(equation)

    Z, _ = sg.gramian_factors(system)

    X = sg.solve(equation(B @ B.conj().T)).value
    if tolerance:
        assert np.linalg.norm(Z @ Z.conj().T - X) <= tolerance * np.linalg.norm(X)


@both
@deterministic
@given(data=st.data())
def test_a_unitary_change_of_basis_changes_the_basis_of_the_answer(kind, data):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)
    U = unitary(np.random.default_rng(5), equation.order, equation.A.dtype == complex)
    tolerance = usable(equation)

    X = sg.solve(equation(B @ B.conj().T)).value
    turned = sg.solve(kind(U @ equation.A @ U.conj().T, U @ B @ (U @ B).conj().T)).value

    if tolerance:
        assert np.linalg.norm(turned - U @ X @ U.conj().T) <= tolerance * np.linalg.norm(X)


@both
@deterministic
@given(data=st.data(), exponent=st.integers(-60, 60))
def test_the_answer_scales_with_the_right_hand_side(kind, data, exponent):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)
    Q = B @ B.conj().T

    X, scaled = (sg.solve(equation(factor * Q)).value for factor in (1.0, 2.0**exponent))

    assert np.linalg.norm(scaled / 2.0**exponent - X) <= 10 * EPS * np.linalg.norm(X)


@deterministic
@given(A=stable_matrices(discrete=False), exponent=st.integers(-20, 20))
def test_faster_time_makes_a_smaller_gramian(A, exponent):
    B = input_of(A)
    Q = B @ B.conj().T
    tolerance = usable(Operator(sg.Lyapunov, A))

    X, faster = (sg.solve(sg.Lyapunov(rate * A, Q)).value for rate in (1.0, 2.0**exponent))

    if tolerance:
        assert np.linalg.norm(faster * 2.0**exponent - X) <= tolerance * np.linalg.norm(X)


@both
@deterministic
@given(data=st.data())
def test_doubling_equals_the_direct_method_or_says_that_it_does_not(kind, data):
    equation = data.draw(operators(kind))
    B = input_of(equation.A)
    Q = B @ B.conj().T
    tolerance = usable(equation)

    doubled, direct = (sg.solve(equation(Q), solver) for solver in (sg.SquaredSmith(), sg.BartelsStewart()))

    if tolerance and doubled.converged:
        assert np.linalg.norm(doubled.value - direct.value) <= tolerance * np.linalg.norm(direct.value)


@deterministic
@given(A=stable_matrices())
def test_discrete_and_continuous_time_meet_in_the_bilinear_map(A):
    eye, B = np.eye(A.shape[-1]), input_of(A)
    tolerance = usable(Operator(sg.Stein, A))
    shifted = np.linalg.inv(A + eye) if np.linalg.cond(A + eye) < 1e3 else None
    if shifted is None or tolerance is None:
        return  # the map itself would lose the digits

    P = sg.solve(sg.Stein(A, B @ B.conj().T)).value
    right = 2 * shifted @ B @ B.conj().T @ shifted.conj().T
    X = sg.solve(sg.Lyapunov(shifted @ (A - eye), right)).value

    assert np.linalg.norm(X - P) <= 1e3 * tolerance * np.linalg.norm(P)
