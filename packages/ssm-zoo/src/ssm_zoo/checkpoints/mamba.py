"""Mamba language models: what all formats share, which is the shapes and, but for a few words, the names.

Glossary
--------
ours      embedding, blocks.0.norm, blocks.0.layer.*, norm, head
theirs    backbone.embedding (Transformers: embeddings), backbone.layers.0.norm, backbone.layers.0.mixer.*,
          backbone.norm_f, lm_head
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from .._errors import UnsupportedError, require
from ..models import LanguageModel, LanguageModelConfig

if TYPE_CHECKING:
    from torch import nn

    from .files import Tensors

_TO_OURS = (
    (r"^(backbone|mamba)\.", ""),
    (r"^embeddings?\.", "embedding."),
    (r"^layers\.", "blocks."),
    (r"^(blocks\.\d+)\.mixer\.", r"\1.layer."),
    (r"^norm_f\.", "norm."),
    (r"^lm_head\.", "head."),
)
_TO_THEIRS = (
    (r"^blocks\.", "backbone.layers."),
    (r"\.layer\.", ".mixer."),
    (r"^norm\.", "backbone.norm_f."),
    (r"^embedding\.", "backbone.embedding."),
    (r"^head\.", "lm_head."),
)


def ours(tensors: Tensors) -> Tensors:
    """Return the tensors of a Mamba language model by the names that they have here."""
    return {_renamed(name, _TO_OURS): tensor for name, tensor in tensors.items()}


def theirs(model: LanguageModel) -> Tensors:
    """Return the tensors of a model by the names that they have in mamba_ssm, without the head if it is tied."""
    return {_renamed(name, _TO_THEIRS): tensor for name, tensor in model.state_dict().items()}


def is_mamba(tensors: Tensors) -> bool:
    """Say whether these are the tensors of a Mamba language model."""
    names = ours(tensors)
    return "embedding.weight" in names and "blocks.0.layer.A_log" in names


def build(tensors: Tensors, *, ngroups: int = 1, options: dict[str, Any], **known: Any) -> LanguageModel:
    """Return the model of these tensors, which have our names, in evaluation mode.

    Parameters
    ----------
    tensors
        Half precision is raised to single.
    ngroups
        Of Mamba-2.
    options
        Of the layers, as far as shapes do not tell.
    known
        Further fields of `LanguageModelConfig`; without `tie_embeddings`, a head that equals the embedding is tied.
    """
    sizes = shapes(tensors, ngroups)
    sizes["options"] = {sizes["layer"]: sizes["options"] | options}
    embedding, head = tensors["embedding.weight"], tensors.get("head.weight")
    known.setdefault("tie_embeddings", head is None or torch.equal(head, embedding))
    if known["tie_embeddings"]:
        tensors = {name: tensor for name, tensor in tensors.items() if name != "head.weight"}
    model = LanguageModel(LanguageModelConfig(**(sizes | known)))
    model.to(torch.promote_types(embedding.dtype, torch.float32)).load_state_dict(tensors)
    return model.eval()


def shapes(tensors: Tensors, ngroups: int = 1) -> dict[str, Any]:
    """Return what the shapes of the tensors, which have our names, tell of the architecture.

    Raises
    ------
    UnsupportedError
        If a block is no Mamba, or not of the kind of the others.
    """
    rows, d_model = tensors["embedding.weight"].shape
    n_layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    found = []
    for k in range(n_layers):
        prefix = f"blocks.{k}.layer."
        block = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        require("A_log" in block, f"block {k} is no Mamba: it holds {', '.join(sorted(block))}", UnsupportedError)
        found.append(_mamba(block) if block["A_log"].ndim == 2 else _mamba2(block, ngroups))
    kinds = {layer for layer, _, _ in found}
    require(len(kinds) == 1, f"got layers {', '.join(sorted(kinds))}, wanted all of one kind", UnsupportedError)
    states = tuple(d_state for _, d_state, _ in found)
    sizes = {"layer": kinds.pop(), "d_model": d_model, "d_state": states, "n_layers": n_layers}
    return sizes | {"vocab_size": rows, "pad_vocab_size_multiple": 1, "options": found[0][2]}


def _mamba(block: Tensors) -> tuple[str, int, dict[str, Any]]:
    _, d_state = block["A_log"].shape
    return "mamba", d_state, _common(block) | {"dt_rank": block["dt_proj.weight"].shape[1]}


def _mamba2(block: Tensors, ngroups: int) -> tuple[str, int, dict[str, Any]]:
    (heads,), (_, d_inner) = block["A_log"].shape, block["out_proj.weight"].shape
    d_state = (block["conv1d.weight"].shape[0] - d_inner) // (2 * ngroups)
    return "mamba2", d_state, _common(block) | {"headdim": d_inner // heads, "ngroups": ngroups}


def _common(block: Tensors) -> dict[str, Any]:
    d_model, d_inner = block["out_proj.weight"].shape
    whole, rest = divmod(d_inner, d_model)
    return {
        "expand": d_inner / d_model if rest else whole,
        "d_conv": block["conv1d.weight"].shape[-1],
        "bias": "in_proj.bias" in block,
        "conv_bias": "conv1d.bias" in block,
    }


def described(model: nn.Module, format: str) -> tuple[LanguageModel, dict[str, Any]]:  # noqa: A002
    """Return the model, and its `shapes` with one state size and all options of its layers.

    Raises
    ------
    UnsupportedError
        If the format cannot hold the model.
    """
    if not isinstance(model, LanguageModel) or set(model.config.names) not in ({"mamba"}, {"mamba2"}):
        message = f"the format {format!r} holds language models of Mamba or of Mamba-2 layers, got {_kind(model)}"
        raise UnsupportedError(message)
    config = model.config
    if len(set(config.states)) > 1:
        message = (
            f"the layers have state sizes {', '.join(map(str, config.states))}, and the format {format!r} holds one "
            "number for all; reduce every layer to the same size, or use model.save_pretrained, which keeps them all"
        )
        raise UnsupportedError(message)
    if config.d_unmixed is not None:
        message = (
            f"a reduction has mixed B and C of the Mamba-2 layers, and the format {format!r} has no place for that; "
            "reduce with Mamba2Adapter(layer, form='keep'), or use model.save_pretrained"
        )
        raise UnsupportedError(message)
    options = dict(config.options.get(config.names[0], {}))
    sizes = shapes(dict(model.state_dict()), options.get("ngroups", 1))
    return model, sizes | {"d_state": config.states[0], "options": options | sizes["options"]}


def _kind(model: nn.Module) -> str:
    layers = f" of {', '.join(sorted(set(model.config.names)))}" if isinstance(model, LanguageModel) else ""
    return f"a {type(model).__name__}{layers}"


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
