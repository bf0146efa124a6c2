"""Against s5-pytorch, where it is installed: the same weights give the same outputs and gradients."""

import pytest
import torch

from ssm_zoo.checkpoints import as_checkpoint, load_checkpoint
from ssm_zoo.layers import S5

with pytest.MonkeyPatch.context() as patch:
    patch.setattr("warnings.warn", lambda *_, **__: None)  # it compiles scripts, which Torch no longer likes
    peer = pytest.importorskip("s5")


def theirs(width=6, state_width=8, **options):
    torch.manual_seed(0)
    return peer.S5(width, state_width, **options)


def inputs():
    return torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bidir", [False, True])
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_their_layer_loads_and_gives_their_outputs(bidir, discretization):
    layer = theirs(bidir=bidir)
    layer.seq.discretize = getattr(peer.s5_model, f"discretize_{discretization}")

    ours = load_checkpoint(layer.state_dict(), discretization=discretization)

    assert (ours.d_state, ours.bidirectional) == (8, bidir)
    torch.testing.assert_close(ours(inputs()), layer(inputs()), rtol=1e-5, atol=1e-5)


def test_gradients_are_theirs():
    layer = theirs()
    ours = load_checkpoint(layer.state_dict())

    for model in (layer, ours):
        model(inputs()).square().sum().backward()

    expected = {name.removeprefix("seq."): p.grad for name, p in layer.named_parameters()}
    torch.testing.assert_close(ours.B.grad, expected["B"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.log_step.grad, expected["log_step"].flatten(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.view_as_complex(ours.C.grad), 2 * expected["C"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bidir", [False, True])
def test_our_layer_loads_there(bidir):
    torch.manual_seed(0)
    ours = S5(6, 5, bidirectional=bidir)
    layer = theirs(6, 5, bidir=bidir)

    layer.seq.load_state_dict(as_checkpoint(ours, "s5_torch"))

    torch.testing.assert_close(layer(inputs()), ours(inputs()), rtol=1e-5, atol=1e-5)
