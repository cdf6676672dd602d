"""Dark Room and Dark Key-to-Door: rooms without walls, in which only rewards tell what is where."""

from .env import DarkRoom, DarkRoomEnv, DarkRoomVectorEnv, KeyToDoor
from .tasks import (
    DarkRoomReturns,
    DarkRoomTask,
    dark_room_reference_returns,
    dark_room_tasks,
    key_to_door_tasks,
)

__all__ = [
    "DarkRoomEnv",
    "DarkRoomReturns",
    "DarkRoomTask",
    "DarkRoomVectorEnv",
    "dark_room_reference_returns",
    "dark_room_tasks",
    "key_to_door_tasks",
]

PROBLEMS = (DarkRoom, KeyToDoor)
"""The family as problems; `envs.problems` lists those of all families."""
