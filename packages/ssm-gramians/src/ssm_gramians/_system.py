"""The one type that crosses a package border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import array_api_compat

from ._arrays import (
    Array,
    adjoint,
    as_complex,
    check_floating,
    common_dtype,
    conj,
    identity,
    is_complex,
    namespace,
    promote,
    real_dtype,
)
from ._diagonal import Diagonal, stack_real
from ._errors import DtypeError, ShapeError, UnsupportedError
from ._responses import frequency_response, march
from ._structure import Matrix, Structure, adjoint_of, arrays_of, as_matrix, to_dense
from ._untraced import untraced

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


@dataclass(frozen=True, eq=False)
class StateSpace:
    r"""$x^+ = A x + B u,\; y = C x + D u$ in discrete time; $\dot x$ for $x^+$ in continuous time.

    A paired diagonal A stands for the modes and their conjugates: $y = 2\,\mathrm{Re}(C x) + D u$, a real map of order
    2n. Its real coordinates are $\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$ with $B = [\mathrm{Re}\,B; \mathrm{Im}\,B]$
    and $C = 2\,[\mathrm{Re}\,C, -\mathrm{Im}\,C]$. Shapes, dtypes and `dt` are checked here, once.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), or a structure such as `Diagonal`.
    B
        Input matrix, shape (..., n, m).
    C
        Output matrix, shape (..., p, n).
    D
        Feedthrough, shape (..., p, m), or (p, m) for the whole batch; zero if None. Real for a paired system.
    dt
        Sampling time in seconds; 0 for continuous time.
    E
        Descriptor matrix: $E x^+ = A x + B u$, dense or sparse, regular; the identity if None.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    DtypeError
        If libraries, precisions or devices differ, or D is complex in a paired system.
    ValueError
        If dt is negative, infinite or NaN.
    """

    A: Matrix
    B: Inexact[Array, "*batch n m"]
    C: Inexact[Array, "*batch p n"]
    D: Inexact[Array, "*#batch p m"] = None
    dt: float = 0.0
    E: Matrix | None = None

    @untraced
    def __post_init__(self) -> None:
        object.__setattr__(self, "A", as_matrix(self.A))
        object.__setattr__(self, "E", as_matrix(self.E))
        parts = {f"A (part {k + 1})" if k else "A": part for k, part in enumerate(arrays_of(self.A))}
        optional = {"D": self.D, "E": None if self.E is None else arrays_of(self.E)[0]}
        check_floating(**parts, B=self.B, C=self.C, **{name: M for name, M in optional.items() if M is not None})
        _check_shapes(self.A, self.B, self.C, self.D)
        _check_descriptor(self.A, self.E)
        if not 0 <= self.dt < float("inf"):
            msg = f"dt is {self.dt}; want 0 for continuous time or a positive number of seconds"
            raise ValueError(msg)
        object.__setattr__(self, "dt", float(self.dt))
        if self.D is None:
            object.__setattr__(self, "D", self._zero_feedthrough())
            return
        if self._paired and is_complex(self.D):
            msg = f"D has dtype {self.D.dtype}; want a real D, since the map of a paired system is real"
            raise DtypeError(msg)
        shape = (*self.batch_shape, self.outputs, self.inputs)
        object.__setattr__(self, "D", namespace(self.D).broadcast_to(self.D, shape))

    @property
    def order(self) -> int:
        """Return the number of states: n, or 2n for a paired system."""
        return int(self.A.shape[-1])

    @property
    def inputs(self) -> int:
        """Return the number of inputs m."""
        return int(self.B.shape[-1])

    @property
    def outputs(self) -> int:
        """Return the number of outputs p."""
        return int(self.C.shape[-2])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Return the leading dimensions."""
        return tuple(self.A.shape[:-2])

    @property
    def is_discrete(self) -> bool:
        """Say whether time is discrete."""
        return self.dt > 0

    @property
    def _paired(self) -> bool:
        return isinstance(self.A, Diagonal) and self.A.paired

    def to_dense(self) -> StateSpace:
        """Return the same map with a dense A; for a paired system the real one of order 2n."""
        if not isinstance(self.A, Structure) and not isinstance(self.E, Structure):
            return self
        E = None if self.E is None else to_dense(self.E)
        return StateSpace(to_dense(self.A), *self._maps(), self.D, self.dt, E)

    def dual(self) -> StateSpace:
        r"""Return $(A^H, C^H, B^H, D^H)$: its controllability Gramian is this system's observability Gramian."""
        scale = 2 if self._paired else 1
        E = None if self.E is None else adjoint_of(self.E)
        B, C = scale * adjoint(self.C), adjoint(self.B) / scale
        return StateSpace(adjoint_of(self.A), B, C, adjoint(self.D), self.dt, E)

    def poles(self) -> Inexact[Array, "*batch order"]:
        """Return the eigenvalues of A (of $E^{-1} A$), complex unless A is diagonal and real.

        Those of a paired system come with their conjugates.

        Raises
        ------
        UnsupportedError
            If A is dense and its library has no eigenvalue solver.
        """
        if isinstance(self.A, Structure) and self.E is None:
            return self.A.poles()
        from .backends import get_backend

        A, backend = to_dense(self.A), get_backend(self.B)
        return backend.eigenvalues(A if self.E is None else backend.solve(*promote(to_dense(self.E), A)))

    def transfer_function(self, points: Inexact[Array, " k"]) -> Complex[Array, "*batch k p m"]:
        r"""$G(s) = C (sE - A)^{-1} B + D$ at each of the points.

        Parameters
        ----------
        points
            Values of s (continuous time) or z (discrete time), shape (k,): $i\omega$, or $e^{i\omega\,dt}$.

        Returns
        -------
        Array
            Shape (..., k, p, m), complex.
        """
        points = as_complex(points)
        response = frequency_response(self.A, self.B, self.C, points, self.E)
        if self._paired:
            response = response + conj(frequency_response(self.A, self.B, self.C, conj(points)))
        return response + as_complex(self.D)[..., None, :, :]

    def impulse_response(self, steps: int) -> Inexact[Array, "*batch steps p m"]:
        r"""$h_0 = D,\; h_k = C A^{k-1} B$: the answer to a unit pulse at each input.

        Parameters
        ----------
        steps
            How many samples to return, at least 1.

        Raises
        ------
        UnsupportedError
            In continuous time.
        ValueError
            If there are no steps.
        """
        self._require_discrete("impulse_response")
        if steps < 1:
            msg = f"steps is {steps}; want at least 1"
            raise ValueError(msg)
        eye = identity(self.inputs, like=self.D)
        pulse = namespace(eye).stack([eye] + [0 * eye] * (steps - 1))  # (steps, m, m): one experiment a column
        return march(self.A, *self._maps(), self.D, pulse)

    def simulate(
        self, inputs: Inexact[Array, "*batch length m"], initial_state: Inexact[Array, "*batch order"] | None = None
    ) -> Inexact[Array, "*batch length p"]:
        r"""$y_k = C x_k + D u_k,\; x_{k+1} = A x_k + B u_k$: run the system step by step.

        Parameters
        ----------
        inputs
            Shape (..., length, m); leading dimensions broadcast against those of the system.
        initial_state
            $x_0$, shape (..., order), in the real coordinates for a paired system; zero if None.

        Raises
        ------
        UnsupportedError
            In continuous time.
        ShapeError
            If the last axis is not the number of inputs, or of states.
        """
        self._require_discrete("simulate")
        if inputs.ndim < 2 or inputs.shape[-1] != self.inputs or inputs.shape[-2] < 1:
            msg = f"inputs have shape {tuple(inputs.shape)}; want (..., length, {self.inputs}) with length >= 1"
            raise ShapeError(msg)
        if initial_state is not None and initial_state.shape[-1] != self.order:
            msg = f"initial_state has shape {tuple(initial_state.shape)}; want (..., {self.order})"
            raise ShapeError(msg)
        state = None if initial_state is None else initial_state[..., None]
        columns = namespace(inputs).moveaxis(inputs, -2, 0)[..., None]  # (length, ..., m, 1)
        return march(self.A, *self._maps(), self.D, columns, state)[..., 0]

    def _maps(self) -> tuple[Array, Array]:
        """Return B and C in the coordinates of the states: the real ones of a paired system."""
        if not self._paired:
            return self.B, self.C
        return stack_real(self.B), 2 * stack_real(adjoint(self.C)).mT

    def _zero_feedthrough(self) -> Array:
        xp = namespace(self.B)
        dtype = real_dtype(self.B) if self._paired else common_dtype(self.B, self.C)
        shape = (*self.batch_shape, self.outputs, self.inputs)
        return xp.zeros(shape, dtype=dtype, device=array_api_compat.device(self.B))

    def _require_discrete(self, name: str) -> None:
        if not self.is_discrete:
            msg = f"{name} needs discrete time, and dt is 0; want a system with dt > 0: discretise it first"
            raise UnsupportedError(msg)
        if self.E is not None:
            msg = f"{name} does not step a system with E; want E = None: divide A and B by E first"
            raise UnsupportedError(msg)


def _check_shapes(A: Matrix, B: Array, C: Array, D: Array | None) -> None:
    got = f"A {tuple(A.shape)}, B {tuple(B.shape)}, C {tuple(C.shape)}"
    if min(len(A.shape), B.ndim, C.ndim) < 2 or A.shape[-2] != A.shape[-1]:
        msg = f"got {got}; want A (..., n, n), B (..., n, m), C (..., p, n)"
        raise ShapeError(msg)
    batch, n = tuple(A.shape[:-2]), A.shape[-1]
    if isinstance(A, Diagonal) and A.paired:
        n //= 2
    if n < 1 or B.shape[-2] != n or C.shape[-1] != n:
        msg = f"got {got}; want B with {n} rows and C with {n} columns (n >= 1)"
        raise ShapeError(msg)
    if tuple(B.shape[:-2]) != batch or tuple(C.shape[:-2]) != batch:
        msg = f"got {got}; want the same leading batch dimensions in A, B and C"
        raise ShapeError(msg)
    shape = (C.shape[-2], B.shape[-1])
    if D is not None and (tuple(D.shape[-2:]) != shape or tuple(D.shape[:-2]) not in {(), batch}):
        msg = f"D has shape {tuple(D.shape)}; want {(*batch, *shape)}"
        raise ShapeError(msg)


def _check_descriptor(A: Matrix, E: Matrix | None) -> None:
    if E is None:
        return
    if tuple(E.shape) not in {tuple(A.shape), tuple(A.shape[-2:])}:
        msg = f"E has shape {tuple(E.shape)}; want {tuple(A.shape)}"
        raise ShapeError(msg)
    if isinstance(A, Diagonal) and A.paired:
        msg = "a paired system takes no E; want E = None: divide the eigenvalues and B by it"
        raise UnsupportedError(msg)
