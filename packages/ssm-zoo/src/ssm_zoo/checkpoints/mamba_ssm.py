"""Folders of mamba_ssm: ``state-spaces/mamba-*`` and ``state-spaces/mamba2-*``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import UnsupportedError, require
from . import mamba

if TYPE_CHECKING:
    from torch import nn

    from ..models import LanguageModel
    from .files import Tensors

FILE = "pytorch_model.bin"
LAYERS = {"Mamba1": "mamba", "Mamba2": "mamba2"}

_FROM_SHAPES = {"layer", "d_state", "d_conv", "expand", "dt_rank", "headdim", "ngroups", "bias", "conv_bias"}
_OF_KERNELS = {"use_fast_path", "use_mem_eff_path", "layer_idx", "process_group", "sequence_parallel"}


def recognises(tensors: Tensors, config: dict[str, Any]) -> bool:
    """Say whether this is a model of mamba_ssm; also without a config, as mambapy and others write."""
    return mamba.is_mamba(tensors) and "model_type" not in config


def read(tensors: Tensors, config: dict[str, Any]) -> LanguageModel:
    """Return the model of these tensors."""
    odd = {name: config.get(name) for name in ("attn_layer_idx", "d_intermediate") if config.get(name)}
    require(not odd, f"got {odd}: attention and MLP layers, wanted Mamba layers only", UnsupportedError)
    require(config.get("rms_norm", True), "got rms_norm=false, wanted RMS norms", UnsupportedError)
    layers = dict(config.get("ssm_cfg") or {})
    options = {name: value for name, value in layers.items() if name not in _FROM_SHAPES | _OF_KERNELS}
    known = ("vocab_size", "pad_vocab_size_multiple", "residual_in_fp32", "tie_embeddings")
    fields = {name: config[name] for name in known if name in config}
    if "vocab_size" in fields:
        fields.setdefault("pad_vocab_size_multiple", 8)
    return mamba.build(mamba.ours(tensors), ngroups=layers.get("ngroups", 1), options=options, **fields)


def write(model: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    """Return tensors and config of a Mamba language model."""
    language_model, sizes = mamba.described(model, "mamba_ssm")
    config, tensors = language_model.config, mamba.theirs(language_model)
    tensors.setdefault("lm_head.weight", tensors["backbone.embedding.weight"])
    kinds = {name: kind for kind, name in LAYERS.items()}
    layers = {"layer": kinds[sizes["layer"]], "d_state": sizes["d_state"], **sizes["options"]}
    return tensors, {
        "d_model": config.d_model,
        "d_intermediate": 0,
        "n_layer": config.n_layers,
        "vocab_size": config.vocab_size,
        "ssm_cfg": layers,
        "attn_layer_idx": [],
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": config.residual_in_fp32,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": config.pad_vocab_size_multiple,
        "tie_embeddings": config.tie_embeddings,
    }
