"""Folders of Transformers: MambaForCausalLM and Mamba2ForCausalLM."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .._errors import UnsupportedError, require
from . import mamba

if TYPE_CHECKING:
    from torch import nn

    from ..models import LanguageModel
    from .files import Tensors

FILE = "model.safetensors"
NO_LIMIT = (0.0, math.inf)
CLASSES = {"mamba": "MambaForCausalLM", "mamba2": "Mamba2ForCausalLM"}


def recognises(tensors: Tensors, config: dict[str, Any]) -> bool:
    """Say whether this is a Mamba language model of Transformers."""
    return mamba.is_mamba(tensors) and config.get("model_type") in CLASSES


def read(tensors: Tensors, config: dict[str, Any]) -> LanguageModel:
    """Return the model of these tensors."""
    act = config.get("hidden_act", "silu")
    require(act in ("silu", "swish"), f"got hidden_act={act!r}, wanted 'silu'", UnsupportedError)
    options: dict[str, Any] = {}
    limit = tuple(map(_float, config.get("time_step_limit") or NO_LIMIT))
    if config.get("model_type") == "mamba2" and limit != NO_LIMIT:
        options["dt_limit"] = limit
    known = {"norm_eps": "layer_norm_epsilon", "residual_in_fp32": "residual_in_fp32",
             "tie_embeddings": "tie_word_embeddings"}  # fmt: skip
    fields = {name: config[key] for name, key in known.items() if key in config}
    return mamba.build(mamba.ours(tensors), ngroups=config.get("n_groups", 1), options=options, **fields)


def write(model: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    """Return tensors and config of a Mamba language model."""
    language_model, sizes = mamba.described(model, "hf")
    config, options = language_model.config, sizes["options"]
    tensors = mamba.theirs(language_model)
    tensors["backbone.embeddings.weight"] = tensors.pop("backbone.embedding.weight")
    expand = options["expand"]
    require(expand == int(expand), f"got expand={expand}, and the format 'hf' wants a whole number", UnsupportedError)
    return tensors, {
        "architectures": [CLASSES[sizes["layer"]]],
        "model_type": sizes["layer"],
        "vocab_size": tensors["backbone.embeddings.weight"].shape[0],
        "hidden_size": config.d_model,
        "state_size": sizes["d_state"],
        "num_hidden_layers": config.n_layers,
        "layer_norm_epsilon": config.norm_eps,
        "expand": int(expand),
        "conv_kernel": options["d_conv"],
        "use_bias": options["bias"],
        "use_conv_bias": options["conv_bias"],
        "hidden_act": "silu",
        "residual_in_fp32": config.residual_in_fp32,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "dtype": str(tensors["backbone.embeddings.weight"].dtype).removeprefix("torch."),
        **_own(sizes),
    }


def _own(sizes: dict[str, Any]) -> dict[str, Any]:
    """Return what only one of the two classes has."""
    options, d_inner = sizes["options"], round(sizes["options"]["expand"] * sizes["d_model"])
    if sizes["layer"] == "mamba":
        return {"intermediate_size": d_inner, "time_step_rank": options["dt_rank"]}
    plain = options.get("rmsnorm", True) and not options.get("norm_before_gate", False)
    require(
        plain, "got Mamba-2 with rmsnorm=False or norm_before_gate=True, which Transformers has not", UnsupportedError
    )
    limit = tuple(options.get("dt_limit", NO_LIMIT))
    heads = {"num_heads": d_inner // options["headdim"], "head_dim": options["headdim"], "n_groups": options["ngroups"]}
    heads["chunk_size"] = options.get("chunk_size", 256)
    return heads if limit == NO_LIMIT else heads | {"time_step_limit": list(limit)}


def _float(value: Any) -> float:
    """Return a number as Transformers writes it into JSON, which has no infinity."""
    return float(value["__float__"] if isinstance(value, dict) else value)
