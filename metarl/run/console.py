"""The console command: recipes, runs and the agents of the package behind one name.

    metarl list                        metarl train RECIPE [OPTIONS]
    metarl evaluate RUN|AGENT          metarl export AGENT --format onnx --output agent.onnx

A command about a run finds the recipe that the run is of; a command that makes one is told which.
Which recipes there are is not known here: `main` is given where they stand. What computes is
imported where it is used: lists, cards and help come at once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metarl import zoo
from metarl.errors import RunDirectoryError, UserError
from metarl.invocation import called, typed
from metarl.run.commands import brought_to_an_end, chosen, option, usage
from metarl.runs.config import recipe_of
from metarl.runs.place import holds_runs

if TYPE_CHECKING:
    from metarl.run.recipe import Recipe

OF_RUNS = {
    "evaluate": "measure what a run has learned, on unseen tasks",
    "render": "draw or film an agent",
    "watch": "show an agent in a window",
}
"""Commands about a run, or an agent of the package, which is named first."""

OF_RECIPES = {
    "train": "train learners into a run directory",
    "play": "look for the goal of a maze yourself, in a window",
    "explore": "draw mazes and watch agents in them, on a page in the browser",
    "compare": "train and evaluate many methods: one table, one picture",
    "search": "look for the settings that do best on validation tasks",
    "sweep": "train and evaluate few-shot learners: one table, one picture",
    "download": "get the images of Omniglot from their authors",
}
"""Commands of a recipe, which is named first."""

USUAL = {"play": "maze", "explore": "maze", "compare": "maze_adapt", "download": "omniglot"}
"""Recipes that need not be named."""

OF_ANY = {
    "list": "list the agents of the package, and what they earn",
    "show": "print the card of an agent: what it learned, for how long, how to do it again",
    "plot": "draw the learning curves of runs",
    "export": "copy a run without what only its resume needs; safetensors, ONNX",
}
"""Commands of no recipe."""

COMMANDS = {**OF_ANY, **OF_RUNS, **OF_RECIPES}


class Entry(NamedTuple):
    """A recipe that is not imported yet.

    Attributes:
        module: Where it stands as ``RECIPE``.
        what: What is learned, in a few words.
    """

    module: str
    what: str


class Console:
    """The command over some recipes.

    Attributes:
        recipes: By their short names.
    """

    def __init__(self, recipes: Mapping[str, Entry]) -> None:
        self.recipes = recipes

    def main(self, arguments: Sequence[str] | None = None, program: str = "metarl") -> None:
        """Run one command; mistakes of the user end in one line and exit status 2.

        Args:
            arguments: Of the command line; None: those of this process.
            program: What the user has typed before them.
        """
        given = sys.argv[1:] if arguments is None else arguments
        with called(program), brought_to_an_end(given):
            name = chosen(program, COMMANDS, given)
            if name is not None:
                self.run(name, f"{program} {name}", given[1:])

    def run(self, name: str, prog: str, arguments: Sequence[str]) -> None:
        """Run a command, given ``metarl NAME`` and the words after it.

        Raises:
            UserError: There is no such run, agent or recipe.
        """
        if name in OF_ANY:
            _of_any(name, prog, arguments)
        elif name in OF_RUNS:
            self._about_a_run(name, prog, arguments)
        else:
            self._of_a_recipe(name, prog, arguments)

    def recipe(self, name: str) -> Recipe[Any]:
        """The recipe of a short name.

        Raises:
            UserError: There is none.
        """
        if name not in self.recipes:
            raise UserError(f"there is no recipe {name!r}; it is one of {', '.join(self.recipes)}")
        found: Recipe[Any] = import_module(self.recipes[name].module).RECIPE
        return found

    def recipe_of(self, path: Path) -> Recipe[Any]:
        """The recipe that a run, or a folder of several seeds, is of.

        Raises:
            UserError: It is no run, or of something else than a recipe.
        """
        from metarl.runs.directory import RunDirectory

        seeds = sorted(config.parent for config in path.glob("seed-*/config.json"))
        run = RunDirectory.open(seeds[0] if seeds else path)
        stored = recipe_of(run.config) or ""
        name = stored.removeprefix("experiments.")
        if name not in self.recipes:
            raise RunDirectoryError(
                f"{path} is a run of {stored or 'something unknown'}, which has no commands here: "
                "evaluate it from Python, as it was trained (metarl.experiment)"
            )
        return self.recipe(name)

    def _about_a_run(self, name: str, prog: str, arguments: Sequence[str]) -> None:
        first = arguments[0] if arguments else "--help"
        if first.startswith("-"):
            which = f"\nAGENT is one of {', '.join(zoo.names())}."
            text = f"usage: {prog} RUN|AGENT [OPTIONS]\n\n{COMMANDS[name]}.{which}"
            if first not in ("-h", "--help"):
                raise UserError(f"name a run or an agent first: {prog} RUN|AGENT [OPTIONS]")
            print(f"{text}\n`{prog} RUN|AGENT --help` explains the options.")
            return
        path = zoo.find(first)
        recipe = self.recipe_of(path)
        if name not in recipe.commands:
            able = ", ".join(recipe.commands)
            raise UserError(
                f"{first} is a run of {short(recipe)}, which has no {name}: it has {able}"
            )
        asks = {"-h", "--help"} & set(arguments)
        elsewhere = option(arguments[1:], "--output") is not None
        if path.parent == zoo.AGENTS and name == "evaluate" and not (asks or elsewhere):
            recipe.commands[name].check(prog, [str(path), *arguments[1:]])  # then nothing is left
            path = own_copy(first)
        from metarl.run.command_line import run_of

        run_of(recipe, name, prog, [str(path), *arguments[1:]])

    def _of_a_recipe(self, name: str, prog: str, arguments: Sequence[str]) -> None:
        first = arguments[0] if arguments else "--help"
        if first in self.recipes:
            recipe, words = self.recipe(first), arguments[1:]
            prog = f"{prog} {first}"
        elif name == "compare" and holds_runs(found_at(first)):
            raise UserError(
                f"{prog} trains methods, such as --methods maml rl2, and compares them; of runs "
                f"that are there, `{about('plot', first)} ...` draws the curves, and "
                f"`{about('evaluate', first)}` measures each, on the same tasks for the same --seed"
            )
        elif name in USUAL:
            recipe, words = self.recipe(USUAL[name]), arguments
        elif first.startswith("-") and name == "train" and (run := _resumed(arguments)) is not None:
            recipe, words = self.recipe_of(run), arguments
        elif first in ("-h", "--help"):
            what = {
                short: entry.what
                for short, entry in self.recipes.items()
                if name == "train" or name in self.recipe(short).commands
            }
            print(usage(prog, what).replace("COMMAND", "RECIPE").replace("commands:", "recipes:"))
            return
        else:
            raise UserError(
                f"{first!r} is no recipe: {prog} RECIPE [OPTIONS], with one of "
                f"{', '.join(self.recipes)}"
            )
        if name != "train" and name not in recipe.commands:
            raise UserError(f"{short(recipe)} has no {name}: it has {', '.join(recipe.commands)}")
        from metarl.run.command_line import run_of

        run_of(recipe, name, prog, words)


def _resumed(arguments: Sequence[str]) -> Path | None:
    """The run that ``--resume`` names, wherever it stands; None without it."""
    if not any(word.partition("=")[0] == "--resume" for word in arguments):
        return None
    return Path(option(arguments, "--resume"))


def short(recipe: Recipe[Any]) -> str:
    """The name of a recipe as it is typed here."""
    return recipe.name.rpartition(".")[2]


def about(command: str, what: str) -> str:
    """Words that a user types for a command about a run or an agent."""
    return f"{typed(command, '', of_run=True)} {what}"


def found_at(name: str) -> Path:
    """The place of an agent of the package, or of anything else."""
    return zoo.AGENTS / name if name in zoo.names() else Path(name)


def own_copy(name: str) -> Path:
    """Copy an agent of the package to ``runs/NAME``, where results may be written beside it.

    Raises:
        UserError: Something else is there, or it cannot be written.
    """
    from metarl.runs.directory import RunDirectory

    source, place = zoo.find(name), Path("runs") / name
    if holds_runs(place) and RunDirectory.open(place).config == RunDirectory.open(source).config:
        return place
    if place.exists():
        raise UserError(
            f"{place}, where {name} would be copied to be evaluated, holds something else: move it "
            "away, or evaluate from another folder"
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=place.parent) as part:
            whole = Path(part) / name  # it is there whole, or not at all
            shutil.copytree(source, whole, ignore=shutil.ignore_patterns("*.png", "card.toml"))
            whole.rename(place)
    except OSError as error:
        raise UserError(
            f"{name} cannot be copied to {place}, where its results would be ({error}): evaluate "
            "from a folder that can be written into"
        ) from error
    print(f"copied: {place}")
    return place


def _of_any(name: str, prog: str, arguments: Sequence[str]) -> None:
    """Run a command that no recipe is needed for."""
    if name in ("list", "show") and {"-h", "--help"} & set(arguments):
        print(f"usage: {prog}{' AGENT' if name == 'show' else ''}\n\n{COMMANDS[name]}")
        return
    match name:
        case "list":
            _print_list(arguments)
        case "show":
            if not arguments:
                raise UserError(f"name an agent: one of {', '.join(zoo.names())}")
            for one in arguments:
                if holds_runs(Path(one)):
                    raise UserError(
                        f"{one} is a run, which has no card: `{about('evaluate', one)}` measures "
                        "it, its settings are in its config.json"
                    )
                print(zoo.card(one))
        case "plot":
            from metarl.run.commands import parse
            from metarl.run.plot import PlotSettings, plot

            plot(parse(PlotSettings, prog, arguments))
        case "export":
            from metarl.run.commands import parse
            from metarl.run.export import ExportSettings, export

            export(parse(ExportSettings, prog, arguments))


def _print_list(arguments: Sequence[str]) -> None:
    """Print one line per agent.

    Raises:
        UserError: There are arguments.
    """
    if arguments:
        raise UserError(f"list takes no {arguments[0]}; `{about('show', 'AGENT')}` prints a card")
    cards = [zoo.card(name) for name in zoo.names()]
    rows = [(card.name, card.title, f"{card.measured()}: {card.result}") for card in cards]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, title, result in rows:
        print(f"{name:{widths[0]}}  {title:{widths[1]}}  {result}")
