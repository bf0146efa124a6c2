"""A CuPy that is NumPy, whose kernels a C++ compiler makes from the CUDA source and threads of the CPU run."""

import ctypes
import functools
import re
import subprocess
import sys
import tempfile
import types
from importlib import import_module
from pathlib import Path

import numpy as np

_BEFORE = """
#include <cmath>
#include <pthread.h>
using std::fabs; using std::fma; using std::sqrt;
struct place { unsigned x; };
static thread_local place threadIdx;
static place blockIdx, blockDim, gridDim;
static pthread_barrier_t gate;
#define __global__
#define __device__
#define __shared__
#define __syncthreads() pthread_barrier_wait(&gate)
"""
_AFTER = """
real memory[1 << 18];
const unsigned THREADS = 4;
struct job { void (*call)(void*); void* body; unsigned index; };
static void* enter(void* p) { job* j = (job*)p; threadIdx.x = j->index; j->call(j->body); return 0; }
template <class F> void run(unsigned grid, F body) {
    blockDim.x = THREADS; gridDim.x = grid;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++) {
        pthread_barrier_init(&gate, 0, THREADS);
        pthread_t threads[THREADS]; job jobs[THREADS];
        for (unsigned i = 0; i < THREADS; i++) {
            jobs[i] = {[](void* p) { (*(F*)p)(); }, &body, i};
            pthread_create(&threads[i], 0, enter, &jobs[i]);
        }
        for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], 0);
        pthread_barrier_destroy(&gate);
    }
}
"""
_C = {np.int32: ctypes.c_int, np.int64: ctypes.c_longlong, np.float32: ctypes.c_float, np.float64: ctypes.c_double}
COMPILER = ["g++", "-std=c++17", "-O1", "-ffp-contract=off", "-Werror", "-pthread", "-shared", "-fPIC"]


@functools.cache
def library(code):
    """Return the compiled source, each kernel behind `launch_NAME(grid, ...)`."""
    launchers = ""
    for name, arguments in re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', code):
        names = ", ".join(argument.split()[-1].lstrip("*") for argument in arguments.split(","))
        launchers += f'extern "C" void launch_{name}(unsigned grid, {arguments})'
        launchers += f" {{ run(grid, [&] {{ {name}({names}); }}); }}\n"
    folder = Path(tempfile.mkdtemp())
    (folder / "kernels.cpp").write_text(_BEFORE + code + _AFTER + launchers)
    subprocess.run([*COMPILER, "kernels.cpp", "-o", "kernels.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "kernels.so"))


class Kernel:
    """One kernel, called as CuPy calls it."""

    max_dynamic_shared_size_bytes = 49_152

    def __init__(self, function):
        self.function = function

    def __call__(self, grid, block, arguments, *, shared_mem=0):
        assert block[0] & (block[0] - 1) == 0
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        self.function(ctypes.c_uint(grid[0]), *(self.converted(argument) for argument in arguments))

    @staticmethod
    def converted(argument):
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            return ctypes.c_void_p(argument.ctypes.data)
        return _C[type(argument)](argument)


class RawModule:
    """The kernels of one source."""

    def __init__(self, *, code, options):
        assert "--fmad=false" in options, "the error-free squares need products rounded as written"
        self.library = library(code)

    def get_function(self, name):
        return Kernel(getattr(self.library, f"launch_{name}"))


def load_cupy_backend(shared_memory=101_376):
    """Return a `CupyBackend` that owns NumPy arrays; nothing of the false CuPy stays behind."""
    cupy = types.ModuleType("cupy")
    for name in ("ascontiguousarray", "broadcast_to", "empty", "empty_like", "int64", "linalg"):
        setattr(cupy, name, getattr(np, name))
    device = types.SimpleNamespace(attributes={"MaxSharedMemoryPerBlockOptin": shared_memory})
    stream = types.SimpleNamespace(synchronize=lambda: None)
    cupy.cuda = types.SimpleNamespace(Device=lambda: device, get_current_stream=lambda: stream)
    cupy.RawModule = RawModule
    cupy.ndarray = type("ndarray", (), {})
    names = ["cupy", "ssm_gramians.backends.cupy", "ssm_gramians.backends._cupy_kernels"]
    kept = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["cupy"] = cupy
    try:
        backend = import_module("ssm_gramians.backends.cupy").CupyBackend
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in kept.items() if module is not None})

    class OnCpu(backend):
        def owns(self, array):
            return isinstance(array, np.ndarray)

    return OnCpu()
