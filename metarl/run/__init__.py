"""The command line of every recipe: `main(RECIPE)`, and what a recipe is made of."""

from metarl.run.command_line import command, main
from metarl.run.evaluation import EvaluationSettings, evaluate_runs
from metarl.run.recipe import Command, Recipe, Training
from metarl.run.settings import RunSettings, at_least, check_option, one_of
from metarl.run.training import train

__all__ = [
    "Command",
    "EvaluationSettings",
    "Recipe",
    "RunSettings",
    "Training",
    "at_least",
    "check_option",
    "command",
    "evaluate_runs",
    "main",
    "one_of",
    "train",
]
