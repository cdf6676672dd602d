"""A share of environments draws what all of them would draw, and takes its own."""

import pytest
import torch

from envs.problems import MDP, Bandit, GridNavi, Maze, Point, RandomMazes

PROBLEMS = (Bandit(horizon=4), MDP(horizon=4), GridNavi(horizon=4), Point(horizon=4))
MAZES = (Maze(size=9, horizon=4), RandomMazes(mazes="dfs", size="9", horizon=4))
WHOLE = 5


def played(problem, here=None, num_generators=2):
    """Observations and rewards of episodes, [steps, generators, environments, ...]."""
    num = WHOLE if here is None else here.stop - here.start
    generators = [torch.Generator().manual_seed(seed) for seed in range(num_generators)]
    env = problem.make_env(num * num_generators, generators, torch.device("cpu"))
    if here is not None:
        env.use_share(WHOLE, here.start)
    reset = getattr(env, "reset_tensors", env.reset)
    step = getattr(env, "step_tensors", env.step)
    seen = []
    for same in (False, True, False):
        observation, _ = reset(options={"same_task": same} if same else None)
        seen.append(observation)
        for _ in range(4):
            action = problem.actions
            like = torch.zeros(num * num_generators, *(action.shape or ()))
            observation, reward, *_ = step(like if action.shape else like.long())
            seen += [observation, reward]
    return [part.reshape(num_generators, num, -1) for part in seen]


@pytest.mark.parametrize("problem", [*PROBLEMS, *MAZES], ids=lambda p: type(p).__name__)
def test_shares_together_are_the_whole(problem):
    whole = played(problem)
    parts = [played(problem, here) for here in (slice(0, 2), slice(2, 3), slice(3, 5))]
    for one, *some in zip(whole, *parts, strict=True):
        assert torch.equal(one, torch.cat(some, 1))


def test_a_share_must_be_among_the_whole():
    env = PROBLEMS[0].make_env(4, [torch.Generator()], torch.device("cpu"))
    with pytest.raises(ValueError, match="4 environments from number 2 on are not among 5"):
        env.use_share(5, 2)
