"""Levels that gradient learners adapt to, scored by what adaptation gained."""

import torch

from metarl.core import sgd
from metarl.core.settings import OuterSettings
from metarl.meta import Reptile
from metarl.methods.curricula import LevelsByGain
from metarl.train.curriculum import PLR
from metarl.train.trainer import Trainer


class Numbers:
    """Levels 0 to n - 1."""

    width = 1

    def draw(self, n, generator):
        return torch.arange(n)[:, None]

    def keys(self, levels):
        return levels[:, 0]


class Batch:
    """Levels that were played, and what they paid."""

    def __init__(self, levels):
        self.levels, self.metrics = levels, {"return": levels[:, 0]}


class Tasks:
    """A task a level, whose loss is its number times w; that of number 2 is no number."""

    def __init__(self, levels):
        self.levels, self.num_tasks = levels, len(levels)

    def sample(self, fast, slow, split):
        return Batch(self.levels.double())

    def loss(self, fast, slow, batch):
        return (fast["w"] * torch.where(batch.levels == 2, torch.nan, batch.levels)).sum(1)

    def select(self, tasks):
        return Tasks(self.levels[tasks])

    def measured(self, drawn):
        returns = [metrics["return"] for _, metrics in drawn]
        return {"return": returns[-1], "return_before": returns[0]}


class Episodes:
    def of(self, tasks, generator):
        return Tasks(tasks)


def test_levels_behind_a_task_that_was_skipped_in_serial_order_are_not_scored():
    params = {"w": torch.ones(1, dtype=torch.float64)}
    learner = Reptile(params, rule=sgd(0.1), num_steps=1, schedule="serial")
    sampler = PLR(capacity=8).sampler(Numbers(), torch.Generator())
    curriculum = LevelsByGain(sampler, Trainer(learner, OuterSettings()), Episodes(), True)
    found = curriculum.step(5, torch.Generator(), None)
    assert found["skipped"].item() == 1
    assert sorted(sampler.buffer.keys.tolist()) == [0, 1, 2]
