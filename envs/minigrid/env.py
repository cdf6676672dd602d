"""Minigrid's own environments, played on tasks that are set: what the tensor twin is held against.

The grids, the rules, what is seen and every picture are Minigrid's. What is added is the task: a
grid that is put in place instead of drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from ..base.checks import check_discrete
from ..base.single import TaskEnv
from .drawing import TILE
from .dynamics import ACTIONS, NUM_ACTIONS
from .reading import make_minigrid, read_grid, set_task
from .settings import MinigridSettings, Tasks
from .tasks import MinigridTask, picture
from .views import LOOKS, Forms, Observe, codes_of_image

__all__ = ["MinigridEnv"]


class MinigridEnv(TaskEnv[MinigridTask, np.int64]):
    """Tasks of Minigrid, played by Minigrid.

    ## Description
    The agent turns, walks, and picks up, drops and toggles what is in front of it, in a grid with
    walls, lava, doors, keys, balls and boxes. What it has to do depends on the family: reach the
    goal, open a door, fetch an object. Every id of Minigrid and BabyAI is a distribution of such
    tasks; see `envs.minigrid_tasks`.

    ## Action Space
    ``Discrete(7)``: 0 left, 1 right, 2 forward, 3 pickup, 4 drop, 5 toggle, 6 done.

    ## Observation Space
    An array, not a dict: Minigrid's image, ``Box(0, 255, (7, 7, 3), uint8)``, kind, colour and
    state of each cell of a view. Entry [i, j] is i cells across from the left and j cells from the
    far edge; the agent is at [3, 6]. ``observe="codes"``: ``Box(0, 255, (49,), uint8)``, one byte
    for each cell, see `envs.minigrid.codes`. ``observe="onehot"``: ``Box(0, 1, (7, 7, 20),
    float32)``. ``observe="maze"``: ``Box(0, 1, (7, 7, 2), float32)``, walls and goals, all that
    mazes have. With ``direction=True`` or ``mission=True`` the observation is flat: after the cells
    come four numbers that say where the agent looks, and 34 that say kind and colour of the one
    or two objects which the mission names. Always there are ``info["direction"]`` and
    ``info["mission"]``.

    ## Rewards
    ``1 - 0.9 * step / max_steps`` for success, 0 otherwise. Moving obstacles: -1 for running into
    something.

    ## Starting State
    As the task says. Nothing is carried.

    ## Episode End
    Terminated by success, lava, and what the family's rule says (`envs.minigrid.rules`). Truncated
    after the task's `max_steps`, or after `horizon` steps if that is less. Both can be true in the
    last step, as in Minigrid.

    ## Tasks
    ``reset(options={"task": task})`` sets a `MinigridTask`; see `envs.base.single`. Nothing within
    a task is random, but in Dynamic-Obstacles.

    ## Arguments
    ```python
    gymnasium.make("metarl/Minigrid-v0", tasks="MiniGrid-FourRooms-v0")
    ```
    * `tasks`: a `TaskSet` or a sequence of `MinigridTask` to draw from, such as
      `envs.minigrid_tasks` makes; or an id, for what its first 1,000 seeds give. By default all 42
      of MiniGrid-SimpleCrossingS9N1-v0
    * `horizon`: steps in an episode, at most; by default the most that one of the tasks has
    * `observe`: ``"image"``, ``"codes"``, ``"onehot"`` or ``"maze"``
    * `direction`: see the agent's direction too
    * `mission`: see which objects the mission names
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (Minigrid's picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = MinigridTask
    may_terminate = True
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        *,
        tasks: Tasks | None = None,
        horizon: int | None = None,
        observe: Observe = "image",
        direction: bool = False,
        mission: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.settings = MinigridSettings.check(tasks, horizon, observe)
        super().__init__(self.settings.tasks, self.settings.horizon, render_mode)
        cpu = torch.device("cpu")
        self._forms = Forms(observe, direction, mission, self.settings.view_size, cpu)
        self.observation_space: Any = self._forms.space
        self.action_space = Discrete(NUM_ACTIONS)
        if any(task.rule == "moving obstacles" for task in self.settings.tasks):
            self.reward_range = (-1.0, 1.0)
        self._envs: dict[str, Any] = {}

    @property
    def minigrid(self) -> Any:
        """Minigrid's own environment that plays the task at hand. Look, do not step it."""
        return self._envs[self.task.env_id]

    # The episode ----------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Starts an episode; see `envs.base.single`. Info has the direction and the mission too."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | self._said()

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Takes a step by `action`; see `envs.base.single`. Both flags can be true, as said."""
        observation, reward, terminated, _, info = super().step(action)
        assert self._elapsed is not None
        truncated = self._elapsed >= min(self.horizon, self.task.max_steps)
        self._ended = terminated or truncated
        return observation, reward, terminated, truncated, info | self._said()

    def _begin(self, task: MinigridTask) -> None:
        if task.env_id not in self._envs:
            self._envs[task.env_id] = make_minigrid(task.env_id)
        env = self.minigrid
        env.np_random = self.np_random  # of Dynamic-Obstacles
        set_task(env, task)
        self._image = env.gen_obs()["image"]

    def _read_action(self, action: Any) -> np.int64:
        names = ", ".join(f"{number} {name}" for number, name in enumerate(ACTIONS))
        return check_discrete(action, NUM_ACTIONS, names)

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        seen, reward, terminated, _, _ = self.minigrid.step(int(action))
        self._image = seen["image"]
        return float(reward), bool(terminated)

    def _observe(self) -> Any:
        codes = torch.from_numpy(codes_of_image(self._image)).int()
        direction = torch.tensor([int(self.minigrid.agent_dir)])
        named = np.zeros((2, LOOKS.shape[1]), dtype=np.float32)
        for row, cell in zip(named, self.task.named_cells, strict=False):
            row[:] = LOOKS[self.task.codes[cell[::-1]]]
        return self._forms(codes[None], direction, torch.from_numpy(named).view(1, -1))[0].numpy()

    def _said(self) -> dict[str, Any]:
        return {"direction": int(self.minigrid.agent_dir), "mission": self.minigrid.mission}

    def _check_task(self, task: Any) -> MinigridTask:
        checked = self.settings.check_task(task)
        if checked.rule == "moving obstacles" and self.reward_range[0] == 0:
            raise ValueError(
                f"task {checked.task_id} takes rewards away, which no task of this environment "
                "does: make one with tasks of this kind"
            )
        return checked

    # Pictures -------------------------------------------------------------------------------

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """A and D turn, W walks, E picks up, Q drops, space toggles, X is done."""
        return {(key,): action for action, key in enumerate("adweq x")}

    def _text(self) -> str:
        env = self.minigrid
        x, y = env.agent_pos
        codes, _ = read_grid(env)
        return "\n".join(picture(codes, (int(x), int(y)), int(env.agent_dir)))

    def _picture(self) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.minigrid.get_frame(True, TILE)
        return frame
