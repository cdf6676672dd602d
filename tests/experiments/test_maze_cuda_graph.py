"""`train --cuda-graph`: could it be recorded, and do replays train the same agent?

Three stand-ins: the meta device, on which nothing waits (`watch`); a tape of operations, which
repeats them without Python (`tape`); and, where there is one, a GPU.
"""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import tyro

from experiments import maze_adapt
from experiments.maze_settings import CORES, TrainSettings, defaults
from metarl.core import cuda_graph
from metarl.methods import recurrent
from metarl.train.loop import LoopSettings
from tests.experiments.scripts import maze as main
from tests.experiments.scripts import maze_adapt as adapt
from tests.experiments.test_maze import SMALL, assert_same, learned, train
from tests.experiments.watch import MetaGenerator, NotCapturableError, Watch
from tests.metarl.core import tape

METHODS = [core for core in CORES if core != "associative"]
VARIANTS = {
    "default": (),
    "ppo": (),
    "paper": ("--burn-in", "3", "--num-epochs", "2"),
    "demo": (
        *("--loss.entropy", "shannon", "--loss.normalise-advantages", "--wall-penalty", "0.1"),
        *("--loss.gae-lambda", "0.9", "--num-epochs", "2", "--goals", "split"),
        *("--reset-fast", "meta-batch", "--seeds", "0", "1"),
    ),
}
"""By preset, what is asked beside it."""
OTHERS = [("warp", "default"), ("warp", "paper"), ("warp", "demo")]
PPO = [(method, "ppo") for method in METHODS]
A2C = [(method, "default") for method in METHODS if method != "warp"]
cases = pytest.mark.parametrize(("method", "preset"), [*PPO, *OTHERS, *A2C])
fewer_cases = pytest.mark.parametrize(("method", "preset"), [*PPO, *OTHERS])
"""What PPO does first is what A2C does, but for the loss."""


def options(method, preset):
    room = ("--preset", preset, "--mazes", "room", "--method", method, "--horizon", "5")
    return (*room, *VARIANTS[preset])


class Watched:
    """In place of `Captured`: watches the function, twice."""

    def __init__(self, function, generators):
        self.function, self.generators = function, generators

    def __call__(self, *args):
        self.args = args
        self.function(*args)  # tables are copied to the device at the first call
        watches = [Watch(self.generators) for _ in range(2)]
        for watch in watches:
            with watch:
                self.result = self.function(*args)
        self.read = [set(watch.read) for watch in watches]
        return self.result


@pytest.fixture
def meta(monkeypatch):
    """The meta device in place of a GPU, on which functions are watched."""

    def streams(seed, names, device):
        return {
            name: (torch.Generator() if name == "init" else MetaGenerator()).manual_seed(
                10 * seed + number
            )
            for number, name in enumerate(names)
        }

    monkeypatch.setattr(recurrent, "resolve_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(recurrent, "require_cuda", lambda device: None)
    monkeypatch.setattr(recurrent, "spawn_generators", streams)
    monkeypatch.setattr(recurrent, "Captured", Watched)


@pytest.fixture
def on_meta(meta):
    """Makes the learner of some settings on the meta device, its functions watched."""

    def make(method, preset):
        settings = tyro.cli(
            TrainSettings,
            args=(*SMALL, "--cuda-graph", *options(method, preset)),
            default=defaults(preset, method, mazes="room"),
        )
        runs = [SimpleNamespace(seed=seed, config={"seed": seed}) for seed in settings.seeds]
        loop = LoopSettings(settings.iterations, schedule=settings.learner.schedule)
        what = settings.trained()
        return what.build(runs, loop, settings.batch_size, "meta")

    return make


@cases
def test_what_is_captured_neither_waits_nor_reads_what_moves(on_meta, method, preset):
    training = on_meta(method, preset)
    # The one number that an iteration waits for, whether loss and gradient are finite, is outside.
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta"):
        training.iterate()
    play, repeat = training.learner.learner._play, training.learner.learner._repeat
    torch.autograd.graph.increment_version(training.learner.learner.params.values())  # a step
    repeat(*play.args, play.result[0])
    for function in (play, repeat):
        first, second = function.read
        assert first == second
        assert all(not t.requires_grad for t in tape.tensors(function.result))


@pytest.mark.parametrize("method", ["rl2", "warp-rnn"])
@pytest.mark.parametrize("env", ["bandit", "gridnavi", "maze"])
def test_trials_on_other_problems_can_be_captured(meta, env, method):
    settings = replace(maze_adapt.defaults(env, method), cuda_graph=True)
    loop = LoopSettings(2, schedule=settings.learner.schedule)
    run = SimpleNamespace(seed=0, config={"seed": 0})
    training = settings.learning().build([run], loop, 4, "meta")
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta"):
        training.iterate()
    first, second = training.learner.learner._play.read
    assert first == second


@pytest.mark.parametrize("method", ["maml", "none"])
def test_learners_that_adapt_by_gradient_steps_have_no_graph(tmp_path, capsys, method):
    line = ["train", "--env", "bandit", "--method", method, "--run-dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as refusal:
        adapt([*line, "--cuda-graph"])
    assert refusal.value.code == 2
    assert "--cuda-graph" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        adapt(["train", "--env", "bandit", "--method", "rl2", "--cuda-graph", "--device", "cpu"])
    assert "'cpu'; drop --cuda-graph, or choose --device cuda" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


X = torch.arange(4.0, device="meta")
OWN, FOREIGN = MetaGenerator(), MetaGenerator()
FOREIGN.manual_seed(1)


def test_the_watch_lets_pass_what_a_graph_records():
    with Watch([OWN]) as watch:
        drawn = torch.rand(4, generator=OWN, device="meta")
        torch.as_tensor(X).add_(drawn.log_(), alpha=0.5)[1:3].argmax(-1)
    assert set(watch.read) == {tape.storage(X)}


@pytest.mark.parametrize(
    "fault",
    [
        lambda: X.sum().item(),
        lambda: bool((X > 0).all()),
        lambda: X.nonzero(),
        lambda: X[X > 0],
        lambda: X.masked_fill_(X > 0, 1.0)[X > 0],
        lambda: X * torch.tensor(2.0),
        lambda: X * torch.tensor(2.0, device="meta"),
        lambda: X + torch.arange(4.0),
        lambda: torch.as_tensor(2.0, device="meta"),
        lambda: X.new_tensor([2.0]),
        lambda: X.cpu(),
        lambda: torch.arange(4.0).to("meta"),
        lambda: torch.rand(4, device="meta"),
        lambda: torch.rand(4, generator=FOREIGN, device="meta"),
        lambda: torch.equal(X, X),
    ],
)
def test_the_watch_sees_what_no_graph_records(fault):
    with pytest.raises((NotCapturableError, RuntimeError)), Watch([OWN]):
        fault()


@pytest.fixture
def on_tape(monkeypatch):
    """`--cuda-graph` on the CPU: a tape in place of a graph, of operations of torch alone."""
    monkeypatch.setenv("METARL_NATIVE", "off")
    for module in (cuda_graph, recurrent):
        monkeypatch.setattr(module, "require_cuda", lambda device: None)
    monkeypatch.setattr(cuda_graph, "record", tape.record)


@fewer_cases
def test_replays_train_the_same_agent_bit_for_bit(on_tape, tmp_path, method, preset):
    few = (*options(method, preset), "--iterations", "6")
    eager = train(tmp_path / "eager", *few)
    replayed = train(tmp_path / "replayed", *few, "--cuda-graph")
    for run, other in zip(replayed, eager, strict=True):
        assert_same(run, other)


@pytest.mark.parametrize("resume", [("--cuda-graph",), ()])
def test_a_replayed_run_resumes_bit_for_bit(on_tape, tmp_path, resume):
    few = (*options("warp", "ppo"), "--iterations", "5", "--checkpoint-every", "3", "--cuda-graph")
    (whole,) = train(tmp_path / "whole", *few)
    (cut,) = train(tmp_path / "cut", *few)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 3
    main(["train", "--resume", str(cut.path), *resume])
    assert_same(cut, whole)


def test_a_cpu_is_refused_before_any_work(tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        train(tmp_path / "run", "--cuda-graph")
    assert refusal.value.code == 2
    assert "'cpu'; drop --cuda-graph, or choose --device cuda" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@cases
def test_on_cuda_a_graph_trains_the_same_agent(tmp_path, method, preset):
    few = (*options(method, preset), "--iterations", "20", "--device", "cuda")
    eager = train(tmp_path / "eager", *few)
    graph = train(tmp_path / "graph", *few, "--cuda-graph")
    for run, other in zip(graph, eager, strict=True):
        for name, value in learned(run).items():
            torch.testing.assert_close(value, learned(other)[name], rtol=1e-3, atol=1e-4)
