import pytest
import torch
from torch import nn

from ssm_zoo._errors import OptionError
from ssm_zoo.models import LAYERS, LanguageModel, LanguageModelConfig, decay_parameter_names, param_groups


class ForeignMamba(nn.Module):
    """A layer of another package, known by the names of its parameters only."""

    def __init__(self):
        super().__init__()
        self.A_log, self.D = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(4))
        self.in_proj, self.dt_proj = nn.Linear(4, 8), nn.Linear(2, 4)
        self.conv1d = nn.Conv1d(4, 4, 3, groups=4)


class ForeignRMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))  # two-dimensional on purpose: its class says what it is


def foreign():
    return nn.ModuleDict({"embeddings": nn.Embedding(5, 4), "mixer": ForeignMamba(), "norm": ForeignRMSNorm()})


def kinds(model, **options):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = param_groups(model, lr=0.1, weight_decay=0.5, **options)
    return {names[id(p)]: group for group in groups for p in group["params"]}


def test_parameters_of_others_are_known_by_their_names():
    groups = kinds(foreign(), ssm_lr_factor=0.1)

    assert {name: group["name"] for name, group in groups.items()} == {
        "embeddings.weight": "rest",
        "mixer.A_log": "recurrence",
        "mixer.D": "rest",
        "mixer.in_proj.weight": "weights",
        "mixer.in_proj.bias": "rest",
        "mixer.dt_proj.weight": "weights",
        "mixer.dt_proj.bias": "recurrence",
        "mixer.conv1d.weight": "weights",
        "mixer.conv1d.bias": "rest",
        "norm.weight": "rest",
    }
    assert groups["mixer.A_log"]["lr"] == pytest.approx(0.01)
    assert groups["mixer.in_proj.weight"]["weight_decay"] == 0.5


@pytest.mark.parametrize("layer", list(LAYERS))
def test_neither_poles_nor_time_steps_nor_norms_nor_embeddings_decay(layer):
    options = {"mamba2": {"headdim": 8}} if layer == "mamba2" else {}
    model = LanguageModel(LanguageModelConfig(vocab_size=9, layer=layer, d_model=16, d_state=4, options=options))

    decaying = set(decay_parameter_names(model))

    words = ("A", "log", "dt_bias", "D", "Lambda", "norm", "bias", "embedding")
    assert not [name for name in decaying if any(name.rpartition(".")[2].startswith(word) for word in words)]
    assert not [name for name in decaying if "norm" in name or "embedding" in name]
    assert len(decaying) >= 2


def test_every_parameter_is_in_exactly_one_group():
    model = foreign()
    model["head"] = nn.Linear(4, 5, bias=False)
    model["head"].weight = model["embeddings"].weight

    members = [p for group in param_groups(model, lr=0.1) for p in group["params"]]

    assert len(members) == len(set(members)) == len(list(model.parameters()))


def test_attributes_of_a_parameter_have_the_last_word():
    model = foreign()
    model["mixer"].in_proj.weight._no_weight_decay = True
    model["mixer"].conv1d.weight._optim = {"lr": 1e-3, "weight_decay": 0.25, "betas": (0.5, 0.9)}

    groups = kinds(model)

    assert groups["mixer.in_proj.weight"]["weight_decay"] == 0
    assert {k: groups["mixer.conv1d.weight"][k] for k in ("lr", "weight_decay", "betas")} == {
        "lr": 1e-3, "weight_decay": 0.25, "betas": (0.5, 0.9),
    }  # fmt: skip
    torch.optim.AdamW(param_groups(model, lr=0.1))


def test_what_does_not_learn_is_left_out():
    model = foreign()
    model["embeddings"].requires_grad_(False)

    assert "embeddings.weight" not in kinds(model)


def test_a_bare_parameter_of_the_model_itself_is_found():
    mixer = ForeignMamba()

    assert kinds(mixer)["A_log"]["name"] == "recurrence"


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"lr": 0.1, "weight_decay": -1.0}, {"lr": 0.1, "ssm_lr_factor": 0.0}])
def test_a_bad_option_says_what_was_got_and_wanted(options):
    with pytest.raises(OptionError, match="got"):
        param_groups(foreign(), **options)
