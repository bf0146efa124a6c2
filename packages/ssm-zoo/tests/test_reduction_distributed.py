"""Two processes, started once for all tests here, go through every case and leave what they found in files."""

import copy
import math
import os
import subprocess
import sys
import warnings
from dataclasses import asdict

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssm_balance import Order
from ssm_zoo import LRU, S5, ReductionError, UnsupportedError
from ssm_zoo.layers import Mamba
from ssm_zoo.reduction import At, Evidence, InTrainingReducer, Limits, Plateau, rewrap
from ssm_zoo.reduction.distributed import joined

FREE = Limits(output_error=math.inf, condition=math.inf)
SIZE, BATCH, STEPS = 2, 16, 7


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(2, 4)
        self.layers = nn.ModuleList([LRU(4, 12), S5(4, 10), Mamba(4, 16)])
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        x = self.encoder(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x)


def batch(step, rank=None):
    """Return the sequences of a step: all of them, or those of a rank."""
    torch.manual_seed(step)
    x = torch.randn(BATCH, 24, 2).cumsum(1) / 4
    return x if rank is None else x.chunk(SIZE)[rank]


def go(model, rank=None, *, options=None, follow=False, by_hand=False, schedule=None):
    """Train with a reducer, and return what there is to compare."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)) if follow else None
    reducer = InTrainingReducer(
        model.module if by_hand else model,
        optimizer,
        schedule or At(3, 5),
        Order(10),
        limits=FREE,
        followers=[average] if follow else [],
        group=dist.group.WORLD if by_hand else None,
        **options or {},
    )
    losses = []
    for step in range(STEPS):
        x = batch(step, rank)
        loss = (model(x) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cuts = reducer.step(lambda x=x: float((model(x) - 1).square().mean()))
        if by_hand and any(cut.status == "cut" for cut in cuts):
            rewrap(model)
        if average is not None:
            average.update_parameters(model)
        losses.append(loss.item())
    ledger = [asdict(cut) | {"seconds": 0.0} for cut in reducer.ledger]
    followed = None if average is None else average.module.state_dict()
    return {
        "losses": losses,
        "ledger": ledger,
        "model": model.state_dict(),
        "follower": followed,
        "moments": [optimizer.state[p]["exp_avg_sq"] for p in model.parameters()],
    }


def model():
    torch.manual_seed(0)
    return Model()


def wrapped(**options):
    return DistributedDataParallel(model(), **options)


CASES = {
    "plain": lambda rank: go(wrapped(), rank, follow=True),
    "adjoints": lambda rank: go(wrapped(gradient_as_bucket_view=True), rank, options={"balance": "adjoints"}),
    "later": lambda rank: go(wrapped(), rank, options={"delay": 2}),
    "static": lambda rank: go(wrapped(static_graph=True), rank),
    "by hand": lambda rank: go(wrapped(), rank, by_hand=True),
    "plateau": lambda rank: go(wrapped(), rank, schedule=Plateau(every=2, patience=1, least=0.9)),
    "sharded": lambda rank: sharded(rank),
    "trouble": lambda rank: trouble(rank),
}


def sharded(rank):
    """Train with FSDP2, gather, cut, shard again, and train on: as the documentation says."""
    mesh, whole = init_device_mesh("cpu", (SIZE,)), StateDictOptions(full_state_dict=True)

    def step(net, optimizer, number):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # the output is a view; nobody writes to it
            loss = (net(batch(number, rank)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if net is plain:
            for parameter in net.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= SIZE
        optimizer.step()
        return loss.item()

    plain = Model()
    split = fully_shard(model(), mesh=mesh)
    optimizer = torch.optim.Adam(split.parameters(), lr=1e-2)
    losses = [step(split, optimizer, number) for number in range(2)]
    with pytest.raises(UnsupportedError, match="sharded over ranks"):
        InTrainingReducer(split, optimizer, At(1), Order(4))
    plain.load_state_dict(get_model_state_dict(split, options=whole))
    plain_optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    moments = get_optimizer_state_dict(split, optimizer, options=whole)
    set_optimizer_state_dict(plain, plain_optimizer, moments, options=whole)
    reducer = InTrainingReducer(plain, plain_optimizer, At(1), Order(10), limits=FREE, group=dist.group.WORLD)
    losses.append(step(plain, plain_optimizer, 2))
    reducer.step()
    moments = get_optimizer_state_dict(plain, plain_optimizer, options=whole)
    split = fully_shard(plain, mesh=mesh)
    plain = None
    optimizer = torch.optim.Adam(split.parameters(), lr=1e-2)
    set_optimizer_state_dict(split, optimizer, moments, options=whole)
    losses += [step(split, optimizer, number) for number in range(3, 5)]
    return {"losses": losses, "cuts": [(cut.status, cut.after) for cut in reducer.ledger]}


def trouble(rank):
    """One rank cannot go on; all say so, and none has changed anything."""
    ddp = wrapped()
    reducer = InTrainingReducer(ddp, None, At(1), Order(4), limits=FREE)
    ddp(batch(0, rank)).mean().backward()
    with torch.no_grad():
        ddp.module.layers[0].nu_log[3] = math.nan  # the share of rank 0
    before = copy.deepcopy(ddp.state_dict())
    with pytest.raises(ReductionError) as raised:
        reducer.step()
    return {"message": str(raised.value), "before": before, "after": ddp.state_dict()}


def main(folder, rank):
    file = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=file, rank=rank, world_size=SIZE)
    found = {name: case(rank) for name, case in CASES.items()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ranks"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-W", "error", __file__, folder]
    running = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(SIZE)]
    try:
        assert [process.wait(600) for process in running] == [0] * SIZE
    finally:
        for process in running:
            process.kill()
    return [torch.load(f"{folder}/{rank}.pt", weights_only=False) for rank in range(SIZE)]


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("trouble", "sharded")])
def test_ranks_stay_the_same_to_the_last_bit(ranks, case):
    first, second = (rank[case] for rank in ranks)

    assert first["ledger"] == second["ledger"]
    assert any(cut["status"] == "cut" for cut in first["ledger"])
    torch.testing.assert_close(first["model"], second["model"], rtol=0, atol=0)
    torch.testing.assert_close(first["moments"], second["moments"], rtol=0, atol=0)
    torch.testing.assert_close(first["follower"], second["follower"], rtol=0, atol=0)
    assert all(map(math.isfinite, first["losses"] + second["losses"]))


@pytest.mark.parametrize(
    ("case", "options"), [("plain", {}), ("adjoints", {"balance": "adjoints"}), ("later", {"delay": 2})]
)
def test_ranks_do_what_one_process_does_with_the_whole_batch(ranks, case, options):
    follow = case == "plain"

    alone = go(model(), options=options, follow=follow)

    together = [rank[case] for rank in ranks]
    losses = [sum(pair) / SIZE for pair in zip(*(rank["losses"] for rank in together), strict=True)]
    parameters = {name.removeprefix("module."): value for name, value in together[0]["model"].items()}
    assert losses == pytest.approx(alone["losses"], rel=1e-3)
    assert [cut["after"] for cut in together[0]["ledger"]] == [cut["after"] for cut in alone["ledger"]]
    torch.testing.assert_close(parameters["head.weight"], alone["model"]["head.weight"], rtol=1e-2, atol=1e-3)
    for cut, other in zip(together[0]["ledger"], alone["ledger"], strict=True):
        assert cut["loss_after"] == pytest.approx(other["loss_after"], rel=1e-2)


@pytest.mark.parametrize("case", ["static", "by hand"])
def test_how_the_model_is_wrapped_makes_no_difference(ranks, case):
    assert ranks[0][case]["losses"] == pytest.approx(ranks[0]["plain"]["losses"], rel=1e-3)


def test_sharded_parameters_can_be_gathered_cut_and_sharded_again(ranks):
    first, second = (rank["sharded"] for rank in ranks)

    alone = go(model(), schedule=At(3))

    losses = [sum(pair) / SIZE for pair in zip(first["losses"], second["losses"], strict=True)]
    assert first["cuts"] == second["cuts"] == [("cut", cut["after"]) for cut in alone["ledger"]]
    assert losses == pytest.approx(alone["losses"][:5], rel=1e-3)


def test_what_fails_on_one_rank_fails_on_all_and_changes_nothing(ranks):
    assert ranks[0]["trouble"]["message"].startswith("layer 'layers.0' cannot be reduced")
    assert "rank 0 could not" in ranks[1]["trouble"]["message"]
    for rank in ranks:
        torch.testing.assert_close(rank["trouble"]["before"], rank["trouble"]["after"], rtol=0, atol=0, equal_nan=True)


def test_a_model_that_is_not_wrapped_is_left_as_it_is():
    plain = model()

    assert rewrap(plain) is plain


def test_joined_evidence_has_the_steps_that_all_ranks_have():
    parts = [
        Evidence(torch.ones(2, 9, 3), torch.ones(2, 9, 3), {"lengths": torch.tensor([9, 4])}),
        Evidence(torch.zeros(1, 6, 3), torch.zeros(1, 6, 3), {"lengths": torch.tensor([5])}),
    ]

    evidence = joined(parts)

    assert evidence.inputs.shape == evidence.gradients.shape == (3, 6, 3)
    assert evidence.lengths.tolist() == [6, 4, 5]
    assert evidence.gradients[0, 0, 0] == 0.5


def test_sequences_padded_on_the_left_lose_their_first_steps():
    inputs = torch.arange(8.0).reshape(1, 8, 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    short = Evidence(torch.zeros(1, 6, 1), None, {"attention_mask": torch.ones(1, 6)})

    evidence = joined([Evidence(inputs, None, {"attention_mask": mask}), short])

    assert evidence.inputs[0, :, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert evidence.options["attention_mask"][0].tolist() == [0, 1, 1, 1, 1, 1]


def test_sharded_parameters_are_refused():
    sharded = model()
    sharded.head.weight.full_tensor = lambda: None  # what a DTensor has

    with pytest.raises(UnsupportedError, match="sharded over ranks"):
        InTrainingReducer(sharded, None, At(1), Order(4))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
