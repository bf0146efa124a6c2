"""S4: what every layer promises, and what is its own."""

import pytest
import torch

import ssm_balance as sb
from ssm_gramians import DiagonalPlusLowRank, StateSpace, controllability_gramian
from ssm_zoo import OptionError, ShapeError, UnsupportedError
from ssm_zoo.layers import S4, S4D
from ssm_zoo.layers.hippo import hippo, low_rank, normal_plus_low_rank
from ssm_zoo.testing import LayerConformance

SCANS = ("reference", "torch", "fft")


class TestS4(LayerConformance):
    scans = SCANS

    def make(self, scan="auto"):
        return S4(self.d_model, 4, scan=scan)


class TestBidirectionalS4(LayerConformance):
    scans = ("reference", "torch")
    streams = False

    def make(self, scan="auto"):
        return S4(self.d_model, 2, init="legt", bidirectional=True, scan=scan)
