"""Two processes that train together do what one does with the batches of both."""

import datetime
import os

import pytest
import torch
from torch import nn

from snnfer.layers import SparseBatchNorm2d, ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layers.submanifold import SparseMap
from snnfer.training.config import TrainConfig
from snnfer.training.synchronised import joint_statistics, synchronised_norms

SIZES = (3, 5)  # samples of each process
NORMS = {
    "time": lambda: TimeBatchNorm2d(4),
    "threshold": lambda: ThresholdDependentBatchNorm2d(4, v_threshold=0.5),
    "maps": lambda: nn.BatchNorm2d(4, affine=False, momentum=0.3),
    "volumes": lambda: nn.BatchNorm3d(4, track_running_stats=False),
    "vectors": lambda: nn.BatchNorm1d(4),
    "evaluated": lambda: nn.BatchNorm1d(4).eval(),
}


def batch(name):
    """Input of both processes together, and the dimension that divides it."""
    shapes = {"time": (3, 8, 4, 2, 5), "threshold": (3, 8, 4, 2, 5), "maps": (8, 4, 2, 5), "volumes": (8, 4, 2, 5, 3)}
    generator = torch.Generator().manual_seed(len(name))
    x = 100 + torch.randn(shapes.get(name, (8, 4)), generator=generator, dtype=torch.float64)  # a mean far from zero
    return x, 1 if name in ("time", "threshold") else 0


def outcome(norm, x, target, *, share=1.0):
    """Output, gradient of the input, of the parameters, and the buffers after one step."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (share * (y * target).pow(3).sum()).backward()
    return y.detach(), x.grad, [p.grad for p in norm.parameters()], list(norm.buffers())


def target_of(x):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)


def process(rank, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    options = {"rank": rank, "world_size": 2, "timeout": datetime.timedelta(seconds=60)}
    torch.distributed.init_process_group("gloo", store=store, **options)
    found = {}
    for name, build in NORMS.items():
        x, dim = batch(name)
        norm = build().double()
        with synchronised_norms(norm):
            found[name] = outcome(norm, x.split(SIZES, dim)[rank], target_of(x).split(SIZES, dim)[rank])
        assert "forward" not in vars(norm)
    empty = torch.zeros(0, 2) if rank else torch.tensor([[1.0, 5.0], [3.0, 9.0]])
    found["empty"] = [value.tolist() for value in joint_statistics(empty)]
    sparse = SparseBatchNorm2d(2)
    with synchronised_norms(sparse):
        found["sparse"] = sparse(SparseMap.from_dense(sites()[rank : rank + 1])).to_dense().detach()
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def sites():
    """Two samples with 2 and 3 active sites."""
    x = torch.zeros(2, 2, 3, 3)
    for n, row, column, first, second in (
        (0, 0, 0, 1, 2),
        (0, 1, 1, 3, 3),
        (1, 1, 2, 4, 6),
        (1, 2, 2, 7, 1),
        (1, 0, 1, 2, 2),
    ):
        x[n, 0, row, column], x[n, 1, row, column] = first, second
    return x


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process found."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", NORMS)
def test_two_batches_are_normalised_as_one(found, name):
    (x, dim), norm = batch(name), NORMS[name]().double()
    y, x_grad, gradients, buffers = outcome(norm, x, target_of(x))
    parts = [processes[name] for processes in found]
    assert torch.allclose(torch.cat([part[0] for part in parts], dim), y, atol=1e-10)
    assert torch.allclose(torch.cat([part[1] for part in parts], dim), x_grad, atol=1e-9 * float(x_grad.abs().max()))
    for own, *others in zip(gradients, *(part[2] for part in parts), strict=True):
        assert torch.allclose(sum(others), own, rtol=1e-8)
    for own, *others in zip(buffers, *(part[3] for part in parts), strict=True):
        assert torch.equal(*others)
        assert torch.allclose(others[0].double(), own.double(), rtol=1e-10)


def test_a_process_without_values_takes_part(found):
    for processes in found:
        assert processes["empty"] == [2.0, [2.0, 7.0], [1.0, 4.0]]  # two values per channel, by hand


def test_active_sites_of_all_processes_count(found):
    expected = SparseBatchNorm2d(2)(SparseMap.from_dense(sites())).to_dense().detach()
    assert torch.allclose(torch.cat([processes["sparse"] for processes in found]), expected, atol=1e-6)


@pytest.mark.slow  # starts Python twice
@pytest.mark.parametrize(
    "recipe",
    [
        {"max_shift_px": 0},
        {"loss": "cross_entropy", "class_weights": "balanced", "accumulate": 2, "gradient_clip": 0.5},
    ],
)
def test_a_spiking_network_learns_in_two_processes_what_it_learns_in_one(clips, tmp_path, recipe):
    from snnfer.training.classifier import train_network

    def run(folder, **sizes):
        config = TrainConfig(epochs=3, optimizer="sgd", learning_rate=0.1, threads=1, **(recipe | sizes))
        args = {"channels": 4, "hidden": 16, "dropout": 0.0}
        options = {"train": range(16), "config": config, "seed": 0, "checkpoint_dir": tmp_path / folder}
        return train_network(clips, model="au_snn", model_args=args, **options)

    one, two = run("one", batch_size=8), run("two", batch_size=4, devices=2)
    before, after = one.model.state_dict(), two.model.state_dict()
    for name, weights in before.items():
        error = (after[name] - weights).abs().max()
        assert error <= 1e-6 * weights.abs().max().clamp_min(1e-3), name
    x = torch.stack([clips[i][0] for i in range(18)], 1)
    scores = [trained.model(trained.normalise(x)) for trained in (one, two)]
    assert torch.equal(scores[0].argmax(1), scores[1].argmax(1))


class TwoHeads(nn.Module):
    """A network of whose heads the loss sees one: the other has no gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.used, self.unused = nn.Linear(2 * 16 * 16, 3), nn.Linear(4, 4)

    def forward(self, x, lengths=None):
        return self.used(x.mean(0).flatten(1))


@pytest.mark.slow
def test_a_weight_without_a_gradient_is_left_alone(clips, tmp_path):
    from snnfer.training.fitting import fit

    def run(folder, **sizes):
        config = TrainConfig(epochs=2, optimizer="sgd", learning_rate=0.1, weight_decay=0.1, **sizes)
        options = {"n_classes": 3, "mean": (0.0, 0.0), "std": (1.0, 1.0), "seed": 0}
        return fit(TwoHeads(), clips, train=range(16), config=config, checkpoint_dir=tmp_path / folder, **options)

    one, two, start = run("one", batch_size=8), run("two", batch_size=4, devices=2), TwoHeads()
    assert torch.allclose(one.used.weight, two.used.weight, atol=1e-6)
    assert not torch.equal(one.used.weight, start.used.weight)
    assert torch.equal(one.unused.weight, start.unused.weight)
    assert torch.equal(two.unused.weight, start.unused.weight)
