"""The curves of a plot are the numbers they stand for, and their names and units are there."""

import sys

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import expm

from ssm_balance import (
    balanced_truncation,
    difference,
    error_bound,
    hankel_norm_approximation,
    plots,
    singular_perturbation,
    stochastic_truncation,
)
from ssm_balance._errors import MissingLibraryError
from ssm_gramians import Diagonal, ShapeError, StateSpace, UnsupportedError

pytest.importorskip("matplotlib")


def lines(ax, gid):
    return [line for line in ax.lines if line.get_gid() == gid]


def data(ax, gid, k=0):
    x, y = lines(ax, gid)[k].get_data()
    return np.asarray(x), np.asarray(y)


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=float)[..., :3] / 255


def gains(system, omega):
    points = np.exp(1j * omega * system.dt) if system.is_discrete else 1j * omega
    return np.linalg.norm(system.transfer_function(points), 2, axis=(-2, -1))


def lag(pole=-2.0):
    return StateSpace(np.array([[pole]]), np.ones((1, 1)), np.ones((1, 1)))


@pytest.fixture(params=[("dense", 0.0), ("paired", 0.0), ("dense", 0.5), ("paired", 0.5)], ids=str)
def reduction(request, make_system):
    kind, dt = request.param
    return balanced_truncation(make_system(kind, dt=dt), 5)


# Hankel singular values


def test_the_values_are_drawn_kept_and_cut(reduction):
    ax = plots.plot_hsv(reduction)

    kept, cut = data(ax, "kept"), data(ax, "cut")
    assert np.array_equal(np.concatenate([kept[1], cut[1]]), reduction.hsv)
    assert np.array_equal(kept[0], np.arange(1, 6))
    assert ax.get_yscale() == "log"


def test_the_bound_is_a_curve_with_the_order_marked(reduction):
    ax = plots.plot_hsv(reduction)

    orders, bounds = data(ax, "bound")
    assert np.allclose(bounds, [error_bound(reduction.hsv, int(r)) for r in orders])
    assert np.allclose(np.ravel(data(ax, "bound at order")), [5, reduction.error_bound])
    assert f"bound at order 5: {reduction.error_bound:.3g}" in names(ax)


def test_bare_values_are_drawn_without_an_order():
    hsv = np.geomspace(1, 1e-9, 10)

    ax = plots.plot_hsv(hsv)

    assert np.array_equal(data(ax, "values")[1], hsv)
    assert not lines(ax, "bound at order")


def test_each_method_has_its_own_bound(make_system):
    base = make_system("dense", m=2, p=2)
    system = StateSpace(base.A, base.B, base.C, 3 * np.eye(2))
    halved, relative = hankel_norm_approximation(system, 4), stochastic_truncation(system, 5)

    first, second = plots.plot_hsv(halved), plots.plot_hsv(relative)

    assert np.isclose(data(first, "bound at order")[1][0], halved.error_bound)
    if np.isfinite(relative.relative_error_bound):
        assert np.isclose(data(second, "bound at order")[1][0], relative.relative_error_bound)
        assert "bound of the relative error" in names(second)


def test_values_below_rounding_are_not_shown():
    ax = plots.plot_hsv(np.geomspace(1, 1e-60, 61))

    assert ax.get_xlim()[1] < 20
    assert ax.get_ylim()[0] > 1e-20


def test_a_batch_is_a_line_for_each_member():
    ax = plots.plot_hsv(np.geomspace(1, 1e-3, 8) * np.ones((3, 1)))

    assert len(lines(ax, "values")) == 3
    assert not lines(ax, "bound")


@pytest.mark.parametrize("values", [np.zeros(0), np.float64(1.0)])
def test_no_values_are_refused(values):
    with pytest.raises(ShapeError, match=r"want \(\.\.\., n\)"):
        plots.plot_hsv(values)


# Gains


def test_the_gains_are_those_of_the_systems(reduction):
    ax = plots.plot_gain(reduction)

    omega, full = data(ax, "full")
    assert np.allclose(full, gains(reduction.full, omega), rtol=1e-9)
    assert np.allclose(data(ax, "reduced")[1], gains(reduction.system, omega), rtol=1e-9)
    error = gains(difference(reduction.full, reduction.system), omega)
    assert np.allclose(data(ax, "error")[1], error, rtol=1e-6, atol=1e-12)
    assert np.allclose(data(ax, "bound")[1], reduction.error_bound)


def test_the_error_is_seen_below_its_bound(reduction):
    ax = plots.plot_gain(reduction)

    error, bound = data(ax, "error")[1], data(ax, "bound")[1][0]
    assert error.max() <= bound
    assert ax.get_ylim()[0] < error.max() < ax.get_ylim()[1]


def test_the_axes_have_names_and_units(reduction):
    radians, hertz = plots.plot_gain(reduction), plots.plot_gain(reduction, unit="Hz")

    assert radians.get_xlabel() == "Frequency (rad/s)"
    assert hertz.get_xlabel() == "Frequency (Hz)"
    assert np.allclose(data(hertz, "full")[0] * 2 * np.pi, data(radians, "full")[0])
    assert "balanced truncation, order 5" in names(radians)


def test_discrete_frequencies_end_at_nyquist(make_system):
    system = make_system("dense", dt=0.5)

    radians, hertz = plots.plot_gain(system), plots.plot_gain(system, unit="Hz")

    assert np.isclose(data(radians, "full")[0][-1], np.pi / 0.5)
    assert np.isclose(data(hertz, "Nyquist")[0][0], 1.0)


def test_a_light_pole_is_not_missed():
    a, b = 1e-5, 30.0
    A = np.array([[-a, b], [-b, -a]])
    system = StateSpace(A, np.array([[1.0], [0.0]]), np.array([[1.0, 0.0]]))

    _, gain = data(plots.plot_gain(system), "full")

    assert np.isclose(gain.max(), 1 / (2 * a), rtol=1e-3)


def test_given_frequencies_are_kept(reduction):
    wanted = np.array([0.2, 0.3, 0.4])

    ax = plots.plot_gain(reduction, frequencies=wanted, unit="Hz")

    assert np.allclose(data(ax, "full")[0], wanted)


def test_several_reductions_share_one_plot(make_system):
    system = make_system("dense")
    first, second = balanced_truncation(system, 3), singular_perturbation(system, 5)

    ax = plots.plot_gain(system, first, second, second.system)

    assert [len(lines(ax, gid)) for gid in ("full", "reduced", "error", "bound")] == [1, 3, 3, 2]
    assert len({line.get_color() for line in lines(ax, "reduced")}) == 3
    assert len({str(line._dash_pattern) for line in lines(ax, "reduced")}) == 3  # no public getter gives the dashes


def test_a_complex_system_shows_the_larger_side():
    system = StateSpace(np.array([[-0.1 - 3j]]), np.ones((1, 1)) + 0j, np.ones((1, 1)) + 0j)

    omega, gain = data(plots.plot_gain(system), "full")

    assert np.isclose(omega[np.argmax(gain)], 3, rtol=0.05)
    assert np.isclose(gain.max(), 10, rtol=1e-2)


def test_a_sparse_system_stays_sparse():
    n = 200
    A = sparse.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]).tocsc()
    system = StateSpace(A, np.eye(n, 1), np.eye(n, 1).T)
    reduction = balanced_truncation(system.to_dense(), 4)

    ax = plots.plot_gain(system, reduction)

    omega, gain = data(ax, "full")
    assert np.allclose(gain, gains(system.to_dense(), omega), rtol=1e-9)


def test_another_unit_is_refused(make_system):
    with pytest.raises(UnsupportedError, match="want 'rad/s' or 'Hz'"):
        plots.plot_gain(make_system("dense"), unit="dB")


# Poles


def test_poles_are_where_they_are(reduction):
    ax = plots.plot_poles(reduction)

    for gid, system in (("full poles", reduction.full), ("reduced poles", reduction.system)):
        x, y = data(ax, gid)
        assert np.allclose(np.sort_complex(x + 1j * y), np.sort_complex(system.poles().astype(complex)))


def test_the_border_of_stability_is_drawn(reduction):
    x, y = data(plots.plot_poles(reduction), "border")

    assert np.allclose(np.hypot(x, y), 1) if reduction.system.is_discrete else np.all(np.asarray(x) == 0)


def test_zeros_are_where_the_gain_vanishes():
    A = np.diag([-1.0, -2.0, -3.0])
    system = StateSpace(A, np.ones((3, 1)), np.array([[1.0, -3.0, 1.5]]))

    x, y = data(plots.plot_poles(system), "full zeros")

    assert x.size == 2
    assert np.allclose(system.transfer_function(x + 1j * y), 0, atol=1e-12)


def test_zeros_at_infinity_do_not_come_back_as_a_ring():
    n = 40  # a chain of lags: relative degree n, no zero at all
    A = -np.eye(n) + np.diag(np.ones(n - 1), -1)
    system = StateSpace(A, np.eye(n, 1), np.eye(n)[-1:])

    ax = plots.plot_poles(system)

    assert not lines(ax, "full zeros")


def test_zeros_can_be_left_out(reduction):
    ax = plots.plot_poles(reduction, zeros=False)

    assert not [line for line in ax.lines if "zeros" in (line.get_gid() or "")]


def test_poles_of_many_decades_are_told_apart():
    system = StateSpace(-np.diag(np.geomspace(1e-3, 1e3, 7)), np.ones((7, 1)), np.ones((1, 7)))

    ax = plots.plot_poles(system)

    assert ax.get_xscale() == "symlog"


# Impulse responses


def test_a_continuous_impulse_response_is_that_of_the_exponential(make_system):
    for kind in ("dense", "paired"):
        system = make_system(kind)
        dense = system.to_dense()

        t, h = data(plots.plot_impulse(system, channel=(2, 1)), "full")

        wanted = [(dense.C[2] @ expm(dense.A * s) @ dense.B[:, 1]) for s in t[::100]]
        assert np.allclose(h[::100], wanted, rtol=1e-8, atol=1e-10)


def test_a_discrete_impulse_response_is_that_of_the_system(make_system):
    for kind in ("dense", "paired"):
        system = make_system(kind, dt=0.5)

        t, h = data(plots.plot_impulse(system), "full")

        assert np.allclose(h, system.impulse_response(t.size)[:, 0, 0])
        assert np.allclose(t, 0.5 * np.arange(t.size))


def test_a_large_sparse_response_is_marched():
    n = 600
    A = sparse.diags_array(-np.linspace(1, 50, n)).tocsc()
    E = sparse.diags_array(np.linspace(1, 2, n)).tocsc()
    system = StateSpace(A, np.ones((n, 1)), np.ones((1, n)) / n, E=E)
    rates = np.linspace(1, 50, n) / np.linspace(1, 2, n)

    t, h = data(plots.plot_impulse(system, horizon=1.0), "full")

    wanted = np.exp(-t[:, None] * rates) @ (1 / np.linspace(1, 2, n)) / n
    assert np.allclose(h, wanted, atol=1e-4)


def test_the_horizon_is_some_time_constants():
    t, h = data(plots.plot_impulse(lag()), "full")

    assert 0.01 < h[-1] / h[0] < 0.05
    assert np.isclose(t[0], 0)


def test_a_given_horizon_is_kept(reduction):
    t, _ = data(plots.plot_impulse(reduction, horizon=3.0), "reduced")

    assert np.isclose(t[-1], 3.0)


def test_a_channel_that_does_not_exist_is_refused(make_system):
    with pytest.raises(ShapeError, match="want an output below 3 and an input below 2"):
        plots.plot_impulse(make_system("dense"), channel=(3, 0))


# All of them

PLOTS = (plots.plot_hsv, plots.plot_gain, plots.plot_poles, plots.plot_impulse)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_drawn_on_the_axes_it_is_given(plot, reduction):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()

    assert plot(reduction, ax=ax) is ax


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_leaves_pyplot_and_its_settings_alone(plot, reduction):
    import matplotlib
    from matplotlib import _pylab_helpers

    before, figures = dict(matplotlib.rcParams), len(_pylab_helpers.Gcf.figs)
    plot(reduction)

    assert dict(matplotlib.rcParams) == before
    assert len(_pylab_helpers.Gcf.figs) == figures


@pytest.mark.parametrize("plot", PLOTS)
def test_every_axis_has_a_name_and_every_curve_too(plot, reduction):
    ax = plot(reduction)

    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert len(names(ax)) >= 2


@pytest.mark.parametrize("plot", PLOTS)
def test_a_picture_shows_colour_and_ink(plot, reduction):
    ax = plot(reduction)
    picture = pixels(ax.figure)

    ink = (picture < 0.9).any(axis=-1).mean()
    colour = (np.ptp(picture, axis=-1) > 0.3).mean()
    assert 0.005 < ink < 0.5
    assert colour > 2e-4


@pytest.mark.parametrize("plot", PLOTS[1:])
def test_a_batch_is_refused(plot, make_system):
    with pytest.raises(ShapeError, match="members of a batch one by one"):
        plot(make_system("dense", batch=(2,)))


@pytest.mark.parametrize("plot", PLOTS[1:])
def test_systems_that_do_not_compare_are_refused(plot, make_system):
    with pytest.raises(ShapeError, match="want one shape"):
        plot(make_system("dense"), lag())
    with pytest.raises(UnsupportedError, match="want one dt"):
        plot(make_system("dense"), make_system("dense", dt=0.5))


def test_a_page_has_four_plots(reduction):
    figure = plots.plot_reduction(reduction)

    assert len(figure.axes) == 4
    assert figure.get_suptitle() == f"balanced truncation: order 5 of {reduction.full.order}"
    assert (pixels(figure) < 0.9).any()


def test_a_page_of_a_reduction_that_kept_an_unstable_part(make_system):
    system = make_system("dense")
    poles = system.poles()
    shift = -np.sort(poles.real)[-4:].mean() * np.eye(8)
    grown = StateSpace(system.A + shift, system.B, system.C, system.D)

    reduction = balanced_truncation(grown, 6, unstable="keep")
    figure = plots.plot_reduction(reduction)

    ax = figure.axes[0]
    assert 0 < reduction.unstable_order < 6
    assert len(data(ax, "kept")[0]) == 6 - reduction.unstable_order
    assert data(ax, "bound at order")[1] == pytest.approx([reduction.error_bound])


def test_a_missing_matplotlib_is_named(reduction, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(MissingLibraryError, match=r"pip install 'ssm-balance\[plots\]'"):
        plots.plot_hsv(reduction)


def test_a_diagonal_descriptor_system_is_drawn(make_system):
    base = make_system("dense", m=1, p=1)
    E = np.eye(8) + 0.1 * np.diag(np.arange(8.0))
    system = StateSpace(base.A, base.B, base.C, None, 0.0, E)

    for plot in PLOTS[1:]:
        assert plot(system).lines
    assert plots.plot_gain(StateSpace(Diagonal(-np.ones(2)), np.ones((2, 1)), np.ones((1, 2)))).lines


def test_far_zeros_do_not_shrink_the_picture():
    system = StateSpace(np.diag([-1.0, -2.0]), np.ones((2, 1)), np.array([[1.0, -1.001]]))  # a zero near −1000

    ax = plots.plot_poles(system)

    assert not lines(ax, "full zeros")
    assert ax.get_xlim()[0] > -5
