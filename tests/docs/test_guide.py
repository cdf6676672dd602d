"""The examples of the guide run as they stand, and what they train learns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from metarl.core import sgd
from metarl.meta import MAML
from tests.markdown import code_blocks, run_blocks
from tests.metarl.meta.problems import regression, relative_error

GUIDE = Path(__file__).parents[2] / "docs/guide.md"
Names = dict[str, Any]


class Encoder(nn.Module):
    """A module with another method than its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(1, 8), nn.Linear(8, 1)

    def encode(self, x: Tensor) -> Tensor:
        return torch.tanh(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encode(x))


def blocks(heading: str) -> list[str]:
    """The Python examples under a heading."""
    sections = re.split(r"^## ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [s for s in sections if s.startswith(heading + "\n")]
    return code_blocks(body, "python")


def run(heading: str, *, loops: bool) -> Names:
    """What the examples leave behind; without loops, nothing is trained."""
    torch.manual_seed(0)
    found = blocks(heading)
    if not loops:
        found = [re.sub(r"range\(\d+\d\):", "range(0):", block) for block in found]
    return run_blocks(found, heading)


def clone_of(names: Names, task: Any) -> Callable[[Tensor], Tensor]:
    clone = names["maml"].clone(first_order=True)
    for _ in range(2):
        x, y = task.sample("support")
        clone.adapt(mse_loss(clone(x), y))
    return clone


def warped(names: Names, task: Any) -> Callable[[Tensor], Tensor]:
    warp = names["warp"]
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.adapt_parameters(), lr=0.01)
    for _ in range(5):
        x, y = task.sample("support")
        optimiser.zero_grad()
        mse_loss(warp(x), y).backward()
        optimiser.step()
    return warp


def error(names: Names, adapt: Callable[[Names, Any], Callable[[Tensor], Tensor]]) -> float:
    """The mean squared error on 20 new tasks, the same ones every time."""
    torch.manual_seed(1)
    errors = []
    for _ in range(20):
        task = names["SineTask"]()
        adapted = adapt(names, task)
        x, y = task.sample("query")
        with torch.no_grad():
            errors.append(float(mse_loss(adapted(x), y)))
    return sum(errors) / len(errors)


def test_your_own_loop_learns() -> None:
    assert len(blocks("Write your own loop")) == 3
    before, after = (run("Write your own loop", loops=loops) for loops in (False, True))
    assert error(after, clone_of) < 0.9 * error(before, clone_of)
    assert error(after, warped) < 0.9 * error(before, warped)
    assert set(after["losses"]) == {"support_loss", "query_loss"}


def test_the_rule_beside_the_example_adapts_methods_of_the_model_too() -> None:
    (rule,) = re.findall(r"^# rule=(.*)$", blocks("Write your own loop")[0], flags=re.MULTILINE)
    metarl = run("Write your own loop", loops=False)["metarl"]
    model = Encoder()
    clone = metarl.MAML(model, rule=eval(rule, {"metarl": metarl})).clone()
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    before = clone.encode(x)
    clone.adapt(mse_loss(clone(x), 100 * x))
    moved = (clone.encoder.weight - model.encoder.weight).abs()
    assert (clone.encode(x) != before).any()
    assert moved.max() < 0.011  # Adam's first step: the step size, and some decay


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("named", [False, True])
def test_warp_sees_the_optimisers_that_are_named_beside_it(kind: str, named: bool) -> None:
    """Without the rule of the example, and without `register_optimizer`."""
    first, warped_loop, _ = blocks("Write your own loop")
    code = warped_loop.replace(", rule=metarl.sgd(0.01)", "").replace(
        "optim.SGD(", f"optim.{kind}("
    )
    code = code.replace("range(20)", "range(1)")
    if named:
        line = "        for _ in range(5):"
        code = code.replace(line, f"        warp.register_optimizer(optimiser)\n{line}")
    names = run_blocks([re.sub(r"range\(\d+\d\):", "range(0):", first), code], "guide")
    assert names["warp"].updater.rule is None
    assert ("register_optimizer" in code) == named
    assert names["losses"]["query_loss"] > 0


def test_a_module_learns_through_the_batched_learners_as_by_hand() -> None:
    """Adaptation of the guide's batched networks is that of one network, task by task."""
    names = run("Write your own loop", loops=False)
    learner, net = names["learner"], names["net"]
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(learner.params[f"fast.{name}"])
    for i in range(2):
        clone = names["metarl"].MAML(net, lr=0.1).clone(first_order=True)
        x, y = names["few_shot"][32 + i].sample("support")
        for _ in range(5):
            clone.adapt(cross_entropy(clone(x), y))
        for name, p in clone.named_parameters():
            assert torch.allclose(names["adapted"][name][i], p, atol=1e-5), name
    assert names["adapted"]["1.weight"].shape == (8, 32, 64)


def test_the_added_learner_learns_and_reduces_to_maml() -> None:
    names = run("Add a learner in one file", loops=True)
    untrained = run("Add a learner in one file", loops=False)["learner"]
    tasks = names["SupervisedTasks"](names["network"], names["examples"], names["family"].criterion)
    (before,), (after,) = (list(m.meta_gradients(tasks)) for m in (untrained, names["learner"]))
    assert after["query_loss"].mean() < 0.8 * before["query_loss"].mean()
    problem = regression()
    learners = [
        kind(problem.init(), rule=sgd(0.1), num_steps=1) for kind in (names["MultiStepMAML"], MAML)
    ]
    for learner in learners:
        list(learner.meta_gradients(problem))
    mine, theirs = ({n: p.grad for n, p in learner.params.items()} for learner in learners)
    assert relative_error(mine, theirs) < 1e-12


def test_your_own_environment_and_a_run_in_sb3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two iterations instead of ten; the run is one that the script has made."""
    from tests.experiments.scripts import maze_adapt as main

    monkeypatch.chdir(tmp_path)
    small = ("--hidden", "4", "--meta-batch", "2", "--episodes", "2", "--horizon", "6")
    where = ("--env", "maze", "--size", "5", "--iterations", "1", "--run-dir", "runs/adapt")
    main(["train", *where, *small, "--device", "cpu"])
    torch.manual_seed(0)
    own, _, adapted = blocks("Bring your own environment")
    names = run_blocks([own.replace("range(10)", "range(2)")], "guide")
    assert len({pole.unwrapped.length for pole in names["poles"].envs}) == 2  # a task for five
    assert all((names["metrics"][name] > 5).all() for name in ("return_before", "return"))
    before = names["policy"].init(torch.Generator().manual_seed(0))
    assert any((p != before[n]).any() for n, p in names["learner"].fast.items())
    run_blocks([adapted], "guide", names)
    assert names["mean"] >= 0.0
    assert {len(p) for p in names["adapted"].agent.params.values()} == {1}


def test_a_memory_on_an_environment_that_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two iterations, two tasks and short episodes."""
    monkeypatch.chdir(tmp_path)
    _, block, _ = blocks("Bring your own environment")
    changes = {"max_steps=60": "max_steps=5", "=300": "=2, meta_batch=2", "=20)": "=2, episodes=2)"}
    for many, few in changes.items():
        assert many in block
        block = block.replace(many, few)
    names = run_blocks([block], "guide")
    assert len([line for line in block.splitlines() if line]) <= 13
    assert names["rooms"].horizon == 5
    summary = json.loads((tmp_path / "runs/rooms/summary.json").read_text())
    assert (summary["iteration"], len(summary["return_mean"])) == (2, 4)  # episodes of a trial


def test_experiments_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One iteration, two tasks and one seed instead of many."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("From Python")
    for many, few in {"=100": "=1", "=50": "=2", "=64": "=2", "(0, 1)": "(0,)"}.items():
        assert many in block
        block = block.replace(many, few)
    names = run_blocks([block], "guide")
    assert len(names["returns"]) > 2
    assert (tmp_path / "runs/compare-arms/comparison.md").is_file()
    names["agent"].begin()
    assert names["agent"].act(torch.zeros(1)) in range(7)


def test_the_mazes_by_themselves() -> None:
    names = run_blocks(blocks("Use it"), "guide")
    assert names["total"] > 3
    assert names["observations"].shape[0] == 4096
