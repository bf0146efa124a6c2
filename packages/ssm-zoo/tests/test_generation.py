import pytest
import torch

from ssm_zoo._errors import OptionError, ShapeError
from ssm_zoo.models import LanguageModel, LanguageModelConfig
from ssm_zoo.models.generation import Sampling

PROMPT = torch.tensor([[1, 5, 2], [7, 7, 0]])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LanguageModelConfig(vocab_size=11, layer="lru", d_model=8, d_state=4, tie_embeddings=False)
    model = LanguageModel(config).eval()
    for matrix in (model.embedding, model.head):
        torch.nn.init.normal_(matrix.weight, std=0.7)  # so that it has something to say
    return model


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_greedy_tokens_are_those_of_full_passes(model):
    text = PROMPT
    for _ in range(6):
        text = torch.cat([text, model(text)[:, -1:].argmax(-1)], 1)

    assert torch.equal(model.generate(PROMPT, 6, greedy=True), text[:, 3:])


def test_equal_seeds_draw_equal_tokens_and_leave_torchs_generator_alone(model):
    torch.manual_seed(5)
    first = model.generate(PROMPT, 20, generator=generator())
    after = torch.rand(1)

    torch.manual_seed(5)
    again, other = (model.generate(PROMPT, 20, generator=generator(seed)) for seed in (0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.rand(1), after)


def test_a_stream_yields_what_is_generated(model):
    heard = []
    tokens = model.generate(PROMPT, 7, top_k=4, generator=generator(), callback=heard.append)

    streamed = list(model.stream(PROMPT, 7, top_k=4, generator=generator()))

    assert torch.equal(torch.stack(streamed, 1), tokens)
    assert torch.equal(torch.stack(heard, 1), tokens)


def test_whoever_takes_tokens_keeps_the_modes(model):
    model.train()

    for _ in model.stream(PROMPT, 2, greedy=True):
        assert torch.is_grad_enabled()
        assert model.training

    model.eval()


def test_prompts_of_several_lengths_go_on_as_if_alone(model):
    lengths = torch.tensor([3, 1])
    padded = torch.tensor([[1, 5, 2], [7, -1, 99]])

    both = model.generate(padded, 5, greedy=True, lengths=lengths)

    assert torch.equal(both[0], model.generate(PROMPT[:1], 5, greedy=True)[0])
    assert torch.equal(both[1], model.generate(PROMPT[1:, :1], 5, greedy=True)[0])


def test_a_sequence_ends_with_its_stop_token(model):
    free = model.generate(PROMPT, 8, greedy=True)
    stop = int(free[0, 2])

    stopped = model.generate(PROMPT, 8, greedy=True, stop=[stop])

    first = free[0].tolist().index(stop)
    assert stopped[0, : first + 1].tolist() == free[0, : first + 1].tolist()
    assert set(stopped[0, first:].tolist()) == {stop}


def test_all_ends_when_all_sequences_are_finished(model):
    assert model.generate(PROMPT, 50, greedy=True, stop=range(11)).shape == (2, 1)


def test_no_tokens_are_no_tokens(model):
    assert model.generate(PROMPT, 0).shape == (2, 0)


# Drawing


LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def frequencies(sampling, draws=20_000):
    tokens = sampling.draw(LOGITS.expand(draws, -1), generator())
    return tokens.bincount(minlength=4) / draws


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (Sampling(top_k=2), [0.625, 0.375, 0, 0]),
        (Sampling(top_k=9), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_p=0.79), [0.625, 0.375, 0, 0]),
        (Sampling(top_p=0.81), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        (Sampling(top_p=0.01), [1, 0, 0, 0]),
        (Sampling(top_p=1.0), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(greedy=True), [1, 0, 0, 0]),
    ],
)
def test_tokens_come_as_often_as_they_should(sampling, expected):
    torch.testing.assert_close(frequencies(sampling), torch.tensor(expected).float(), rtol=0, atol=0.015)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "greedy=True"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1"),
    ],
)
def test_a_bad_option_says_what_was_got_and_wanted(model, options, message):
    with pytest.raises(OptionError, match=message):
        model.generate(PROMPT, **{"max_new_tokens": 3} | options)


def test_bad_options_of_a_stream_are_told_at_once(model):
    with pytest.raises(OptionError, match="top_k=0"):
        model.stream(PROMPT, 3, top_k=0)


def test_a_token_beyond_the_vocabulary_is_an_error(model):
    with pytest.raises(OptionError, match="wanted 0 to 10"):
        model.generate(torch.tensor([[11]]), 1)


def test_an_empty_prompt_is_an_error(model):
    with pytest.raises(ShapeError, match="at least one token"):
        model.generate(PROMPT[:, :0], 1)
