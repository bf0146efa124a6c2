"""S4D: what every layer promises, and what is its own."""

import copy

import numpy as np
import pytest
import torch

from ssm_gramians import Diagonal, InstabilityError, StateSpace
from ssm_zoo import OptionError, ReductionError, ShapeError, UnsupportedError
from ssm_zoo.layers import S4D, Reducible, gather_moments
from ssm_zoo.scan.channel.operation import OPERATION
from ssm_zoo.streaming import stepper
from ssm_zoo.testing import LayerConformance

SCANS = (*(name for name in OPERATION.available() if name != "triton"), "fft")


class TestS4D(LayerConformance):
    scans = SCANS

    def make(self, scan="auto"):
        return S4D(self.d_model, 5, scan=scan)


class TestBilinearS4D(LayerConformance):
    def make(self, scan="auto"):
        return S4D(self.d_model, 3, init="inv", discretization="bilinear", dt_max=0.5, scan=scan)


class TestBidirectionalS4D(LayerConformance):
    scans = SCANS
    streams = False

    def make(self, scan="auto"):
        return S4D(self.d_model, 3, init="lin", bidirectional=True, scan=scan)
