"""The elimination of `Cauchy` against the closed form, on every kind of diagonal system."""

import itertools

import numpy as np
import pytest

from ssm_gramians import (
    Cauchy,
    ClosedForm,
    ConvergenceError,
    Diagonal,
    DtypeError,
    Gram,
    Lyapunov,
    ShapeError,
    Status,
    Stein,
    get_backend,
    solve,
)

KINDS = ["real", "complex", "paired", "paired, real slots", "from logarithms", "paired logarithms"]
SINGLE = {"d": np.float32, "D": np.complex64}


def make_diagonal(rng, kind, equation, batch=(), n=6):
    """Return a stable diagonal A with n eigenvalues or slots."""
    phase = 0 if kind == "real" else rng.uniform(0.1, 2.5, (*batch, n))
    if equation is Stein:
        values = rng.uniform(0.5, 0.99, (*batch, n)) * np.exp(1j * phase)
    else:
        values = -rng.uniform(0.1, 2, (*batch, n)) + 1j * phase
    values = values.real if kind == "real" else values
    if "slots" in kind:
        values[..., :2] = values[..., :2].real
    if "log" in kind:
        return Diagonal.from_log(np.log(values), paired="paired" in kind)
    return Diagonal(values, paired="paired" in kind)


def make_input(rng, A, m, kind):
    """Return an input matrix for A: real where A is."""
    B = rng.standard_normal((*A.shape[:-1], m))
    return B if kind in {"real"} or A.paired else B + 1j * rng.standard_normal(B.shape)


def dense(Z):
    """Return Z Z^H."""
    return Z @ Z.conj().mT


def single(array):
    """Return the array in single precision."""
    return array.astype(SINGLE[array.dtype.char])


def assert_solves(Z, A, B, equation, rtol=1e-13):
    """Check Z Z^H against the closed form."""
    X = solve(equation(A, dense(B)), ClosedForm()).unwrap()
    assert Z.shape[:-1] == X.shape[:-1]
    assert np.max(np.abs(dense(Z) - X), initial=0) <= rtol * np.max(np.abs(X), initial=0)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("equation", [Lyapunov, Stein])
def test_the_product_of_the_factors_is_the_closed_form(rng, equation, kind, m, backend):
    if "log" in kind and equation is Lyapunov:
        pytest.skip("logarithms are of discrete time")
    A = make_diagonal(rng, kind, equation)
    B = make_input(rng, A, m, kind)

    solution = solve(equation(A, Gram(B)), Cauchy(), backend)

    assert solution.converged
    assert solution.value.Z.dtype == B.dtype
    assert_solves(solution.value.Z, A, B, equation)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("kind", ["complex", "paired", "from logarithms"])
def test_every_library_gets_the_same_factor(rng, asarray, kind, m):
    A = make_diagonal(rng, kind, Stein)
    B = make_input(rng, A, m, kind)
    expected = solve(Stein(A, Gram(B)), Cauchy(), "numba").value.Z

    Z = solve(Stein(A.map(asarray), Gram(asarray(B))), Cauchy()).value.Z

    assert np.allclose(np.asarray(Z), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", ["complex", "paired"])
def test_a_batch_equals_a_loop(rng, kind, m, backend):
    A = make_diagonal(rng, kind, Lyapunov, batch=(2, 3))
    B = make_input(rng, A, m, kind)

    Z = solve(Lyapunov(A, Gram(B)), Cauchy(), backend).value.Z

    for k in itertools.product(range(2), range(3)):
        alone = Lyapunov(Diagonal(A.eigenvalues[k], A.paired), Gram(B[k]))
        assert np.allclose(Z[k], solve(alone, Cauchy(), backend).value.Z, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("rtol", [0, 1e-8])
def test_an_empty_batch_is_solved(rng, backend, m, rtol):
    A = make_diagonal(rng, "paired", Lyapunov, batch=(0,))

    solution = solve(Lyapunov(A, Gram(make_input(rng, A, m, "paired"))), Cauchy(rtol=rtol), backend)

    assert solution.converged
    assert solution.value.shape == (0, 12, 12)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
def test_one_a_serves_a_batch_of_right_sides(rng, backend):
    A = make_diagonal(rng, "complex", Stein)
    B = rng.standard_normal((3, 6, 1)) + 0j

    Z = solve(Stein(A, Gram(B)), Cauchy(), backend).value.Z

    for k in range(3):
        assert_solves(Z[k], A, B[k], Stein)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 2])
def test_one_mode(m, backend):
    A, B = Diagonal(np.array([-0.5 + 2j])), np.full((1, m), 3.0 + 0j)

    Z = solve(Lyapunov(A, Gram(B)), Cauchy(), backend).value.Z

    assert np.allclose(dense(Z), 9 * m, rtol=1e-15)


@pytest.mark.parametrize(("m", "backend"), [(1, "scipy"), (3, "scipy"), (1, "numba")])
@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
def test_single_precision_stays_single(rng, kind, m, backend):
    A = make_diagonal(rng, kind, Stein)
    B = make_input(rng, A, m, kind)

    Z = solve(Stein(A.map(single), Gram(single(B))), Cauchy(), backend).value.Z

    assert Z.dtype == single(B).dtype
    assert_solves(Z.astype(B.dtype), A, B, Stein, rtol=1e-5)


@pytest.mark.parametrize("m", [1, 3])
def test_a_complex_right_side_of_a_paired_matrix(rng, m):
    A = make_diagonal(rng, "paired, real slots", Lyapunov)
    B = rng.standard_normal((12, m)) + 1j * rng.standard_normal((12, m))

    Z = solve(Lyapunov(A, Gram(B)), Cauchy()).value.Z

    assert_solves(Z, A, B, Lyapunov)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("paired", [False, True])
def test_equal_modes_and_modes_without_input(rng, paired, m, backend):
    values = np.array([-1, -1, -2 + 1j, -2 + 1j, -3, -3 + 1e-9j])
    A = Diagonal(values, paired)
    B = make_input(rng, A, m, "complex")
    B[4] = B[-1] = 0

    Z = solve(Lyapunov(A, Gram(B)), Cauchy(), backend).value.Z

    assert_solves(Z, A, B, Lyapunov)


@pytest.mark.parametrize("m", [0, 1, 2])
@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("rtol", [0, 1e-8])
def test_no_input_gives_zero(m, backend, rtol):
    equation = Lyapunov(Diagonal(-np.arange(1.0, 4.0)), Gram(np.zeros((3, m))))

    solution = solve(equation, Cauchy(rtol=rtol), backend)

    assert solution.converged
    assert np.all(dense(solution.value.Z) == 0)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
@pytest.mark.parametrize("n", [200, 40_000])
def test_the_trace_of_what_is_left_is_met_and_not_by_far(rng, kind, m, backend, n):
    decay = np.logspace(-1, 1, n)
    values = -decay if kind == "real" else -decay * (1 + 1j * rng.uniform(0, 1, n))
    A = Diagonal(values, kind == "paired")
    B = make_input(rng, A, m, kind)
    G = B[:n] + 1j * B[n:] if A.paired else B
    trace = np.sum(np.abs(G) ** 2 / (2 * decay)[:, None])

    solution = solve(Lyapunov(A, Gram(B)), Cauchy(rtol=1e-6), backend)

    left = 1 - np.linalg.norm(solution.value.Z) ** 2 / trace
    assert solution.converged
    assert 1e-9 < left <= 1e-6
    assert solution.value.rank < 60 * m


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("n", [2000, 40_000])
def test_a_spectrum_that_is_not_low_rank_is_found_out_early(rng, backend, n):
    A = Diagonal(-(10 ** rng.uniform(-3, -2, n)) + 1j * rng.uniform(0, 50, n))

    solution = solve(Lyapunov(A, Gram(np.ones((n, 1)) + 0j)), Cauchy(rtol=1e-10, max_rank=200), backend)

    assert solution.status is Status.NOT_LOW_RANK
    assert solution.value.rank < 100
    with pytest.raises(ConvergenceError, match="max_rank"):
        solution.unwrap()


@pytest.mark.parametrize("backend", ["scipy", "numba"])
def test_a_lone_mode_among_many_is_not_missed(rng, backend):
    n = 40_000
    values = -np.logspace(-1, 1, n)
    values[12_345] = -1e-6
    B = rng.standard_normal((n, 1))

    Z = solve(Lyapunov(Diagonal(values), Gram(B)), Cauchy(rtol=1e-10), backend).unwrap().Z

    assert np.isclose(Z[12_345] @ Z[12_345], B[12_345, 0] ** 2 / 2e-6, rtol=1e-9)


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("rtol", [0, 1e-12])
def test_max_rank_is_kept(rng, m, rtol, backend):
    A = make_diagonal(rng, "paired", Stein)

    solution = solve(Stein(A, Gram(make_input(rng, A, m, "paired"))), Cauchy(rtol=rtol, max_rank=5), backend)

    assert solution.status is Status.NOT_LOW_RANK
    assert solution.value.rank == 4


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize(
    "equation",
    [
        Stein(Diagonal(np.array([0.5, 1.01])), Gram(np.ones((2, 1)))),
        Lyapunov(Diagonal(np.array([0.0])), Gram(np.ones((1, 1)))),
    ],
)
def test_an_unstable_mode_is_refused(equation, backend):
    solution = solve(equation, Cauchy(), backend)

    assert solution.status is Status.DIVERGED
    assert np.all(np.isnan(solution.value.Z))


@pytest.mark.parametrize("backend", ["scipy", "numba"])
@pytest.mark.parametrize("rtol", [0, 1e-6])
@pytest.mark.parametrize("n", [6, 40_000])
def test_inputs_are_untouched(rng, backend, rtol, n):
    if n > 6 and rtol == 0:
        pytest.skip("that many columns do not fit")
    values, B = -np.linspace(1, 2, n), rng.standard_normal((n, 1))
    before = values.copy(), B.copy()

    solve(Lyapunov(Diagonal(values), Gram(B)), Cauchy(rtol=rtol), backend)

    assert np.array_equal(values, before[0])
    assert np.array_equal(B, before[1])


@pytest.mark.parametrize("backend", ["scipy", "numba"])
def test_no_column_is_lost_where_squares_underflow(rng, backend):
    A = Diagonal(-np.arange(1, 41, dtype=np.float32))
    B = rng.standard_normal((40, 1)).astype(np.float32)

    Z = solve(Lyapunov(A, Gram(B)), Cauchy(), backend).value.Z

    assert np.all(np.max(np.abs(Z), axis=0) > 0)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_the_diagonal_gramian_is_the_quotient(rng, kind, discrete, m):
    equation = Stein if discrete else Lyapunov
    A = make_diagonal(rng, kind, equation, batch=(2,))
    B = make_input(rng, A, m, kind)
    expected = solve(equation(A, dense(B)), ClosedForm()).unwrap()

    for name in ("scipy", "numba"):
        X = get_backend(name).diagonal_gramian(A.eigenvalues, B, discrete=discrete)
        assert X.dtype == expected.dtype
        assert np.allclose(X, expected, rtol=1e-12, atol=0)


def test_the_diagonal_gramian_can_be_written_in_place(rng):
    A = make_diagonal(rng, "complex", Stein)
    B, out = make_input(rng, A, 1, "complex"), np.empty((6, 6), complex)

    X = get_backend("numba").diagonal_gramian(A.eigenvalues, B, discrete=True, out=out)

    assert X is out


@pytest.mark.parametrize("m", [0, 1, 2])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize(("batch", "n"), [((), 5), ((0,), 4), ((2, 3), 1), ((2,), 7), ((2100,), 16), ((130,), 64)])
def test_the_diagonal_gramian_is_hermitian_to_the_last_bit(rng, batch, n, dtype, discrete, m):
    a = 0.9 * np.exp(1j * rng.uniform(2, 4, (*batch, n)))  # in the left half plane, and in the unit disc
    a, B = (
        a.astype(dtype),
        (rng.standard_normal((*batch, n, m)) + 1j * rng.standard_normal((*batch, n, m))).astype(dtype),
    )
    expected = get_backend("scipy").diagonal_gramian(a, B, discrete=discrete)

    X = get_backend("numba").diagonal_gramian(a, B, discrete=discrete)

    assert X.dtype == dtype
    assert np.array_equal(X, X.conj().swapaxes(-1, -2))
    assert np.allclose(X, expected, rtol=2e3 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("skipped", range(4))
def test_the_diagonal_gramian_does_not_depend_on_where_it_is_written(rng, skipped, discrete):
    a = 0.9 * np.exp(1j * rng.uniform(2, 4, (130, 64)))
    B = rng.standard_normal((130, 64, 1)) + 1j * rng.standard_normal((130, 64, 1))
    memory = np.full(130 * 64 * 64 + 4, 7.0, dtype=complex)  # one entry is a quarter of a cache line
    out = memory[skipped : skipped - 4].reshape(130, 64, 64)

    X = get_backend("numba").diagonal_gramian(a, B, discrete=discrete, out=out)

    assert X is out
    assert np.array_equal(X, get_backend("numba").diagonal_gramian(a, B, discrete=discrete))
    assert np.all(memory[:skipped] == 7)
    assert np.all(memory[skipped - 4 :] == 7)


def test_the_diagonal_gramian_can_be_written_between_other_numbers(rng):
    A = make_diagonal(rng, "complex", Stein)
    B, memory = make_input(rng, A, 2, "complex"), np.zeros((6, 12), complex)
    out = memory[:, ::2]

    X = get_backend("numba").diagonal_gramian(A.eigenvalues, B, discrete=True, out=out)

    assert X is out
    assert np.array_equal(out, get_backend("numba").diagonal_gramian(A.eigenvalues, B, discrete=True))
    assert not memory[:, 1::2].any()


@pytest.mark.parametrize("out", [np.empty((6, 6)), np.empty((6, 6), np.complex64), np.empty((5, 6), complex)])
def test_the_diagonal_gramian_refuses_memory_that_does_not_fit(rng, out):
    A = make_diagonal(rng, "complex", Stein)
    B = make_input(rng, A, 1, "complex")

    with pytest.raises((DtypeError, ShapeError), match="give an array of that"):
        get_backend("numba").diagonal_gramian(A.eigenvalues, B, discrete=True, out=out)
