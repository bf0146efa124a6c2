"""The CUDA source of the `cupy` backend's kernels; plain enough to run on a CPU, which is how its arithmetic is tested.

One translation unit for each dtype. Contraction must be off (`--fmad=false`): the error-free squares need every product
rounded as written; where a fused multiply-add is right it is written as one.
"""

from __future__ import annotations

_HEAD = """
typedef {real} real;
#define COMPLEX {complex}
"""

_NUMBERS = r"""
#if COMPLEX
struct number { real re, im; };
__device__ inline number zero() { number z; z.re = 0; z.im = 0; return z; }
__device__ inline real square(number a) { return a.re * a.re + a.im * a.im; }
__device__ inline number plus(number a, number b) { a.re += b.re; a.im += b.im; return a; }
__device__ inline number minus(number a, number b) { a.re -= b.re; a.im -= b.im; return a; }
__device__ inline number add_product(number s, number a, number b) {
    s.re = fma(a.re, b.re, fma(-a.im, b.im, s.re));
    s.im = fma(a.re, b.im, fma(a.im, b.re, s.im));
    return s;
}
__device__ inline number conjugate(number a) { a.im = -a.im; return a; }
// (x + i y) / (re + i im) by Smith's method: no square overflows or underflows; NaN where the denominator is 0
__device__ inline number quotient(number g, real re, real im) {
    number q;
    if (fabs(re) >= fabs(im)) {
        real r = im / re, d = 1 / (re + im * r);
        q.re = (g.re + g.im * r) * d;
        q.im = (g.im - g.re * r) * d;
    } else {
        real r = re / im, d = 1 / (im + re * r);
        q.re = (g.re * r + g.im) * d;
        q.im = (g.im * r - g.re) * d;
    }
    return q;
}
#else
typedef real number;
__device__ inline number zero() { return 0; }
__device__ inline real square(number a) { return a * a; }
__device__ inline number plus(number a, number b) { return a + b; }
__device__ inline number minus(number a, number b) { return a - b; }
__device__ inline number add_product(number s, number a, number b) { return fma(a, b, s); }
__device__ inline number conjugate(number a) { return a; }
__device__ inline number quotient(number g, real d) { return d == 0 ? d / d : g / d; }
#endif

// 1 - x^2 - y^2 by error-free squares; the branch keeps each subtraction exact where the sum is small
__device__ inline real one_minus_square(real x, real y) {
    real large = fabs(x) > fabs(y) ? x : y, small = fabs(x) > fabs(y) ? y : x;
    real high = large * large, low = small * small;
    real rest = fma(large, large, -high) + fma(small, small, -low);
    real half = (real)0.5;
    return (high >= half ? (1 - high) - low : (half - high) + (half - low)) - rest;
}
"""

_DIAGONAL = r"""
// out = G / (1 - a conj b); a step of 0 repeats one system's entries for the whole batch
extern "C" __global__ void stein_quotient(const number* G, const number* a, const number* b, number* out,
                                          long long total, int n, long long g_step, int a_step, int b_step) {
    long long stride = (long long)gridDim.x * blockDim.x, square_n = (long long)n * n;
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < total; e += stride) {
        long long k = e / square_n, entry = e % square_n;
        number x = a[k * a_step + entry / n], y = b[k * b_step + entry % n], g = G[k * g_step + entry];
#if COMPLEX
        real dx = x.re - y.re, dy = x.im - y.im;
        real sum = one_minus_square(x.re, x.im) + one_minus_square(y.re, y.im) + (dx * dx + dy * dy);
        out[e] = quotient(g, (real)0.5 * sum, x.im * dx - x.re * dy);
#else
        real dx = x - y;
        out[e] = quotient(g, (real)0.5 * (one_minus_square(x, 0) + one_minus_square(y, 0) + dx * dx));
#endif
    }
}

// out = -G / (a + conj b)
extern "C" __global__ void lyapunov_quotient(const number* G, const number* a, const number* b, number* out,
                                             long long total, int n, long long g_step, int a_step, int b_step) {
    long long stride = (long long)gridDim.x * blockDim.x, square_n = (long long)n * n;
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < total; e += stride) {
        long long k = e / square_n, entry = e % square_n;
        number x = a[k * a_step + entry / n], y = b[k * b_step + entry % n], g = G[k * g_step + entry];
#if COMPLEX
        out[e] = quotient(g, -(x.re + y.re), y.im - x.im);
#else
        out[e] = quotient(g, -(x + y));
#endif
    }
}
"""

_PAIRED = r"""
// The real Stein equation of paired slots: second moments Q of [Re x; Im x] to E[x x^H], E[x x^T] and back
extern "C" __global__ void paired_stein(const real* Q, const number* slots, real* out, long long total, int n) {
    long long stride = (long long)gridDim.x * blockDim.x, square_n = (long long)n * n;
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < total; e += stride) {
        long long k = e / square_n, entry = e % square_n;
        int i = (int)(entry / n), j = (int)(entry % n);
        number x = slots[k * n + i], y = slots[k * n + j];
        long long top = 4 * k * square_n + (long long)i * 2 * n + j, bottom = top + 2 * square_n;
        real aa = Q[top], ab = Q[top + n], ba = Q[bottom], bb = Q[bottom + n];
        real margin = one_minus_square(x.re, x.im) + one_minus_square(y.re, y.im);
        real dx = x.re - y.re, less = x.im - y.im, more = x.im + y.im, half = (real)0.5;
        number hermitian, symmetric;
        hermitian.re = half * (aa + bb); hermitian.im = half * (ba - ab);
        symmetric.re = half * (aa - bb); symmetric.im = half * (ba + ab);
        number p = quotient(hermitian, half * (margin + dx * dx + less * less), x.im * dx - x.re * less);
        number s = quotient(symmetric, half * (margin + dx * dx + more * more), x.im * dx - x.re * more);
        out[top] = p.re + s.re; out[top + n] = s.im - p.im;
        out[bottom] = s.im + p.im; out[bottom + n] = p.re - s.re;
    }
}
"""

_SMITH = r"""
// The sum of one thread's part over the block, for every thread
__device__ inline real block_sum(real part, real* sums) {
    sums[threadIdx.x] = part;
    __syncthreads();
    for (int width = blockDim.x / 2; width > 0; width /= 2) {  // blockDim.x is a power of two
        if (threadIdx.x < width) sums[threadIdx.x] += sums[threadIdx.x + width];
        __syncthreads();
    }
    real total = sums[0];
    __syncthreads();  // before the next sum overwrites it
    return total;
}

__device__ inline number dot(const number* row, const number* column, int n, int step) {
    number s = zero();
    for (int k = 0; k < n; k++) s = add_product(s, row[k], column[k * step]);
    return s;
}

__device__ inline number dot_adjoint(const number* row, const number* other, int n) {
    number s = zero();
    for (int k = 0; k < n; k++) s = add_product(s, row[k], conjugate(other[k]));
    return s;
}

extern __shared__ real memory[];

// X = sum_k A^k Q (A^k)^H, doubled: X += M X M^H, M = M^2. One block a system, which stops when ||M||^4 <= rtol: what
// the series still holds is less than that part of X. The three matrices live in shared memory, or in `scratch`.
extern "C" __global__ void smith_sums(const number* A, const number* Q, number* out, real* residual, long long* steps,
                                      long long* outcome, number* scratch, int n, int max_steps, real rtol,
                                      real limit) {
    const int size = n * n, ld = n | 1;  // an odd leading dimension spreads a column over the banks
    const number* a = A + (long long)blockIdx.x * size;
    const number* q = Q + (long long)blockIdx.x * size;
    real* sums = memory;
    number* X = scratch ? scratch + 3LL * blockIdx.x * n * ld : (number*)(memory + blockDim.x);
    number *M = X + n * ld, *T = M + n * ld;
    for (int e = threadIdx.x; e < size; e += blockDim.x) {
        M[e / n * ld + e % n] = a[e];
        X[e / n * ld + e % n] = q[e];
    }
    __syncthreads();
    int step = 0, state = 1;  // steps exhausted
    while (step < max_steps) {
        real part = 0;
        for (int e = threadIdx.x; e < size; e += blockDim.x) part += square(M[e / n * ld + e % n]);
        real gain = block_sum(part, sums);
        if (!(gain < limit * limit)) { state = 2; break; }  // diverged, or NaN
        for (int e = threadIdx.x; e < size; e += blockDim.x) {
            int i = e / n, j = e % n;
            T[i * ld + j] = dot(M + i * ld, X + j, n, ld);
        }
        __syncthreads();
        for (int e = threadIdx.x; e < size; e += blockDim.x) {
            int i = e / n, j = e % n;
            X[i * ld + j] = plus(X[i * ld + j], dot_adjoint(T + i * ld, M + j * ld, n));
        }
        __syncthreads();
        step++;
        if (gain * gain <= rtol) { state = 0; break; }
        for (int e = threadIdx.x; e < size; e += blockDim.x) {
            int i = e / n, j = e % n;
            T[i * ld + j] = dot(M + i * ld, M + j, n, ld);
        }
        __syncthreads();
        number* swap = M; M = T; T = swap;
    }
    for (int e = threadIdx.x; e < size; e += blockDim.x) {  // A X
        int i = e / n, j = e % n;
        T[i * ld + j] = dot(a + (long long)i * n, X + j, n, ld);
    }
    __syncthreads();
    real moved = 0, held = 0, given = 0, rest = 0;
    for (int e = threadIdx.x; e < size; e += blockDim.x) {
        int i = e / n, j = e % n;
        number w = dot_adjoint(T + i * ld, a + (long long)j * n, n), x = X[i * ld + j];
        moved += square(w); held += square(x); given += square(q[e]);
        rest += square(plus(minus(w, x), q[e]));
        out[(long long)blockIdx.x * size + e] = x;
    }
    moved = block_sum(moved, sums); held = block_sum(held, sums);
    given = block_sum(given, sums); rest = block_sum(rest, sums);
    if (threadIdx.x == 0) {
        real terms = sqrt(moved) + sqrt(held) + sqrt(given);
        residual[blockIdx.x] = terms > 0 ? sqrt(rest) / terms : 0;
        steps[blockIdx.x] = step;
        outcome[blockIdx.x] = state;
    }
}
"""


def cuda_source(char: str) -> str:
    """Return the source of every kernel for one dtype: "f", "d", "F" or "D" as NumPy calls them."""
    real = "float" if char in "fF" else "double"
    head = _HEAD.replace("{real}", real).replace("{complex}", str(int(char in "FD")))
    return head + _NUMBERS + _DIAGONAL + (_PAIRED if char in "FD" else "") + _SMITH
