"""What a state-space layer promises."""

# ruff: noqa: D102  (the name of a test is its documentation)

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from .._errors import DtypeError, ShapeError
from ..layers import gather_moments
from ._runs import assert_same, draw, loss, outcome, random_state, row_of

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}  # of sums of a few thousand terms, relative in the norm


class LayerConformance:
    """Inherit, and write `make`; say what the layer does not promise by the attributes.

    A layer maps `x` of shape (batch, length, d_model) to the same shape; `layer(x, state=, lengths=, padding=,
    return_state=)`, `layer.step(x_t, state)`, `layer.init_state(batch)` and `layer.d_state` are as in `ssm_zoo.layers`.
    """

    d_model: ClassVar[int] = 4
    """Features of the layer that `make` returns."""
    scans: ClassVar[tuple[str, ...]] = ("reference",)
    """The implementations that it supports here, by the names that `make` takes; `reference` is the definition."""
    streams: ClassVar[bool] = True
    """Whether it has a state to carry on (a bidirectional layer has none)."""
    gathers: ClassVar[bool] = True
    """Whether it gathers second moments of states and adjoint states."""

    def make(self, scan: str = "auto") -> Any:
        """Return a layer in single precision, the same one for the same state of the random numbers."""
        raise NotImplementedError

    def layer(self, scan: str = "auto", dtype: torch.dtype = torch.float64) -> Any:
        """Return the layer with parameters that depend on nothing but the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = self.make(scan)
        return layer.to(dtype)

    def x(self, batch: int = 3, length: int = 37, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return inputs."""
        return draw(batch, length, self.d_model, seed=1, dtype=dtype)

    def state(self, layer: Any, batch: int = 3) -> Any:
        """Return a state to start from, or None where the layer has none."""
        return random_state(layer, batch) if self.streams else None

    def needs_stream(self) -> None:
        """Skip the test of a layer without a state to carry on."""
        if not self.streams:
            pytest.skip("no state is carried on, by the declarations")

    def test_the_definition_is_among_the_implementations(self) -> None:
        assert "reference" in self.scans

    @pytest.mark.parametrize("dtype", _TOLERANCE, ids=str)
    def test_every_implementation_is_the_definition(self, dtype: torch.dtype) -> None:
        wanted_of = self.layer("reference", dtype)
        wanted = outcome(wanted_of, self.x(dtype=dtype), self.state(wanted_of))
        for scan in ("auto", *self.scans):
            layer = self.layer(scan, dtype)
            got = outcome(layer, self.x(dtype=dtype), self.state(layer))
            assert_same(got, wanted, _TOLERANCE[dtype])

    def test_the_output_has_the_shape_and_precision_of_the_input(self) -> None:
        for dtype in _TOLERANCE:
            y = self.layer(dtype=dtype)(self.x(dtype=dtype))
            assert y.shape == (3, 37, self.d_model)
            assert y.dtype == dtype

    def test_gradients_are_finite_differences(self) -> None:
        for scan in self.scans:
            layer = self.layer(scan)
            state = self.state(layer, 2)
            names, values = zip(*layer.named_parameters(), strict=True)

            def run(x: Tensor, *values: Tensor, layer: Any = layer, names: Any = names, state: Any = state) -> Tensor:
                parameters = dict(zip(names, values, strict=True))
                options = {} if state is None else {"state": state, "return_state": True}
                return loss(torch.func.functional_call(layer, parameters, (x,), options))

            x = self.x(2, 5).requires_grad_()
            assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)

    # Streaming

    def test_pieces_and_steps_are_the_whole(self) -> None:
        self.needs_stream()
        for scan in self.scans:
            layer = self.layer(scan)
            start, x = self.state(layer), self.x()
            whole, last = layer(x, state=start, return_state=True)
            y, state = layer(x[:, :20], state=start, return_state=True)
            outputs = [y]
            y, state = layer(x[:, 20:35], state=state, return_state=True)
            outputs.append(y)
            for x_t in x[:, 35:].unbind(1):
                y_t, state = layer.step(x_t, state)
                outputs.append(y_t[:, None])
            torch.testing.assert_close(torch.cat(outputs, 1), whole)
            for got, wanted in zip(tree_leaves(state), tree_leaves(last), strict=True):
                torch.testing.assert_close(got, wanted)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_steps_without_gradients_are_the_whole(self, batch: int) -> None:
        self.needs_stream()
        layer, x = self.layer(dtype=torch.float32), self.x(batch, dtype=torch.float32)
        with torch.no_grad():
            whole, last = layer(x, return_state=True)
            state, outputs = layer.init_state(batch), []
            for x_t in x.unbind(1):
                y_t, state = layer.step(x_t, state)
                outputs.append(y_t.clone())
        torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=1e-3, atol=1e-4)
        for got, wanted in zip(tree_leaves(state), tree_leaves(last), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)

    def test_a_step_leaves_the_state_it_was_given(self) -> None:
        self.needs_stream()
        layer = self.layer(dtype=torch.float32)
        state = tree_map(torch.Tensor.detach, self.state(layer))
        before = tree_map(torch.clone, state)
        with torch.no_grad():
            layer.step(self.x(dtype=torch.float32)[:, 0], state)
        assert all(torch.equal(a, b) for a, b in zip(tree_leaves(state), tree_leaves(before), strict=True))

    def test_a_step_follows_the_parameters(self) -> None:
        self.needs_stream()
        layer, x_t = self.layer(dtype=torch.float32), self.x(dtype=torch.float32)[:, 0]
        with torch.no_grad():
            layer.step(x_t, layer.init_state(3))
            for value in layer.parameters():
                value.mul_(1.25)
            got = layer.step(x_t, layer.init_state(3))[0]
            wanted = layer(x_t[:, None])[:, 0]
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)

    def test_gradients_cross_the_border_of_two_pieces(self) -> None:
        self.needs_stream()
        layer = self.layer()
        x, names = self.x(), dict(layer.named_parameters())
        wanted = torch.autograd.grad(loss(layer(x)[:, 25:]), list(names.values()), allow_unused=True)
        _, state = layer(x[:, :25], return_state=True)
        y, _ = layer(x[:, 25:], state=state, return_state=True)
        got = torch.autograd.grad(loss(y), list(names.values()), allow_unused=True)
        for name, a, b in zip(names, got, wanted, strict=True):
            torch.testing.assert_close(a, b, msg=f"the gradient of {name} differs")

    # Padding

    @pytest.mark.parametrize("padding", ["right", "left"])
    def test_padding_is_as_if_it_were_not_there(self, padding: str) -> None:
        lengths = torch.tensor([37, 1, 20])
        for scan in self.scans:
            layer = self.layer(scan)
            state, clean, padded = self.state(layer), self.x(), self.x()
            for row, n in enumerate(lengths.tolist()):
                padded[row, slice(n, None) if padding == "right" else slice(0, 37 - n)] = torch.nan
            got = outcome(layer, padded, state, lengths=lengths, padding=padding)
            y, dx = got["result 0"], got["gradient of x"]
            assert all(value.isfinite().all() for name, value in got.items() if name != "result 0")
            for row, n in enumerate(lengths.tolist()):
                real = slice(0, n) if padding == "right" else slice(37 - n, None)
                options = {} if state is None else {"state": row_of(state, row), "return_state": True}
                alone = layer(clean[row : row + 1, real], **options)
                torch.testing.assert_close(y[row, real], tree_leaves(alone)[0][0].detach())
                for k, leaf in enumerate(tree_leaves(alone)[1:], 1):
                    torch.testing.assert_close(got[f"result {k}"][row], leaf[0].detach())
                outside = torch.ones(37, dtype=torch.bool)
                outside[real] = False
                assert not dx[row, outside].any()

    def test_full_lengths_change_nothing(self) -> None:
        layer, x = self.layer(), self.x()
        torch.testing.assert_close(layer(x, lengths=torch.full((3,), 37)), layer(x))

    # Where and how it runs

    def test_half_precision_around_it_leaves_the_state_in_single(self) -> None:
        layer, x = self.layer(dtype=torch.float32), self.x(dtype=torch.float32)
        wanted = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results = layer(x, return_state=True) if self.streams else (layer(x),)
        y, *state = tree_leaves(results)
        assert torch.linalg.vector_norm(y.float() - wanted) <= 0.03 * torch.linalg.vector_norm(wanted)
        assert all(leaf.dtype in (torch.float32, torch.complex64) for leaf in state[-1:])
        loss(y).backward()
        assert all(value.grad is None or value.grad.isfinite().all() for value in layer.parameters())

    @pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
    def test_it_compiles_whole(self) -> None:
        torch.compiler.reset()
        for scan in ("auto", *(name for name in self.scans if name not in ("reference", "triton"))):
            layer = self.layer(scan, torch.float32)
            compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
            x = self.x(2, 9, torch.float32)
            assert_same(
                outcome(compiled, x, self.state(layer, 2)), _named(outcome(layer, x, self.state(layer, 2))), 1e-4
            )

    @pytest.mark.filterwarnings("ignore")
    def test_it_can_be_exported(self) -> None:
        layer, x = self.layer(dtype=torch.float32), self.x(2, 9, torch.float32)
        program = torch.export.export(layer, (x,))
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-4, atol=1e-5)

    def test_the_same_again_is_the_same_bits(self) -> None:
        for scan in self.scans:
            layer = self.layer(scan, torch.float32)
            runs = [outcome(layer, self.x(5, 200, torch.float32), self.state(layer, 5)) for _ in range(2)]
            assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])

    def test_inputs_are_untouched(self) -> None:
        layer, x = self.layer(dtype=torch.float32), self.x(dtype=torch.float32)
        state = self.state(layer)
        given = [] if state is None else tree_leaves(state)
        before = [leaf.detach().clone() for leaf in (x, *given, *layer.parameters())]
        outcome(layer, x, state)
        after = (x, *given, *layer.parameters())
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    def test_it_is_saved_and_copied_whole(self) -> None:
        layer, x = self.layer(dtype=torch.float32), self.x(dtype=torch.float32)
        twin = self.make().to(torch.float32)
        twin.load_state_dict(layer.state_dict())
        for other in (twin, copy.deepcopy(layer)):
            torch.testing.assert_close(other(x), layer(x))
            assert other.d_state == layer.d_state

    @pytest.mark.parametrize(("batch", "length"), [(0, 5), (2, 0), (1, 1), (0, 0)])
    def test_nothing_is_a_size_like_any_other(self, batch: int, length: int) -> None:
        for scan in self.scans:
            layer = self.layer(scan, torch.float32)
            x = self.x(batch, length, torch.float32)
            found = outcome(layer, x, self.state(layer, batch))
            assert found["result 0"].shape == (batch, length, self.d_model)
            assert all(value.isfinite().all() for value in found.values())

    # Bad input

    def test_inputs_that_do_not_fit_are_named(self) -> None:
        layer = self.layer(dtype=torch.float32)
        for shape in ((3, 5), (3, 5, self.d_model + 1), (self.d_model,)):
            with pytest.raises(ShapeError, match=str(self.d_model)):
                layer(torch.zeros(shape))
        with pytest.raises(DtypeError, match="int64"):
            layer(torch.zeros(3, 5, self.d_model, dtype=torch.int64))

    @pytest.mark.parametrize("lengths", [[1, 2], [1, 2, 6], [1, 2, -1]], ids=str)
    def test_lengths_that_do_not_fit_are_named(self, lengths: list[int]) -> None:
        with pytest.raises(ShapeError, match="lengths"):
            self.layer()(self.x(3, 5), lengths=torch.tensor(lengths))

    def test_a_state_that_does_not_fit_is_named(self) -> None:
        self.needs_stream()
        layer = self.layer()
        with pytest.raises(ShapeError, match="state"):
            layer(self.x(), state=layer.init_state(2))

    # Moments

    def test_moments_are_those_of_the_definition(self) -> None:
        if not self.gathers:
            pytest.skip("no moments are gathered, by the declarations")
        found = {scan: self._moments(scan) for scan in self.scans}
        for states, adjoints in found.values():
            torch.testing.assert_close(states, found["reference"][0], rtol=1e-8, atol=1e-12)
            torch.testing.assert_close(adjoints, found["reference"][1], rtol=1e-8, atol=1e-12)
            for moment in (states, adjoints):
                assert torch.linalg.eigvalsh(moment).min() >= -1e-9 * torch.linalg.matrix_norm(moment).max()
                assert moment.abs().max() > 0

    def test_moments_do_not_see_the_padding(self) -> None:
        if not self.gathers:
            pytest.skip("no moments are gathered, by the declarations")
        lengths = torch.tensor([9, 9, 9])
        for scan in self.scans:
            padded = self.x()
            padded[:, 9:] = 1e3
            for got, wanted in zip(
                self._moments(scan, padded, lengths), self._moments(scan, self.x()[:, :9]), strict=True
            ):
                torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-12)

    def _moments(self, scan: str, x: Tensor | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        layer, x = self.layer(scan), self.x() if x is None else x
        with gather_moments(layer) as moments:
            y = layer(x) if lengths is None else layer(x, lengths=lengths)
            y[:, :9].square().sum().backward()
        (gathered,) = moments.values()
        return gathered.states(), gathered.adjoints()


def _named(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what was found under the names that a compiled module gives its parameters."""
    return {
        name.replace("gradient of ", "gradient of _orig_mod.", 1) if _is_parameter(name) else name: v
        for name, v in found.items()
    }


def _is_parameter(name: str) -> bool:
    return name.startswith("gradient of ") and name != "gradient of x" and not name.startswith("gradient of state ")
