"""Tasks read from Minigrid's ids, and Minigrid's environments made to play a task.

Minigrid makes a grid from a seed, and `read_task` writes down what it made. `set_task` is the way
back: a Minigrid environment whose next step is the first of an episode on that task. Nothing here
is imported before the first task is read or played: Minigrid brings a window library along.
"""

from __future__ import annotations

import difflib
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from .codes import BOX_OF_KEY, COLOURS, KINDS, NOTHING, NUM_COLOURS, TEXTS, TRIPLES, code_of
from .rules import RULES, rule_of
from .tasks import MinigridTask

__all__ = [
    "build_grid",
    "make_minigrid",
    "new_object",
    "read_grid",
    "read_task",
    "reset_minigrid",
    "set_task",
]


def make_minigrid(env_id: str) -> Any:
    """Minigrid's own environment, without wrappers.

    Raises:
        ValueError: If there is no such id, or it is none of Minigrid's environments.
    """
    from minigrid.minigrid_env import MiniGridEnv  # registers its ids

    if env_id not in gymnasium.registry:
        names = [name for name in gymnasium.registry if _is_minigrid(name)]
        near = difflib.get_close_matches(env_id, names, n=4, cutoff=0.5)
        if not near:
            near = [name for name in names if str(env_id).lower() in name.lower()][:4]
        hint = f"did you mean {', '.join(near)}?" if near else f"they are such as {names[0]}"
        raise ValueError(f"there is no Minigrid environment {env_id!r}: {hint}")
    try:
        env = gymnasium.make(env_id, disable_env_checker=True).unwrapped
    except ImportError as error:
        raise ValueError(f"{env_id} needs a package that is not there: {error}") from error
    if not isinstance(env, MiniGridEnv):
        raise ValueError(
            f"{env_id} is a {type(env).__name__}, no Minigrid environment: give an id such as "
            "MiniGrid-FourRooms-v0"
        )
    return env


def _is_minigrid(env_id: str) -> bool:
    return env_id.startswith(("MiniGrid-", "BabyAI-"))


def reset_minigrid(env: Any, env_id: str, seed: int) -> None:
    """Resets Minigrid's own environment.

    Raises:
        ValueError: If it cannot make a grid: files or packages of this id are missing.
    """
    try:
        env.reset(seed=seed)
    except (ImportError, FileNotFoundError) as error:
        raise ValueError(
            f"{env_id} cannot make a grid, because something of it is missing here ({error}). The "
            "pictures that the WFC environments copy are not in Minigrid's wheel: install it from "
            "its source tree, with networkx and imageio, or take another id"
        ) from error


def read_task(env: Any, env_id: str, seed: int | None = None) -> MinigridTask:
    """The task of a Minigrid environment that was just reset.

    Args:
        env: The environment, without wrappers.
        env_id: Its id.
        seed: The seed of the reset.

    Raises:
        ValueError: If the grid holds an object that Minigrid's numbers do not say.
    """
    codes, known = read_grid(env)
    name = rule_of(env) if known else None
    rows = ["".join(TEXTS[code] for code in row) for row in codes.tolist()]
    x, y = env.agent_pos
    return MinigridTask(
        grid="\n".join(rows),
        agent=(int(x), int(y)),
        direction=int(env.agent_dir),
        mission=str(env.mission),
        max_steps=int(env.max_steps),
        rule=env_id if name is None else name,
        targets=() if name is None else RULES[name].read(env),
        see_through=bool(env.see_through_walls),
        view_size=int(env.agent_view_size),
        env_id=env_id,
        seed=seed,
    )


def read_grid(env: Any) -> tuple[NDArray[np.uint8], bool]:
    """The codes of a Minigrid environment's cells, uint8 [H, W], and whether they say all.

    Raises:
        ValueError: If the grid holds an object that Minigrid's numbers do not say.
    """
    things = [_code(thing) for thing in env.grid.grid]
    codes = np.array([code for code, _ in things], dtype=np.uint8)
    return codes.reshape(-1, env.grid.width), all(exact for _, exact in things)


def _code(thing: Any) -> tuple[int, bool]:
    """Code of an object, and whether it behaves as Minigrid's objects of that code do.

    Raises:
        ValueError: If it is of no kind that a grid can hold.
    """
    if thing is None:
        return NOTHING, True
    kind, colour, state = (int(number) for number in thing.encode())
    own = type(thing).__module__ == "minigrid.core.world_object"
    held = thing.contains
    try:
        if held is not None and KINDS[kind] == "box" and held.type == "key":
            return code_of("box", COLOURS[colour], key=held.color), own
        return code_of(KINDS[kind], COLOURS[colour], state), own and held is None
    except (KeyError, IndexError):
        raise ValueError(
            f"a grid holds an object {thing!r} of kind {kind}, colour {colour} and state {state}, "
            "which a MinigridTask cannot say"
        ) from None


def set_task(env: Any, task: MinigridTask) -> None:
    """Starts an episode on a task in a Minigrid environment; nothing is drawn.

    Args:
        env: An environment of the task's id, without wrappers.
        task: The task.

    Raises:
        ValueError: If the task has a rule of its own, and its seed gives another grid here.
    """
    if task.rule in RULES:
        _build(env, task)
        RULES[task.rule].write(env, task.targets)
        return
    assert task.seed is not None
    reset_minigrid(env, task.env_id, task.seed)
    env.agent_view_size = task.view_size
    if read_task(env, task.env_id, task.seed) != task:
        raise ValueError(
            f"seed {task.seed} of {task.env_id} does not give task {task.task_id} here: it was "
            "read with another version of Minigrid, or changed since"
        )


def _build(env: Any, task: MinigridTask) -> None:
    """Puts the grid, the agent and the settings of a task into an environment."""
    build_grid(env, task.codes)
    env.agent_pos, env.agent_dir = task.agent, task.direction
    env.carrying, env.step_count = None, 0
    env.max_steps, env.see_through_walls = task.max_steps, task.see_through
    env.agent_view_size, env.mission = task.view_size, task.mission


def build_grid(env: Any, codes: NDArray[np.uint8]) -> None:
    """Puts a grid of codes, uint8 [H, W], into an environment."""
    from minigrid.core.grid import Grid

    env.height, env.width = codes.shape
    env.grid = Grid(env.width, env.height)
    for (y, x), code in np.ndenumerate(codes):
        thing = new_object(int(code))
        env.grid.set(int(x), int(y), thing)
        if thing is not None:
            thing.init_pos = thing.cur_pos = (int(x), int(y))


def new_object(code: int) -> Any:
    """A new object of Minigrid's; None for nothing."""
    from minigrid.core.world_object import Box, Goal, Key, Lava, WorldObj

    if code >= BOX_OF_KEY:
        box, key = divmod(code - BOX_OF_KEY, NUM_COLOURS)
        return Box(COLOURS[box], Key(COLOURS[key]))
    kind, colour, state = (int(number) for number in TRIPLES[code])
    thing = WorldObj.decode(kind, colour, state)
    if isinstance(thing, Goal | Lava):
        thing.color = COLOURS[colour]
    return thing
