"""Systems that go out to another library, or to a file, come back as they were."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import io, signal, sparse

from ssm_balance import SingularDescriptorError, balanced_truncation, interop
from ssm_balance._errors import FileFormatError, MissingLibraryError
from ssm_gramians import Diagonal, DiagonalPlusLowRank, MatrixFree, ShapeError, Sparse, StateSpace, UnsupportedError

DTS = (0.0, 0.25)


def same(first, second):
    """Whether two arrays, sparse or dense, are equal bit for bit, dtype included."""
    if sparse.issparse(first) or sparse.issparse(second):
        return first.shape == second.shape and same(first.toarray(), second.toarray())
    first, second = np.asarray(first), np.asarray(second)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def parts(system):
    """Return all matrices as SciPy or NumPy holds them; those of a structure in its real coordinates."""
    return interop.to_tuple(system)


def assert_same(first, second):
    assert first.dt == second.dt
    for one, other in zip(parts(first), parts(second), strict=True):
        assert same(one, other)


def assert_one_map(first, second, rtol=1e-12):
    points = np.exp(1j * np.linspace(0.1, 3, 9)) if first.is_discrete else 1j * np.geomspace(0.01, 100, 9)
    G, H = first.transfer_function(points), second.transfer_function(points)
    assert np.linalg.norm(G - H) <= rtol * np.linalg.norm(G)


def sparse_system(n=30, dt=0.0, E=True):
    A = sparse.diags_array([np.ones(n - 1), np.linspace(-3, -2, n), 0.5 * np.ones(n - 1)], offsets=[-1, 0, 1])
    rng = np.random.default_rng(3)
    A = A.tocsc() * 0.2 if dt else A.tocsc()
    mass = sparse.diags_array(np.linspace(1, 2, n)).tocsc() if E else None
    return StateSpace(A, rng.standard_normal((n, 2)), rng.standard_normal((3, n)), None, dt, mass)


def with_E(system):
    n = system.order
    E = np.eye(n) + 0.1 * np.random.default_rng(9).standard_normal((n, n))
    return StateSpace(system.A, system.B, system.C, system.D, system.dt, E)


def with_logarithms(system):
    return StateSpace(Diagonal.from_log(np.log(system.A.eigenvalues)), system.B, system.C, system.D, system.dt)


def dplr(make_system):
    base = make_system("diagonal", dt=0.5)
    rng = np.random.default_rng(5)
    U, V = (0.05 * rng.standard_normal((8, 1)) for _ in range(2))
    return StateSpace(DiagonalPlusLowRank(base.A.eigenvalues, U, V), base.B, base.C, base.D, base.dt)


def every_structure(make_system):
    return {
        "dense": make_system("dense"),
        "complex": make_system("complex", dt=0.5),
        "diagonal": make_system("diagonal", dt=0.5),
        "paired": make_system("paired"),
        "logarithms": with_logarithms(make_system("diagonal", dt=0.5)),
        "batch": make_system("paired", batch=(2, 3)),
        "low rank": dplr(make_system),
        "sparse": sparse_system(E=False),
        "sparse with E": sparse_system(dt=0.1),
        "dense with E": with_E(make_system("dense")),
        "single precision": StateSpace(*(X.astype(np.float32) for X in parts(make_system("dense")))),
    }


STRUCTURES = (
    "dense",
    "complex",
    "diagonal",
    "paired",
    "logarithms",
    "batch",
    "low rank",
    "sparse",
    "sparse with E",
    "dense with E",
    "single precision",
)


@pytest.fixture(params=STRUCTURES)
def any_system(request, make_system):
    return every_structure(make_system)[request.param]


# Tuples


def test_a_tuple_gives_the_system_back(any_system):
    back = interop.from_tuple(interop.to_tuple(any_system))

    assert_same(any_system, back)


def test_a_tuple_of_lists_of_whole_numbers_is_a_system():
    system = interop.from_tuple(([[0, 1], [-2, -3]], [[0], [1]], [[1, 0]], None))

    assert system.A.dtype == np.float64
    assert same(system.D, np.zeros((1, 1)))


@pytest.mark.parametrize("length", [3, 7])
def test_a_tuple_of_another_length_is_refused(length):
    with pytest.raises(ShapeError, match="want \\(A, B, C, D\\)"):
        interop.from_tuple((np.eye(1),) * length)


def test_what_goes_out_is_a_copy(make_system):
    system = make_system("dense")
    before = system.A.copy()

    interop.to_tuple(system)[0][:] = 0

    assert same(system.A, before)


def test_a_torch_system_goes_out_as_numpy(make_system):
    torch = pytest.importorskip("torch")
    plain = make_system("dense")
    tensors = StateSpace(*(torch.from_numpy(X.copy()).requires_grad_() for X in parts(plain)))

    assert_same(interop.from_tuple(interop.to_tuple(tensors)), plain)


# python-control


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("kind", ["dense", "paired"])
def test_python_control_gives_the_system_back(kind, dt, make_system):
    pytest.importorskip("control")
    system = make_system(kind, dt=dt)

    back = interop.from_control(interop.to_control(system))

    assert_same(back, system)


def test_python_control_has_the_same_transfer_function(make_system):
    pytest.importorskip("control")
    system = make_system("paired", dt=0.5)
    point = np.exp(0.7j)

    G = interop.to_control(system)(point)

    assert np.allclose(G, system.transfer_function(np.array([point]))[0], rtol=1e-12)


@pytest.mark.parametrize("structure", ["sparse with E", "dense with E"])
def test_e_is_divided_out_where_a_library_has_none(structure, make_system):
    pytest.importorskip("control")
    system = every_structure(make_system)[structure]

    for back in (interop.from_control(interop.to_control(system)), interop.from_scipy(interop.to_scipy(system))):
        assert_one_map(system, back)


def test_python_control_keeps_states_that_nothing_reaches(monkeypatch):
    control = pytest.importorskip("control")
    system = StateSpace(np.diag([-1.0, -2.0]), np.array([[1.0], [0.0]]), np.array([[1.0, 0.0]]))

    monkeypatch.setitem(control.config.defaults, "statesp.remove_useless_states", True)

    back = interop.from_control(interop.to_control(system))

    assert back.order == 2


def test_python_control_is_not_given_complex_matrices(make_system):
    pytest.importorskip("control")

    with pytest.raises(UnsupportedError, match="paired=True"):
        interop.to_control(make_system("complex"))


def test_a_control_transfer_function_becomes_a_system():
    control = pytest.importorskip("control")
    function = control.tf([1.0, 3.0], [1.0, 2.0, 5.0])

    system = interop.from_control(function)

    s = np.array([0.3j, 2j])
    assert np.allclose(system.transfer_function(s)[:, 0, 0], (s + 3) / (s**2 + 2 * s + 5))


@pytest.mark.parametrize("dt", [True, None])
def test_an_open_time_step_must_be_given(dt):
    control = pytest.importorskip("control")
    system = control.ss([[0.5]], [[1.0]], [[1.0]], [[0.0]], dt)

    with pytest.raises(UnsupportedError, match="want dt="):
        interop.from_control(system)
    assert interop.from_control(system, dt=0.1).dt == 0.1


def test_a_time_step_is_not_overruled(make_system):
    pytest.importorskip("control")
    system = interop.to_control(make_system("dense", dt=0.5))

    with pytest.raises(UnsupportedError, match="leave dt= out"):
        interop.from_control(system, dt=0.1)


def test_another_object_is_no_control_system():
    pytest.importorskip("control")

    with pytest.raises(UnsupportedError, match="got list"):
        interop.from_control([])


# scipy.signal


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("kind", ["dense", "complex", "diagonal", "paired"])
def test_scipy_gives_the_system_back(kind, dt, make_system):
    system = make_system(kind, dt=dt)

    back = interop.from_scipy(interop.to_scipy(system))

    assert_same(back, system)


def test_scipy_has_the_same_frequency_response(make_system):
    system = make_system("dense", dt=0.5, m=1, p=1)
    angles = np.array([0.1, 1.0, 3.0])

    _, response = interop.to_scipy(system).freqresp(angles)

    assert np.allclose(response, system.transfer_function(np.exp(1j * angles))[:, 0, 0], rtol=1e-10)


def test_a_scipy_transfer_function_becomes_a_system():
    function = signal.TransferFunction([[1.0, 3.0], [0.0, 2.0]], [1.0, 2.0, 5.0])  # two outputs

    system = interop.from_scipy(function)

    s = np.array([0.3j, 2j])
    wanted = np.stack([s + 3, 2 + 0 * s], axis=-1) / (s**2 + 2 * s + 5)[:, None]
    assert np.allclose(system.transfer_function(s)[..., 0], wanted)


def test_an_improper_transfer_function_is_refused():
    with pytest.raises(ShapeError, match="degree 2 over a denominator of degree 1"):
        interop.from_scipy(signal.TransferFunction([1.0, 0.0, 0.0], [1.0, 1.0]))


ZEROS_AND_POLES = {
    "no zeros": ([], [-1.0, -2.0, -3.0]),
    "one pole": ([], [-1.0]),
    "one of each": ([2.0], [-1.0]),
    "a real zero, a pair": ([-4.0], [-1 + 2j, -1 - 2j]),
    "pairs over pairs": ([1 + 1j, 1 - 1j], [-1 + 2j, -1 - 2j]),
    "a pair over real poles": ([1 + 1j, 1 - 1j], [-1.0, -2.0]),
    "as many": ([-0.5, -4.0, 1 + 1j, 1 - 1j], [-1.0, -2.0, -3 + 5j, -3 - 5j]),
    "odd": ([-0.5, 1 + 1j, 1 - 1j], [-1.0, -2.0, -5.0, -3 + 5j, -3 - 5j]),
    "odd and even": ([-0.5], [-1.0, -2.0, -3 + 5j, -3 - 5j]),
    "no pairs": ([1j], [-1 + 2j, -2 - 1j, -3.0]),
}


@pytest.mark.parametrize("case", ZEROS_AND_POLES)
def test_zeros_and_poles_become_a_system(case):
    zeros, poles = ZEROS_AND_POLES[case]

    system = interop.from_scipy(signal.ZerosPolesGain(zeros, poles, -2.5))

    s = np.array([0.3j, 2j, 7 + 1j])
    wanted = -2.5 * np.prod([s - z for z in zeros], axis=0) / np.prod([s - p for p in poles], axis=0)
    assert np.allclose(system.transfer_function(s)[:, 0, 0], wanted, rtol=1e-13)
    assert np.iscomplexobj(system.A) == (case == "no pairs")


def test_twenty_poles_come_back_from_zeros_and_poles():
    poles = np.sort(-np.linspace(1, 20, 20))

    system = interop.from_scipy(signal.ZerosPolesGain([], poles, 1.0))

    assert np.allclose(np.sort(system.poles().real), poles, rtol=1e-12)


def test_more_zeros_than_poles_are_refused():
    with pytest.raises(ShapeError, match="2 zeros and 1 poles"):
        interop.from_scipy(signal.ZerosPolesGain([1.0, 2.0], [-1.0], 1.0))


def test_an_open_scipy_time_step_must_be_given():
    system = signal.dlti(0.5 * np.eye(1), np.eye(1), np.eye(1), np.zeros((1, 1)))

    with pytest.raises(UnsupportedError, match="want dt="):
        interop.from_scipy(system)
    assert interop.from_scipy(system, dt=0.1).dt == 0.1


def test_another_object_is_no_scipy_system():
    with pytest.raises(UnsupportedError, match="got str"):
        interop.from_scipy("lti")


# pyMOR


@pytest.mark.parametrize("structure", ["dense", "dense with E", "sparse", "sparse with E"])
def test_pymor_gives_the_system_back(structure, make_system):
    pytest.importorskip("pymor")
    system = every_structure(make_system)[structure]

    back = interop.from_pymor(interop.to_pymor(system))

    assert_same(back, system)
    assert isinstance(back.A, Sparse) == isinstance(system.A, Sparse)


@pytest.mark.parametrize("kind", ["diagonal", "paired", "complex"])
def test_pymor_has_the_matrices_of_a_structure(kind, make_system):
    pytest.importorskip("pymor")
    system = make_system(kind, dt=0.5)

    back = interop.from_pymor(interop.to_pymor(system))

    assert np.array_equal(back.to_dense().A, system.to_dense().A)
    assert_one_map(back, system)


@pytest.mark.parametrize("structure", ["dense with E", "sparse with E", "paired", "complex"])
def test_pymor_has_the_same_transfer_function(structure, make_system):
    pytest.importorskip("pymor")
    system = every_structure(make_system)[structure]
    point = np.exp(0.7j)

    G = interop.to_pymor(system).transfer_function.eval_tf(point)

    assert np.allclose(G, system.transfer_function(np.array([point]))[0], rtol=1e-10)


def test_a_dense_matrix_with_a_sparse_e_goes_out_sparse():
    pytest.importorskip("pymor")
    system = sparse_system()
    mixed = StateSpace(system.A.to_dense(), system.B, system.C, None, 0.0, system.E)

    assert_one_map(interop.from_pymor(interop.to_pymor(mixed)), system)


def test_pymor_leaves_our_arrays_writable(make_system):
    pytest.importorskip("pymor")
    system = make_system("dense")

    interop.to_pymor(system)

    assert system.A.flags.writeable


def test_a_second_order_model_becomes_a_system():
    pytest.importorskip("pymor")
    from pymor.models.iosys import SecondOrderModel

    model = SecondOrderModel.from_matrices(np.eye(2), np.eye(2), 3 * np.eye(2), np.ones((2, 1)), np.ones((1, 2)))

    system = interop.from_pymor(model)

    assert system.order == 4
    assert np.allclose(system.transfer_function(np.array([1j])), 2 / (-1 + 1j + 3))


def test_another_object_is_no_pymor_model():
    pytest.importorskip("pymor")

    with pytest.raises(UnsupportedError, match="got int"):
        interop.from_pymor(1)


@pytest.mark.parametrize("name", ["to_control", "to_scipy", "to_pymor"])
def test_a_batch_does_not_go_out(name, make_system):
    pytest.importorskip({"to_control": "control", "to_pymor": "pymor"}.get(name, "scipy"))

    with pytest.raises(ShapeError, match="members one by one"):
        getattr(interop, name)(make_system("dense", batch=(2,)))


def test_a_singular_e_is_refused_where_it_must_be_divided_out():
    system = StateSpace(-np.eye(2), np.ones((2, 1)), np.ones((1, 2)), E=np.diag([1.0, 0.0]))

    with pytest.raises(SingularDescriptorError):
        interop.to_scipy(system)


# Missing libraries


@pytest.mark.parametrize(("name", "extra"), [("to_control", "control"), ("from_control", "control")])
def test_a_missing_library_is_named_with_its_extra(name, extra, make_system, monkeypatch):
    monkeypatch.setitem(sys.modules, "control", None)

    with pytest.raises(MissingLibraryError, match=rf"pip install 'ssm-balance\[{extra}\]'") as caught:
        getattr(interop, name)(make_system("dense"))
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize("name", ["to_pymor", "from_pymor"])
def test_a_missing_pymor_is_named(name, make_system, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymor.models.iosys", None)

    with pytest.raises(MissingLibraryError, match="needs pymor"):
        getattr(interop, name)(make_system("dense"))


def test_importing_loads_none_of_the_libraries():
    code = "import ssm_balance.interop, ssm_balance.plots, sys; print(*sys.modules)"

    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())

    assert not {"control", "pymor", "matplotlib", "scipy.signal"} & loaded


# Files of our own


def test_a_file_gives_the_system_back(any_system, tmp_path):
    interop.save(tmp_path / "system.npz", any_system)

    back = interop.load(tmp_path / "system.npz")

    assert_same(back, any_system)
    assert type(back.A) is type(any_system.A)
    if isinstance(any_system.A, Diagonal):
        assert back.A.paired == any_system.A.paired
        assert [same(X, Y) for X, Y in zip(back.A.arrays, any_system.A.arrays, strict=True)].count(False) == 0


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_file_gives_the_reduction_back(batch, make_system, tmp_path):
    reduction = balanced_truncation(make_system("paired", batch=batch), 5)
    interop.save(tmp_path / "cut.npz", reduction)

    back = interop.load(tmp_path / "cut.npz")

    assert_same(back.system, reduction.system)
    assert_same(back.full, reduction.full)
    assert (back.order, back.method) == (5, reduction.method)
    assert all(same(getattr(back, name), getattr(reduction, name)) for name in ("hsv", "left", "right", "error_bound"))


def test_what_is_none_or_infinite_stays_so(make_system, tmp_path):
    from dataclasses import replace

    reduction = balanced_truncation(make_system("dense"), 3)
    bare = replace(reduction, left=None, right=None, error_bound=np.inf)
    interop.save(tmp_path / "cut.npz", bare)

    back = interop.load(tmp_path / "cut.npz")

    assert back.left is None
    assert back.error_bound == np.inf


def test_a_loaded_reduction_can_be_certified(make_system, tmp_path):
    interop.save(tmp_path / "cut.npz", balanced_truncation(make_system("dense"), 3))

    assert interop.load(tmp_path / "cut.npz").certify().holds


def test_functions_do_not_go_into_a_file(tmp_path):
    system = StateSpace(MatrixFree(2, product=lambda X: -X), np.ones((2, 1)), np.ones((1, 2)))

    with pytest.raises(UnsupportedError, match="MatrixFree"):
        interop.save(tmp_path / "system.npz", system)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(make_system, tmp_path, monkeypatch):
    system = make_system("dense")
    interop.save(tmp_path / "system.npz", system)

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        interop.save(tmp_path / "system.npz", make_system("dense", seed=1))

    assert_same(interop.load(tmp_path / "system.npz"), system)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_newer_file_is_refused(make_system, tmp_path):
    path = tmp_path / "system.npz"
    np.savez(path, header=np.array(json.dumps({"format": "ssm-balance", "version": 2, "content": {}})))

    with pytest.raises(FileFormatError, match="version 2"):
        interop.load(path)


@pytest.mark.parametrize("content", [{"type": "Popen", "args": "true"}, {"type": "StateSpace", "Z": 1}])
def test_only_known_types_are_built_from_a_file(content, tmp_path):
    path = tmp_path / "system.npz"
    np.savez(path, header=np.array(json.dumps({"format": "ssm-balance", "version": 1, "content": content})))

    with pytest.raises(FileFormatError, match="not known here"):
        interop.load(path)


def test_another_npz_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", A=np.eye(2))

    with pytest.raises(FileFormatError, match="no header"):
        interop.load(tmp_path / "other.npz")


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_another_file_is_refused(data, tmp_path):
    (tmp_path / "other.npz").write_bytes(data)

    with pytest.raises(FileFormatError, match="cannot be read as a system"):
        interop.load(tmp_path / "other.npz")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "none.npz")


# SLICOT files


def slicot_arrays(system):
    return {"A": system.A.matrix, "B": system.B, "C": system.C, "E": system.E.matrix}


def test_a_mat_file_is_read_sparse_where_it_is(tmp_path):
    system = sparse_system()
    hsv = np.array([[1.0], [3.0], [2.0]])
    matrices = {name: sparse.csc_matrix(M) if sparse.issparse(M) else M for name, M in slicot_arrays(system).items()}
    io.savemat(tmp_path / "heat.mat", {**matrices, "hsv": hsv, "w": np.ones((4, 1)), "mag": 1j * np.ones((4, 1))})

    example = interop.load_slicot(tmp_path / "heat.mat")

    assert_same(example.system, system)
    assert isinstance(example.system.A, Sparse)
    assert same(example.hsv, np.array([3.0, 2.0, 1.0]))
    assert example.frequencies.shape == example.gains.shape == (4,)


def test_sparse_b_and_c_become_dense(tmp_path):
    matrices = {"A": -np.eye(3), "B": sparse.csc_matrix(np.ones((3, 1))), "C": np.ones((1, 3), np.uint8)}
    io.savemat(tmp_path / "small.mat", matrices)

    system = interop.load_slicot(tmp_path / "small.mat", dt=0.1).system

    assert same(system.B, np.ones((3, 1)))
    assert same(system.C, np.ones((1, 3)))
    assert system.dt == 0.1


def test_an_npz_file_is_read_with_its_sparse_parts(tmp_path):
    system = sparse_system()
    held = {"B": system.B}
    for name, M in (("A", system.A.matrix), ("E", system.E.matrix)):
        held |= {f"{name}_data": M.data, f"{name}_indices": M.indices, f"{name}_indptr": M.indptr}
        held[f"{name}_shape"] = np.array(M.shape)
    np.savez(tmp_path / "MNA.npz", **held)

    example = interop.load_slicot(tmp_path / "MNA.npz")

    assert same(example.system.A.matrix, system.A.matrix)
    assert same(example.system.E.matrix, system.E.matrix)
    assert same(example.system.C, system.B.T.copy())
    assert example.hsv is None


def test_a_file_without_matrices_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", X=np.eye(2))

    with pytest.raises(FileFormatError, match="want at least A and B"):
        interop.load_slicot(tmp_path / "other.npz")


@pytest.mark.parametrize("name", ["system.txt", "system.mat", "system.npz"])
def test_a_file_that_is_no_slicot_file_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"no matrices here" * 20)

    with pytest.raises(FileFormatError):
        interop.load_slicot(tmp_path / name)


@pytest.mark.parametrize("kind", ["dense", "complex", "diagonal", "paired"])
def test_a_written_slicot_file_has_the_same_map(kind, make_system, points, tmp_path):
    system = make_system(kind, dt=0.5)

    interop.save_slicot(tmp_path / "layer.mat", system)
    back = interop.load_slicot(tmp_path / "layer.mat", dt=0.5).system

    z = points(0.5, 20)
    assert np.allclose(back.transfer_function(z), system.transfer_function(z), rtol=1e-12, atol=1e-12)
    assert back.order == system.order


def test_a_slicot_example_is_written_with_its_references(tmp_path):
    values = np.array([3.0, 2.0, 1.0])
    example = interop.SlicotExample(sparse_system(), values, values[:2], 1j * values[:2])

    interop.save_slicot(tmp_path / "heat.mat", example)
    back = interop.load_slicot(tmp_path / "heat.mat")

    assert_same(back.system, example.system)
    assert same(back.hsv, values)
    assert same(back.frequencies, values[:2])
    assert same(back.gains, 1j * values[:2])
    assert {"A", "B", "C", "E", "hsv", "w", "mag"} <= io.loadmat(tmp_path / "heat.mat").keys()


def test_what_no_slicot_file_can_hold_is_refused(make_system, tmp_path):
    with pytest.raises(FileFormatError, match=r"want \.mat"):
        interop.save_slicot(tmp_path / "layer.npz", make_system())
    with pytest.raises(ShapeError, match="batch"):
        interop.save_slicot(tmp_path / "layer.mat", make_system(batch=(2,)))


def test_more_zeros_than_poles_have_no_states_in_control():
    control = pytest.importorskip("control")

    with pytest.raises(ShapeError, match="as many poles as zeros"):
        interop.from_control(control.tf([1, 0, 0], [1, 2]))
