"""What a backend promises."""

# ruff: noqa: D102  (the name of a test is its documentation)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .._arrays import Array, adjoint
from .._errors import UnsupportedError
from ..backends import Backend, available_backends, get_backend
from .asserts import as_numpy, assert_close, assert_same_kind, assert_untouched

WORDS = frozenset(
    {
        "array",
        "autograd",
        "cauchy_kernel",
        "diagonal_kernel",
        "eigenvalues",
        "hammarling",
        "pattern",
        "pivoted_cholesky",
        "qz",
        "schur",
        "smith_kernel",
        "sparse",
        "triangular",
    }
)
_OVERRIDES = {
    "autograd": ("wants_gradient", "constant", "with_gradient"),
    "cauchy_kernel": ("eliminate_modes", "eliminate_rows", "scaled_pair"),
    "diagonal_kernel": ("stein_quotient", "lyapunov_quotient", "paired_stein"),
    "eigenvalues": ("eigenvalues",),
    "hammarling": ("hammarling",),
    "pattern": ("pattern", "doublings_of"),
    "pivoted_cholesky": ("factor",),
    "qz": ("qz", "triangular_pencil"),
    "schur": ("schur",),
    "smith_kernel": ("smith_sums",),
    "triangular": ("triangular_sylvester", "triangular_stein", "triangular_gram"),
}


class BackendConformance:
    """Inherit, set `backend` to a name or an instance, and say how a NumPy array becomes one of its arrays."""

    backend: str | Backend

    def asarray(self, array: Any) -> Array:
        """Return the NumPy array as an array of this backend."""
        raise NotImplementedError

    @property
    def be(self) -> Backend:
        """Return the backend under test."""
        return get_backend(self.backend)

    def make(self, *shape: int, kind: str = "complex128", seed: int = 0) -> Array:
        """Return random entries."""
        rng = np.random.default_rng(seed)
        values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "complex" in kind else 0)
        return self.asarray(values.astype(kind))

    def require(self, word: str) -> None:
        """Skip unless the backend provides this."""
        if word not in self.be.provides:
            pytest.skip(f"{self.be.name} does not provide {word}")

    def test_it_owns_its_arrays(self) -> None:
        assert self.be.owns(self.make(2, 2))
        assert not self.be.owns("text")

    def test_a_named_backend_is_available(self) -> None:
        if not isinstance(self.backend, str):
            pytest.skip("the backend is not registered by name")
        assert self.backend in available_backends()
        assert self.be.name == self.backend

    def test_it_provides_known_words_only(self) -> None:
        assert "array" in self.be.provides
        assert self.be.provides <= WORDS

    @pytest.mark.parametrize("word", sorted(_OVERRIDES))
    def test_what_it_provides_is_its_own_and_the_rest_is_refused(self, word: str) -> None:
        for method in _OVERRIDES[word]:
            own = getattr(type(self.be), method) is not getattr(Backend, method)
            assert own == (word in self.be.provides), (
                f"{method} and the word {word!r} in provides contradict each other"
            )

    def test_missing_capabilities_raise(self) -> None:
        calls = {"schur": self.be.schur, "eigenvalues": self.be.eigenvalues}
        for word in calls.keys() - self.be.provides:
            with pytest.raises(UnsupportedError, match=word):
                calls[word](self.make(2, 2))

    @pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
    def test_quotients_match_their_definition(self, kind: str) -> None:
        G, a = self.make(2, 5, 5, kind=kind), self.make(2, 5, kind=kind, seed=1)
        a = 0.9 * a / (1 + abs(a))
        b = 0.5 * a
        g, x, y = (as_numpy(v).astype(np.complex128) for v in (G, a, b))
        eps = float(np.finfo(kind).eps)
        outer = x[..., :, None] * y.conj()[..., None, :]
        addition = (x - 2)[..., :, None] + (y - 2).conj()[..., None, :]

        with assert_untouched(G, a, b):
            stein, lyapunov = self.be.stein_quotient(G, a, b), self.be.lyapunov_quotient(G, a - 2, b - 2)

        assert_same_kind(stein, G)
        assert_same_kind(lyapunov, G)
        np.testing.assert_allclose(as_numpy(stein), g / (1 - outer), rtol=50 * eps, atol=1e-300)
        np.testing.assert_allclose(as_numpy(lyapunov), -g / addition, rtol=50 * eps, atol=1e-300)

    def test_quotients_do_not_cancel_at_the_unit_circle(self) -> None:
        gap = 2.0**-40
        a = self.asarray(np.array([1 - gap, 0.6 - 0.8j * (1 - gap)], dtype=np.complex128))
        ones = self.asarray(np.ones((2, 2), dtype=np.complex128))

        got = as_numpy(self.be.stein_quotient(ones, a, a))[0, 0]

        assert abs(got * gap * (2 - gap) - 1) < 4e-16

    def test_quotients_are_nan_where_two_eigenvalues_cancel(self) -> None:
        G, one = self.asarray(np.ones((1, 1))), self.asarray(np.ones(1))
        assert np.isnan(as_numpy(self.be.stein_quotient(G, one, one))).all()
        assert np.isnan(as_numpy(self.be.lyapunov_quotient(G, one, -one))).all()

    @pytest.mark.parametrize("kind", ["float64", "complex128"])
    def test_a_factor_reproduces_every_scale(self, kind: str) -> None:
        Z = as_numpy(self.make(3, 4, 6, kind=kind)) * np.logspace(0, -40, 4)[:, None]
        X = Z @ Z.conj().swapaxes(-1, -2)

        factor = as_numpy(self.be.factor(self.asarray(X)))

        scale = np.sqrt(np.einsum("...ii->...i", X).real)
        error = (factor @ factor.conj().swapaxes(-1, -2) - X) / (scale[..., :, None] * scale[..., None, :])
        assert np.abs(error).max() < 1e-14

    def test_a_singular_matrix_has_a_factor(self) -> None:
        X = np.zeros((4, 4))
        X[1:3, 1:3] = 1.0
        factor = as_numpy(self.be.factor(self.asarray(X)))
        assert_close(factor @ factor.T, X, rtol=1e-14)

    def test_eigenvalues_are_those_of_the_matrix(self) -> None:
        self.require("eigenvalues")
        A = self.asarray(np.array([[0.0, 1.0], [-2.0, -3.0]]))
        assert_close(np.sort(as_numpy(self.be.eigenvalues(A)).real), np.array([-2.0, -1.0]), rtol=1e-14)

    @pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
    def test_a_schur_form_is_unitary_and_triangular(self, kind: str) -> None:
        self.require("schur")
        A = self.make(6, 6, kind=kind)

        U, T = self.be.schur(A)

        eps = float(np.finfo(kind).eps)
        assert_same_kind(T, A)
        assert_close(U @ T @ adjoint(U), A, rtol=100 * eps)
        assert_close(U @ adjoint(U), np.eye(6, dtype=kind), rtol=100 * eps)
        assert not np.tril(as_numpy(T), -2 if "float" in kind else -1).any()

    def test_triangular_solves_leave_no_residual(self) -> None:
        self.require("triangular")
        S, T, Q = (self.asarray(np.triu(as_numpy(self.make(4, 4, seed=k))) / 9) for k in range(3))
        drift = self.asarray(as_numpy(S) - np.eye(4))

        X = self.be.triangular_stein(S, T, Q)
        Y = self.be.triangular_sylvester(drift, T - self.asarray(np.eye(4, dtype=np.complex128)), Q)

        assert_close(X - S @ X @ adjoint(T), Q, rtol=1e-14)
        assert_close(-(drift @ Y + Y @ (adjoint(T) - self.asarray(np.eye(4, dtype=np.complex128)))), Q, rtol=1e-13)
