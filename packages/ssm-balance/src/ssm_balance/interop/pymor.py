"""To and from pyMOR."""

from __future__ import annotations

from typing import Any

from scipy import sparse

from ssm_gramians import StateSpace, UnsupportedError

from .._library import library
from ._matrices import dense, floating, on_host, real_coordinates, require_one, sparse_or_dense


def to_pymor(system: StateSpace) -> Any:
    """Return the `pymor.models.iosys.LTIModel` with the same matrices, E among them.

    A sparse system stays sparse. A diagonal one becomes sparse, a paired one sparse and real, of order 2n.

    Parameters
    ----------
    system
        One system of any structure; real, unless it is dense.

    Raises
    ------
    MissingLibraryError
        If pyMOR is not installed.
    ShapeError
        If it is a batch.
    """
    require_one(system, "pyMOR")
    model = library("pymor.models.iosys", extra="pymor").LTIModel
    A, E = (None if M is None else sparse_or_dense(M) for M in (system.A, system.E))
    if sparse.issparse(A) != sparse.issparse(E) and E is not None:  # pyMOR adds them up
        A, E = sparse.csc_array(A), sparse.csc_array(E)
    B, C = real_coordinates(system)
    return model.from_matrices(A, B, C, on_host(system.D), E, sampling_time=system.dt)


def from_pymor(model: Any, *, mu: Any = None) -> StateSpace:
    """Return the system of a pyMOR `LTIModel`, or of a second-order or port-Hamiltonian model in first-order form.

    Parameters
    ----------
    model
        With sparse A and E the system is sparse.
    mu
        Parameter values of a parametric model, as pyMOR takes them.

    Raises
    ------
    MissingLibraryError
        If pyMOR is not installed.
    UnsupportedError
        If it is another object.
    """
    iosys = library("pymor.models.iosys", extra="pymor")
    if isinstance(model, iosys.SecondOrderModel):
        model = model.to_lti()
    if not isinstance(model, iosys.LTIModel):
        msg = f"got {type(model).__name__}; want an LTIModel, or a model that pyMOR writes as one"
        raise UnsupportedError(msg)
    A, B, C, D, E = model.to_abcde_matrices(mu=mu)
    D = None if D is None else dense(D)
    E = None if E is None else floating(E)
    return StateSpace(floating(A), dense(B), dense(C), D, float(model.sampling_time), E)
