"""Thousands of Minigrid environments as one tensor program: the twin of `envs.minigrid.env`.

Grids of all sizes and families play side by side. The cells of all of them are one array of codes,
a wall around each as deep as a view; the position of an agent is a place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.arrays import StepResult
from ..base.checks import LARGEST
from ..base.own_time import rows_where
from ..base.tensor import TensorEnv
from .codes import LIGHT, NUM_CODES, WALL
from .dynamics import (
    DONE,
    EMPTY_HAND,
    ENDINGS,
    HAND_SHIFT,
    HANDS,
    MOVES,
    NUM_ACTIONS,
    PICKUP,
    TOGGLE,
    TURN_SHIFT,
    WINS,
    Happening,
    State,
    transition_table,
)
from .rules import RULES
from .settings import MinigridSettings, Tasks
from .tasks import CANVAS, FACTS, NUMBERED, WORDS, MinigridTask
from .views import LOOKS, MOST_VIEW, Forms, Observe, Shadows, extras_of, observation_space

__all__ = ["MinigridVectorEnv"]

NAMES = tuple(RULES)
TARGET_NAMES = ("first_target", "second_target")
TARGETS = slice(FACTS.index(TARGET_NAMES[0]), FACTS.index(TARGET_NAMES[1]) + 1)
KEY = FACTS.index("key")


class MinigridVectorEnv(TensorEnv[MinigridTask]):
    """B Minigrid environments on a torch device; dynamics as in `MinigridEnv`, step for step.

    Observations are arrays, not dicts: Minigrid's image, uint8 [B, 7, 7, 3], entry [i, j] of each
    i cells across from the left and j cells from the far edge. ``info["direction"]``, int64 [B], is
    there after every step; the missions of the tasks at hand are `missions`. Actions are int64 [B].
    A task's parameters are its grid and its facts, see `MinigridTask.arrays`; set as numbers on a
    GPU they are not looked at: those must have rules and sizes that the environment knows from
    `tasks`, or from `task_tensor`. Rewards are
    Minigrid's, float32; and float64, to the last bit, where it speaks NumPy.

    As in Minigrid an episode can be terminated and truncated at once, in its last step. It is
    truncated after the task's own number of steps, or after `horizon` if that is less.

    What is played here are the rules that `envs.minigrid.rules.RULES` lists, but for moving
    obstacles, on grids of at most 25 x 25. Everything else is refused by name, and played by
    Minigrid itself (`MinigridEnv`; ``gymnasium.make_vec(..., vectorization_mode="sync")``).

    Args:
        num_envs: Number of environments, B.
        tasks, horizon, observe, direction, mission: As in `MinigridEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range or a task cannot be played here.
    """

    task_type = MinigridTask
    parameter_dtype = torch.int64
    may_terminate = True
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tasks: Tasks | None = None,
        horizon: int | None = None,
        observe: Observe = "image",
        direction: bool = False,
        mission: bool = False,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        self.settings = MinigridSettings.check(tasks, horizon, observe)
        source, view_size = self.settings.tasks, self.settings.view_size
        if view_size > MOST_VIEW:
            raise ValueError(
                f"the tensor environment has views of up to {MOST_VIEW} rows and columns, the "
                f"tasks have {view_size}: play them with Minigrid itself, "
                'gymnasium.make("metarl/Minigrid-v0", tasks=...)'
            )
        for task in source:
            task.check_twin()
        super().__init__(
            num_envs,
            source,
            self.settings.horizon,
            {"grid": (WORDS,), "facts": (len(FACTS),)},
            observation_space(observe, view_size, extras_of(direction, mission)),
            Discrete(NUM_ACTIONS),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._forms = Forms(observe, direction, mission, view_size, self.device)
        self._validate = validate_actions and self.device.type == "cpu"
        self._known: dict[int, MinigridTask] = {}
        self._rules: set[str] = set()
        self._see_through: set[bool] = set()
        self._needed: tuple[int, ...] = (0, 0)  # rows and columns
        for task in source:
            self._learn(task)
        self._table = torch.tensor(transition_table(), device=self.device)
        self._looks = torch.tensor(LOOKS, device=self.device)
        self._num_named = torch.tensor([r.named for r in RULES.values()], device=self.device)
        self._terminated = self._truncated = self._false
        self._seen: torch.Tensor | None = None  # the last observations, until something changes
        self._stale: torch.Tensor | None = None  # numbers of environments that began after them
        self._allocate()

    def _allocate(self) -> None:
        """Makes room for the grids: as many rows and columns as the largest has."""
        self.height, self.width = self._needed
        # Views reach as far beside a grid as ahead; what is right of a row is left of the next.
        margin = self.settings.view_size - 1
        self._stride = self.width + margin
        num_rows = self.height + 2 * margin + 1
        shape = (self.num_envs, num_rows, self._stride)
        self._grids = torch.full(shape, WALL, dtype=torch.uint8, device=self.device)
        inside = slice(margin, margin + self.height), slice(margin, margin + self.width)
        self._where_inside = slice(None), *inside
        self._corners = torch.arange(self.num_envs, device=self.device) * (num_rows * self._stride)
        self._corners += margin * (self._stride + 1)
        steps = [1, self._stride, -1, -self._stride]
        self._ahead = torch.tensor(steps, device=self.device)
        self._shadows = Shadows(self.settings.view_size, self._stride, self.device)

    @property
    def _cells(self) -> torch.Tensor:
        """uint8 [M], all cells of all grids; written into."""
        return self._grids.view(-1)

    @property
    def _inside(self) -> torch.Tensor:
        """uint8 [B, H, W], the cells of the grids without what is around them; written into."""
        return self._grids[self._where_inside]

    # Beginnings -----------------------------------------------------------------------------

    def _begin(self, started: torch.Tensor | None) -> None:
        if started is None:
            if self._needed != (self.height, self.width):
                self._allocate()
            self._terminated = self._truncated = self._false
            self._inside.copy_(self._canvas(self._params[0]))
            self._state = self._first_state(self._corners, *self._params)
        elif self.device.type == "cpu":  # elsewhere it would have to wait to know which they are
            numbers = started.nonzero().view(-1)
            if len(numbers):
                grids, facts = (array[numbers] for array in self._params)
                self._inside[numbers] = self._canvas(grids)
                first = self._first_state(self._corners[numbers], grids, facts)
                pairs = zip(self._state, first, strict=True)
                self._state = State(*(old.index_copy(0, numbers, new) for old, new in pairs))
                self._stale = numbers
            return
        else:
            canvas = self._canvas(self._params[0])
            self._inside.copy_(rows_where(started, canvas, self._inside))
            pairs = zip(self._first_state(self._corners, *self._params), self._state, strict=True)
            self._state = State(*(rows_where(started, new, old) for new, old in pairs))
        self._seen = self._stale = None

    def _canvas(self, grids: torch.Tensor) -> torch.Tensor:
        """uint8 [N, H, W], the codes of int64 [N, WORDS]."""
        codes = grids.contiguous().view(torch.uint8)[:, : CANVAS**2]
        return codes.reshape(-1, CANVAS, CANVAS)[:, : self.height, : self.width]

    def _first_state(
        self, corners: torch.Tensor, grids: torch.Tensor, facts: torch.Tensor
    ) -> State:
        """The state at the start of N episodes."""
        fact = dict(zip(FACTS, facts.unbind(1), strict=True))
        codes = grids.contiguous().view(torch.uint8)
        on_canvas = facts[:, TARGETS]  # [N, 2]
        looks = codes.gather(1, on_canvas)  # [N, 2]
        places = [self._place(corners, fact[name]) for name in ("agent", *TARGET_NAMES)]
        seen = torch.arange(2, device=self.device) < self._num_named[fact["rule"]].unsqueeze(1)
        named = self._looks[looks.long()] * seen.unsqueeze(2)  # [N, 2, kinds + colours]
        nothing = torch.zeros_like(fact["rule"])
        return State(
            position=places[0],
            direction=fact["direction"],
            hand=nothing + EMPTY_HAND,
            steps=nothing,
            first=places[1],
            second=places[2],
            wanted=looks[:, 0].long() - LIGHT,
            limit=fact["max_steps"].clamp(max=self.horizon),
            max_steps=fact["max_steps"],
            rule=fact["rule"],
            see_through=fact["see_through"] == 1,
            named=named.flatten(1),
        )

    def _place(self, corners: torch.Tensor, on_canvas: torch.Tensor) -> torch.Tensor:
        """Cells of a canvas, int64 [N], as places among all cells."""
        row = torch.div(on_canvas, CANVAS, rounding_mode="floor")
        return corners + row * self._stride + on_canvas - row * CANVAS

    # Steps ----------------------------------------------------------------------------------

    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""
        observations, rewards, ended, _, info = super().step_tensors(actions)
        info["direction"] = self._state.direction
        return observations, rewards, self._terminated & ended, self._truncated & ended, info

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, NUM_ACTIONS, validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        state = self._state
        if not self._out_of_step:  # what has ended stays as it is
            actions = actions.masked_fill(self._ended, DONE)
        if "memory" in self._rules:
            here = (state.rule == NAMES.index("memory")) & (actions == PICKUP)
            actions = actions.masked_fill(here, TOGGLE)
        front = state.position + self._ahead.index_select(0, state.direction)
        before = self._cells.index_select(0, front)
        case = (actions * NUM_CODES + before) * HANDS + state.hand
        entry = self._table.index_select(0, case)
        self._cells.index_copy_(0, front, (entry & 0xFF).to(torch.uint8))
        moved = state._replace(
            position=torch.where((entry & MOVES) != 0, front, state.position),
            direction=(state.direction + (entry >> TURN_SHIFT)) & 3,
            hand=(entry >> HAND_SHIFT) & (HANDS - 1),
            steps=state.steps + 1,
        )
        won, over = (entry & WINS) != 0, entry >= WINS
        happening = Happening(
            *(actions, moved.position, front, before, state.hand, moved.hand),
            *(state.first, state.second, state.wanted, self._cells, self._stride),
        )
        won, over = self._ruled(happening, won, over)
        return self._ended_by(moved, won, over)

    def _ruled(
        self, happening: Happening, won: torch.Tensor, over: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Success and end, bool [B] each, with what the rules add to the goal and the lava."""
        for name in sorted(self._rules - {"goal"}):
            more_won, more_over = ENDINGS[name](happening)
            if len(self._rules) > 1:
                here = self._state.rule == NAMES.index(name)
                more_won, more_over = more_won & here, more_over & here
            won, over = won | more_won, over | more_over
        return won, over

    def _ended_by(
        self, moved: State, won: torch.Tensor, over: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards, and where episodes end, [B] each; keeps the state and both kinds of end."""
        if not self._out_of_step:
            steps = torch.where(self._ended, self._state.steps, moved.steps)
            moved = moved._replace(steps=steps)
            over = self._terminated | (over & ~self._ended)
        self._state, self._seen, self._stale = moved, None, None
        self._terminated, self._truncated = over, moved.steps >= moved.limit
        # As Minigrid counts, in double precision: rounded once, to what is returned.
        paid = 1 - 0.9 * (moved.steps.double() / moved.max_steps)
        rewards = torch.where(won, paid, 0.0)
        if not self.speaks_numpy:
            rewards = rewards.float()
        return rewards, over | self._truncated

    def _observe(self) -> torch.Tensor:
        """Views of now; where few episodes began since the last look, only these look again."""
        if self._seen is None:
            self._seen = self._look(self._state)
            return self._seen
        numbers, self._stale = self._stale, None
        if numbers is None:
            return self._seen.clone()
        looking = State(*(values[numbers] for values in self._state))
        self._seen = self._seen.index_copy(0, numbers, self._look(looking))
        return self._seen

    def _look(self, state: State) -> torch.Tensor:
        """The observations of some agents."""
        see_through: bool | torch.Tensor = state.see_through
        if len(self._see_through) == 1:
            see_through = next(iter(self._see_through))
        hands = (state.hand + LIGHT).to(torch.uint8)
        codes = self._shadows(self._cells, state.position, state.direction, hands, see_through)
        return self._forms(codes, state.direction, state.named)

    # What can be asked ----------------------------------------------------------------------

    @property
    def agent_positions(self) -> torch.Tensor:
        """int64 [B, 2], the agents' (x, y), column and row."""
        self._check_running()
        place = self._state.position - self._corners
        row = torch.div(place, self._stride, rounding_mode="floor")
        return torch.stack((place - row * self._stride, row), dim=1)

    @property
    def agent_directions(self) -> torch.Tensor:
        """int64 [B], 0 right, 1 down, 2 left, 3 up. Do not write into it."""
        self._check_running()
        return self._state.direction

    @property
    def hands(self) -> torch.Tensor:
        """int64 [B], the codes of what the agents carry; nothing has a code too."""
        self._check_running()
        return self._state.hand + LIGHT

    @property
    def grids(self) -> torch.Tensor:
        """uint8 [B, H, W], the codes of the cells now, with wall beside smaller grids."""
        self._check_running()
        return self._inside.clone()

    @property
    def missions(self) -> tuple[str, ...]:
        """The missions of the B tasks at hand. Waits for the device."""
        return tuple(task.mission for task in self.tasks)

    # Tasks ----------------------------------------------------------------------------------

    def _check_task(self, task: Any) -> MinigridTask:
        checked = self.settings.check_task(task)
        checked.check_twin()
        self._learn(checked)
        return checked

    def _learn(self, task: MinigridTask) -> None:
        """Keeps what is needed to play a task when its numbers are set."""
        self._known[task.key] = task
        self._rules.add(task.rule)
        self._see_through.add(task.see_through)
        self._needed = tuple(map(max, self._needed, (task.height, task.width)))

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        """Checks that the facts are some, and keeps what is needed to play them."""
        facts = dict(zip(FACTS, parameters[1].unbind(1), strict=True))
        for name, least, most in (
            ("direction", 0, 3),
            ("max_steps", 1, LARGEST),
            ("rule", 0, len(RULES) - 1),
            ("view_size", self.settings.view_size, self.settings.view_size),
            ("height", 3, CANVAS),
            ("width", 3, CANVAS),
            *((name, 0, CANVAS**2 - 1) for name in ("agent", *TARGET_NAMES)),
        ):
            low, high = (int(bound) for bound in torch.aminmax(facts[name]))
            if not least <= low <= high <= most:
                raise ValueError(
                    f"tasks given as numbers have a {name} of {low if low < least else high}, not "
                    f"within {least} and {most}: make them with task_tensor"
                )
        self._rules |= {NAMES[number] for number in set(facts["rule"].tolist())}
        self._see_through |= {number == 1 for number in set(facts["see_through"].tolist())}
        sizes = (int(facts[name].max()) for name in ("height", "width"))
        self._needed = tuple(map(max, self._needed, sizes))

    def _task_of(self, *arrays: NDArray[Any]) -> MinigridTask:
        key = int(arrays[1][KEY])
        task = self._known.get(key) or NUMBERED.get(key)
        if task is None:
            raise ValueError(
                f"numbers do not say a mission, and nobody in this process has the task with key "
                f"{key} that they came from: keep it, or set tasks instead of numbers"
            )
        return task

    def _info(self) -> dict[str, Any]:
        return {"direction": self._state.direction, **super()._info()}
