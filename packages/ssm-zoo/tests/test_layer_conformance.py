"""LRU, S5 and Mamba run the public suite; the others do so beside their own tests."""

from ssm_zoo.layers import LRU, S5, Mamba
from ssm_zoo.scan import available_scans
from ssm_zoo.scan._operation import installed
from ssm_zoo.testing import LayerConformance


class TestLRU(LayerConformance):
    scans = available_scans()

    def make(self, scan="auto"):
        return LRU(self.d_model, 6, scan=scan)


class TestBidirectionalLRU(LayerConformance):
    scans = available_scans()
    streams = False

    def make(self, scan="auto"):
        return LRU(self.d_model, 6, bidirectional=True, scan=scan)


class TestS5(LayerConformance):
    scans = available_scans()

    def make(self, scan="auto"):
        return S5(self.d_model, 6, blocks=2, scan=scan)


class TestBidirectionalS5(LayerConformance):
    scans = available_scans()
    streams = False

    def make(self, scan="auto"):
        return S5(self.d_model, 6, bidirectional=True, discretization="bilinear", scan=scan)


class TestMamba(LayerConformance):
    scans = ("reference", "torch", *(("numba",) if installed("numba") else ()))

    def make(self, scan="auto"):
        return Mamba(self.d_model, 5, scan=scan)
