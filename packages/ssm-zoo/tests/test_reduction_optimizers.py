import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ssm_balance import Order
from ssm_zoo import LRU, S4, S5, UnsupportedError
from ssm_zoo.layers import Mamba, Mamba2
from ssm_zoo.reduction import Activations, At, InTrainingReducer, Limits

FREE = Limits(output_error=math.inf, condition=math.inf)


class Model(nn.Module):
    def __init__(self, *layers, remember=None):
        super().__init__()
        self.encoder = nn.Linear(2, 4)
        self.layers = nn.ModuleList(layers or [LRU(4, 12), S5(4, 12)])
        self.head = nn.Linear(4, 1)
        self.remember = remember  # None, or use_reentrant of activation checkpointing

    def forward(self, x):
        x = self.encoder(x)
        for layer in self.layers:
            y = layer(x) if self.remember is None else checkpoint(layer, x, use_reentrant=self.remember)
            x = x + torch.tanh(y)
        return self.head(x)


class Lion(torch.optim.Optimizer):
    """Chen et al., Symbolic discovery of optimization algorithms, 2023."""

    def __init__(self, parameters, lr, beta1=0.9, beta2=0.99):
        super().__init__(parameters, {"lr": lr, "beta1": beta1, "beta2": beta2})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                moment = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                update = group["beta1"] * moment + (1 - group["beta1"]) * p.grad
                p -= group["lr"] * update.sign()
                moment.lerp_(p.grad, 1 - group["beta2"])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def batch(step, count=8):
    torch.manual_seed(step)
    return torch.randn(count, 20, 2).cumsum(1) / 4


def train(model, optimizer, reducer, steps, *, first=0, after=lambda loss: None):
    losses = []
    for step in range(first, first + steps):
        loss = (model(batch(step)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()
        losses.append(loss.item())
        after(losses[-1])
    return losses


def adam(**options):
    return lambda model: torch.optim.Adam(model.parameters(), lr=1e-2, **options)


def muon(model):
    """Muon for the matrices; the rest stays as it is."""
    return torch.optim.Muon([p for p in model.parameters() if p.ndim == 2], lr=1e-3)


OPTIMIZERS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True),
    "adam": adam(),
    "adam-foreach": adam(foreach=True),
    "adam-fused": adam(fused=True),
    "adamw-fused": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True, amsgrad=True),
    "sgd-fused": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True),
    "adamw-foreach": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=True),
    "lion": lambda model: Lion(model.parameters(), lr=1e-3),
    "muon": muon,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_goes_on_with_every_optimiser(optimizer, request):
    if "muon" in request.node.name and not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    model = Model(LRU(4, 12), S5(4, 12), Mamba(4, 12))
    optimizer = optimizer(model)
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    reducer = InTrainingReducer(model, optimizer, At(2, 4), Order(10), limits=FREE)

    losses = train(model, optimizer, reducer, 8)

    assert sum(cut.status == "cut" for cut in reducer.ledger) >= 3
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 3 * losses[0]
    there = {id(p) for p in model.parameters()}
    assert all(id(p) in there for group in optimizer.param_groups for p in group["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == held
    for parameter, state in optimizer.state.items():
        assert all(v.shape in (parameter.shape, ()) for v in state.values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("kind", ["foreach", "fused"])
def test_how_the_step_is_carried_out_makes_no_difference(kind):
    runs = []
    for options in ({}, {kind: True}):
        torch.manual_seed(0)
        model = Model()
        optimizer = adam(**options)(model)
        runs.append(train(model, optimizer, InTrainingReducer(model, optimizer, At(2), Order(10), limits=FREE), 5))

    assert runs[1] == pytest.approx(runs[0], rel=1e-3)


def names_in_groups(model, optimizer):
    names = {id(p): name for name, p in model.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]


def test_parameters_stay_in_their_groups_with_their_rates():
    model = Model()
    state = [p for name, p in model.named_parameters() if name.endswith(("log", "Lambda_re", "Lambda_im", "log_step"))]
    ids = {id(p) for p in state}
    rest = [p for p in model.parameters() if id(p) not in ids]
    optimizer = torch.optim.AdamW([{"params": state, "lr": 1e-4, "weight_decay": 0.0}, {"params": rest, "lr": 1e-2}])
    before = names_in_groups(model, optimizer)
    options = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]

    train(model, optimizer, InTrainingReducer(model, optimizer, At(2), Order(10), limits=FREE), 4)

    assert names_in_groups(model, optimizer) == before
    assert [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups] == options


@pytest.mark.parametrize("layer", [lambda: S4(4, 12), lambda: Mamba2(4, 16, headdim=4), lambda: LRU(4, 12)])
def test_an_optimiser_that_knows_names_goes_on_knowing_them(layer):
    model = Model(layer(), LRU(4, 12))
    try:
        optimizer = torch.optim.Adam(model.named_parameters(), lr=1e-3)
    except TypeError:
        pytest.skip("optimisers of this PyTorch take no names")
    reducer = InTrainingReducer(model, optimizer, At(2), Order(8), limits=FREE)

    train(model, optimizer, reducer, 4)

    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    (group,) = optimizer.param_groups
    assert sorted(group["param_names"]) == sorted(name for name, _ in model.named_parameters())
    assert names_in_groups(model, optimizer) == [group["param_names"]]


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8),
        lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, threshold=10.0),
    ],
    ids=["cosine", "plateau"],
)
def test_schedulers_go_on_as_if_nothing_had_happened(scheduler):
    rates = []
    for at in (3, 100):
        torch.manual_seed(0)
        model = Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        plan = scheduler(optimizer)
        reducer = InTrainingReducer(model, optimizer, At(at), Order(10), limits=FREE)
        seen = []

        def after(loss, plan=plan, optimizer=optimizer, seen=seen):
            plan.step(loss) if isinstance(plan, torch.optim.lr_scheduler.ReduceLROnPlateau) else plan.step()
            seen.append(optimizer.param_groups[0]["lr"])

        train(model, optimizer, reducer, 8, after=after)
        rates.append(seen)

    assert rates[0] == rates[1]
    assert rates[0][0] > rates[0][-1]


def test_a_grad_scaler_goes_on():
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    reducer = InTrainingReducer(model, optimizer, At(2), Order(10), balance="adjoints", limits=FREE)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    for step in range(5):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (model(batch(step)) - 1).square().mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        reducer.step()

    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    assert scaler.get_scale() == 2.0**10
    assert all(parameter.isfinite().all() for parameter in model.parameters())


class Factored(torch.optim.SGD):
    """Keeps a moment for each row, as Adafactor does."""

    def step(self):
        super().step()
        for p in self.param_groups[0]["params"]:
            self.state[p]["exp_avg_sq"] = torch.zeros(p.shape[:1])


def test_a_moment_that_is_not_of_the_shape_of_its_parameter_is_refused_before_anything_changes():
    model = Model()
    optimizer = Factored(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(model, optimizer, At(2), Order(10), limits=FREE)
    shapes = [p.shape for p in model.parameters()]

    with pytest.raises(UnsupportedError, match="exp_avg_sq"):
        train(model, optimizer, reducer, 2)

    assert [p.shape for p in model.parameters()] == shapes


# --- Where the evidence comes from -----------------------------------------------------------------------------------


class Watched(Activations):
    """Keeps the evidence that it was given."""

    def plan(self, adapter, evidence):
        self.__dict__.setdefault("seen", []).append(evidence)
        return super().plan(adapter, evidence)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_activations_give_the_same_evidence_and_cuts(reentrant):
    ledgers, evidence = [], []
    for remember in (None, reentrant):
        torch.manual_seed(0)
        model, watched = Model(remember=remember), Watched()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        reducer = InTrainingReducer(model, optimizer, At(2), Order(10), balance=watched, limits=FREE)
        train(model, optimizer, reducer, 4)
        ledgers.append(reducer.ledger)
        evidence.append(watched.seen[:2])

    for plain, checkpointed in zip(*evidence, strict=True):
        torch.testing.assert_close(checkpointed.inputs, plain.inputs)
        torch.testing.assert_close(checkpointed.gradients, plain.gradients)
    assert [cut.after for cut in ledgers[0]] == [cut.after for cut in ledgers[1]]
    assert ledgers[1][0].hsv == pytest.approx(ledgers[0][0].hsv, rel=1e-4)


def test_accumulated_gradients_leave_the_evidence_of_one_micro_batch():
    model, watched = Model(), Watched()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    reducer = InTrainingReducer(model, optimizer, At(2), Order(10), balance=watched, limits=FREE)
    inputs = []
    handle = model.layers[0].register_forward_hook(lambda layer, args, output: inputs.append(args[0].detach()))

    for step in range(4):
        optimizer.zero_grad()
        for part in range(3):
            ((model(batch(10 * step + part, 4)) - 1).square().mean() / 3).backward()
        optimizer.step()
        reducer.step()
    handle.remove()

    assert [cut.step for cut in reducer.ledger] == [2, 2]
    assert torch.equal(watched.seen[0].inputs, inputs[5])  # the last of step 2
    assert watched.seen[0].gradients.shape == inputs[5].shape
    assert all(parameter.isfinite().all() for parameter in model.parameters())


# --- Compiled models -------------------------------------------------------------------------------------------------


def test_a_compiled_model_is_compiled_again_for_each_size_and_no_more():
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    model = Model(LRU(4, 16))
    compiled = torch.compile(model, backend=counter)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(compiled, optimizer, At(4, 9), lambda_order(24, 12), limits=FREE)
    frames = []

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(compiled, optimizer, reducer, 14, after=lambda loss: frames.append(counter.frame_count))

    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    assert frames[0] == frames[2]  # nothing to compile while nothing is listened to
    assert frames[4] == frames[7]
    assert frames[9] == frames[13] <= 5  # three sizes, and twice a step that is listened to
    torch._dynamo.reset()


def lambda_order(*orders):
    """Return a selection that asks for the next order at every cut."""

    class Next:
        def __init__(self):
            self.left = list(orders)

        def select(self, hsv):
            return self.left.pop(0)

    return Next()


def test_a_compiled_model_is_cut_like_a_plain_one():
    torch._dynamo.reset()
    runs = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = Model(LRU(4, 12))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        called = torch.compile(model, backend="aot_eager") if compiled else model
        reducer = InTrainingReducer(called, optimizer, At(2), Order(10), balance="adjoints", limits=FREE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses = train(called, optimizer, reducer, 5)
        runs.append((losses, [(cut.layer, cut.after) for cut in reducer.ledger]))

    assert runs[1][1] == runs[0][1] == [("layers.0", runs[0][1][0][1])]
    assert runs[1][0] == pytest.approx(runs[0][0], rel=1e-4)
    torch._dynamo.reset()


def test_a_copy_keeps_the_state_of_its_own_optimiser():
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train(model, optimizer, InTrainingReducer(model, optimizer, At(9), Order(4)), 1)
    state = copy.deepcopy(optimizer.state_dict())

    reducer = InTrainingReducer(model, None, At(1), Order(4), limits=FREE)
    model(batch(0)).mean().backward()
    reducer.step()

    assert optimizer.state_dict()["param_groups"] == state["param_groups"]
