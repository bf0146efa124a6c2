"""The scan on CPU cores, as an operator that compilers and exporters take for one of Torch's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import _narrow, _passes
from ._passes import zero_moment


def run(
    inputs: Tensor,
    eigenvalues: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    reverse: bool,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Scan forwards; the backward pass computes the states again from one checkpoint per tile.

    Narrow layers have kernels of their own. In others, states no wider than the inputs are kept: that saves a product.
    """
    scan: Any = _Eager.apply if _eager(inputs) else _scan
    system = [tensor.resolve_conj() for tensor in (eigenvalues, B, C, state)]
    differentiated = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (inputs, *system, D))
    (n, m), p = B.shape, C.shape[0]
    narrow, keep = tap is None and _narrow.is_narrow(m, p), differentiated and 2 * n <= m
    way = "narrow" if narrow else ("keep" if keep else "again")
    outputs, last, _, _, moment = scan(inputs, *system[:3], D, system[3], reverse, way, lengths, tap)
    return (outputs, last) if tap is None else (outputs, last, moment)


def _eager(inputs: Tensor) -> bool:
    """Say whether this is neither a compiler nor its stand-in for a tensor.

    Without them the operator only costs: its dispatch takes longer than a small scan.
    """
    return type(inputs) in (Tensor, torch.nn.Parameter) and not torch.compiler.is_compiling()


def _forwards(inputs, eigenvalues, B, C, D, state, reverse, way, lengths, tap):
    """Return outputs, last state, checkpoints, kept states and moment, by the kernels of narrow layers or by tiles."""
    if way != "narrow":
        return _passes.scan_forwards(inputs, eigenvalues, B, C, D, state, reverse, way == "keep", lengths, tap)
    narrow = _narrow.scan_forwards(inputs, eigenvalues, B, C, D, state, reverse, lengths)
    return *narrow, inputs.new_empty(0), inputs.new_empty(0)


def _backwards(
    d_outputs, d_last, inputs, eigenvalues, B, C, D, checkpoints, states, reverse, way, lengths, tap, needs_inputs
):
    """Return the gradients of inputs, eigenvalues, B, C, D, state and tap; empty where there is none."""
    system = eigenvalues, B, C, D, checkpoints
    if way != "narrow":
        rest = states, reverse, lengths, tap, needs_inputs
        return _passes.scan_backwards(d_outputs, d_last, inputs, *system, *rest)
    narrow = _narrow.scan_backwards(d_outputs, d_last, inputs, *system, reverse, lengths, needs_inputs)
    return *narrow, inputs.new_empty(0)


def _remember(ctx, inputs, output):
    inputs, eigenvalues, B, C, D, _, ctx.reverse, ctx.way, lengths, tap = inputs
    outputs, last, checkpoints, states, _ = output
    ctx.save_for_backward(inputs, eigenvalues, B, C, D, checkpoints, states, lengths, tap)
    ctx.set_materialize_grads(False)
    ctx.shapes = outputs.shape, last.shape


def _differentiate(ctx, d_outputs, d_last, *_):
    inputs, *system, lengths, tap = ctx.saved_tensors
    eigenvalues, D = system[0], system[3]
    d_outputs = inputs.new_zeros(ctx.shapes[0]) if d_outputs is None else d_outputs
    d_last = eigenvalues.new_zeros(ctx.shapes[1]) if d_last is None else d_last.resolve_conj()
    tap = tap if tap is not None and ctx.needs_input_grad[-1] else None
    backward: Any = _backwards if _eager(inputs) else _scan_backward
    d_inputs, d_eigenvalues, d_B, d_C, d_D, d_state, d_tap = backward(
        d_outputs, d_last, inputs, *system, ctx.reverse, ctx.way, lengths, tap, ctx.needs_input_grad[0]
    )
    return (
        d_inputs if ctx.needs_input_grad[0] else None,
        d_eigenvalues,
        d_B,
        d_C,
        None if D is None else d_D,
        d_state,
        None,
        None,
        None,
        None if tap is None else d_tap,
    )


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *arguments):  # a `setup_context` would cost 0.2 ms a call
        output = _forwards(*arguments)
        _remember(ctx, arguments, output)
        return output

    backward: Any = staticmethod(once_differentiable(_differentiate))


_scan = torch.library.custom_op(
    "ssm_zoo::diagonal_numba",
    _forwards,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor inputs, Tensor eigenvalues, Tensor B, Tensor C, Tensor? D, Tensor state, bool reverse, str way, "
    "Tensor? lengths, Tensor? tap) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
_scan.register_autograd(_differentiate, setup_context=_remember)

_scan_backward = torch.library.custom_op(
    "ssm_zoo::diagonal_numba_backward",
    _backwards,
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor d_outputs, Tensor d_last, Tensor inputs, Tensor eigenvalues, Tensor B, Tensor C, Tensor? D, "
    "Tensor checkpoints, Tensor states, bool reverse, str way, Tensor? lengths, Tensor? tap, bool needs_inputs) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_scan.register_fake
def _(inputs, eigenvalues, B, C, D, state, reverse, way, lengths, tap):
    outputs = inputs.new_empty(*inputs.shape[:2], C.shape[0])
    size = _narrow.checkpoint_size if way == "narrow" else _passes.checkpoint_size
    checkpoints = inputs.new_empty(size(inputs, eigenvalues))
    states = inputs.new_empty(_passes.kept_size(inputs, eigenvalues, way == "keep"))
    return outputs, state.new_empty(state.shape), checkpoints, states, zero_moment(inputs, tap)


@_scan_backward.register_fake
def _(d_outputs, d_last, inputs, eigenvalues, B, C, D, checkpoints, states, reverse, way, lengths, tap, needs_inputs):
    def like(tensor):
        return tensor.new_empty(tensor.shape)

    d_inputs = like(inputs) if needs_inputs else inputs.new_empty(0)
    d_D = inputs.new_empty(0) if D is None else like(D)
    return d_inputs, like(eigenvalues), like(B), like(C), d_D, like(d_last), zero_moment(inputs, tap)
