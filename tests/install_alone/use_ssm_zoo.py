"""Use ssm-zoo where only the three wheels were installed: the command answers, a layer has outputs and a system."""

import subprocess
import sys
from pathlib import Path

import torch

from ssm_balance import hankel_singular_values
from ssm_zoo.layers import LRU

layer = LRU(4, 16)
outputs = layer(torch.randn(2, 32, 4))
if outputs.shape != (2, 32, 4) or not outputs.isfinite().all():
    sys.exit(f"got outputs of shape {tuple(outputs.shape)}, wanted finite ones of shape (2, 32, 4)")
hsv = hankel_singular_values(layer.system())
print(f"LRU: order {layer.system().order}, largest Hankel singular value {float(hsv[0]):.3g}")

command = Path(sys.executable).with_name("ssm-zoo")
subprocess.run([str(command), "--help"], check=True, stdout=subprocess.DEVNULL)
print("ssm-zoo --help: answers")
