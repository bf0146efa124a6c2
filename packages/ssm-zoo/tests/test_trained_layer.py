"""A layer that learnt something: its Hankel singular values against 60 digits, its cuts against their bound."""

import copy

import mpmath as mp
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ssm_balance import difference, hankel_singular_values, hinf_bracket
from ssm_zoo import ClassifierConfig, SequenceClassifier
from ssm_zoo.reduction import WhiteNoise, propose
from ssm_zoo.reduction.surgery import operate
from ssm_zoo.tasks import digits


@pytest.fixture(scope="module")
def trained_layer():
    torch.manual_seed(0)
    task = digits(0)
    model = SequenceClassifier(ClassifierConfig(d_input=1, n_classes=10, d_state=8, n_layers=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(60):
        inputs, labels = task.batch(step, 50, 0)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.blocks[0].layer


def exact_hankel_singular_values(system):
    """Gramians of all modes, their Cholesky factors, the singular values of the product: each in 60 digits."""
    with mp.workdps(60):
        eigenvalues = [mp.mpc(value) for value in system.A.poles().tolist()]
        n = len(eigenvalues)
        B, C = system.B.numpy(), system.C.numpy()
        B = mp.matrix(np.concatenate([B, B.conj()]).tolist())
        C = mp.matrix(np.concatenate([C, C.conj()], axis=1).tolist())
        P, Q = B * B.H, C.H * C
        for i in range(n):
            for j in range(n):
                P[i, j] /= 1 - eigenvalues[i] * mp.conj(eigenvalues[j])
                Q[i, j] /= 1 - mp.conj(eigenvalues[i]) * eigenvalues[j]
        values = mp.svd_c(mp.cholesky(Q).H * mp.cholesky(P), compute_uv=False)
        return np.array([float(value) for value in values])


def test_every_hankel_singular_value_of_a_float32_layer_has_ten_digits(trained_layer):
    system = trained_layer.system()

    found = hankel_singular_values(system)

    np.testing.assert_allclose(np.asarray(found), exact_hankel_singular_values(system), rtol=1e-10)


@pytest.mark.parametrize("order", [4, 8, 12])
def test_a_white_cut_keeps_its_bound_with_the_parameters_that_are_stored(trained_layer, order):
    proposal = propose(trained_layer, torch.randn(8, 64, 8), WhiteNoise(), order // 2)
    small = copy.deepcopy(trained_layer)

    operate([(small, proposal.surgery)], None)

    error = hinf_bracket(difference(trained_layer.system(), small.system()))
    assert error.upper <= proposal.certificate.error_bound
    assert proposal.certificate.hinf_error <= error.upper * (1 + 1e-5)
