"""Trainings for several processes: run here in one, or by `torchrun` in many.

    torchrun --nproc-per-node 2 -m tests.metarl.train.shared_jobs FOLDER DATA NAME ...

Each process works off the same list; starting Python is most of the work.
"""

import os
import signal
import sys
import threading
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from envs.problems import Point
from metarl.core import OptimiserSettings, OuterSettings, sgd
from metarl.core.processes import current
from metarl.devices import small_networks
from metarl.errors import UserError
from metarl.experiment import Experiment
from metarl.invocation import rank_of_launch
from metarl.meta import MetaLearner
from metarl.meta.maml import MAMLSettings
from metarl.run.command_line import parse_training
from metarl.run.recipe import train
from metarl.train.distributed import job
from metarl.train.trainer import Trainer

REGRESSION = "regression --meta-batch 7 --iterations 3 --log-every 2"
ADAPT = "maze_adapt --meta-batch 7 --iterations 2 --log-every 1 --horizon 8"
MAZE = "maze --size 9 --iterations 3 --log-every 2 --batch-size 7 --hidden-size 8 --horizon 12"
OMNIGLOT = "--filters 2 --iterations 2 --log-every 1 --meta-batch 5 --no-complete --data DATA"

LINES = {
    "maml": f"{REGRESSION} --method maml",
    "reptile": f"{REGRESSION} --method reptile",
    "leap": f"{REGRESSION} --method leap",
    "warp": f"{REGRESSION} --method warp",
    "adapt-maml": f"{ADAPT} --env point --method maml --episodes 3",
    "adapt-rl2": f"{ADAPT} --env bandit --method rl2 --trial-episodes 3",
    "adapt-rl2-ppo": (
        f"{ADAPT} --env gridnavi --method rl2 --trial-episodes 2 --num-epochs 2 "
        "--loss.algorithm ppo --loss.normalise-advantages"
    ),
    "windows": (
        f"{ADAPT} --env gridnavi --method rl2 --core transformer --hidden-size 4 "
        "--trial-episodes 2 --truncate 3"
    ),
    "warp-rnn": f"{MAZE} --method warp-rnn --warp-period 2 --seeds 0 1",
    "mazes": (
        "maze --mazes dfs --size 9 --iterations 2 --log-every 1 --batch-size 10 "
        "--minibatch-trials 5 --hidden-size 8 --horizon 12 --trial-episodes 2 "
        "--loss.return-scaling running"
    ),
    "curriculum": (
        "maze --mazes dfs --size 9 --iterations 3 --log-every 1 --batch-size 6 "
        "--minibatch-trials 3 --hidden-size 8 --horizon 12 --curriculum plr"
    ),
    "omniglot": (
        f"omniglot {OMNIGLOT} --method maml --ways 2 --shots 1 --train-characters 9 "
        "--validation-characters 4 --validation-tasks 3 --validate-every 1"
    ),
    # The rarer ones, in slow tests.
    "daml": f"{REGRESSION} --family sine-domain",
    "imaml": f"{REGRESSION} --method imaml --inner-steps 3",
    "offline": (
        "regression --method warp-leap --warp-algorithm offline --warp-draws 3 --inner-steps 2 "
        "--meta-batch 4 --iterations 2 --log-every 1"
    ),
    "ppo": f"{MAZE} --method gru --preset ppo --seeds 0 1",
    "minigrid": (
        "maze --mazes minigrid:MiniGrid-FourRooms-v0 --iterations 2 --log-every 1 --batch-size 6 "
        "--minibatch-trials 3 --hidden-size 8 --horizon 8 --trial-steps 20"
    ),
    "promp": f"{ADAPT} --env point --method promp --episodes 3",
    "emaml": f"{ADAPT} --env point --method emaml --episodes 3",
    # More iterations of conjugate gradient would make more of what rounding there is.
    "trpo": f"{ADAPT} --env point --method trpo-maml --episodes 3 --solver-iterations 3",
    "adapt-maze": f"{ADAPT} --env maze --method maml --episodes 3",
    "adapt-curriculum": (
        f"{ADAPT} --env mazes --method maml --episodes 3 --size 9 --curriculum plr"
    ),
    "adapt-warp": f"{ADAPT} --env gridnavi --method warp --episodes 3",
    "alphabets": (
        f"alphabets {OMNIGLOT} --method warp-leap --preset fast --pretrain 2 --test-alphabets 2 "
        "--classes 2 --held-out 1 --validation-alphabets 1 --inner-steps 2 --test-steps 2 "
        "--validate-every 1"
    ),
}
"""Trainings by name."""

LONG = "maze --size 9 --batch-size 4 --hidden-size 8 --horizon 12 --decay constant --log-every 3"
"""A training that is interrupted and resumed."""


def run(folder: Path, data: str, names: list[str]) -> None:
    """Work off jobs: trainings of `LINES`, or what `OTHERS` has."""
    with small_networks():
        for name in names:
            if name in LINES:
                trained(f"{LINES[name].replace('DATA', data)} --run-dir {folder / name}")
            else:
                OTHERS[name](folder)


def trained(line: str) -> None:
    script, *words = line.split()
    words = ["--dtype", "float64", "--native", "off", *words]
    recipe = import_module(f"experiments.{script}").RECIPE
    train(recipe, parse_training(recipe, "train", words), words)


def collectives(folder: Path) -> None:
    """Sums, joins and decisions, each looked at in every process."""
    with job("cpu") as here:
        assert current() is here
        rank, count = here.rank, here.count
        numbers = torch.arange(5.0) + rank
        small, whole = here.total([numbers, torch.tensor(rank)])
        assert small.tolist() == [count * i + sum(range(count)) for i in range(5)]
        assert whole.dtype == torch.int64
        assert int(whole) == sum(range(count))
        # Large ones are added up in parts; the order is the same, so that the bits are.
        each = [torch.randn(2**20 + 3, generator=torch.Generator().manual_seed(r)) for r in (0, 1)]
        each += [torch.zeros(2**20 + 3)] * (count - 2)
        (large,) = here.total([each[rank]])
        assert torch.equal(large, sum(each[1:], each[0].clone()))
        rows, flags = here.joined(
            [torch.full((2, rank + 1, 3), float(rank)), torch.ones(1, rank + 1) > 0], dim=1
        )
        assert rows[0, :, 0].tolist() == [float(r) for r in range(count) for _ in range(r + 1)]
        assert flags.dtype == torch.bool
        assert flags.shape == (1, len(rows[0]))
        assert here.first(lambda: rank) == 0
        assert here.any(rank == count - 1)
        assert not here.any(False)
        with pytest.raises(UserError, match="no"):
            here.first(refuse)
        assert here.share(7, "things").stop == 7 * (rank + 1) // count


def refuse() -> None:
    assert rank_of_launch() == 0
    raise UserError("no")


class Numbers:
    """Tasks that are numbers, which their gradient is the mean of."""

    def __init__(self, values):
        self.values, self.num_tasks = values, len(values)

    def select(self, tasks):
        return Numbers(self.values[tasks])

    sample = loss = None  # nothing asks


class Mean(MetaLearner):
    def __init__(self):
        super().__init__({"w": torch.ones(2, dtype=torch.float64)}, rule=sgd(0.5), num_steps=1)

    def _gradients(self, tasks):
        self.params["fast.w"].grad = tasks.values.mean().expand(2).clone()
        yield {"loss": tasks.values}


def weighted(folder: Path) -> None:
    """Shares that are uneven count as much as they have; what one cannot use, all skip."""
    with job("cpu") as here:
        learner = Mean()
        plain = OptimiserSettings("sgd", lr=0.1, beta1=0.0)
        trainer = Trainer(learner, OuterSettings(plain, max_grad_norm=100.0))
        numbers = torch.tensor([1.0, 2.0, 6.0, 7.0, 9.0], dtype=torch.float64)
        metrics = trainer.step(Numbers(numbers))
        w, mean = learner.params["fast.w"].tolist(), float(numbers.mean())
        assert w == pytest.approx([1 - 0.1 * mean] * 2, abs=1e-12)
        assert metrics["loss"].tolist() == pytest.approx([mean], abs=1e-12)
        assert metrics["grad_norm"].tolist() == pytest.approx([mean * 2**0.5], abs=1e-12)
        # Only the last process has the task whose loss is not finite.
        metrics = trainer.step(Numbers(numbers.masked_fill(numbers == 9, torch.nan)))
        assert metrics["skipped"].tolist() == [1]
        assert learner.params["fast.w"].tolist() == w
        assert trainer.skips.in_a_row == [1]
        with pytest.raises(UserError, match="1 tasks of a meta-batch cannot be shared"):
            trainer.step(Numbers(numbers[:1]))
        assert here.count > 1


def interrupted(folder: Path) -> None:
    """The last process is asked to stop: all do, at the same iteration."""
    last = rank_of_launch() == int(os.environ["WORLD_SIZE"]) - 1
    if last:
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    try:
        trained(f"{LONG} --iterations 100000 --run-dir {folder / 'interrupted'}")
    except KeyboardInterrupt as interrupt:
        name = f"stopped-{rank_of_launch()}"
        (folder / name).write_text(str(interrupt))


def half(folder: Path) -> None:
    trained(f"{LONG} --iterations 4 --run-dir {folder / 'resumed'}")


def rest(folder: Path) -> None:
    words = ["--resume", str(folder / "resumed"), "--iterations", "7"]
    recipe = import_module("experiments.maze").RECIPE
    train(recipe, parse_training(recipe, "train", words), words)


def at_once(folder: Path) -> None:
    trained(f"{LONG} --iterations 7 --run-dir {folder / 'resumed'}")


def in_python(folder: Path) -> None:
    """An experiment from Python, launched as the scripts are."""
    method = MAMLSettings(inner_lr=0.1)
    made = Experiment(Point(horizon=6), method, iterations=2, meta_batch=5, log_every=1)
    made.train(folder / "in_python")
    replace(made, iterations=3).resume(folder / "in_python")


def refused(folder: Path) -> None:
    """What cannot be shared says so, in every process, and leaves no run behind."""
    for line, words in {
        f"{REGRESSION} --meta-batch 1": "1 tasks of a meta-batch cannot be shared",
        f"{MAZE} --preset paper": "published fault of the baseline",
        f"{ADAPT} --env point --method ppo --dtype float32": "learns by SB3",
        f"{REGRESSION} --method reptile --order serial": "one task after the other",
        f"{MAZE} --device cuda:0": "is one GPU",
    }.items():
        with pytest.raises(UserError, match=words):
            trained(f"{line} --run-dir {folder / 'refused'}")
        assert not (folder / "refused").exists(), line


OTHERS = {
    f.__name__: f
    for f in (collectives, weighted, interrupted, half, rest, at_once, in_python, refused)
}

if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
