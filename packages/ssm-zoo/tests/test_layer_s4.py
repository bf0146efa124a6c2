"""S4: what every layer promises, and what is its own."""

import pytest
import torch

import ssm_balance as sb
from ssm_gramians import controllability_gramian
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
    streams = False

    def make(self, scan="auto"):
        return S4(self.d_model, 2, init="legt", bidirectional=True, scan=scan)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.fixture
def make():
    def seeded(*arguments, **options):
        torch.manual_seed(0)
        return S4(*arguments, **options).double()

    return seeded


def test_the_hippo_matrices_are_the_published_ones():
    A, B = hippo("legs", 4)
    torch.testing.assert_close(A[2], -torch.tensor([5.0, 15.0, 9.0, 0.0]).sqrt().double())
    torch.testing.assert_close(B, torch.tensor([1.0, 3.0, 5.0, 7.0]).sqrt().double())
    A, B = hippo("legt", 4)
    torch.testing.assert_close(
        A[1], torch.tensor([-3.0, -9.0, 15.0, -21.0]).abs().sqrt().double() / 2 * torch.tensor([-1, -1, 1, -1])
    )
    A, B = hippo("fout", 4)
    root = 2**0.5
    wanted = [[-1, 0, -root, 0], [0, 0, 0, 0], [-root, 0, -2, -torch.pi], [0, 0, torch.pi, 0]]
    torch.testing.assert_close(A, torch.tensor(wanted).double())


@pytest.mark.parametrize("measure", ["legs", "legt", "fout"])
@pytest.mark.parametrize("slots", [1, 2, 5, 32])
def test_a_hippo_matrix_is_normal_less_low_rank(measure, slots):
    A, B = hippo(measure, 2 * slots)
    P = low_rank(measure, 2 * slots)
    normal = A + P @ P.mT
    torch.testing.assert_close(normal @ normal.mT, normal.mT @ normal)

    start = normal_plus_low_rank(measure, slots)

    V = torch.cat([start.V, start.V.conj()], 1)
    both = [torch.cat([z, z.conj()]) for z in (start.eigenvalues, start.P, start.B)]
    again = V @ (torch.diag(both[0]) - both[1] @ both[1].mH) @ V.mH
    scale = torch.linalg.matrix_norm(A)
    torch.testing.assert_close(V @ V.mH, torch.eye(2 * slots, dtype=V.dtype), rtol=0, atol=1e-10)
    assert torch.linalg.matrix_norm(again - A) <= 2e-4 * (2 * slots) ** 0.5 + 1e-10 * scale
    torch.testing.assert_close((V @ both[2]).real, B)
    assert (start.eigenvalues.imag >= 0).all()


@pytest.mark.parametrize("measure", ["legs", "legt", "fout"])
@pytest.mark.parametrize("scan", SCANS)
def test_it_is_the_dense_bilinear_system(make, measure, scan):
    layer, x = make(2, 4, init=measure, scan=scan), draw(2, 70, 2)
    A, B = hippo(measure, 8)
    V = normal_plus_low_rank(measure, 4).V
    C = 2 * (torch.view_as_complex(layer.C.detach()) @ V.mH).real  # (H, N) in the coordinates of HiPPO
    if measure == "fout":
        A = A - 1e-4 * torch.eye(8)  # its modes are made to decay a little

    half, eye = layer.log_dt.detach().exp()[:, None, None] / 2, torch.eye(8, dtype=torch.float64)
    step = torch.linalg.solve(eye - half * A, eye + half * A)
    drive = torch.linalg.solve(eye - half * A, 2 * half * B[:, None]).squeeze(-1)
    state, outputs = torch.zeros(2, 2, 8, dtype=torch.float64), []
    for u in x.unbind(1):
        state = (step @ state[..., None]).squeeze(-1) + drive * u[..., None]
        outputs.append((C * state).sum(-1))

    torch.testing.assert_close(layer(x), torch.stack(outputs, 1) + layer.D * x, rtol=1e-4, atol=1e-4)


def test_a_long_sequence_of_a_large_state_stays_right():
    torch.manual_seed(0)
    single = S4(2, 32)
    x = draw(1, 3000, 2)

    for scan in SCANS:
        single.scan = scan
        y = single(x.float()).double()
        double = S4(2, 32).double()
        double.load_state_dict(single.state_dict())
        assert torch.linalg.vector_norm(y - double(x)) <= 2e-3 * torch.linalg.vector_norm(y)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "init": "legt"}], ids=str)
def test_the_system_is_the_layer_one_step_late(make, options):
    layer = make(3, 3, **options)
    pulse = torch.zeros(1, 50, 3, dtype=torch.float64)
    pulse[:, 20] = 1

    taps = layer.system().impulse_response(60)[:, 1:, :, 0]  # (H, steps, outputs)

    wanted = torch.zeros(50, 3, dtype=torch.float64)
    wanted[20:] = taps[:, :30, 0].mT
    wanted[20] += layer.D.detach()
    if layer.bidirectional:
        wanted[:21] += taps[:, :21, 1].mT.flip(0)
    torch.testing.assert_close(layer(pulse)[0], wanted)


def test_the_second_moment_of_noise_is_the_gramian(make):
    layer = make(2, 2, init="fout", dt_min=0.3, dt_max=0.5)

    moment = layer.second_moment(draw(4, 20_000, 2))

    P = controllability_gramian(layer.system())
    assert torch.linalg.matrix_norm(moment - P).max() <= 0.05 * torch.linalg.matrix_norm(P).max()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_diagonal_system_is_loaded_and_becomes_an_s4d(make, bidirectional):
    torch.manual_seed(1)
    source, x = S4D(3, 2, init="inv", bidirectional=bidirectional).double(), draw(2, 40, 3)
    layer = make(3, 5, bidirectional=bidirectional)

    layer.load_system(source.system())

    assert (layer.d_state, layer.rank) == (2, 0)
    for scan in SCANS:
        layer.scan = scan
        torch.testing.assert_close(layer(x), source(x))
    torch.testing.assert_close(layer.to_s4d()(x), source(x))
    torch.testing.assert_close(make(3, 5, bidirectional=bidirectional).to_s4d(source.system())(x), source(x))


def test_what_no_layer_can_be_is_refused(make):
    layer = make(3, 4)
    with pytest.raises(UnsupportedError, match="rank 1"):
        layer.to_s4d()
    with pytest.raises(ShapeError, match="paired"):
        layer.load_system(layer.system())
    with pytest.raises(OptionError, match="measure='lagt'"):
        S4(2, 3, init="lagt")
    with pytest.raises(OptionError, match="'numba'"):
        S4(2, 3, scan="numba")
    with pytest.raises(OptionError, match="even"):
        hippo("legs", 3)


def test_auto_says_what_it_takes():
    assert "one step" in S4(2, 2).explain(1, 1)
    assert "torch" in S4(2, 2).explain(8, 100)
    assert S4(1, 65).choose(8, 100, stateful=False).implementation == "fft"
    assert S4(1, 65).choose(8, 100, stateful=True).implementation == "torch"


def test_reduced_it_is_diagonal(make):
    layer, x = make(2, 8, dt_min=0.05, dt_max=0.05), draw(2, 200, 2)

    reduced = sb.balanced_truncation(layer.system(), 8)
    diagonal = layer.to_s4d(sb.diagonalize(reduced.system).system)

    error = torch.linalg.vector_norm(diagonal(x) - layer(x), dim=(0, 1))
    assert diagonal.d_state <= 8
    assert (error <= torch.as_tensor(reduced.error_bound) * torch.linalg.vector_norm(x, dim=(0, 1))).all()
