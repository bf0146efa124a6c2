"""One run of a layer with all that comes out of it, and how two runs are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal random numbers that depend on nothing but the arguments."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def loss(*results: Any) -> Tensor:
    """Weigh every number of the results differently, the states' too."""
    total = torch.zeros((), dtype=torch.float64)
    for seed, leaf in enumerate(tree_leaves(results)):
        parts = torch.view_as_real(leaf) if leaf.is_complex() else leaf
        total = total + (draw(*parts.shape, seed=seed) * parts.double()).sum()
    return total


def random_state(layer: Any, batch: int) -> Any:
    """Return a state of the layer that is not at rest, every leaf of it a variable."""
    leaves, spec = tree_flatten(layer.init_state(batch))
    drawn = []
    for seed, leaf in enumerate(leaves):
        planes = draw(*torch.view_as_real(leaf).shape if leaf.is_complex() else leaf.shape, seed=seed)
        value = torch.view_as_complex(planes) if leaf.is_complex() else planes
        drawn.append(value.to(leaf.dtype).requires_grad_())
    return tree_unflatten(drawn, spec)


def row_of(state: Any, row: int) -> Any:
    """Return the state of one sequence of the batch."""

    def one(leaf: Tensor) -> Tensor:
        return leaf[row : row + 1]

    return tree_map(one, state)


def outcome(layer: Any, x: Tensor, state: Any = None, **options: Any) -> dict[str, Tensor]:
    """Return the outputs, the last state, and the gradient of every parameter, of the input and of the state."""
    x = x.detach().clone().requires_grad_()
    held = [] if state is None else tree_leaves(state)  # None would be a leaf
    if state is not None:
        options |= {"state": state, "return_state": True}
    results = layer(x, **options)
    variables = {name: value for name, value in layer.named_parameters() if value.requires_grad}
    variables |= {"x": x} | {f"state {k}": leaf for k, leaf in enumerate(held)}
    gradients = torch.autograd.grad(loss(results), list(variables.values()), allow_unused=True)
    found = {f"result {k}": leaf.detach() for k, leaf in enumerate(tree_leaves(results))}
    for (name, value), gradient in zip(variables.items(), gradients, strict=True):
        found[f"gradient of {name}"] = torch.zeros_like(value) if gradient is None else gradient
    return found


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float) -> None:
    """Fail unless all that was found is the same, relative to the norm of each array."""
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].shape == value.shape, f"{name}: {got[name].shape} is not {value.shape}"
        error = torch.linalg.vector_norm(got[name] - value)
        size = torch.linalg.vector_norm(value)
        assert error <= tolerance * size + torch.finfo(value.dtype).tiny, f"{name}: error {error:.3g} of {size:.3g}"
