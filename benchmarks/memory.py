"""How much memory one forward and backward pass of a layer adds, in a process of its own.

Run `python memory.py MAKER N LENGTH`, with a maker of `peers.layers`, or `ours_mamba`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def peak_mebibytes(maker, n, length):
    """Return the growth of the process's peak during the first pass at full length, None if it cannot be told."""
    command = [sys.executable, __file__, maker, str(n), str(length)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return round(float(run.stdout)) if run.returncode == 0 and run.stdout.strip() else None


def main(maker, n, length):
    """Print it: the peak of a short pass, which loads and compiles everything, is where counting starts."""
    import torch
    from peers import layers

    torch.set_num_threads(1)
    layer = ours_mamba(int(n)) if maker == "ours_mamba" else getattr(layers, maker)(int(n))
    one_pass(layer, 16)
    before = peak()
    one_pass(layer, int(length))
    print(peak() - before)


def ours_mamba(n):
    """Return the layer under test."""
    from peers.layers import D_MODEL

    from ssm_zoo import Mamba

    return Mamba(D_MODEL, n)


def one_pass(layer, length):
    """Run forward and backward once."""
    import torch

    x = torch.randn(8, length, 128, requires_grad=True)
    layer(x).sum().backward()


def peak():
    """Return the largest resident size so far, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    msg = "this system does not tell the peak of a process: /proc/self/status has no VmHWM"
    raise OSError(msg)


if __name__ == "__main__":
    main(*sys.argv[1:])
