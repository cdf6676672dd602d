"""Steps in environments that hand over their dynamics as tables, many in one call.

What an environment hands over is a `LookUp`, or a value like it. Axes: N agents, B environments of
each, T steps, P places, A actions, V views of D numbers, W numbers told behind a view.
"""

from __future__ import annotations

from ctypes import Structure, c_float, c_int64, c_void_p
from typing import Protocol

import torch
from torch import Tensor

from metarl.native.call import address, has_address
from metarl.native.mode import num_threads


class LookUp(Protocol):
    """The next steps of N * B environments as tables.

    A place leads to another by an action; on the goal's cell it pays, and leads on to the target of
    the step. Tensors are on the CPU, of float32 or the type named.

    Attributes:
        num_steps: S, how many steps they hold for.
        next_place: ``[P * A]``, int64 or int32: where action a leads from place p, at ``p A + a``.
        num_actions: A.
        poses: Places of a cell: place p is on cell ``p // poses``.
        places: ``[N * B]``, whole numbers: where agents are.
        goals: ``[N * B]``, whole numbers: the cells of the goals.
        targets: int64 ``[S, N * B]``, where a find sends agents, or ``[1, N * B]`` for every step.
        views: ``[V, D]``: what is seen.
        rows: int32 ``[P]``, the row of ``views`` of each place; None: its number.
        reward: Paid for a find.
        penalty: Taken off where a wall blocks a move.
        bumped: ``[P * A]``, 1 where it does; None: where a place leads to itself.
        bonus: Paid for a cell entered for the first time before the first find; None: there is
            none to tell of.
        entered: bool, cells that were entered, written; None: none is paid.
        entered_at: int64 ``[N * B]``: cell c of environment i is ``entered[entered_at[i] + c]``.
        found: bool ``[N * B]``, whether a goal was found, written.
        ended: bool ``[N * B]``, whether a find has ended an episode, which then waits where it is
            and pays nothing, written; None: finds lead on.
        tells_end: Whether such an end is one of the whole stretch.
        told: ``[S, A, W]``: what follows the view after each step, by its action; None: nothing.
        reward_column: Which of the W numbers the reward replaces.
        tells_bonus: Whether with the bonus.
    """

    num_steps: int
    next_place: Tensor
    num_actions: int
    poses: int
    places: Tensor
    goals: Tensor
    targets: Tensor
    views: Tensor
    rows: Tensor | None
    reward: float
    penalty: float
    bumped: Tensor | None
    bonus: float | None
    entered: Tensor | None
    entered_at: Tensor | None
    found: Tensor | None
    ended: Tensor | None
    tells_end: bool
    told: Tensor | None
    reward_column: int
    tells_bonus: bool


class World(Structure):
    """Twin in Python of ``World`` in ``src/world.h``."""

    _fields_ = [
        ("next_place", c_void_p),
        ("is_short", c_int64),
        ("actions", c_int64),
        ("poses", c_int64),
        ("places", c_void_p),
        ("goals", c_void_p),
        ("targets", c_void_p),
        ("target_step", c_int64),
        ("views", c_void_p),
        ("rows", c_void_p),
        ("view_width", c_int64),
        ("encoded", c_void_p),
        ("encoded_step", c_int64),
        ("encoded_width", c_int64),
        ("told", c_void_p),
        ("told_width", c_int64),
        ("reward_column", c_int64),
        ("tells_bonus", c_int64),
        ("bumped", c_void_p),
        ("entered", c_void_p),
        ("num_entered", c_int64),
        ("strayed", c_void_p),
        ("entered_at", c_void_p),
        ("found", c_void_p),
        ("ended", c_void_p),
        ("terminated", c_void_p),
        ("reward", c_float),
        ("penalty", c_float),
        ("bonus", c_float),
        ("observations", c_void_p),
        ("inputs", c_void_p),
        ("rewards", c_void_p),
        ("bonuses", c_void_p),
    ]


class Stretch:
    """Results of T steps of N * B environments, and the places that agents have come to.

    Attributes:
        observations: ``[N, T + 1, B, I]``, before every step and after the last.
        rewards: float32 ``[T, N * B]``, with the bonus in them.
        bonuses: float32 ``[T, N * B]``.
        terminated: bool ``[T, N * B]``.
        has_bonus: Whether a bonus was paid for.
    """

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
        """Allocate for (N, T, B, I)."""
        num_agents, num_steps, batch_size, width = shape
        size = num_steps, num_agents * batch_size
        self.observations = torch.empty(num_agents, num_steps + 1, batch_size, width, dtype=dtype)
        self.rewards, self.bonuses = (torch.empty(size, dtype=torch.float32) for _ in range(2))
        self.terminated = torch.zeros(size, dtype=torch.bool)
        self.has_bonus = False


class WorldView:
    """Tables as a kernel reads and writes them.

    Attributes:
        places: int64 ``[N * B]``, where agents are.
        num_inputs: Numbers that a memory gets of a step.
        num_threads: Threads that there is room for.
    """

    def __init__(self, tables: LookUp, stretch: Stretch, encoded: Tensor | None) -> None:
        """Lay out what environments have handed over.

        Args:
            tables: That.
            stretch: Where the results go.
            encoded: ``[N, V, E]`` of the run's precision, what memories get of each view; None: the
                view itself.

        Raises:
            ValueError: The tables do not fit together.
        """
        observed, told = stretch.observations, tables.told
        num_envs, width = stretch.rewards.shape[1], 0 if told is None else told.shape[-1]
        self.places = tables.places.to(torch.int64, copy=True).contiguous()
        self.num_inputs, inputs = observed.shape[-1], None
        self.num_threads = min(num_threads(), len(observed))
        if encoded is not None:
            self.num_inputs = encoded.shape[-1] + width
            size = self.num_threads, observed.shape[2], self.num_inputs
            inputs = observed.new_empty(size)
        # Kept, so that they live as long as their addresses.
        self._read = _in_one_piece(tables, encoded)
        self._written = self.places, tables.entered, tables.found, tables.ended, inputs
        self._check(tables, num_envs, observed.shape[-1])
        self._strayed = torch.zeros(num_envs, dtype=torch.bool)
        tells_end = tables.ended is not None and tables.tells_end
        self.pointers = World(
            **{name: address(tensor) for name, tensor in self._read.items()},
            is_short=tables.next_place.dtype == torch.int32,
            actions=tables.num_actions,
            poses=tables.poses,
            places=self.places.data_ptr(),
            target_step=num_envs if len(tables.targets) > 1 else 0,
            view_width=tables.views.shape[1],
            encoded_step=0 if encoded is None else encoded[0].numel(),
            encoded_width=0 if encoded is None else encoded.shape[-1],
            told_width=width,
            reward_column=tables.reward_column,
            tells_bonus=tables.tells_bonus,
            entered=address(tables.entered),
            num_entered=0 if tables.entered is None else tables.entered.numel(),
            strayed=self._strayed.data_ptr(),
            found=address(tables.found),
            ended=address(tables.ended),
            terminated=address(stretch.terminated if tells_end else None),
            reward=tables.reward,
            penalty=tables.penalty,
            bonus=tables.bonus or 0.0,
            observations=observed.data_ptr(),
            inputs=address(inputs),
            rewards=stretch.rewards.data_ptr(),
            bonuses=stretch.bonuses.data_ptr(),
        )

    def check_cells(self) -> None:
        """Check, after steps, that every cell that was reached has a place in ``entered``.

        Raises:
            ValueError: One has none.
        """
        _need(not bool(self._strayed.any()), "entered, entered_at")

    def _check(self, tables: LookUp, num_envs: int, width: int) -> None:
        """Check types, sizes and ranges: whatever a step may read and write is there."""
        steps, actions, poses = tables.num_steps, tables.num_actions, tables.poses
        num_places = len(tables.next_place) // max(actions, 1)
        read, views = self._read, tables.views
        numbers = dict.fromkeys(("views", "told", "bumped"), torch.float32)
        numbers |= {"rows": torch.int32, "entered_at": torch.int64}
        told = (steps, actions, 0 if tables.told is None else tables.told.shape[-1])
        shapes: dict[str, list[tuple[int, ...]]] = {
            "goals": [(num_envs,)],
            "targets": [(1, num_envs), (steps, num_envs)],
            "entered_at": [(num_envs,)],
            "rows": [(num_places,)],
            "told": [told],
            "bumped": [(num_places * actions,)],
        }
        _need(min(steps, actions, poses) > 0, "counts of steps, actions and poses")
        for name, tensor in read.items():
            fits = tensor is None or (
                has_address(tensor)
                and tensor.dtype == numbers.get(name, tensor.dtype)
                and tuple(tensor.shape) in shapes.get(name, [tuple(tensor.shape)])
            )
            _need(fits, name)
        _need(tables.next_place.dtype in (torch.int32, torch.int64), "next_place")
        _need(views.dim() == 2 and views.shape[1] + told[2] == width, "views and told")
        _need(told[2] == 0 or 0 <= tables.reward_column < told[2], "reward_column")
        _need(tuple(self.places.shape) == (num_envs,), "places")
        for name, tensor in (("places", self.places), *read.items()):
            if name in ("places", "targets", "next_place"):
                _need(_within(tensor, num_places), name)
        rows = num_places if tables.rows is None else None
        _need(rows is None or rows <= len(views), "views")
        _need(_within(tables.rows, len(views)), "rows")
        if tables.entered is not None:
            found, first = tables.found, read["entered_at"]
            _need(found is not None and first is not None, "found, entered_at")
            assert first is not None
            here = first + self.places // poses  # other cells are checked as they are reached
            _need(_within(here, tables.entered.numel()), "entered, entered_at")
        for name in ("found", "entered", "ended"):
            written: Tensor | None = getattr(tables, name)
            if written is None:
                continue
            _need(has_address(written) and written.is_contiguous(), name)
            _need(written.dtype == torch.bool, name)
            _need(name == "entered" or tuple(written.shape) == (num_envs,), name)


def _need(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(
            f"look-up tables of an environment do not fit together: look at {what} "
            "(metarl.native.world.LookUp says what is expected)"
        )


def _within(tensor: Tensor | None, count: int) -> bool:
    if tensor is None or not tensor.numel():
        return True
    low, high = tensor.aminmax()
    return int(low) >= 0 and int(high) < count


def _in_one_piece(tables: LookUp, encoded: Tensor | None) -> dict[str, Tensor | None]:
    """Tensors that a kernel reads, by the names of `World`."""
    found = {
        "goals": tables.goals.to(torch.int64),
        "targets": tables.targets.to(torch.int64),
        "entered_at": tables.entered_at,
        "next_place": tables.next_place,
        "views": tables.views,
        "rows": tables.rows,
        "encoded": encoded,
        "told": tables.told,
        "bumped": tables.bumped,
    }
    return {name: None if t is None else t.contiguous() for name, t in found.items()}
