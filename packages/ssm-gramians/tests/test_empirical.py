import numpy as np
import pytest
import torch

from ssm_gramians import DtypeError, EmpiricalGramian, ShapeError, StateSpace, controllability_gramian, empirical_factor
from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind


def moment(states, *, centred=False):
    states = states - states.mean(axis=0) if centred else states
    return states.T @ states.conj() / len(states)


def gram(Z):
    Z = as_numpy(Z)
    return Z @ np.swapaxes(Z, -1, -2).conj()


def normal(rng, *shape, is_complex=False):
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if is_complex else values


@pytest.mark.parametrize("is_complex", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("samples", [1, 3, 50])
def test_it_is_the_mean_over_the_states(asarray, rng, is_complex, centred, samples):
    states = normal(rng, samples, 4, is_complex=is_complex) + 1

    Z = empirical_factor(asarray(states), centred=centred)

    assert Z.shape[-1] <= 4
    assert_same_kind(Z, asarray(states))
    np.testing.assert_allclose(gram(Z), moment(states, centred=centred), atol=1e-14)


@pytest.mark.parametrize("centred", [True, False])
def test_a_stream_gives_what_all_states_at_once_give(asarray, rng, centred):
    states = normal(rng, 60, 4, is_complex=True) + 3

    stream = EmpiricalGramian.of(asarray(states[:7]), centred=centred)
    for start, end in ((7, 8), (8, 30), (30, 60)):
        stream = stream.update(asarray(states[start:end]))

    assert int(stream.count) == 60
    assert_close(stream.gramian(), moment(states, centred=centred), rtol=1e-14)


@pytest.mark.parametrize("centred", [True, False])
def test_merging_needs_no_order(asarray, rng, centred):
    states = normal(rng, 30, 3) + 2
    parts = [EmpiricalGramian.of(asarray(part), centred=centred) for part in np.split(states, [4, 11])]

    left = parts[0].merge(parts[1]).merge(parts[2])
    right = parts[2].merge(parts[1].merge(parts[0]))

    assert_close(left.gramian(), right.gramian(), rtol=1e-14)
    assert_close(left.gramian(), moment(states, centred=centred), rtol=1e-14)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_padding_never_enters(asarray, rng, centred, streamed):
    states, lengths = normal(rng, 5, 9, 3) + 1, np.array([9, 1, 0, 4, 7])
    mask = np.arange(9) < lengths[:, None]
    expected = moment(states[mask], centred=centred)
    states[~mask] = np.nan
    options = {"axis": (0, 1), "centred": centred}

    if streamed:
        found = EmpiricalGramian.of(asarray(states[:2]), mask=asarray(mask[:2]), **options)
        found = found.update(asarray(states[2:]), mask=asarray(mask[2:]), axis=(0, 1))
    else:
        found = EmpiricalGramian.of(asarray(states), mask=asarray(mask), **options)

    assert int(found.count) == 21
    assert_close(found.gramian(), expected, rtol=1e-14)


@pytest.mark.parametrize("centred", [True, False])
def test_a_part_without_states_changes_nothing(rng, centred):
    states = normal(rng, 6, 3)
    whole = EmpiricalGramian.of(states, centred=centred)

    with_nothing = whole.update(np.full((2, 3), np.nan), mask=np.zeros(2, bool))
    from_nothing = EmpiricalGramian.of(np.zeros((0, 3)), centred=centred).update(states)

    assert_close(with_nothing.gramian(), whole.gramian(), rtol=1e-15)
    assert_close(from_nothing.gramian(), whole.gramian(), rtol=1e-14)


@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
def test_a_batch_equals_a_loop(asarray, rng, batch):
    states, mask = normal(rng, *batch, 8, 3), rng.uniform(size=(*batch, 8)) < 0.7

    P = gram(empirical_factor(asarray(states), mask=asarray(mask)))

    assert P.shape == (*batch, 3, 3)
    for index in np.ndindex(batch):
        assert_close(P[index], moment(states[index][mask[index]]), rtol=1e-13)


def test_axes_say_what_is_averaged(rng):
    states = normal(rng, 4, 2, 5, 3)  # sequences, layers, time, entries

    P = gram(empirical_factor(states, axis=(0, 2)))

    for layer in range(2):
        assert_close(P[layer], moment(states[:, layer].reshape(-1, 3)), rtol=1e-14)


def test_slots_of_a_paired_system_come_in_real_coordinates(asarray, rng):
    slots = normal(rng, 20, 3, is_complex=True)

    Z = empirical_factor(asarray(slots), paired=True)

    assert_close(gram(Z), moment(np.concatenate((slots.real, slots.imag), axis=1)), rtol=1e-14)


def test_small_directions_keep_the_digits_that_a_sum_of_squares_loses(rng):
    basis = np.linalg.qr(normal(rng, 4, 4))[0]
    scales = np.array([1.0, 1e-4, 1e-8, 1e-12])
    states = 20 * np.linalg.qr(normal(rng, 400, 4))[0] * scales @ basis.T  # P has the eigenvalues scales^2

    stream = EmpiricalGramian.of(states[:100])
    for start in (100, 200, 300):
        stream = stream.update(states[start : start + 100])

    values = np.linalg.svd(stream.factor(), compute_uv=False)
    assert np.all(abs(values / scales - 1) < np.array([1e-13, 1e-11, 1e-7, 1e-3]))


def test_many_small_parts_keep_single_precision(rng):
    states = normal(rng, 4000, 3).astype(np.float32)

    stream = EmpiricalGramian.of(states[:10])
    for start in range(10, 4000, 10):
        stream = stream.update(states[start : start + 10])

    assert stream.factor().dtype == np.float32
    assert_close(stream.gramian(), moment(states.astype(float)), rtol=1e-5)


def test_white_noise_has_the_controllability_gramian(rng):
    A, B = np.array([[0.5, 0.3], [-0.2, 0.4]]), np.array([[1.0], [0.5]])
    system = StateSpace(A, B, np.ones((1, 2)), dt=1.0)
    x, states = np.zeros((2, 400)), []
    for _ in range(200):
        x = A @ x + B @ rng.standard_normal((1, 400))
        states.append(x.T)

    P = gram(empirical_factor(np.array(states[20:]), axis=(0, 1)))

    assert_close(P, controllability_gramian(system), rtol=0.02)


def test_nothing_to_average_is_refused():
    empty = EmpiricalGramian.of(np.zeros((2, 0, 3)))

    with pytest.raises(ValueError, match="no state counts"):
        empty.factor()


def test_bad_arguments_are_refused(rng):
    states = normal(rng, 5, 3)

    with pytest.raises(ShapeError, match="before the last"):
        empirical_factor(states, axis=-1)
    with pytest.raises(ShapeError, match="mask has shape"):
        empirical_factor(states, mask=np.ones((4,), bool))
    with pytest.raises(DtypeError, match="booleans"):
        empirical_factor(states, mask=np.ones(5))
    with pytest.raises(DtypeError, match="floating"):
        empirical_factor(np.ones((5, 3), int))
    with pytest.raises(ShapeError, match="same batch, order and kind"):
        EmpiricalGramian.of(states).merge(EmpiricalGramian.of(states, centred=True))


@pytest.mark.parametrize("samples", [2, 8])
def test_gradients_flow_through(rng, samples):
    states = torch.tensor(normal(rng, samples, 3), requires_grad=True)

    assert torch.autograd.gradcheck(lambda x: EmpiricalGramian.of(x).gramian(), (states,))
