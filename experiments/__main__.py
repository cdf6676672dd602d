"""The console command ``metarl``; in a checkout ``python -m experiments``."""

from metarl.run.console import Console, Entry

RECIPES = {
    "maze": "agents that remember, in the published maze, random mazes or Minigrid",
    "maze_adapt": "any method on any environment: mazes, navigation, bandits, yours",
    "regression": "networks that fit a new curve from a few points",
    "omniglot": "networks that tell new characters apart from a few drawings",
    "alphabets": "whole alphabets as tasks, over many steps",
}

CONSOLE = Console({name: Entry(f"{__package__}.{name}", what) for name, what in RECIPES.items()})

main = CONSOLE.main

if __name__ == "__main__":
    main(program=f"python -m {__package__}")
