"""Which parameters learn slower and which decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from .._errors import require

if TYPE_CHECKING:
    from collections.abc import Iterator

RECURRENT = {
    "A", "A_log", "A_re", "A_im", "A_real", "A_imag", "log_A_real", "inv_A_real",
    "Lambda", "Lambda_re", "Lambda_im",
    "nu", "theta", "gamma", "nu_log", "theta_log", "gamma_log",
    "dt", "log_dt", "inv_dt", "dt_bias", "step", "log_step",
}  # fmt: skip
"""Names that the poles and the time steps of state-space layers go by, in this package and in others."""


def param_groups(
    model: nn.Module, lr: float, weight_decay: float = 0.0, ssm_lr_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return optimiser groups: the recurrences (slower, no decay), the weights (decay), the rest (no decay).

    The recurrence of a linear time-invariant layer is all but its output maps C and D: poles, time steps and input map.
    That of Mamba, and of layers of other packages, is known by the usual names: ``A_log``, ``dt_bias``,
    ``dt_proj.bias`` and the like. The rest are norms, biases, D and other vectors, and embeddings, of which the rows of
    rare tokens would fade. Two attributes of a parameter have the last word: ``_no_weight_decay = True``, and
    ``_optim``, a dict of options such as ``{"lr": 1e-3, "weight_decay": 0.0}``.

    Parameters
    ----------
    model
        Any model. Parameters that need no gradient are left out.
    lr
        Learning rate of all but the recurrences, whose rate is `lr * ssm_lr_factor`.
    weight_decay
        Decay of the matrices outside the recurrences.
    ssm_lr_factor
        See `lr`; the papers use 0.1 to 1.

    Raises
    ------
    OptionError
        If a value is outside its range.

    References
    ----------
    A. Gu et al., Efficiently modeling long sequences with structured state spaces, ICLR 2022, appendix D.
    """
    for name, value in (("lr", lr), ("ssm_lr_factor", ssm_lr_factor)):
        require(value > 0, f"got {name}={value}, wanted a positive number")
    require(weight_decay >= 0, f"got weight_decay={weight_decay}, wanted 0 or more")
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for parameter, kind in _kinds(model):
        options: dict[str, Any] = {
            "lr": lr * ssm_lr_factor if kind == "recurrence" else lr,
            "weight_decay": weight_decay if kind == "weights" else 0.0,
        }
        options |= getattr(parameter, "_optim", {})
        if getattr(parameter, "_no_weight_decay", False):
            options["weight_decay"] = 0.0
        key = (kind, *sorted(options.items()))
        groups.setdefault(key, {"params": [], "name": kind, **options})["params"].append(parameter)
    order = ("recurrence", "weights", "rest")
    return sorted(groups.values(), key=lambda group: order.index(group["name"]))


def decay_parameter_names(model: nn.Module) -> list[str]:
    """Return the names of the parameters that should decay, for trainers that ask by name.

    Transformers' Trainer lets ``A_log``, D and the norms of state-space models decay. It asks
    `get_decay_parameter_names`, so ``trainer.get_decay_parameter_names = decay_parameter_names``, said before
    `trainer.train()`, mends that.

    Parameters
    ----------
    model
        Any model, of Transformers or not.
    """
    groups = param_groups(model, lr=1.0, weight_decay=1.0)
    decaying = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    return [name for name, parameter in model.named_parameters() if id(parameter) in decaying]


def _kinds(model: nn.Module) -> Iterator[tuple[nn.Parameter, str]]:
    """Yield each parameter that learns, shared ones once, and its kind."""
    owners = {
        f"{prefix}.{leaf}".lstrip("."): module
        for prefix, module in model.named_modules()
        for leaf, _ in module.named_parameters(recurse=False)
    }
    time_invariant = [
        f"{name}.".lstrip(".") for name, module in model.named_modules() if callable(getattr(module, "system", None))
    ]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            inside = any(name.startswith(prefix) for prefix in time_invariant)
            yield parameter, _kind(name, parameter, owners[name], inside)


def _kind(name: str, parameter: nn.Parameter, owner: nn.Module, time_invariant: bool) -> str:
    leaf = name.rpartition(".")[2]
    if leaf in RECURRENT or name.endswith("dt_proj.bias"):
        return "recurrence"
    if time_invariant and leaf.startswith(("B", "P")):
        return "recurrence"
    vector = parameter.ndim < 2 or leaf == "D"
    if vector or isinstance(owner, nn.Embedding) or "norm" in type(owner).__name__.lower():
        return "rest"
    return "weights"
