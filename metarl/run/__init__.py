"""The command line of every recipe: `main(RECIPE)`, and what a recipe is made of.

Its names are imported when they are first used, so that a list of commands loads no torch.
"""

from typing import TYPE_CHECKING

from metarl.on_demand import imported_from

if TYPE_CHECKING:
    from metarl.run.command_line import command, main
    from metarl.run.evaluation import EvaluationSettings, evaluate_runs
    from metarl.run.recipe import Command, Recipe, Training, train
    from metarl.run.settings import RunSettings, at_least, check_option, one_of

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

__getattr__ = imported_from(
    __name__,
    {
        "metarl.run.command_line": ("command", "main"),
        "metarl.run.evaluation": ("EvaluationSettings", "evaluate_runs"),
        "metarl.run.recipe": ("Command", "Recipe", "Training", "train"),
        "metarl.run.settings": ("RunSettings", "at_least", "check_option", "one_of"),
    },
)
