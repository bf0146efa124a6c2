"""Gradients of Hankel singular values against differences in forty digits, which use no code of ours."""

import mpmath
import numpy as np
import pytest
import torch

from ssm_balance import hankel_singular_values
from ssm_gramians import Diagonal, StateSpace, UnsupportedError

N = 4


def precise_gramian(A, B, dt):
    """Solve the equation as one linear system."""
    n, F = A.rows, B * B.H
    operator, right = mpmath.matrix(n * n, n * n), mpmath.matrix(n * n, 1)
    for i in range(n):
        for j in range(n):
            right[i * n + j] = -F[i, j]
            for k in range(n):
                if dt:
                    for m in range(n):
                        operator[i * n + j, k * n + m] += A[i, k] * mpmath.conj(A[j, m])
                else:
                    operator[i * n + j, k * n + j] += A[i, k]
                    operator[i * n + j, i * n + k] += mpmath.conj(A[j, k])
            operator[i * n + j, i * n + j] -= bool(dt)
    x = mpmath.lu_solve(operator, right)
    return mpmath.matrix(n, n) + mpmath.matrix([[x[i * n + j] for j in range(n)] for i in range(n)])


def precise_values(A, B, C, dt):
    L = mpmath.cholesky(precise_gramian(A, B, dt))
    values = mpmath.eighe(L.H * precise_gramian(A.H, C.H, dt) * L, eigvals_only=True)
    return sorted((mpmath.sqrt(value) for value in values), reverse=True)


def precise_slope(arrays, directions, weights, dt):
    """Return the derivative of Σ weight_i σ_i along a direction."""

    def value(t):
        moved = (
            mpmath.matrix(X.tolist()) + t * mpmath.matrix(D.tolist()) for X, D in zip(arrays, directions, strict=True)
        )
        return mpmath.fdot(weights, precise_values(*moved, dt))

    with mpmath.workdps(40):
        step = mpmath.mpf(10) ** -14
        return float((value(step) - value(-step)) / (2 * step))


def system_of(structure, dt, n=N, seed=0):
    """Return arrays A (dense, or modes), B, C of a stable system."""
    rng = np.random.default_rng(seed)
    kind = "real" if structure == "real" else "complex"

    def normal(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if kind == "complex" else 0)

    if structure in ("real", "complex"):
        A = normal(n, n) / 5
        return (A if dt else A - 1.2 * np.eye(n)), normal(n, 2), normal(1, n)
    modes = rng.uniform(0.3, 0.95, n) * np.exp(1j * rng.uniform(0.2, 3, n))
    return (modes if dt else modes - 1.1), normal(n, 2), normal(1, n)


def as_dense(structure, A, B, C):
    """Return the dense matrices behind A, B, C: linear in them, so that directions map like the system."""
    if structure == "diagonal":
        return np.diag(A), B, C
    if structure == "paired":
        dense = np.block([[np.diag(A.real), -np.diag(A.imag)], [np.diag(A.imag), np.diag(A.real)]])
        return dense, np.vstack([B.real, B.imag]), 2 * np.hstack([C.real, -C.imag])
    return A, B, C


def values_of(structure, A, B, C, dt):
    if structure in ("diagonal", "paired"):
        A = Diagonal(A, paired=structure == "paired")
    return hankel_singular_values(StateSpace(A, B, C, dt=dt))


@pytest.mark.parametrize("dt", [0.0, 1.0], ids=["continuous", "discrete"])
@pytest.mark.parametrize("structure", ["real", "complex", "diagonal", "paired"])
@pytest.mark.parametrize("weighting", ["sum", "second", "random"])
def test_slopes_agree_with_forty_digits(structure, dt, weighting):
    slots = 2 if structure == "paired" else N
    arrays, directions = system_of(structure, dt, slots), system_of(structure, dt, slots, seed=1)
    states = 2 * slots if structure == "paired" else N
    weights = {
        "sum": np.ones(states),
        "second": np.eye(states)[1],
        "random": np.random.default_rng(2).standard_normal(states),
    }[weighting]
    inputs = [torch.tensor(X).requires_grad_() for X in arrays]

    loss = values_of(structure, *inputs, dt) @ torch.tensor(weights)
    gradients = torch.autograd.grad(loss, inputs)

    slope = sum(torch.tensor(D).conj().mul(g).sum().real for D, g in zip(directions, gradients, strict=True))
    wanted = precise_slope(as_dense(structure, *arrays), as_dense(structure, *directions), weights, dt)
    assert abs(float(slope) - wanted) < 1e-9 * max(abs(wanted), 1)


def test_a_descriptor_matrix_has_a_gradient_too():
    A, B, C = (torch.tensor(X).requires_grad_() for X in system_of("real", 1.0))
    E = (torch.eye(N, dtype=torch.float64) + A.detach() / 4).requires_grad_()

    def values(A, B, C, E):
        return hankel_singular_values(StateSpace(A, B, C, dt=1.0, E=E))

    assert torch.autograd.gradcheck(values, (A, B, C, E))


def test_values_are_those_without_gradients():
    arrays = [torch.tensor(X) for X in system_of("paired", 1.0)]
    plain = values_of("paired", *arrays, 1.0)

    values = values_of("paired", *(X.requires_grad_() for X in arrays), 1.0)

    assert values.requires_grad
    assert torch.equal(values.detach(), plain)


def test_an_ill_conditioned_system_keeps_its_slopes():
    n = 14  # σ falls by sixteen decades: √eig(PQ) has lost half of them, and its gradient more
    modes, ones = -np.logspace(0, 1, n), np.ones((n, 1))
    inputs = [torch.tensor(X).requires_grad_() for X in (modes, ones, ones.T)]

    hsv = values_of("diagonal", *inputs, 0.0)
    loss = hsv.sum()
    gradients = torch.autograd.grad(loss, inputs)

    assert hsv[-1] < 1e-12 * hsv[0]
    slope = float(gradients[0] @ torch.tensor(modes))  # all time constants scaled: every σ scales inversely
    assert abs(slope + float(loss.detach())) < 1e-11 * float(loss.detach())
    gain = float((gradients[1] * inputs[1]).sum().detach())  # B scaled: every σ scales with it
    assert abs(gain - float(loss.detach())) < 1e-11 * float(loss.detach())


def test_a_mode_out_of_reach_has_a_finite_gradient():
    A, B, C = (torch.tensor(X, dtype=torch.float64) for X in ([[-1, 0], [0, -2]], [[1], [0]], [[1, 1]]))
    inputs = [X.requires_grad_() for X in (A, B, C)]

    gradients = torch.autograd.grad(values_of("real", *inputs, 0.0).sum(), inputs)

    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_equal_values_have_a_gradient_of_their_sum():
    A, B, C = (torch.tensor(X) for X in (-np.eye(2), np.eye(2), np.eye(2)))

    assert torch.autograd.gradcheck(lambda A: values_of("real", A, B, C, 0.0).sum(), (A.requires_grad_(),))


def test_a_batch_has_the_gradients_of_a_loop():
    systems = [system_of("real", 1.0, seed=seed) for seed in range(3)]
    together = [torch.tensor(np.stack(parts)).requires_grad_() for parts in zip(*systems, strict=True)]

    values_of("real", *together, 1.0).sum().backward()

    for k, arrays in enumerate(systems):
        alone = [torch.tensor(X).requires_grad_() for X in arrays]
        values_of("real", *alone, 1.0).sum().backward()
        for batch, single in zip(together, alone, strict=True):
            torch.testing.assert_close(batch.grad[k], single.grad, rtol=1e-9, atol=1e-11)


def test_single_precision_systems_get_single_precision_gradients():
    inputs = [torch.tensor(X, dtype=torch.float32).requires_grad_() for X in system_of("real", 1.0)]

    values_of("real", *inputs, 1.0).sum().backward()

    assert {X.grad.dtype for X in inputs} == {torch.float32}


def test_a_second_derivative_is_refused():
    A, B, C = (torch.tensor(X).requires_grad_() for X in system_of("real", 1.0))
    (first,) = torch.autograd.grad(values_of("real", A, B, C, 1.0).sum(), A, create_graph=True)

    with pytest.raises(UnsupportedError, match="first derivatives only"):
        first.sum().backward()
