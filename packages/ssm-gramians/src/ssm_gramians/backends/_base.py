"""What a backend must be: the generic one, which asks for nothing beyond the array API standard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .._arrays import Array, adjoint, conj, namespace, promote, real
from .._errors import SingularEquationError, UnsupportedError
from .._unit_circle import one_minus_product

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact, Int

    from .._equations import Equation
    from .._solution import Solution
    from ..solvers import Factorization, Solver


class Backend:
    """The arithmetic for one kind of array; by itself, for any library that follows the array API standard.

    A subclass adds what the standard lacks, or does it faster, and says so in `provides`: nothing else decides which
    solver runs where. The words are:

    ========================  =================================================================================
    `"array"`                 the array API standard with its `linalg` extension
    `"eigenvalues"`           `eigenvalues(A)` of a general matrix
    `"schur"`                 `schur(A)`
    `"qz"`                    `qz(A, E)` and `triangular_pencil(left, right, sign, Q)`
    `"pattern"`               `pattern(A)`: bandwidths and independent blocks; `doublings_of(A)`: a guess
    `"sparse"`                NumPy arrays, so that SciPy's sparse matrices and factorisations serve
    `"triangular"`            `triangular_sylvester(S, T, Q)`, `triangular_stein(S, T, Q)`, `triangular_gram(S, B)`
    `"hammarling"`            `hammarling(A, B)`: the factor of a Gramian
    `"pivoted_cholesky"`      `factor(X)` by Cholesky, with diagonal pivoting where X is singular
    `"diagonal_kernel"`       `stein_quotient`, `lyapunov_quotient`, `paired_stein`: each one fused loop
    `"smith_kernel"`          `smith_sums`: the squared Smith sums of a batch of small systems, one loop
    `"cauchy_kernel"`         `eliminate_modes`, `eliminate_rows`, `scaled_pair`: `Cauchy` in compiled loops
    `"autograd"`              gradients flow through every solve; `constant`, `wants_gradient`, `with_gradient`
    ========================  =================================================================================

    To write one, override the methods behind the words it adds and run `ssm_gramians.testing.BackendConformance`.
    """

    name: ClassVar[str] = "array"
    provides: ClassVar[frozenset[str]] = frozenset({"array"})

    @property
    def threads(self) -> int:
        """Return how many members of a batch may be worked on at a time: more than 1 only where it was asked for."""
        return 1

    def owns(self, array: Array) -> bool:
        """Say whether this backend computes on arrays of this type."""
        try:
            namespace(array)
        except TypeError:
            return False
        return True

    def on(self, array: Array) -> Backend:
        """Return this backend for the device of the array, where what it provides depends on the device."""
        return self

    def run(self, equation: Equation, solver: Solver) -> Solution:
        """Solve an equation of this backend's arrays: the place to wrap what a solver does, for gradients say."""
        from ..solvers._adapt import apply

        return apply(solver, equation, self)

    def factorize(self, equation: Equation, solver: Solver) -> Factorization:
        """Do the work that depends on the matrices alone; wrapped as `run` is."""
        from ..solvers._adapt import factorize

        return factorize(solver, equation, self)

    def eps(self, array: Array) -> float:
        """Return the unit roundoff of the array's dtype, twice over: the spacing at 1."""
        return float(namespace(array).finfo(array.dtype).eps)

    def norm(self, X: Inexact[Array, "*batch n m"]) -> Float[Array, "*batch"]:
        """Return the Frobenius norm of each matrix."""
        return namespace(X).linalg.matrix_norm(X)

    def stein_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $G_{ij} / (1 - a_i \bar b_j)$."""
        return _quotient(G, one_minus_product(a, b))

    def lyapunov_quotient(
        self, G: Inexact[Array, "*batch n n"], a: Inexact[Array, "*batch n"], b: Inexact[Array, "*batch n"]
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $-G_{ij} / (a_i + \bar b_j)$."""
        return _quotient(G, -(a[..., :, None] + conj(b)[..., None, :]))

    def diagonal_gramian(
        self, a: Inexact[Array, "*batch n"], B: Inexact[Array, "*batch n m"], *, discrete: bool, out: Array = None
    ) -> Inexact[Array, "*batch n n"]:
        r"""Return $(B B^H)_{ij} / (1 - a_i \bar a_j)$, or $-(B B^H)_{ij} / (a_i + \bar a_j)$ in continuous time.

        Backends with `"diagonal_kernel"` may write the result to `out`, where fresh memory would cost most of the time.
        """
        a, B = promote(a, B)
        return (self.stein_quotient if discrete else self.lyapunov_quotient)(B @ adjoint(B), a, a)

    def paired_stein(
        self, Q: Float[Array, "*batch 2n 2n"], slots: Complex[Array, "*batch n"]
    ) -> Float[Array, "*batch 2n 2n"]:
        r"""Return X with $A X A^T - X + Q = 0$ for the real A of the paired slots, and a real Q."""
        raise lacking(self, "diagonal_kernel")

    def smith_sums(
        self, A: Inexact[Array, "batch n n"], Q: Inexact[Array, "batch n n"], *, rtol: float, max_steps: int
    ) -> tuple[Inexact[Array, "batch n n"], Float[Array, " batch"], Int[Array, " batch"], Int[Array, " batch"]]:
        r"""Return $\sum_k A^k Q (A^k)^H$, relative residuals, steps, outcomes (0 good, 1 too slow, 2 diverged)."""
        raise lacking(self, "smith_kernel")

    def eliminate_modes(self, kind: int, paired: bool, x: Array, margin: Array, g: Inexact[Array, "*batch n"]) -> Any:
        """Return an elimination of modes with one input, with `advance`, `traces` and `factor`."""
        raise lacking(self, "cauchy_kernel")

    def eliminate_rows(
        self, kind: int, paired: bool, x: Any, G: Any, margin: Array, noise: Array
    ) -> tuple[Array, Array]:
        """Return columns and pivots of the elimination of modes with several inputs, in twice the precision."""
        raise lacking(self, "cauchy_kernel")

    def scaled_pair(
        self, t: Complex[Array, "*batch n"], Z: Float[Array, "*batch 2n k"]
    ) -> tuple[Float[Array, "*batch 2n k"], Float[Array, "*batch 2n k"]]:
        r"""Return [Re; Im] of $t z$, and of $2 \bar z / \bar t$ in the place of Z = [Re z; Im z]."""
        raise lacking(self, "cauchy_kernel")

    def solve(self, A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
        """Return X with A X = B.

        Raises
        ------
        SingularEquationError
            If A is exactly singular.
        """
        try:
            return namespace(A).linalg.solve(A, B)
        except (ValueError, RuntimeError) as error:  # the libraries agree on neither the class nor the text
            raise SingularEquationError(str(error)) from error

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        raise lacking(self, "eigenvalues")

    def schur(self, A: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        r"""Return U and T with $A = U T U^H$, T upper (quasi-)triangular."""
        raise lacking(self, "schur")

    def triangular_sylvester(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X + X T^H + Q = 0$ for small upper (quasi-)triangular S and T."""
        raise lacking(self, "triangular")

    def triangular_stein(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X T^H - X + Q = 0$ for small upper (quasi-)triangular S and T."""
        raise lacking(self, "triangular")

    def triangular_gram(
        self, S: Inexact[Array, "n n"], B: Inexact[Array, "n m"], *, discrete: bool
    ) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n m"], Inexact[Array, "n n"]]:
        r"""Return Z, $Z^{-1} B$ and $Z^{-1} S Z$, where $Z Z^H$ solves the equation of a small S and $B B^H$.

        Z is upper triangular with a positive diagonal. Lyapunov or, if discrete, Stein.

        Raises
        ------
        InstabilityError
            If S is not stable.
        """
        raise lacking(self, "triangular")

    def hammarling(
        self, A: Inexact[Array, "n n"], B: Inexact[Array, "n m"], *, discrete: bool
    ) -> Inexact[Array, "n k"]:
        r"""Return Z with $X = Z Z^H$ for $Q = B B^H$ and a stable A, of whatever structure.

        Raises
        ------
        InstabilityError
            If A is not stable.
        """
        raise lacking(self, "hammarling")

    def qz(
        self, A: Inexact[Array, "n n"], E: Inexact[Array, "n n"]
    ) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"], Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        r"""Return U, V, S and T with $A = U S V^H$ and $E = U T V^H$, S upper (quasi-)triangular, T triangular."""
        raise lacking(self, "qz")

    def triangular_pencil(
        self, left: tuple[Array | None, ...], right: tuple[Array | None, ...], sign: int, Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $A_1 X B_1^H \pm A_2 X B_2^H + Q = 0$, small and upper (quasi-)triangular; None is I."""
        raise lacking(self, "qz")

    def pattern(self, A: Inexact[Array, "n n"]) -> Any:
        """Return the number of nonzero diagonals below and above the main one, and the independent blocks."""
        raise lacking(self, "pattern")

    def doublings_of(self, A: Inexact[Array, "n n"]) -> float:
        r"""Return a guess at the steps of squared Smith on $A X + X A^H + Q = 0$; infinite if it may not end."""
        raise lacking(self, "pattern")

    def factor(self, X: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch n k"]:
        r"""Return Z with $X = Z Z^H$, exact relative to the diagonal: $|E_{ij}| \lesssim \epsilon\sqrt{X_{ii}X_{jj}}$.

        The matrix is scaled to unit diagonal before its eigenvalues are taken, so that small states keep their digits;
        eigenvalues below rounding become zero columns.
        """
        xp = namespace(X)
        scale, unit = unit_diagonal(X)
        values, vectors = xp.linalg.eigh(unit)
        root = xp.sqrt(xp.clip(values, 0.0))
        return scale[..., :, None] * (vectors * root[..., None, :])

    def wants_gradient(self, *arrays: Array) -> bool:
        """Say whether what is computed from the arrays is to be differentiated."""
        return False

    def constant(self, array: Array) -> Array:
        """Return the same entries without their gradient."""
        return array

    def with_gradient(self, value: Array, twin: Array) -> Array:
        """Return the value with the first derivatives of a twin, which holds the same numbers less accurately."""
        return value

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it, for timing."""


def lacking(backend: Backend, capability: str) -> UnsupportedError:
    """Return the error for a capability that a backend does not provide."""
    provided = ", ".join(sorted(backend.provides))
    return UnsupportedError(
        f"backend {backend.name!r} does not provide {capability!r} (it provides {provided}); "
        "choose another backend or a solver that needs less"
    )


def _quotient(G: Array, denominator: Array) -> Array:
    """Return G / denominator with NaN, but no warning, where two eigenvalues cancel."""
    xp = namespace(G)
    zero = denominator == 0
    safe = xp.where(zero, xp.ones_like(denominator), denominator)
    return xp.where(zero, xp.full_like(safe[..., :1], float("nan")), G / safe)


def unit_diagonal(X: Inexact[Array, "*batch n n"]) -> tuple[Float[Array, "*batch n"], Inexact[Array, "*batch n n"]]:
    r"""Return s and U with $X = \mathrm{diag}(s)\,U\,\mathrm{diag}(s)$, diag U = 1 (or 0)."""
    xp = namespace(X)
    diagonal = real(xp.linalg.diagonal(X))
    scale = xp.sqrt(xp.clip(diagonal, 0.0))
    inverse = xp.where(scale > 0, 1 / xp.where(scale > 0, scale, xp.ones_like(scale)), xp.zeros_like(scale))
    unit = X * inverse[..., :, None] * inverse[..., None, :]
    return scale, (unit + adjoint(unit)) / 2
