"""Public conformance suite: what a state-space layer must be, as a pytest class to inherit from. Needs pytest.

A layer of your own proves itself in a few lines::

    class TestMine(LayerConformance):
        scans = ("reference", "torch")

        def make(self, scan="auto"):
            return MyLayer(d_model=self.d_model, d_state=4, scan=scan)
"""

from .layer import LayerConformance

__all__ = ["LayerConformance"]
