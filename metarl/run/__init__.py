"""The command line of every recipe: `main(RECIPE)`, and what a recipe is made of."""

from metarl.run.command_line import command, main
from metarl.run.evaluation import EvaluationSettings, evaluate_runs
from metarl.run.recipe import Command, Recipe, Training, in_turn
from metarl.run.settings import RunSettings, at_least, check_option, one_of
from metarl.run.training import STREAMS, Lessons, supervised, train

__all__ = [
    "STREAMS",
    "Command",
    "EvaluationSettings",
    "Lessons",
    "Recipe",
    "RunSettings",
    "Training",
    "at_least",
    "check_option",
    "command",
    "evaluate_runs",
    "in_turn",
    "main",
    "one_of",
    "supervised",
    "train",
]
