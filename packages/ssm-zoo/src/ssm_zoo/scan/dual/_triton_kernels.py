"""The kernels of `triton.py`. Letters as in `_forward.py` and `_backward.py`; s is a natural logarithm here."""

import triton
import triton.language as tl


@triton.jit
def _dot(a, b):
    return tl.dot(a, b, input_precision="ieee", out_dtype=a.dtype)


@triton.jit
def _decays(s, t):
    """Return the fading matrix: exp(s_i - s_j) where j <= i."""
    return tl.exp(tl.where(t[:, None] >= t[None, :], s[:, None] - s[None, :], float("-inf")))


@triton.jit
def forward_kernel(  # type: ignore[no-untyped-def]
    x, dt, A, B, C, D, state, lengths, y, last, checkpoints, length, h, g, P, N,
    CHUNK: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Run one head of one sequence."""
    b, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    group = head // (h // g)
    t, p, n = tl.arange(0, CHUNK), tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_N)
    in_p, in_n = p < P, n < N
    end, a = tl.load(lengths + b), tl.load(A + head)
    of_state = p[:, None] * N + n[None, :]
    in_state = in_p[:, None] & in_n[None, :]
    H = tl.load(state + (b * h + head) * P * N + of_state, mask=in_state, other=0.0)
    feed = tl.load(D + head * P + p, mask=in_p, other=0.0)
    chunks = (length + CHUNK - 1) // CHUNK
    for c in range(chunks):
        step = c * CHUNK + t
        real = step < end
        row = b * length + step
        tl.store(checkpoints + ((b * h + head) * chunks + c) * P * N + of_state, H, mask=in_state)
        at_x = (row * h + head)[:, None] * P + p[None, :]
        at_n = (row * g + group)[:, None] * N + n[None, :]
        in_x, in_row = real[:, None] & in_p[None, :], real[:, None] & in_n[None, :]
        X = tl.load(x + at_x, mask=in_x, other=0.0)
        B_c = tl.load(B + at_n, mask=in_row, other=0.0)
        C_c = tl.load(C + at_n, mask=in_row, other=0.0)
        steps = tl.load(dt + row * h + head, mask=real, other=0.0)
        s = tl.cumsum(steps * a, 0)
        whole = tl.sum(steps * a, 0)
        M = _dot(C_c, tl.trans(B_c)) * _decays(s, t) * steps[None, :]
        Y = _dot(M, X) + tl.exp(s)[:, None] * _dot(C_c, tl.trans(H)) + feed[None, :] * X
        tl.store(y + at_x, Y, mask=in_x)
        H = tl.exp(whole) * H + _dot(tl.trans((tl.exp(whole - s) * steps)[:, None] * X), B_c)
    tl.store(last + (b * h + head) * P * N + of_state, H, mask=in_state)


@triton.jit
def backward_kernel(  # type: ignore[no-untyped-def]
    dy, d_last, x, dt, A, B, C, D, lengths, checkpoints, dx, ddt, dA, dB, dC, dD, d_state, length, h, g, P, N,
    CHUNK: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Return through one head of one sequence."""
    b, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    group = head // (h // g)
    t, p, n = tl.arange(0, CHUNK), tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_N)
    in_p, in_n = p < P, n < N
    end, a = tl.load(lengths + b), tl.load(A + head)
    of_state = p[:, None] * N + n[None, :]
    in_state = in_p[:, None] & in_n[None, :]
    adjoint = tl.load(d_last + (b * h + head) * P * N + of_state, mask=in_state, other=0.0)
    feed = tl.load(D + head * P + p, mask=in_p, other=0.0)
    d_feed = tl.zeros_like(feed)
    d_rate = a * 0.0
    chunks = (length + CHUNK - 1) // CHUNK
    for k in range(chunks):
        c = chunks - 1 - k
        step = c * CHUNK + t
        real = step < end
        row = b * length + step
        at_x = (row * h + head)[:, None] * P + p[None, :]
        at_n = (row * g + group)[:, None] * N + n[None, :]
        in_x, in_row = real[:, None] & in_p[None, :], real[:, None] & in_n[None, :]
        X = tl.load(x + at_x, mask=in_x, other=0.0)
        dY = tl.load(dy + at_x, mask=in_x, other=0.0)
        B_c = tl.load(B + at_n, mask=in_row, other=0.0)
        C_c = tl.load(C + at_n, mask=in_row, other=0.0)
        H = tl.load(checkpoints + ((b * h + head) * chunks + c) * P * N + of_state, mask=in_state, other=0.0)
        steps = tl.load(dt + row * h + head, mask=real, other=0.0)
        s = tl.cumsum(steps * a, 0)
        whole = tl.sum(steps * a, 0)
        since, until = tl.exp(s), tl.exp(whole - s)
        E = _decays(s, t)
        G = _dot(C_c, tl.trans(B_c))
        through = _dot(dY, tl.trans(X)) * E * steps[None, :]  # dG
        later = tl.cumsum(through * G, 0, reverse=True)  # from all i >= k, (k, j)
        from_after = until[:, None] * _dot(B_c, tl.trans(adjoint))
        dU = _dot(tl.trans(G * E), dY) + from_after
        to_before = since[:, None] * _dot(dY, H)
        across = tl.sum(tl.where(t[:, None] > t[None, :], later, 0.0), 1)
        arriving = tl.sum(C_c * to_before, 1)
        leaving = steps * tl.sum(X * from_after, 1)
        passing = tl.exp(whole) * tl.sum(tl.sum(adjoint * H, 1), 0)
        d_log = across + tl.cumsum(arriving, 0, reverse=True) + (tl.cumsum(leaving, 0) - leaving) + passing
        tl.store(dx + at_x, steps[:, None] * dU + feed[None, :] * dY, mask=in_x)
        tl.store(ddt + row * h + head, tl.sum(X * dU, 1) + a * d_log, mask=real)
        at_head = (row * h + head)[:, None] * N + n[None, :]
        in_U = (until * steps)[:, None] * X
        tl.store(dB + at_head, _dot(in_U, adjoint) + _dot(tl.trans(through), C_c), mask=in_row)
        tl.store(dC + at_head, to_before + _dot(through, B_c), mask=in_row)
        d_feed += tl.sum(X * dY, 0)
        d_rate += tl.sum(d_log * steps, 0)
        adjoint = tl.exp(whole) * adjoint + _dot(tl.trans(since[:, None] * dY), C_c)
    tl.store(d_state + (b * h + head) * P * N + of_state, adjoint, mask=in_state)
    tl.store(dD + (b * h + head) * P + p, d_feed, mask=in_p)
    tl.store(dA + b * h + head, d_rate)
