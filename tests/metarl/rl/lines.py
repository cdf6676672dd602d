"""Environments of nobody's package, as `--env module:factory` finds them."""

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import TimeLimit

from metarl.rl import GymnasiumProblem


class Line(gymnasium.Env):
    """Walk to a hidden end of a line, left or right; the seed of a reset says which."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    observation_space = Box(-1, 1, (3,), np.float32)
    action_space = Discrete(2)

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode
        self.task = 1
        self.end = 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        if seed is not None:
            self.end = 1 if seed % 2 else -1
        return self._seen(), {}

    def step(self, action):
        self.place += 1 if action else -1
        over = abs(self.place) == 2
        return self._seen(), float(over and self.place * self.end > 0), over, False, {}

    def render(self):
        frame = np.full((20, 60, 3), 255, np.uint8)
        frame[5:15, 28 + 10 * self.place : 34 + 10 * self.place] = 0
        return frame

    def _seen(self):
        return np.array([self.place / 2, 1, 0], np.float32)


class ToldLine(Line):
    """The same, told the end by its attribute ``task``."""

    def reset(self, *, seed=None, options=None):
        seen = super().reset(seed=seed)
        self.end = self.task
        return seen


class Continuous(Line):
    """The same with one continuous action, which counts from -2 to 2."""

    action_space = Box(-2, 2, (1,), np.float32)

    def step(self, action):
        return super().step(int(action[0] > 0))


class Blind(Line):
    """The same without pictures."""

    def __init__(self):
        super().__init__(render_mode=None)

    def render(self):
        return None


class Ends:
    """Tasks that are given."""

    def __init__(self, *ends):
        self.ends = ends

    def sample(self, n, generator):
        drawn = torch.randint(len(self.ends), (n,), generator=generator).tolist()
        return [self.ends[i] for i in drawn]

    def __len__(self):
        return len(self.ends)

    def __iter__(self):
        return iter(self.ends)


def single():
    return TimeLimit(Line(), 6)


def blind():
    return TimeLimit(Blind(), 6)


def continuous():
    return TimeLimit(Continuous(), 6)


def endless():
    return Line()


def vector(num_envs):
    return gymnasium.vector.SyncVectorEnv([single] * num_envs)


def fixed_vector():
    return gymnasium.vector.SyncVectorEnv([single] * 2)


def told():
    return GymnasiumProblem(
        lambda: TimeLimit(ToldLine(), 6),
        *(Ends(1, -1), Ends(2, -2), Ends(3, -3)),
        task_via="attribute",
        has_goal=True,
        name="line",
    )


def shared_tasks():
    return GymnasiumProblem(
        lambda: TimeLimit(ToldLine(), 6),
        *(Ends(1, -1), Ends(2, -2), Ends(1, -3)),
        task_via="attribute",
    )


NUMBER = 3
