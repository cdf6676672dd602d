"""The families of environments: one folder and one line each. Imports nothing.

Family NAME in folder FOLDER has the id ``metarl/NAME-v0``, and the folder offers the single
environment ``NAMEEnv``, its tensor twin ``NAMEVectorEnv``, and ``PROBLEMS``, the family as problems
(`envs.problems`).
"""

FAMILIES = {
    "maze": "GridMaze",
    "minigrid": "Minigrid",
    "point": "PointNavigation",
    "grid_navi": "GridNavi",
    "dark_room": "DarkRoom",
    "bandit": "Bandit",
    "mdp": "TabularMDP",
}
"""Folder, and name."""
