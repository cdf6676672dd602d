"""SB3 models before our evaluator."""

import numpy as np
import torch

from metarl.evaluate.returns import evaluate_agent
from metarl.rl import Agent
from metarl.sb3 import SB3Agent
from tests.metarl.sb3.models import GOALS, mazes, small_ppo


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_a_model_is_evaluated_and_repeats_from_a_seed_whatever_others_draw():
    model = small_ppo(mazes())
    tasks = {"tasks": list(GOALS.sample(4, np.random.default_rng(0)))}

    def returns(seed, outside):
        torch.manual_seed(outside)
        agent: Agent = SB3Agent(model, generator(seed))
        env = mazes(horizon=6, seed=1).env
        return evaluate_agent(agent, env, 2, 1, 6, options=tasks).lengths.tolist()

    assert returns(0, 0) == returns(0, 1)
    assert len({str(returns(seed, 0)) for seed in range(8)}) > 1


def test_it_leaves_the_global_generators_alone():
    agent = SB3Agent(small_ppo(mazes()), generator(0))
    agent.begin(4)
    torch.manual_seed(3)
    agent.act(torch.zeros(4, 9))
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))


def test_the_most_probable_action_is_the_models():
    model = small_ppo(mazes())
    x = torch.rand(30, 9, generator=generator(1))
    agent = SB3Agent(model, generator(0), deterministic=True)
    agent.begin(30)
    assert agent.act(x).tolist() == model.predict(x.numpy(), deterministic=True)[0].tolist()


class Counting:
    """Counts its steps in its state, which an episode's start empties."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        before = np.zeros(len(observation)) if state is None else state[0]
        now = np.where(episode_start, 1, before + 1)
        return now.astype(np.int64), (now,)


def test_memory_lasts_a_trial_whatever_ends_in_it():
    agent = SB3Agent(Counting(), generator(0))
    flags = torch.ones(2, dtype=torch.bool)
    for _ in range(2):
        agent.begin(2)
        for t in range(1, 4):
            assert agent.act(torch.zeros(2, 1)).tolist() == [t, t]
            agent.observe(torch.zeros(2), flags, flags)
