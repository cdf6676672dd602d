"""Returns of policies in many mazes, step by step: searches, and ways back after a find.

See `envs.maze.ladder`, whose equation is `exploited`. Finds are worth 1.
"""

from __future__ import annotations

from typing import Literal

import torch

from .batch import AHEAD, FAR, Mazes
from .explorers import find_times, first_finds
from .settings import Respawn

__all__ = [
    "at_goal",
    "exploited",
    "followed",
    "planned",
    "random_rewards",
    "searched",
    "ways_back",
]

NUM_PLANS = 4
"""Parts of the tours that are planned with: the best of each is taken, and their mean."""


def searched(mazes: Mazes, times: torch.Tensor, horizon: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The explorer's first finds: p_t, float64 [N, T + 1], and the expected step, float64 [N]."""
    at = at_goal(times, mazes)
    found = find_times(at, horizon)
    first = torch.where(at < FAR, at.double(), torch.inf).mean(1)
    if mazes.poses == 1 and (perfect := mazes.perfect).any():
        found[perfect], first[perfect] = first_finds(mazes.rows(perfect), horizon)
    return found, first


def at_goal(times: torch.Tensor, mazes: Mazes) -> torch.Tensor:
    """Times when tours enter the goal, int64 [N, K], of when they enter each cell, [N, K, P]."""
    return times[torch.arange(len(mazes.goal)), :, mazes.goal]


def ways_back(
    mazes: Mazes, pairs: torch.Tensor | None, respawn: Respawn, horizon: int
) -> torch.Tensor:
    """Probabilities q_s of the steps from a find to the next one, float64 [N, T + 1]."""
    num_mazes = len(mazes.goal)
    if respawn == "end":
        return torch.zeros(num_mazes, horizon + 1, dtype=torch.float64)
    if respawn == "start":
        return find_times(mazes.goal_distance[:, None], horizon)
    assert pairs is not None
    steps = pairs[torch.arange(num_mazes), :, mazes.goal].long()  # [N, Q]
    elsewhere = _elsewhere(mazes)
    ways = torch.zeros(num_mazes, horizon + 2, dtype=torch.float64)
    return ways.scatter_add_(1, steps.clamp(max=horizon + 1), elsewhere)[:, :-1]


def _elsewhere(mazes: Mazes) -> torch.Tensor:
    """Probabilities of the places that a find may lead to, float64 [N, P * poses]."""
    places = mazes.free.double().repeat_interleave(mazes.poses, 1)
    places.scatter_(1, mazes.goal_places, 0.0)
    return places / places.sum(1, keepdim=True)


def exploited(found: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Expected finds c_t of steps 1 to T, float64 [N, T], from p_t and q_s, [N, T + 1] each."""
    finds = found.clone()
    longest = int(back.any(0).nonzero().amax()) if back.any() else 0
    reversed_back = back[:, 1 : longest + 1].flip(1)
    for step in range(1, found.shape[1]):
        since = max(0, step - longest)
        finds[:, step] += (finds[:, since:step] * reversed_back[:, since - step :]).sum(1)
    return finds[:, 1:]


def planned(
    mazes: Mazes, pairs: torch.Tensor | None, times: torch.Tensor, respawn: Respawn, horizon: int
) -> torch.Tensor:
    """The tours that are worth most, one of each of `NUM_PLANS` parts: int64 [N, NUM_PLANS, P]."""
    left = horizon - times  # [N, K, P]
    goals = mazes.free.scatter(1, (mazes.start // mazes.poses)[:, None], False)
    if respawn == "end":
        more = torch.zeros_like(left, dtype=torch.float32)
    elif respawn == "start":
        more = left // mazes.distance.clamp(min=1)[:, None]
    else:
        assert pairs is not None
        free = mazes.free.float()
        from_anywhere = free.repeat_interleave(mazes.poses, 1)[:, None]  # [N, 1, Q]
        away = torch.bmm(from_anywhere, pairs.float())[:, 0] / (mazes.poses * free.sum(1))[:, None]
        more = left / away.clamp(min=1.0)[:, None]
    worth = torch.where((left >= 0) & goals[:, None], 1.0 + more, 0.0).sum(2)  # [N, K]
    parts = worth.reshape(len(worth), NUM_PLANS, -1)  # [N, plans, K / plans]
    best = parts.argmax(2) + parts.shape[2] * torch.arange(NUM_PLANS)
    return times.gather(1, best[..., None].expand(-1, -1, times.shape[2]))  # [N, plans, P]


def random_rewards(
    mazes: Mazes, respawn: Respawn, horizon: int, wall_penalty: float
) -> torch.Tensor:
    """Expected rewards of random actions at each step, float64 [N, T], by dynamic programming."""
    num_mazes, places, num_actions = mazes.next_place.shape
    rows, goal = torch.arange(num_mazes), mazes.goal_places
    after = mazes.next_place.reshape(num_mazes, -1)  # [N, Q, A] to [N, Q * A]
    elsewhere = _elsewhere(mazes)
    blocked = mazes.next_place == torch.arange(places)[:, None]
    bumps = wall_penalty * blocked.double().mean(2)  # [N, Q]
    value = torch.zeros(num_mazes, places, dtype=torch.float64)  # 0 on the goal, never a start
    earned = [torch.zeros(num_mazes, dtype=torch.float64)]
    for _ in range(horizon):
        find = torch.ones(num_mazes, dtype=torch.float64)
        if respawn == "random":
            find += (value * elsewhere).sum(1)
        elif respawn == "start":
            find += value[rows, mazes.start]
        value.scatter_(1, goal, find[:, None].expand_as(goal))
        # [N, Q * A] to [N, Q, A] to [N, Q]
        value = value.gather(1, after).reshape(num_mazes, places, num_actions).mean(2) - bumps
        value.scatter_(1, goal, 0.0)
        earned.append(value[rows, mazes.start])
    return torch.stack(earned, 1).diff(dim=1)


def followed(
    mazes: Mazes, hand: Literal["right", "left"], respawn: Respawn, horizon: int
) -> torch.Tensor:
    """Expected finds of a wall follower at each step, float64 [N, T].

    It turns to the side of its hand where that is free, else goes on, else turns to the other
    side, else back; after a find it follows the wall again. One that does not turn keeps in mind
    the way it goes, and begins as if it had come from the left.
    """
    num_mazes, num_cells = mazes.free.shape
    direction = torch.arange(4)
    if mazes.poses == 4:
        ahead = mazes.next_place[..., 2]
    else:
        ahead = (4 * mazes.next_place[..., list(AHEAD)] + direction).flatten(1)
    places, cost = _choices(ahead, hand)
    if mazes.poses == 1:
        cost = torch.ones_like(cost)
    begins = mazes.start if mazes.poses == 4 else 4 * mazes.start
    anywhere = torch.arange(0, 4 * num_cells, 1 if mazes.poses == 4 else 4)
    place = torch.cat((begins[:, None], anywhere.expand(num_mazes, -1)), 1)  # [N, 1 + Q]
    if respawn != "random":
        place = place[:, :1]
    time, goal = torch.zeros_like(place), mazes.goal[:, None]
    at = torch.full_like(place, FAR)
    for _ in range(horizon):
        time += cost.gather(1, place)
        place = places.gather(1, place)
        at = torch.where((at == FAR) & (place // 4 == goal), time, at)
    found = find_times(at[:, :1], horizon)
    if respawn == "end":
        return exploited(found, torch.zeros_like(found))
    if respawn == "start":
        return exploited(found, found)
    back = torch.zeros(num_mazes, horizon + 2, dtype=torch.float64)
    back.scatter_add_(1, at[:, 1:].clamp(max=horizon + 1), _elsewhere(mazes))
    return exploited(found, back[:, :-1])


def _choices(ahead: torch.Tensor, hand: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves of a wall follower from each place, with their turns and steps: [N, P * 4]."""
    num_mazes, num_places = ahead.shape
    place = torch.arange(num_places)
    side = 1 if hand == "right" else -1
    target, cost = place.expand(num_mazes, -1), torch.ones_like(ahead)
    for turns in (2, -side, 0, side):  # the last that is free counts
        turned = place - place % 4 + (place + turns) % 4
        beyond = ahead[:, turned]
        free = beyond != turned
        target = torch.where(free, beyond, target)
        cost = torch.where(free, abs(turns) + 1, cost)
    return target, cost
