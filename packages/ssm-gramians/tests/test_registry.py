import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

from ssm_gramians import (
    Backend,
    BackendNotAvailableError,
    DtypeError,
    Stein,
    UnsupportedError,
    available_backends,
    get_backend,
    register_backend,
    solve,
)
from ssm_gramians.backends import _registry


@pytest.fixture
def clean_registry():
    yield
    _registry._registered.clear()
    _registry._load.cache_clear()
    _registry._installed.cache_clear()


class Mine(Backend):
    name = "mine"


def test_the_array_picks_the_backend(asarray):
    name = get_backend(asarray(np.ones(2))).name
    assert name in {"scipy", "torch", "array"}
    assert get_backend(asarray(np.ones(2))).owns(asarray(np.ones(2)))


def test_a_registered_backend_is_found_and_loaded_late(clean_registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "their_module", SimpleNamespace(Mine=Mine))
    register_backend("mine", "their_module:Mine")
    assert "mine" in available_backends()
    assert get_backend("mine").name == "mine"


def test_a_taken_name_is_not_overwritten_in_silence(clean_registry):
    with pytest.raises(ValueError, match="taken"):
        register_backend("scipy", "their_module:Mine")
    register_backend("scipy", "their_module:Mine", overwrite=True)
    with pytest.raises(BackendNotAvailableError):
        get_backend("scipy")


def test_a_target_without_class_is_refused(clean_registry):
    with pytest.raises(ValueError, match=r"package\.module:Class"):
        register_backend("mine", "their_module")


def test_an_entry_point_is_enough(clean_registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "their_module", SimpleNamespace(Mine=Mine))
    point = EntryPoint("mine", "their_module:Mine", _registry.GROUP)
    monkeypatch.setattr(_registry, "entry_points", lambda group: [point])
    _registry._installed.cache_clear()
    assert "mine" in available_backends()
    assert get_backend("mine").name == "mine"


def test_a_missing_library_is_named_with_its_remedy(clean_registry):
    register_backend("absent", "no_such_library_at_all:Backend", hint="pip install absent")
    assert "absent" not in available_backends()
    with pytest.raises(BackendNotAvailableError, match="pip install absent"):
        get_backend("absent")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BackendNotAvailableError, match="scipy"):
        get_backend("sicpy")


def test_what_is_no_array_is_refused():
    with pytest.raises(DtypeError, match="list"):
        get_backend([1.0])


def test_arrays_do_not_move_to_another_library():
    with pytest.raises(UnsupportedError, match="torch"):
        solve(Stein(np.eye(1) / 2, np.eye(1)), backend="torch")


def test_a_solver_that_needs_more_is_refused():
    from ssm_gramians import BartelsStewart

    class Poor(Backend):
        name = "poor"

    with pytest.raises(UnsupportedError, match=r"needs .*schur, triangular"):
        solve(Stein(np.eye(1) / 2, np.eye(1)), BartelsStewart(), Poor())
