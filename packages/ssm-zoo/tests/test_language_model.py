import json
from dataclasses import asdict, replace

import pytest
import torch

from ssm_zoo._errors import DtypeError, OptionError, RunError, ShapeError
from ssm_zoo.models import (
    LAYERS,
    ClassifierConfig,
    LanguageModel,
    LanguageModelConfig,
    RegressorConfig,
    SequenceClassifier,
    SequenceRegressor,
)

TINY = LanguageModelConfig(vocab_size=11, layer="lru", d_model=16, d_state=(5, 3), n_layers=2)
MIXED = replace(TINY, layer=("lru", "s5"))
OPTIONS = {"mamba2": {"headdim": 8}}


def config_of(layer):
    return replace(TINY, layer=layer, options={k: v for k, v in OPTIONS.items() if k == layer})


def model_of(config=TINY, seed=0):
    torch.manual_seed(seed)
    return LanguageModel(config).eval()


def ids_of(batch=2, length=13):
    return torch.randint(11, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", [*LAYERS, ("lru", "s5")])
def test_a_text_in_pieces_gives_the_logits_of_the_whole(layer):
    model, ids = model_of(config_of(layer)), ids_of()
    whole, last = model(ids, return_state=True)

    first, state = model(ids[:, :4], return_state=True)
    second, state = model(ids[:, 4:], state, return_state=True)

    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [*LAYERS, ("lru", "s5")])
def test_steps_give_the_logits_of_the_whole(layer):
    model, ids = model_of(config_of(layer)), ids_of()
    state, logits = model.init_state(2), []

    for ids_t in ids.unbind(1):
        logits_t, state = model.step(ids_t, state)
        logits.append(logits_t)

    torch.testing.assert_close(torch.stack(logits, 1), model(ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", list(LAYERS))
def test_padding_changes_neither_logits_nor_states(layer):
    model, ids, lengths = model_of(config_of(layer)), ids_of(3), torch.tensor([13, 5, 1])
    padded = torch.where(torch.arange(13) < lengths[:, None], ids, -100)

    logits, state = model(padded, lengths=lengths, return_state=True)

    for row, length in enumerate(lengths.tolist()):
        alone, after = model(ids[row : row + 1, :length], return_state=True)
        torch.testing.assert_close(logits[row, :length], alone[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(of_row(state, row), of_row(after, 0), rtol=1e-4, atol=1e-5)


def of_row(state, row):
    return [tensor[row] for tensor in tensors_of(state)]


def tensors_of(state):
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors_of(part)]


@pytest.mark.parametrize("config", [TINY, MIXED, replace(TINY, tie_embeddings=False)], ids=["lru", "mixed", "untied"])
def test_a_saved_model_comes_back(tmp_path, config):
    model = model_of(config)

    loaded = LanguageModel.from_pretrained(model.save_pretrained(tmp_path))

    assert loaded.config == model.config
    assert torch.equal(loaded(ids_of()), model(ids_of()))


def test_the_layers_of_a_mixed_model_are_those_that_were_named():
    model = model_of(MIXED)

    assert [type(block.layer) for block in model.blocks] == [LAYERS["lru"], LAYERS["s5"]]
    assert model.config.names == ("lru", "s5")


def test_the_config_names_a_layer_that_was_replaced_by_one_of_another_kind():
    model = model_of()

    model.blocks[1].layer = MIXED.make_layer(2, block=1)

    assert (model.config.names, model.config.states) == (("lru", "s5"), (5, 2))


def test_tied_embeddings_are_stored_once_and_learn_from_both_ends():
    model = model_of()

    model(ids_of()).sum().backward()

    assert "head.weight" not in model.state_dict()
    assert model.embedding.weight.shape == (16, 16)
    assert model.embedding.weight.grad[:11].abs().sum(1).min() > 0


def test_rows_that_pad_the_vocabulary_are_not_spoken_of():
    model = model_of(replace(TINY, pad_vocab_size_multiple=16))

    assert model.embedding.weight.shape[0] == 16
    assert model(ids_of()).shape == (2, 13, 11)


def test_the_past_does_not_depend_on_the_future():
    model, ids = model_of(MIXED).train(), ids_of()
    changed = torch.cat([ids[:, :8], (ids[:, 8:] + 1) % 11], 1)

    torch.testing.assert_close(model(changed)[:, :8], model(ids)[:, :8])


def test_the_residual_stream_is_single_in_a_model_of_half_precision():
    config = replace(TINY, layer="mamba", options={}) if "mamba" in LAYERS else pytest.skip("there is no Mamba yet")
    model = model_of(config).bfloat16()

    x, _ = model.blocks(model.embedding(ids_of()))

    assert x.dtype == torch.float32
    assert model(ids_of()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"norm": "batch"}, "sees the rest of the sequence"),
        ({"bidirectional": True}, "does not see the next token"),
        ({"layer": ("lru",)}, "one per block"),
        ({"layer": ("lru", "lstm")}, "'lstm'"),
        ({"options": {"lru": {"flux": 1}}}, "lru has no option flux; it has: bidirectional"),
        ({"options": {"lstm": {}}}, "'lstm'"),
        ({"norm_eps": 0.0}, "norm_eps=0.0"),
    ],
)
def test_a_bad_option_says_what_was_got_and_wanted(change, message):
    with pytest.raises(OptionError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("ids", "error"), [(torch.zeros(2, 3), DtypeError), (torch.zeros(3, dtype=torch.int64), ShapeError)]
)
def test_ids_of_another_kind_are_an_error(ids, error):
    with pytest.raises(error, match="got ids of"):
        model_of()(ids)


def test_a_folder_with_a_model_of_another_kind_is_an_error(tmp_path):
    model_of().save_pretrained(tmp_path)

    with pytest.raises(RunError, match="holds a LanguageModel, wanted a SequenceClassifier"):
        SequenceClassifier.from_pretrained(tmp_path)


def test_options_of_layers_are_saved(tmp_path):
    model = model_of(replace(TINY, layer="s5", options={"s5": {"discretization": "bilinear"}}))

    model.save_pretrained(tmp_path)

    assert json.loads((tmp_path / "config.json").read_text())["options"] == {"s5": {"discretization": "bilinear"}}
    assert LanguageModel.from_pretrained(tmp_path).blocks[0].layer.discretization == "bilinear"


# Classifiers and regressors carry states on, too


@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
def test_a_classifier_goes_on_where_it_was(norm):
    torch.manual_seed(0)
    model = SequenceClassifier(ClassifierConfig(d_input=2, n_classes=3, d_state=4, norm=norm)).eval()
    inputs = torch.randn(2, 9, 2)

    _, state = model(inputs[:, :4], return_state=True)
    pieces = model(inputs[:, 4:], state=state)
    state = model.init_state(2)
    for inputs_t in inputs.unbind(1):
        logits, state = model.step(inputs_t, state)

    torch.testing.assert_close(pieces, model(inputs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, model(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("readout", ["every", "mean"])
def test_a_regressor_goes_on_where_it_was(readout, tmp_path):
    torch.manual_seed(0)
    config = RegressorConfig(d_input=2, d_output=3, d_state=(4, 2), readout=readout, layer=("lru", "s5"))
    model = SequenceRegressor(config).eval()
    inputs = torch.randn(2, 9, 2)
    state, outputs = model.init_state(2), []

    for inputs_t in inputs.unbind(1):
        outputs_t, state = model.step(inputs_t, state)
        outputs.append(outputs_t)

    whole, last = model(inputs, return_state=True)
    stepped = torch.stack(outputs, 1) if readout == "every" else outputs[-1]
    torch.testing.assert_close(stepped, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=1e-4, atol=1e-5)
    assert SequenceRegressor.from_pretrained(model.save_pretrained(tmp_path)).config == model.config


def test_padding_gets_no_gradient_and_gives_none():
    torch.manual_seed(0)
    model = SequenceClassifier(ClassifierConfig(d_input=2, n_classes=3, d_state=4, dropout=0.0)).train()
    lengths = torch.tensor([6, 2])
    inputs = torch.randn(2, 6, 2)
    padded = inputs.clone()
    padded[1, 2:] = torch.nan
    padded.requires_grad_()

    model(padded, lengths).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model(inputs, lengths).sum().backward()

    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert padded.grad[1, 2:].abs().max() == 0
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_a_config_equals_its_copy_from_json():
    values = json.loads(json.dumps(asdict(MIXED)))

    assert LanguageModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}) == MIXED
