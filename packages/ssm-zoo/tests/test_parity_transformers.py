"""Against Transformers, where it is installed: the same weights give the same logits, gradients and texts."""

import copy
import math

import pytest
import torch

from ssm_zoo.checkpoints import load_checkpoint, save_checkpoint
from ssm_zoo.models import LAYERS, LanguageModel, LanguageModelConfig, decay_parameter_names

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(not {"mamba", "mamba2"} <= set(LAYERS), reason="the Mamba layers are not here")

COMMON = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "eos_token_id": None, "pad_token_id": None}
MAMBA2 = {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}
CASES = {
    "mamba": ("Mamba", {"state_size": 6}),
    "mamba-biases": ("Mamba", {"state_size": 4, "use_bias": True, "use_conv_bias": False, "time_step_rank": 5}),
    "mamba-untied": ("Mamba", {"state_size": 5, "tie_word_embeddings": False, "expand": 3, "conv_kernel": 3}),
    "mamba2": ("Mamba2", MAMBA2),
    "mamba2-tied": ("Mamba2", MAMBA2 | {"tie_word_embeddings": True, "n_groups": 1}),
    "mamba2-limit": ("Mamba2", MAMBA2 | {"time_step_limit": (0.002, 0.05)}),
}


def theirs(case):
    name, options = CASES[case]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**COMMON | options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # whatever is one or zero at first shall not hide an error
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def ids_of(batch=2, length=21):
    return torch.randint(1, 40, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=list(CASES))
def both(request, tmp_path):
    model = theirs(request.param)
    model.save_pretrained(tmp_path)
    return model, load_checkpoint(tmp_path)


def test_logits_are_theirs(both):
    hf, ours = both

    with torch.no_grad():
        torch.testing.assert_close(ours(ids_of()), hf(ids_of()).logits, rtol=1e-5, atol=1e-5)


def test_gradients_are_theirs(both):
    hf, ours = both
    hf = hf.train()  # where their Mamba-2 keeps no cache

    for logits in (hf(ids_of()).logits, ours(ids_of())):
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids_of()[:, 1:].flatten()).backward()

    expected = dict(hf.named_parameters())
    for name, parameter in ours.named_parameters():
        theirs = expected[their_name(name)].grad
        torch.testing.assert_close(
            parameter.grad, theirs, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def their_name(name):
    if name == "head.weight":
        return "lm_head.weight"
    name = name.replace("blocks.", "layers.").replace(".layer.", ".mixer.").replace("embedding.", "embeddings.")
    return "backbone." + (name if name != "norm.weight" else "norm_f.weight")


def test_greedy_texts_are_theirs(both):
    hf, ours = both

    text = hf.generate(ids_of(), max_new_tokens=12, do_sample=False)

    assert torch.equal(ours.generate(ids_of(), 12, greedy=True), text[:, 21:])


@pytest.mark.parametrize("layer", ["mamba", "mamba2"])
def test_our_model_loads_there(layer, tmp_path):
    torch.manual_seed(0)
    options = {layer: {"headdim": 16, "ngroups": 2} if layer == "mamba2" else {"expand": 1}}
    config = LanguageModelConfig(vocab_size=37, layer=layer, d_model=32, d_state=(3, 3), options=options)
    model = LanguageModel(config).eval()

    folder = save_checkpoint(model, tmp_path, "hf")
    loaded, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)

    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.state_size == 3
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids_of() % 37).logits[..., :37], model(ids_of() % 37), rtol=1e-5, atol=1e-5)


def test_a_folder_of_mamba_ssm_goes_to_transformers(tmp_path):
    hf = theirs("mamba")
    hf.save_pretrained(tmp_path / "hf")
    folder = save_checkpoint(load_checkpoint(tmp_path / "hf"), tmp_path / "ssm", "mamba_ssm")

    back = save_checkpoint(load_checkpoint(folder), tmp_path / "back", "hf")

    expected = hf.state_dict()
    for name, tensor in transformers.AutoModelForCausalLM.from_pretrained(back).state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_time_step_limit_survives(tmp_path):
    theirs("mamba2-limit").save_pretrained(tmp_path / "hf")

    back = save_checkpoint(load_checkpoint(tmp_path / "hf"), tmp_path / "back", "hf")

    limit = transformers.AutoConfig.from_pretrained(back).time_step_limit
    assert tuple(limit) == pytest.approx((0.002, 0.05))
    assert not math.isinf(limit[1])


def test_what_should_not_decay_does_not(tmp_path):
    hf = theirs("mamba")

    names = decay_parameter_names(hf)

    words = ("A_log", ".D", "norm", "bias", "embeddings")
    assert not [name for name in names if any(word in name for word in words)]
    assert "backbone.layers.0.mixer.in_proj.weight" in names


def test_their_trainer_asks_us_what_decays(tmp_path):
    pytest.importorskip("accelerate")
    hf = theirs("mamba")
    arguments = transformers.TrainingArguments(tmp_path, weight_decay=0.1, report_to=[], use_cpu=True)
    trainer = transformers.Trainer(copy.deepcopy(hf), arguments)
    mended = transformers.Trainer(hf, arguments)

    mended.get_decay_parameter_names = decay_parameter_names

    assert decays(trainer, "A_log") > 0  # their mistake, and the reason for the helper
    assert decays(mended, "A_log") == 0
    assert decays(mended, "in_proj.weight") > 0


def decays(trainer, word):
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    groups = trainer.create_optimizer().param_groups
    return sum(word in names[id(p)] for group in groups if group["weight_decay"] for p in group["params"])
