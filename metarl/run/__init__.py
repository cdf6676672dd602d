"""The command line of every recipe: `main(RECIPE)`, and what a recipe is made of."""

from metarl.run.command_line import command, main
from metarl.run.recipe import Command, Recipe, Training, in_turn
from metarl.run.results import write_summaries
from metarl.run.settings import EvaluationSettings, RunSettings, at_least, check_option, one_of
from metarl.run.training import supervised_training, train

__all__ = [
    "Command",
    "EvaluationSettings",
    "Recipe",
    "RunSettings",
    "Training",
    "at_least",
    "check_option",
    "command",
    "in_turn",
    "main",
    "one_of",
    "supervised_training",
    "train",
    "write_summaries",
]
