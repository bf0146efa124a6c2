from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssm_gramians._unit_circle import one_minus_product

EPS = 2.0**-52
gaps = st.floats(1e-13, 0.9)
angles = st.floats(-3.2, 3.2)


def exact(a, b):
    """Return the real and imaginary part of 1 - a conj(b) as fractions."""
    ar, ai, br, bi = (Fraction(float(x)) for x in (a.real, a.imag, b.real, b.imag))
    return 1 - (ar * br + ai * bi), -(ai * br - ar * bi)


@example(gap=1e-12, other_gap=1e-9, angle=np.pi / 4, turn=0.0)  # both squares just below 1/2
@settings(max_examples=300, deadline=None)
@given(gaps, gaps, angles, st.one_of(angles, st.floats(-1e-9, 1e-9)))
def test_one_minus_a_product_has_full_relative_accuracy_inside_the_circle(gap, other_gap, angle, turn):
    a = np.array([(1 - gap) * np.exp(1j * angle), (1 - other_gap) * np.exp(1j * (angle + turn))])

    got = one_minus_product(a, a)

    for i in range(2):
        for j in range(2):
            real, imag = exact(a[i], a[j])
            error = abs(complex(Fraction(float(got[i, j].real)) - real, Fraction(float(got[i, j].imag)) - imag))
            assert error <= 16 * EPS * abs(complex(real, imag))


def test_the_plain_formula_has_not():
    a = 0.6 * (1 - 1e-13) + 0.8j * (1 - 1e-13)
    real, _ = exact(np.complex128(a), np.complex128(a))
    assert abs((1 - a * a.conjugate()).real / float(real) - 1) > 1e-5
