import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssm_zoo._errors import OptionError, RunError, UnsupportedError
from ssm_zoo.checkpoints import FORMATS, as_checkpoint, load_checkpoint, save_checkpoint
from ssm_zoo.layers import LRU, S5
from ssm_zoo.models import LAYERS, LanguageModel, LanguageModelConfig

needs_mamba = pytest.mark.skipif(not {"mamba", "mamba2"} <= set(LAYERS), reason="the Mamba layers are not here")
needs_s4 = pytest.mark.skipif(not {"s4d", "s4"} <= set(LAYERS), reason="the S4 layers are not here")
LM_FORMATS = ["hf", "mamba_ssm"]
OPTIONS = {"mamba": {}, "mamba2": {"headdim": 8, "ngroups": 2}}


def language_model(layer="mamba", d_state=(4, 4), **changes):
    torch.manual_seed(0)
    options = {layer: OPTIONS[layer]}
    config = LanguageModelConfig(vocab_size=13, layer=layer, d_model=16, d_state=d_state, options=options, **changes)
    return LanguageModel(config).eval()


def ids_of():
    return torch.randint(13, (2, 9), generator=torch.Generator().manual_seed(1))


def inputs_of(d_model=6):
    return torch.randn(2, 20, d_model, generator=torch.Generator().manual_seed(1))


# Language models


@needs_mamba
@pytest.mark.parametrize("name", LM_FORMATS)
@pytest.mark.parametrize("layer", list(OPTIONS))
@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_comes_back(tmp_path, name, layer, tied):
    model = language_model(layer, tie_embeddings=tied)

    loaded = load_checkpoint(save_checkpoint(model, tmp_path, name))

    assert loaded.config.tie_embeddings == tied
    assert loaded.config.states == (4, 4)
    torch.testing.assert_close(loaded(ids_of())[..., :13], model(ids_of()), rtol=0, atol=0)


@needs_mamba
@pytest.mark.parametrize(
    ("change", "prefix"), [("backbone.", ""), ("backbone.", "mamba."), ("backbone.embedding", "backbone.embeddings")]
)
def test_a_state_dict_alone_tells_what_the_model_is(change, prefix):
    model = language_model()
    tensors = {name.replace(change, prefix): tensor for name, tensor in as_checkpoint(model, "mamba_ssm").items()}

    loaded = load_checkpoint(tensors)

    assert loaded.config.tie_embeddings
    torch.testing.assert_close(loaded(ids_of())[..., :13], model(ids_of()), rtol=0, atol=0)


@needs_mamba
def test_a_model_inside_another_one_is_found():
    tensors = {f"model.{name}": tensor for name, tensor in as_checkpoint(language_model(), "hf").items()}

    assert load_checkpoint(tensors).config.states == (4, 4)


@needs_mamba
def test_every_layer_may_have_its_own_state_in_a_state_dict():
    model = language_model(d_state=(4, 2))
    tensors = {f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors = {name.replace("blocks", "layers").replace(".layer.", ".mixer."): t for name, t in tensors.items()}
    tensors["backbone.norm_f.weight"] = tensors.pop("backbone.norm.weight")

    assert load_checkpoint(tensors).config.states == (4, 2)


@needs_mamba
@pytest.mark.parametrize("name", LM_FORMATS)
def test_several_state_sizes_are_an_error_where_a_format_knows_one(tmp_path, name):
    with pytest.raises(UnsupportedError, match=r"state sizes 4, 2.*one number for all.*save_pretrained"):
        save_checkpoint(language_model(d_state=(4, 2)), tmp_path, name)

    assert not list(tmp_path.iterdir())


@needs_mamba
def test_the_config_of_mamba_ssm_is_as_its_readers_expect(tmp_path):
    save_checkpoint(language_model("mamba2"), tmp_path, "mamba_ssm")

    config = json.loads((tmp_path / "config.json").read_text())

    assert (config["d_model"], config["n_layer"], config["vocab_size"]) == (16, 2, 13)
    assert config["pad_vocab_size_multiple"] == 8
    layer = config["ssm_cfg"]
    assert (layer["layer"], layer["d_state"], layer["headdim"], layer["ngroups"]) == ("Mamba2", 4, 8, 2)
    tensors = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    assert tensors["lm_head.weight"].shape == (16, 16)


@needs_mamba
def test_half_precision_is_raised_to_single(tmp_path):
    folder = save_checkpoint(language_model().half(), tmp_path, "hf")

    assert {p.dtype for p in load_checkpoint(folder).parameters()} == {torch.float32}


@needs_mamba
def test_shards_are_read_as_one(tmp_path):
    model = language_model()
    tensors, shards = as_checkpoint(model, "mamba_ssm"), ({}, {})
    tensors["lm_head.weight"] = tensors["lm_head.weight"].clone()
    for k, (name, tensor) in enumerate(tensors.items()):
        shards[k % 2][name] = tensor.contiguous()
    for k, shard in enumerate(shards):
        save_file(shard, tmp_path / f"{k}.safetensors")
    index = {"weight_map": {name: f"{k}.safetensors" for k, shard in enumerate(shards) for name in shard}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    torch.testing.assert_close(load_checkpoint(tmp_path)(ids_of())[..., :13], model(ids_of()), rtol=0, atol=0)


@needs_mamba
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"attn_layer_idx": [1]}, "attention"),
        ({"rms_norm": False}, "RMS"),
        ({"model_type": "mamba", "hidden_act": "relu"}, "relu"),
    ],
)
def test_parts_that_this_package_has_not_are_an_error(config, message):
    with pytest.raises(UnsupportedError, match=message):
        load_checkpoint(as_checkpoint(language_model(), "hf"), **config)


def test_only_language_models_of_mamba_go_into_their_formats(tmp_path):
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(vocab_size=13, layer="lru", d_model=16, d_state=4))

    with pytest.raises(UnsupportedError, match="got a LanguageModel of lru"):
        save_checkpoint(model, tmp_path, "hf")


# Layers


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"), [("lru", LRU), ("s5_flax", S5), ("s5_torch", S5)], ids=["lru", "s5_flax", "s5_torch"]
)
def test_a_layer_comes_back(tmp_path, name, kind, bidirectional):
    torch.manual_seed(0)
    layer = kind(6, 5, bidirectional=bidirectional)

    loaded = load_checkpoint(save_checkpoint(layer, tmp_path, name))

    torch.testing.assert_close(loaded(inputs_of()), layer(inputs_of()))


def test_the_discretisation_of_s5_is_kept_beside_the_tensors(tmp_path):
    torch.manual_seed(0)
    layer = S5(6, 5, discretization="bilinear")

    loaded = load_checkpoint(save_checkpoint(layer, tmp_path, "s5_flax"))

    torch.testing.assert_close(loaded(inputs_of()), layer(inputs_of()))


def flax_tree(conj_sym, size=4, width=6):
    rng = np.random.default_rng(0)
    imaginary = -rng.uniform(1, 9, size) if conj_sym else np.concatenate([-np.arange(1, 3), np.arange(1, 3)])
    layer = {
        "Lambda_re": np.full(size, -0.5), "Lambda_im": imaginary, "log_step": rng.uniform(-6, -2, (size, 1)),
        "B": rng.normal(size=(size, width, 2)), "C": rng.normal(size=(width, size, 2)), "D": rng.normal(size=width),
    }  # fmt: skip
    return {"params": {"encoder": {"layers_0": {"seq": {k: v.astype(np.float32) for k, v in layer.items()}}}}}


@pytest.mark.parametrize("conj_sym", [True, False])
def test_a_flax_tree_is_read_as_its_authors_define_it(conj_sym):
    tree = flax_tree(conj_sym)
    p = {name: value.astype(np.float64) for name, value in tree["params"]["encoder"]["layers_0"]["seq"].items()}
    Lambda, step = p["Lambda_re"] + 1j * p["Lambda_im"], np.exp(p["log_step"][:, 0])
    B, C = (p[name][..., 0] + 1j * p[name][..., 1] for name in "BC")
    pole, u = np.exp(Lambda * step), inputs_of().double().numpy()
    x, expected = np.zeros((2, 4), complex), []
    for t in range(u.shape[1]):
        x = pole * x + u[:, t] @ (((pole - 1) / Lambda)[:, None] * B).T
        expected.append((2 if conj_sym else 1) * (x @ C.T).real + p["D"] * u[:, t])

    layer = load_checkpoint(tree)

    np.testing.assert_allclose(layer(inputs_of()).detach().numpy(), np.stack(expected, 1), rtol=1e-4, atol=1e-4)


def kernel_of(A, B, C, length):
    """Return 2 Re(C Aᵏ B) for k < length, from a dense system with all states, pairs included."""
    powers, x = [], B
    for _ in range(length):
        powers.append(np.einsum("hn,hn->h", C, x).real)
        x = np.einsum("hmn,hn->hm", A, x)
    return np.stack(powers, 1)


def convolved(u, kernel, D):
    length = u.shape[1]
    return sum(np.pad(u[:, : length - k], ((0, 0), (k, 0), (0, 0))) * kernel[:, k] for k in range(length)) + D * u


def v4(dplr, length=0, copies=3, width=6, n=4):
    """Return tensors as the S4 repository stores them, and the kernel that it would make of them."""
    rng = np.random.default_rng(0)
    dt, A_real = np.exp(rng.uniform(-3, -1, width)), rng.normal(size=(copies, n))
    A_imag = 9 * np.abs(rng.normal(size=(copies, n)))
    B, P = (rng.normal(size=(copies, n)) + 1j * rng.normal(size=(copies, n)) for _ in range(2))
    C = rng.normal(size=(width, n)) + 1j * rng.normal(size=(width, n))
    diagonal = -np.exp(A_real) - 1j * A_imag
    both = [np.tile(np.concatenate([x, x.conj()], 1), (width // copies, 1)) for x in (diagonal, B, P)]
    A = np.stack([np.diag(a) for a in both[0]])
    if dplr:
        A = A - both[2][:, :, None] * both[2][:, None].conj()
    half, one = A * dt[:, None, None] / 2, np.eye(2 * n)
    step = np.linalg.inv(one - half)
    A_bar, B_bar = step @ (one + half), dt[:, None] * np.einsum("hmn,hn->hm", step, both[1])
    C_all = np.concatenate([C, C.conj()], 1)
    kernel = kernel_of(A_bar, B_bar, C_all, 20)
    if length:
        C_all = C_all - np.einsum("hm,hmn->hn", C_all, np.linalg.matrix_power(A_bar, length))
    pair = lambda x: np.stack([x.real, x.imag], -1)  # noqa: E731
    tensors = {"inv_dt": np.log(dt)[:, None], "A_real": A_real, "A_imag": A_imag, "B": pair(B)[None],
               "C": pair(C_all[:, :n])[None]}  # fmt: skip
    if dplr:
        tensors |= {"P": pair(P)[None], "l_kernel": np.array(length)}
    named = {f"layer.kernel.{k}": v.astype(np.float32) for k, v in tensors.items()}
    return named | {"layer.D": np.ones((1, width), np.float32)}, kernel


@needs_s4
@pytest.mark.parametrize(("dplr", "length"), [(False, 0), (True, 0), (True, 16)])
def test_a_layer_of_the_s4_repository_is_read_as_it_is_defined(dplr, length):
    tensors, kernel = v4(dplr, length)

    layer = load_checkpoint(tensors, disc="bilinear")

    expected = convolved(inputs_of().double().numpy(), kernel, 1)
    assert type(layer).__name__ == ("S4" if dplr else "S4D")
    np.testing.assert_allclose(layer(inputs_of()).detach().numpy(), expected, rtol=1e-3, atol=1e-3)


@needs_s4
def test_a_layer_of_s4d_py_is_read_as_it_is_defined():
    torch.manual_seed(0)
    shapes = {"log_dt": (6,), "log_A_real": (6, 4), "A_imag": (6, 4), "C": (6, 4, 2)}
    tensors = {f"kernel.{name}": torch.randn(shape) for name, shape in shapes.items()} | {"D": torch.randn(6)}
    p = {name.removeprefix("kernel."): t.double() for name, t in tensors.items()}
    A, dt = torch.complex(-p["log_A_real"].exp(), p["A_imag"]), p["log_dt"].exp()[:, None]
    C = torch.view_as_complex(p["C"]) * ((A * dt).exp() - 1) / A
    kernel = 2 * (C[..., None] * ((A * dt)[..., None] * torch.arange(20)).exp()).sum(1).real

    layer = load_checkpoint(tensors | {"output_linear.0.weight": torch.zeros(12, 6, 1)})

    expected = convolved(inputs_of().double().numpy(), kernel.numpy(), p["D"].numpy())
    np.testing.assert_allclose(layer(inputs_of()).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@needs_s4
@pytest.mark.parametrize(("name", "layer"), [("s4d", "s4d"), ("s4", "s4d"), ("s4", "s4")])
def test_s4_layers_come_back(tmp_path, name, layer):
    torch.manual_seed(0)
    ours = LAYERS[layer](6, 4)

    loaded = load_checkpoint(save_checkpoint(ours, tmp_path, name))

    assert type(loaded) is type(ours)
    torch.testing.assert_close(loaded(inputs_of()), ours(inputs_of()))


@needs_s4
def test_what_the_s4_formats_cannot_hold_is_an_error():
    with pytest.raises(UnsupportedError, match="one direction"):
        as_checkpoint(LAYERS["s4d"](6, 4, bidirectional=True), "s4")
    with pytest.raises(UnsupportedError, match="zero-order hold"):
        as_checkpoint(LAYERS["s4"](6, 4), "s4d")
    tensors, _ = v4(True)
    with pytest.raises(UnsupportedError, match="second direction"):
        load_checkpoint(tensors | {"layer.kernel.C": np.zeros((2, 6, 4, 2), np.float32)})


def test_one_of_several_layers_is_chosen_by_its_prefix():
    torch.manual_seed(0)
    layers = {f"layers.{k}.seq.{name}": t for k in range(2) for name, t in LRU(6, 3 + k).state_dict().items()}

    with pytest.raises(OptionError, match=r"layers at layers\.0\.seq, layers\.1\.seq; choose one by prefix="):
        load_checkpoint(layers)
    assert load_checkpoint(layers, prefix="layers.1.seq").d_state == 4


# Folders


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_folder_is_executed(tmp_path, capsys):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"backbone.embedding.weight": Evil()}))

    with pytest.raises(RunError, match="cannot be read as tensors"):
        load_checkpoint(tmp_path)

    assert "executed" not in capsys.readouterr().out


def test_an_index_does_not_lead_out_of_its_folder(tmp_path):
    (tmp_path / "here").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    (tmp_path / "here" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a.safetensors"}}')

    with pytest.raises(RunError, match="outside"):
        load_checkpoint(tmp_path / "here")


def test_a_folder_without_weights_is_an_error(tmp_path):
    with pytest.raises(RunError, match="holds no weights"):
        load_checkpoint(tmp_path)


def test_tensors_of_no_known_format_are_an_error():
    with pytest.raises(OptionError, match=r"got tensors weight, bias.*wanted one of the formats hf, mamba_ssm"):
        load_checkpoint(torch.nn.Linear(2, 2).state_dict())


def test_an_unknown_format_is_an_error(tmp_path):
    with pytest.raises(OptionError, match=f"wanted one of: {', '.join(FORMATS)}"):
        save_checkpoint(LRU(2, 2), tmp_path, "onnx")


@pytest.mark.parametrize("name", ["lru", "s5_flax", "s5_torch"])
def test_a_layer_of_another_kind_is_an_error(name):
    with pytest.raises(UnsupportedError, match="got a Linear"):
        as_checkpoint(torch.nn.Linear(2, 2), name)
