"""The recurrence over one tile of states, forwards and backwards, in place; serial, for one thread to call."""

from __future__ import annotations

from ssm_zoo.scan.simd import loops


@loops
def advance(states, eigenvalues, before, after, steps, start, reverse):
    """Turn drives into states, up to step `steps[b]` of sequence b; `start` is the first step here. Keep the last."""
    n = states.shape[2] // 2
    re, im = eigenvalues[:n], eigenvalues[n:]
    for b in range(states.shape[0]):
        after[b] = before[b]
        x_re, x_im = after[b, :n], after[b, n:]
        count = min(max(steps[b] - start, 0), states.shape[1])
        for step in range(count):
            t = count - 1 - step if reverse else step
            row_re, row_im = states[b, t, :n], states[b, t, n:]
            for j in range(n):
                next_re = re[j] * x_re[j] - im[j] * x_im[j] + row_re[j]
                next_im = re[j] * x_im[j] + im[j] * x_re[j] + row_im[j]
                x_re[j], x_im[j] = next_re, next_im
                row_re[j], row_im[j] = next_re, next_im


@loops
def retreat(adjoints, states, eigenvalues, before, carry, d_eigenvalues, steps, start, reverse):
    r"""Run the adjoint $a_t = C^H g_t + \bar λ a_{t+1}$ backwards in place, and add up $\bar x_{t-1} a_t$."""
    n = states.shape[2] // 2
    re, im = eigenvalues[:n], eigenvalues[n:]
    d_re, d_im = d_eigenvalues[:n], d_eigenvalues[n:]
    for b in range(states.shape[0]):
        carry_re, carry_im = carry[b, :n], carry[b, n:]
        count = min(max(steps[b] - start, 0), states.shape[1])
        for step in range(count - 1, -1, -1):
            t = count - 1 - step if reverse else step
            previous = before[b] if step == 0 else states[b, t + 1 if reverse else t - 1]
            x_re, x_im = previous[:n], previous[n:]
            row_re, row_im = adjoints[b, t, :n], adjoints[b, t, n:]
            for j in range(n):
                a_re, a_im = row_re[j] + carry_re[j], row_im[j] + carry_im[j]
                row_re[j], row_im[j] = a_re, a_im
                carry_re[j] = re[j] * a_re + im[j] * a_im
                carry_im[j] = re[j] * a_im - im[j] * a_re
                d_re[j] += x_re[j] * a_re + x_im[j] * a_im
                d_im[j] += x_re[j] * a_im - x_im[j] * a_re


# D comes as often as it takes to be long, and everything flat: a row of a few features would be all overhead.


@loops
def feed_through(outputs, inputs, D):
    r"""Add $D \odot u$ to the outputs."""
    for start in range(0, len(outputs), len(D)):
        y, u = outputs[start : start + len(D)], inputs[start : start + len(D)]
        for j in range(len(y)):
            y[j] += D[j] * u[j]


@loops
def feed_back(d_outputs, inputs, d_D):
    r"""Add $\sum g \odot u$ to the gradient of D."""
    for start in range(0, len(inputs), len(d_D)):
        g, u = d_outputs[start : start + len(d_D)], inputs[start : start + len(d_D)]
        for j in range(len(g)):
            d_D[j] += g[j] * u[j]
