import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from ssm_zoo._errors import OptionError, RunError, ShapeError
from ssm_zoo.models import Block, ClassifierConfig, SequenceClassifier, param_groups
from ssm_zoo.models.dropout import Dropout

TINY = ClassifierConfig(d_input=2, n_classes=3, d_model=4, d_state=(5, 3), n_layers=2)


def model_of(config=TINY, seed=0):
    torch.manual_seed(seed)
    return SequenceClassifier(config).eval()


@pytest.mark.parametrize("layer", ["lru", "s5"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_saved_model_comes_back_with_its_own_state_sizes(tmp_path, layer, norm, bidirectional):
    model = model_of(replace(TINY, layer=layer, norm=norm, bidirectional=bidirectional))
    model.train()(torch.randn(4, 7, 2))  # so that running statistics are not the initial ones
    model.eval()
    inputs = torch.randn(4, 7, 2)

    loaded = SequenceClassifier.from_pretrained(model.save_pretrained(tmp_path / "new" / "folder"))

    assert loaded.config == model.config
    assert loaded.config.d_state == (5, 3)
    assert not loaded.training
    assert torch.equal(loaded(inputs), model(inputs))


def test_the_config_follows_a_layer_that_was_replaced():
    model = model_of()

    model.blocks[0].layer = model.config.make_layer(2)

    assert model.config.d_state == (2, 3)


def test_saved_files_are_safetensors_and_json(tmp_path):
    model_of().save_pretrained(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["d_state"] == [5, 3]


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(RunError, match="holds no model"):
        SequenceClassifier.from_pretrained(tmp_path)


def test_a_config_of_a_newer_version_is_an_error(tmp_path):
    model_of().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(asdict(TINY) | {"flux": 1}))

    with pytest.raises(OptionError, match="flux"):
        SequenceClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "lstm"}, "wanted one of: lru, s4, s4d, s5, mamba, mamba2"),
        ({"norm": "group"}, "wanted 'batch', 'layer' or 'rms'"),
        ({"dropout": 1.0}, r"wanted a probability in \[0, 1\)"),
        ({"d_state": (5, 3, 2)}, "one per block"),
        ({"d_state": 0}, "at least 1"),
        ({"d_model": 0}, "d_model=0"),
    ],
)
def test_a_bad_option_says_what_was_got_and_wanted(change, message):
    with pytest.raises(OptionError, match=message):
        replace(TINY, **change)


def test_padding_beyond_the_lengths_does_not_reach_the_logits():
    model = model_of()
    inputs = torch.randn(3, 9, 2)
    lengths = torch.tensor([9, 4, 1])
    padded = inputs.clone()
    for row, length in zip(padded, lengths, strict=True):
        row[length:] = 1e3

    torch.testing.assert_close(model(padded, lengths), model(inputs, lengths))
    alone = torch.cat([model(row[None, :length]) for row, length in zip(inputs, lengths, strict=True)])
    torch.testing.assert_close(model(inputs, lengths), alone)


@pytest.mark.parametrize("lengths", [[9, 4], [9, 4, 0], [10, 1, 1]])
def test_lengths_outside_the_sequences_are_an_error(lengths):
    with pytest.raises(ShapeError, match=r"one for each sequence|3 numbers from 1 to 9"):
        model_of()(torch.randn(3, 9, 2), torch.tensor(lengths))


@pytest.mark.parametrize("shape", [(3, 9), (3, 9, 4)])
def test_inputs_of_another_shape_are_an_error(shape):
    with pytest.raises(ShapeError, match="d_input=2"):
        model_of()(torch.randn(shape))


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.full((200, 500), 3.0)

    y = Dropout(0.3).train()(x)

    kept = y[y != 0]
    assert abs(1 - kept.numel() / x.numel() - 0.3) < 0.01  # the standard deviation is 0.0014
    torch.testing.assert_close(kept, torch.full_like(kept, 3 / 0.7), rtol=1e-4, atol=0)
    assert abs(float(y.mean()) - 3) < 0.03


def test_dropout_draws_every_element_by_itself():
    torch.manual_seed(0)
    dropped = Dropout(0.5).train()(torch.ones(100_000, 4)) == 0

    correlation = torch.corrcoef(dropped.T.float())

    assert float((correlation - torch.eye(4)).abs().max()) < 0.02


def test_dropout_does_nothing_in_evaluation():
    x = torch.randn(5)

    assert Dropout(0.9).eval()(x) is x


def test_a_block_is_its_input_plus_the_gated_layer():
    torch.manual_seed(0)
    block = Block(nn.Linear(4, 4), 4, dropout=0.0, norm="layer").eval()
    x = torch.randn(2, 3, 4)

    hidden = nn.functional.gelu(block.layer(nn.functional.layer_norm(x, (4,))))

    torch.testing.assert_close(
        block(x), x + nn.functional.glu(linear(hidden, block.gate.weight, block.gate.bias), dim=-1)
    )


def test_only_weights_outside_the_recurrences_decay():
    model = model_of(replace(TINY, norm="layer"))

    groups = {group["name"]: group for group in param_groups(model, lr=0.1, weight_decay=0.5, ssm_lr_factor=0.25)}

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    members = {name: {names[id(p)] for p in group["params"]} for name, group in groups.items()}
    assert sum(map(len, members.values())) == len(names)
    assert groups["weights"]["weight_decay"] == 0.5
    assert groups["recurrence"]["weight_decay"] == groups["rest"]["weight_decay"] == 0
    assert [groups[name]["lr"] for name in ("recurrence", "weights", "rest")] == [0.025, 0.1, 0.1]
    assert {"encoder.weight", "head.weight", "blocks.0.gate.weight"} <= members["weights"]
    assert {"encoder.bias", "blocks.0.norm.weight", "blocks.0.norm.bias"} <= members["rest"]
    assert any(name.startswith("blocks.0.layer.B") for name in members["recurrence"])
    assert not any(".layer.C" in name for name in members["recurrence"])


@pytest.mark.parametrize("layer", ["lru", "s5", "s4", "s4d", "mamba", "mamba2"])
@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
def test_training_leaves_parameters_as_sharding_wants_them(layer, norm):
    config = ClassifierConfig(d_input=1, n_classes=3, d_model=32, d_state=16, n_layers=1, layer=layer, norm=norm)
    model = SequenceClassifier(config)

    model(torch.randn(2, 10, 1)).sum().backward()

    locked = [name for name, p in model.named_parameters() if not p.untyped_storage().resizable()]
    assert locked == []  # FSDP resizes storage, which cannot be done once NumPy has seen it
