"""One step of Mamba in one kernel, from the parameters as they lie in memory."""

from __future__ import annotations

from ..scan.elementary import LOG2_E, exp, exp2, sigmoid, softplus
from ..scan.simd import LINE_BYTES, fill, fma, inlined, kernel, number, read, total, write
from ._mamba2_kernel import _filter, _floats, _map

LANES = LINE_BYTES // 4


@kernel
def step_at(batch, places, parameters, scratch, sizes):
    """Do one step of every sequence.

    Parameters
    ----------
    batch
        Sequences.
    places
        Addresses of inputs, the convolution's windows and the scan's states before, outputs, and both after the step;
        the last two may be those before.
    parameters
        Addresses, in the order below; zero for a bias that there is not.
    scratch
        Memory for [u, z], for u after the filter, for [dt, B, C] and for Δ.
    sizes
        d_model, d_inner, N, R, d_conv.
    """
    d_model, inner, N, R, taps = sizes
    W_in, W_out = _floats(parameters[0], 2 * inner * d_model), _floats(parameters[2], d_model * inner)
    filters, W_x = _floats(parameters[4], inner * taps), _floats(parameters[6], (R + 2 * N) * inner)
    W_dt, b_dt = _floats(parameters[7], inner * R), _floats(parameters[8], inner)
    A_log, D = _floats(parameters[9], inner * N), _floats(parameters[10], inner)
    uz, u, chosen, dt = scratch
    window = inner * (taps - 1)
    for b in range(batch):
        x_t, out = _floats(places[0] + 4 * b * d_model, d_model), _floats(places[3] + 4 * b * d_model, d_model)
        before, after = _floats(places[1] + 4 * b * window, window), _floats(places[4] + 4 * b * window, window)
        h, new = _floats(places[2] + 4 * b * inner * N, inner * N), _floats(places[5] + 4 * b * inner * N, inner * N)
        _map(W_in, parameters[1], x_t, uz, 2 * inner, d_model)
        _filter(uz, 0, filters, parameters[5], before, after, u, inner, taps)
        _map(W_x, 0, u, chosen, R + 2 * N, inner)
        _sizes(W_dt, b_dt, chosen, dt, inner, R)
        for c in range(inner):
            u[c] = D[c] * u[c] + _advance(h, new, A_log, c * N, chosen, R, N, dt[c], dt[c] * u[c])
        for c in range(0, inner, LANES):
            gate = read(uz, inner + c, inner - c)
            write(u, c, inner - c, read(u, c, inner - c) * (gate * sigmoid(gate)))
        _map(W_out, parameters[3], u, out, d_model, inner)


@kernel
def _sizes(W, bias, low, dt, inner, R):
    """Set dt to the step sizes."""
    for c in range(inner):
        value = bias[c]
        for r in range(R):
            value += W[c * R + r] * low[r]
        dt[c] = value
    for c in range(0, inner, LANES):
        write(dt, c, inner - c, softplus(read(dt, c, inner - c)))


@inlined
def _advance(h, new, A_log, at, chosen, B, N, step, drive):
    """Move the state of one channel on, and return what is read from it."""
    found = number(read(h, at, 1), 0.0)
    rate = fill(-step) * number(found, LOG2_E)
    for n in range(0, N, LANES):
        decay = exp2(rate * exp(read(A_log, at + n, N - n)))
        line = fma(decay, read(h, at + n, N - n), fill(drive) * read(chosen, B + n, N - n))
        write(new, at + n, N - n, line)
        found = fma(line, read(chosen, B + N + n, N - n), found)
    return total(found)
