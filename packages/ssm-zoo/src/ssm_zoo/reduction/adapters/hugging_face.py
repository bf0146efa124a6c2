"""The mixers of Transformers, `MambaMixer` and `Mamba2Mixer`: weighed by the layers here, cut so that they load again.

A mixer's parameters have the names and shapes of `Mamba` and `Mamba2`. So a layer of this package that holds the very
same parameters gathers the moments and works out the surgery; the mixer itself is what the error is measured on.
Transformers is not imported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from ..._errors import UnsupportedError, require
from ...layers import Mamba, Mamba2
from ..certificate import Certificate
from ..proposal import Proposal
from .base import output_error
from .mamba import MambaAdapter
from .mamba2 import Mamba2Adapter

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ssm_gramians import StateSpace

    from ..evidence import Evidence
    from ..proposal import Plan
    from .selective import SelectiveAdapter

_MIXERS = {"MambaMixer": "transformers.models.mamba.", "Mamba2Mixer": "transformers.models.mamba2."}


def is_mixer(module: nn.Module) -> bool:
    """Say whether a module is a mixer of Transformers."""
    kind = type(module)
    return kind.__name__ in _MIXERS and kind.__module__.startswith(_MIXERS[kind.__name__])


class MixerAdapter:
    """See `Adapter`.

    Parameters
    ----------
    layer
        A `MambaMixer` or `Mamba2Mixer`.

    Raises
    ------
    UnsupportedError
        If its activation is not SiLU.
    """

    states_per_slot = 1

    def __init__(self, layer: nn.Module) -> None:
        self.layer: Any = layer
        act = self.layer.activation
        require(act in ("silu", "swish"), f"got a mixer with hidden_act={act!r}, wanted 'silu'", UnsupportedError)

    @property
    def d_state(self) -> int:
        """Return N."""
        return self._ours.d_state

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer or what it saw is not finite."""
        self._ours.check(evidence)

    def system(self) -> StateSpace:
        """Raise `UnsupportedError`: the layer's map changes with its input."""
        return self._ours.system()

    def gains(self) -> np.ndarray:
        """Return how large the parameters of each state are."""
        return self._ours.gains()

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[h h^T]$."""
        return self._ours.state_moments(_with_lengths(evidence))

    def adjoint_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[a a^T]$."""
        return self._ours.adjoint_moments(_with_lengths(evidence))

    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[C_t C_t^T]$."""
        return self._ours.output_moments(_with_lengths(evidence))

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Pick states by both moments."""
        return self._ours.balanced(Z_P, Z_Q, has_bound=has_bound)

    def ranked(self, scores: np.ndarray) -> Plan:
        """Pick states by their scores."""
        return self._ours.ranked(scores)

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Work out the surgery, and measure on every fourth sequence what the mixer makes of it."""
        seen, probe = evidence.split()
        slots, surgery = self._ours.surgery(plan, slots, _with_lengths(seen))
        sizes = {"ssm_state_size": slots}
        if "conv1d.out_channels" in surgery.attributes:
            sizes["conv_dim"] = surgery.attributes["conv1d.out_channels"]
        surgery = replace(surgery, attributes={**surgery.attributes, **sizes})
        return Proposal(slots, surgery, Certificate(output_error(self, surgery, probe)))

    def outputs(self, evidence: Evidence) -> Tensor:
        """Return the mixer's outputs."""
        return self.layer(evidence.inputs, **evidence.options)

    @property
    def _ours(self) -> SelectiveAdapter:
        """Return the adapter of a layer of this package that holds the mixer's parameters, as they are now."""
        mixer = self.layer
        d_model, d_inner = mixer.hidden_size, mixer.intermediate_size
        whole, rest = divmod(d_inner, d_model)
        options: dict[str, Any] = {
            "d_conv": mixer.conv_kernel_size,
            "expand": d_inner / d_model if rest else whole,
            "bias": mixer.use_bias,
            "conv_bias": mixer.use_conv_bias,
            "device": "meta",
        }
        if type(mixer).__name__ == "MambaMixer":
            mamba = Mamba(d_model, mixer.ssm_state_size, dt_rank=mixer.time_step_rank, **options)
            return MambaAdapter(_sharing(mamba, mixer))
        options |= {"headdim": mixer.head_dim, "ngroups": mixer.n_groups, "dt_limit": mixer.time_step_limit}
        mamba2 = Mamba2(d_model, mixer.ssm_state_size, **options)
        mamba2.norm.eps = mixer.norm.variance_epsilon
        _sharing(mamba2, mixer)
        return Mamba2Adapter(mamba2, form="keep")


def follow_state_size(model: nn.Module) -> int:
    """Set `model.config.state_size` to that of the mixers, so that `model.save_pretrained` writes what loads again.

    Parameters
    ----------
    model
        A model of Transformers, after its mixers were cut.

    Returns
    -------
    int
        The state size.

    Raises
    ------
    UnsupportedError
        If the mixers have different sizes, or there are none: the configuration holds one number for all.
    """
    sizes = {name: int(m.ssm_state_size) for name, m in model.named_modules() if is_mixer(m)}
    if len(set(sizes.values())) != 1:
        told = ", ".join(f"{name}: {size}" for name, size in sizes.items()) or "no mixers at all"
        msg = f"got {told}; wanted mixers of one state size: cut them with selection=Uniform(...), none refused"
        raise UnsupportedError(msg)
    (size,) = set(sizes.values())
    for module in model.modules():
        if hasattr(module, "config"):
            cast(Any, module).config.state_size = size
    return size


def _sharing(layer: nn.Module, mixer: nn.Module) -> nn.Module:
    """Give a layer the parameters of a mixer: not their values, but the parameters."""
    for name, parameter in mixer.named_parameters():
        path, _, leaf = name.rpartition(".")
        setattr(layer.get_submodule(path), leaf, parameter)
    return layer.train(mixer.training)


def _with_lengths(evidence: Evidence) -> Evidence:
    """Say by lengths what a mixer is told by a mask."""
    mask = evidence.options.get("attention_mask")
    if mask is None:
        return evidence
    real = mask.bool()
    return replace(evidence, options={"lengths": real.sum(1), "padding": "right" if real[:, 0].all() else "left"})
