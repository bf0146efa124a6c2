"""Both layers: one map, whether it is run at once, in pieces, step by step, or as the system that is reduced."""

import copy
import pickle

import pytest
import torch

from ssm_gramians import Diagonal, InstabilityError, StateSpace, controllability_gramian
from ssm_zoo._errors import DtypeError, OptionError, ReductionError, ShapeError, UnsupportedError
from ssm_zoo.layers import LRU, S5, Reducible, gather_moments
from ssm_zoo.scan import available_scans

LAYERS = {
    "lru": lambda **options: LRU(3, 6, **options),
    "s5": lambda **options: S5(3, 6, blocks=2, **options),
    "s5 bilinear": lambda **options: S5(3, 6, discretization="bilinear", **options),
    "one slot": lambda **options: LRU(3, 1, **options),
}
DIRECTIONS = {"one way": False, "both ways": True}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def make(request):
    torch.manual_seed(0)
    return request.param


@pytest.fixture
def x():
    return torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(1))


def written_out(layer, x):
    """Return outputs and states as the recurrence is written, from the parameters, in double precision."""
    p = {name: value.detach().double() for name, value in layer.named_parameters()}
    if isinstance(layer, LRU):
        poles = torch.exp(-p["nu_log"].exp() + 1j * p["theta_log"].exp())
        B = p["gamma_log"].exp()[:, None] * (p["B_re"] + 1j * p["B_im"])
        C = p["C_re"] + 1j * p["C_im"]
    else:
        A, step = p["Lambda_re"] + 1j * p["Lambda_im"], p["log_step"].exp()
        poles = torch.exp(A * step) if layer.discretization == "zoh" else (1 + A * step / 2) / (1 - A * step / 2)
        scale = (poles - 1) / A if layer.discretization == "zoh" else step / (1 - A * step / 2)
        B, C = scale[:, None] * torch.view_as_complex(p["B"]), 2 * torch.view_as_complex(p["C"])
    state, outputs, states = torch.zeros(len(x), len(poles), dtype=torch.complex128), [], []
    for u in x.double().unbind(1):
        state = poles * state + u.to(B.dtype) @ B.mT
        states.append(state)
        outputs.append((state @ C.mT).real + p["D"] * u)
    return torch.stack(outputs, 1), torch.stack(states, 1)


@pytest.mark.parametrize("scan", ["auto", *available_scans()])
def test_the_layer_is_its_recurrence_written_out(make, x, scan):
    layer = make(scan=scan)

    torch.testing.assert_close(layer(x).double(), written_out(layer, x)[0], rtol=1e-4, atol=1e-5)


def test_steps_and_pieces_are_the_whole(make, x):
    layer = make().double()
    x = x.double()
    whole, last = layer(x, return_state=True)

    first, state = layer(x[:, :20], return_state=True)
    y, state = layer(x[:, 20:45], state=state, return_state=True)
    steps = []
    for x_t in x[:, 45:].unbind(1):
        y_t, state = layer.step(x_t, state)
        steps.append(y_t)

    torch.testing.assert_close(torch.cat([first, y, torch.stack(steps, 1)], 1), whole)
    torch.testing.assert_close(state, last)


def test_the_state_at_rest_is_where_a_sequence_starts(make, x):
    layer = make()

    assert torch.equal(layer(x, layer.init_state(4)), layer(x))
    assert layer.double().init_state(4).dtype == torch.complex128


def test_a_state_carries_gradients_across_pieces(make, x):
    layer, x = make().double(), x.double()
    layer(x)[:, -1].square().sum().backward()
    wanted = {name: value.grad.clone() for name, value in layer.named_parameters()}
    layer.zero_grad()

    _, state = layer(x[:, :30], return_state=True)
    layer(x[:, 30:], state)[:, -1].square().sum().backward()

    for name, value in layer.named_parameters():
        torch.testing.assert_close(value.grad, wanted[name])


def test_both_ways_is_each_way_with_its_own_outputs(make, x):
    both, one = make(bidirectional=True), make()
    state = both.state_dict()
    forward = {name: value for name, value in state.items() if not name.startswith("C2")}
    backward = forward | {name.replace("C2", "C"): value for name, value in state.items() if name.startswith("C2")}

    y = both(x)

    one.load_state_dict(forward)
    wanted = one(x)
    one.load_state_dict(backward)
    torch.testing.assert_close(y, wanted + one(x.flip(1)).flip(1) - one.D * x)


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_gradients_are_finite_differences(make, bidirectional):
    layer = make(bidirectional=bidirectional).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


def test_autocast_changes_nothing_inside_a_layer(make, x):
    layer = make()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x, return_state=True)

    assert torch.equal(y, layer(x))
    assert state.dtype == torch.complex64


def test_a_layer_starts_stable_and_reducible(make):
    layer = make()

    assert isinstance(layer, Reducible)
    assert (layer.system().A.eigenvalues.abs() < 1).all()
    assert layer.d_state == layer.system().order // 2


def test_an_lru_starts_on_its_ring():
    poles = LRU(2, 500, r_min=0.5, r_max=0.8, max_phase=1.0).system().A.eigenvalues

    assert poles.abs().min() >= 0.5 - 1e-6
    assert poles.abs().max() <= 0.8 + 1e-6
    assert poles.angle().max() <= 1.0 + 1e-6


def test_s5_starts_from_the_normal_part_of_hippo():
    root = (2 * torch.arange(8, dtype=torch.float64) + 1).sqrt()
    legs = -torch.tril(torch.outer(root, root), -1) - torch.diag(torch.arange(1, 9, dtype=torch.float64))
    normal = legs + torch.outer(root, root) / 2  # the low-rank term of HiPPO-LegS, P = sqrt(i + 1/2)

    layer = S5(2, 4)

    poles = torch.complex(layer.Lambda_re, layer.Lambda_im).detach().to(torch.complex128)
    wanted = torch.linalg.eigvals(normal)
    wanted = wanted[wanted.imag > 0]
    torch.testing.assert_close(poles, wanted[wanted.imag.argsort()], rtol=1e-5, atol=1e-5)


# The system that is reduced


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_the_system_is_the_layer_one_step_late(make, x, bidirectional):
    layer = make(bidirectional=bidirectional).double()
    x = x.double()

    system = layer.system()

    outputs = layer.d_model
    feedthrough = x @ system.D.mT
    late = system.simulate(torch.cat([x, x[:, :1]], 1))[:, 1:] - torch.cat([x, x[:, :1]], 1)[:, 1:] @ system.D.mT
    wanted = late[..., :outputs] + feedthrough[..., :outputs]
    if bidirectional:
        back = torch.cat([x.flip(1), x[:, :1]], 1)
        wanted = wanted + system.simulate(back)[:, 1:, outputs:].flip(1)
    torch.testing.assert_close(layer(x), wanted)


def test_the_system_is_double_precision_and_apart_from_the_parameters(make):
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}

    system = layer.system()
    system.D.zero_()
    system.B.zero_()

    assert system.A.eigenvalues.dtype == system.B.dtype == system.C.dtype == torch.complex128
    assert not system.B.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_the_second_moment_is_the_mean_over_all_states(make, x, bidirectional, monkeypatch):
    monkeypatch.setattr("ssm_zoo.layers._system._TILE", 2000)  # several spans of time
    x = x.repeat(5, 1, 1)  # more sequences than one group
    layer = make(bidirectional=bidirectional)

    moment = layer.second_moment(x)

    directions = [x, x.flip(1)] if bidirectional else [x]
    states = torch.cat([written_out(layer, u)[1] for u in directions]).flatten(0, 1)
    xi = torch.cat([states.real, states.imag], 1)
    torch.testing.assert_close(moment, xi.mT @ xi / len(xi), rtol=1e-9, atol=1e-9 * moment.abs().max().item())


def test_the_second_moment_under_white_noise_is_the_controllability_gramian():
    torch.manual_seed(0)
    layer = LRU(2, 3, r_min=0.3, r_max=0.8)

    moment = layer.second_moment(torch.randn(64, 2000, 2))

    gramian = controllability_gramian(layer.system())
    assert torch.linalg.norm(moment - gramian) < 0.05 * torch.linalg.norm(gramian)


# Surgery


def slot_map(n, seed=0, keep=None):
    """Return left and right of z_k = t_k x_perm(k), and t and perm: an exact change of coordinates, or a selection."""
    random = torch.Generator().manual_seed(seed)
    perm = torch.randperm(n, generator=random)[: keep or n]
    radius, phase = torch.rand(2, len(perm), generator=random, dtype=torch.float64)
    t = torch.polar(0.5 + radius, 6 * phase)
    P, Q = torch.zeros(2, len(perm), n, dtype=torch.complex128)
    P[torch.arange(len(perm)), perm], Q[torch.arange(len(perm)), perm] = t, 1 / t
    left = torch.cat([P, 1j * P], 1).mH
    right = torch.cat([Q.mT / 2, Q.mT / 2j])
    return left, right, t, perm


def moved(system, t, perm):
    poles = Diagonal(system.A.eigenvalues[perm], paired=True)
    return StateSpace(poles, t[:, None] * system.B[perm], system.C[:, perm] / t, system.D, system.dt)


def operated(layer, surgery):
    """Replace the parameters, as a reducer does."""
    for name, value in surgery.parameters.items():
        setattr(layer, name, torch.nn.Parameter(value))
    return layer


def gradients(layer, x):
    layer.zero_grad()
    y = layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    (weights * y).sum().backward()
    return y.detach(), {name: value.grad.clone() for name, value in layer.named_parameters()}


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_new_coordinates_change_neither_outputs_nor_how_gradients_move(make, x, bidirectional):
    layer, x = make(bidirectional=bidirectional).double(), x.double()
    y, old = gradients(layer, x)
    left, right, t, perm = slot_map(layer.d_state)

    surgery = layer.surgery(moved(layer.system(), t, perm), left, right)

    y_new, new = gradients(operated(layer, surgery), x)
    torch.testing.assert_close(y_new, y)
    for name in surgery.parameters.keys() - set(layer.POLES):
        torch.testing.assert_close(surgery.moments[name](old, 1), new[name], rtol=1e-8, atol=1e-8)


def test_in_single_precision_new_coordinates_change_outputs_by_rounding_only(make, x):
    layer = make()
    y = layer(x)
    left, right, t, perm = slot_map(layer.d_state)

    surgery = layer.surgery(moved(layer.system(), t, perm), left, right)

    assert all(value.dtype == torch.float32 for value in surgery.parameters.values())
    torch.testing.assert_close(operated(layer, surgery)(x), y, rtol=1e-4, atol=2e-5)


def test_slots_that_are_kept_keep_their_moments(make, x):
    layer = make()
    n, keep = layer.d_state, (layer.d_state + 1) // 2
    left, right, t, perm = slot_map(n, keep=keep)
    random = torch.Generator().manual_seed(3)
    old = {name: torch.rand(value.shape, generator=random) for name, value in layer.named_parameters()}
    one = torch.ones(keep, dtype=torch.complex128)
    left, right = left / t.conj(), right * t  # without the scaling: a mere selection

    surgery = layer.surgery(moved(layer.system(), one, perm), left, right)

    ratio = surgery.parameters
    for name in layer.POLES:
        assert torch.equal(surgery.moments[name](old, 2), old[name][perm])
        assert not surgery.moments[name](old, 1).any()
        torch.testing.assert_close(ratio[name], layer.get_parameter(name)[perm], rtol=1e-4, atol=1e-5)
    for name in surgery.parameters.keys() - set(layer.POLES):
        axis = 0 if name.startswith("B") else 1
        for power in (1, 2):
            moment = surgery.moments[name](old, power)
            torch.testing.assert_close(moment, old[name].index_select(axis, perm), rtol=1e-4, atol=1e-5)


def test_second_moments_stay_positive(make):
    layer = make()
    left, right, t, perm = slot_map(layer.d_state)
    old = {name: torch.rand(value.shape) for name, value in layer.named_parameters()}

    surgery = layer.surgery(moved(layer.system(), t, perm), left, right)

    assert all((surgery.moments[name](old, 2) >= 0).all() for name in surgery.parameters)


@pytest.mark.parametrize("pole", [0.9, -0.7, 0.0, 0.999999], ids=["positive", "negative", "zero", "slow"])
def test_a_real_pole_can_be_written_back(make, x, pole):
    layer, x = make().double(), x.double()
    left, right, _, _ = slot_map(layer.d_state, keep=1)
    B, C = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.3], [1.0], [-1.0]])
    complex128 = {"dtype": torch.complex128}
    poles = Diagonal(torch.tensor([pole], **complex128), paired=True)
    system = StateSpace(poles, B.to(**complex128), C.to(**complex128), layer.system().D, dt=1.0)

    layer = operated(layer, layer.surgery(system, left, right))

    torch.testing.assert_close(layer.system().A.eigenvalues, poles.eigenvalues, rtol=1e-12, atol=1e-12)
    states = [torch.zeros(4, 3, dtype=torch.float64)]
    for u in x.unbind(1):
        states.append(pole * states[-1] + u)
    wanted = 2 * torch.stack(states[1:], 1) @ (C @ B).double().mT + layer.D * x
    torch.testing.assert_close(layer(x), wanted, rtol=1e-9, atol=1e-9)
    gradients(layer, x)
    assert all(value.grad.isfinite().all() for value in layer.parameters())


def test_numpy_arrays_do_as_well(make):
    layer = make()
    left, right, t, perm = slot_map(layer.d_state)
    system = moved(layer.system(), t, perm)
    arrays = StateSpace(
        Diagonal(system.A.eigenvalues.numpy(), paired=True), system.B.numpy(), system.C.numpy(), system.D.numpy(), 1.0
    )

    surgery = layer.surgery(arrays, left.resolve_conj().numpy(), right.numpy())

    wanted = layer.surgery(system, left, right)
    assert all(torch.equal(value, wanted.parameters[name]) for name, value in surgery.parameters.items())


@pytest.mark.parametrize("pole", [1.0, -1j, 1.5])
def test_a_pole_that_does_not_decay_is_refused(make, pole):
    layer = make()
    system = layer.system()
    system.A.eigenvalues[0] = pole
    left, right, _, _ = slot_map(layer.d_state)

    with pytest.raises(InstabilityError, match="unit circle") as error:
        layer.surgery(system, left, right)

    assert error.value.eigenvalue == pole


def test_surgery_arguments_that_do_not_fit_are_named(make):
    layer = make()
    left, right, t, perm = slot_map(layer.d_state)
    system = moved(layer.system(), t, perm)

    with pytest.raises(ShapeError, match="left"):
        layer.surgery(system, left.mT[:1], right)
    with pytest.raises(ReductionError, match="NaN or an infinity in right"):
        layer.surgery(system, left, right * torch.nan)
    with pytest.raises(ShapeError, match="paired"):
        layer.surgery(system.to_dense(), left, right)


# Padding


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("padding", ["right", "left"])
def test_padding_is_as_if_it_were_not_there(make, x, padding, bidirectional):
    layer, x = make(bidirectional=bidirectional).double(), x.double()
    lengths = [50, 1, 0, 33]
    real = [slice(0, n) if padding == "right" else slice(50 - n, None) for n in lengths]
    padded = torch.full_like(x, torch.nan)
    for b, steps in enumerate(real):
        padded[b, steps] = x[b, steps]
    options = {} if bidirectional else {"return_state": True}

    results = layer(padded, lengths=torch.tensor(lengths), padding=padding, **options)
    y, last = (results, None) if bidirectional else results
    y.square().sum().backward()

    assert all(value.grad.isfinite().all() for value in layer.parameters())
    for b, steps in enumerate(real):
        alone = layer(x[b : b + 1, steps], **options)
        torch.testing.assert_close(y[b, steps], (alone if bidirectional else alone[0])[0])
        assert y[b].count_nonzero() == lengths[b] * 3
        if not bidirectional:
            torch.testing.assert_close(last[b], alone[1][0])


# Steps without gradients


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_steps_without_gradients_are_the_same_steps(make, batch):
    layer = make()
    x = torch.randn(9, batch, 3, generator=torch.Generator().manual_seed(1))
    state = wanted_state = layer.init_state(batch)

    for x_t in x:
        before, wanted_state = state.clone(), layer.step(x_t, wanted_state)[1].detach()
        with torch.no_grad():
            y, new = layer.step(x_t, state)

        torch.testing.assert_close(y, layer.step(x_t, state)[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(new, wanted_state, rtol=1e-4, atol=1e-5)
        assert torch.equal(state, before)
        state = new


def test_a_step_sees_every_change_of_the_parameters(make):
    layer, other = make(), make()
    x_t, state = torch.ones(1, 3), layer.init_state(1)

    def assert_current():
        torch.testing.assert_close(layer.step(x_t, state)[0], layer(x_t[:, None])[:, 0], rtol=1e-4, atol=1e-5)

    with torch.no_grad():
        assert_current()
        for value in layer.parameters():
            value.data.mul_(1.25)  # behind autograd's back: no version counts it
        assert_current()
        layer.load_state_dict(other.state_dict())
        assert_current()
        for name, value in layer.named_parameters():
            setattr(layer, name, torch.nn.Parameter(value * 0.75))
        assert_current()
        for value in layer.parameters():
            value.data = value.data * 1.1
        assert_current()
        layer.D.data = layer.D.data.double()
        layer.double()
        assert layer.step(x_t.double(), layer.init_state(1))[0].dtype == torch.float64


def test_a_copy_and_a_pickle_step_on_their_own(make):
    layer = make()
    x_t, state = torch.ones(1, 3), layer.init_state(1)
    with torch.no_grad():
        wanted = layer.step(x_t, state)[0]

        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            layer.D.data.add_(1)
            assert torch.equal(twin.step(x_t, state)[0], wanted)


def test_a_step_that_does_not_fit_is_named(make):
    layer = make()

    with torch.no_grad():
        layer.step(torch.ones(1, 3), layer.init_state(1))
        with pytest.raises(ShapeError, match="wanted"):
            layer.step(torch.ones(1, 2), layer.init_state(1))
        with pytest.raises(ShapeError, match="state must be"):
            layer.step(torch.ones(1, 3), layer.init_state(2))
        with pytest.raises(DtypeError, match=r"torch\.float64"):
            layer.step(torch.ones(1, 3).double(), layer.init_state(1))


def test_a_nan_in_a_pole_comes_out_of_a_step(make):
    layer = make()

    with torch.no_grad():
        layer.get_parameter(layer.POLES[0])[0] = torch.nan
        y, _ = layer.step(torch.ones(1, 3), layer.init_state(1))

    assert y.isnan().all()


# Moments


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_gathered_moments_of_states_are_the_second_moment(make, x, bidirectional):
    layer = make(bidirectional=bidirectional).double()
    lengths = torch.tensor([50, 20, 1, 0])

    with gather_moments(torch.nn.ModuleDict({"layer": layer})) as moments:
        layer(x.double(), lengths=lengths).sum().backward()

    wanted = layer.second_moment(x, lengths)
    torch.testing.assert_close(moments["layer"].states(), wanted)
    assert torch.linalg.eigvalsh(moments["layer"].adjoints())[-1] > 0
    assert layer.moments is None


def test_moments_are_gathered_inside_only_and_over_all_passes(make, x):
    layer = make()

    with gather_moments(layer) as moments:
        layer(x)
        layer(x)
    layer(x)

    assert moments[""].count == 2 * 4 * 50
    with pytest.raises(ReductionError, match="backward pass"):
        moments[""].adjoints()
    with pytest.raises(UnsupportedError, match="no layer of Linear"), gather_moments(torch.nn.Linear(2, 2)):
        pass


# The layer of a system


@pytest.mark.parametrize("bidirectional", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_layer_becomes_the_layer_of_a_system(make, x, bidirectional):
    layer, other = make(bidirectional=bidirectional), make(bidirectional=bidirectional)
    other.load_state_dict(layer.state_dict())
    for value in other.parameters():
        torch.nn.init.normal_(value, std=0.3) if value.ndim > 1 else value.data.mul_(0.9)
    _, _, t, perm = slot_map(layer.d_state, keep=(layer.d_state + 1) // 2)
    smaller = moved(other.system(), t, perm)

    other.load_system(layer.system())
    torch.testing.assert_close(other(x), layer(x), rtol=1e-4, atol=2e-5)
    layer.load_system(smaller)

    assert layer.d_state == len(perm)
    got = layer.system()
    torch.testing.assert_close(got.A.eigenvalues, smaller.A.eigenvalues, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.D, smaller.D)
    torch.testing.assert_close(
        got.C.mT[:, None] * got.B[:, :, None], smaller.C.mT[:, None] * smaller.B[:, :, None], rtol=1e-3, atol=1e-4
    )


def test_loading_a_system_keeps_what_is_known_of_the_parameters(make):
    layer = make()
    layer.D.requires_grad_(False)

    layer.load_system(layer.system())

    assert not layer.D.requires_grad
    assert layer.get_parameter(layer.POLES[0])._optim == {"weight_decay": 0.0}


def test_a_system_that_does_not_fit_is_refused_and_nothing_changed(make):
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    full, unstable = layer.system(), layer.system()
    full.D[0, 1] = 1
    unstable.A.eigenvalues[0] = 1.5

    with pytest.raises(ShapeError, match="off its diagonal"):
        layer.load_system(full)
    with pytest.raises(InstabilityError, match="unit circle"):
        layer.load_system(unstable)
    with pytest.raises(ShapeError, match="paired"):
        layer.load_system(layer.system().to_dense())

    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


# What trainers and users look at


def test_parameters_say_that_they_want_no_weight_decay(make):
    layer = make()

    marked = {name for name, value in layer.named_parameters() if getattr(value, "_no_weight_decay", False)}
    slowed = {name for name, value in layer.named_parameters() if hasattr(value, "_optim")}

    assert marked == {name for name, _ in layer.named_parameters() if not name.startswith("C")}
    assert slowed == marked - {"D"}


def test_precision_and_device_are_those_asked_for(make, x):
    assert {value.dtype for value in make(dtype=torch.float64).parameters()} == {torch.float64}
    assert {value.device.type for value in make(device="meta").parameters()} == {"meta"}


def test_parameters_in_half_precision_are_run_in_single(make, x):
    layer = make(dtype=torch.bfloat16)
    single = make()
    single.load_state_dict(layer.state_dict())

    y, state = layer(x.bfloat16(), return_state=True)
    y.float().square().sum().backward()

    wanted, wanted_state = single(x.bfloat16(), return_state=True)
    assert torch.equal(y, wanted.bfloat16())
    assert torch.equal(state, wanted_state)
    assert layer.init_state(2).dtype == torch.complex64
    assert all(value.grad.dtype == torch.bfloat16 for value in layer.parameters())


def test_a_layer_explains_how_it_runs(make):
    fastest = available_scans()[-1]

    assert f"8 x 100 steps on cpu: {fastest}: " in make().explain(8, 100)
    assert "reference: one step" in make().explain(8, 1)
    assert "torch: asked for" in make(scan="torch").explain(8, 100)


# Bad input


def test_inputs_that_do_not_fit_are_named(make):
    layer = make()

    with pytest.raises(ShapeError, match=r"got x of shape \(4, 50, 2\), wanted \(batch, length, 3\)"):
        layer(torch.zeros(4, 50, 2))
    with pytest.raises(ShapeError, match="state must be"):
        layer(torch.zeros(4, 50, 3), layer.init_state(5))
    with pytest.raises(DtypeError, match=r"torch\.float64"):
        layer(torch.zeros(4, 50, 3, dtype=torch.float64))
    with pytest.raises(ShapeError, match="at least one step"):
        layer.second_moment(torch.zeros(4, 0, 3))


def test_a_bidirectional_layer_says_that_it_has_no_state(make, x):
    layer = make(bidirectional=True)

    for call in (
        lambda: layer(x, return_state=True),
        lambda: layer(x, torch.zeros(4, layer.d_state, dtype=torch.complex64)),
        lambda: layer.init_state(4),
        lambda: layer.step(x[:, 0], None),
    ):
        with pytest.raises(UnsupportedError, match="both ends"):
            call()


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (LRU, {"d_state": 0}, "d_state=0"),
        (LRU, {"d_model": 0}, "d_model=0"),
        (LRU, {"r_min": 0.9, "r_max": 0.5}, "r_min=0.9"),
        (LRU, {"r_max": 1.0}, "r_max=1.0"),
        (LRU, {"max_phase": 0.0}, "max_phase=0.0"),
        (S5, {"blocks": 5}, "blocks=5"),
        (S5, {"dt_min": 0.0}, "dt_min=0.0"),
        (S5, {"discretization": "euler"}, "'zoh' or 'bilinear'"),
    ],
)
def test_options_outside_their_range_are_named(layer, options, message):
    with pytest.raises(OptionError, match=message):
        layer(**{"d_model": 3, "d_state": 6} | options)
