"""The command line of a recipe: `main(RECIPE)`, and the settings of its training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from metarl.devices import small_networks
from metarl.errors import ProcessLostError, UserError
from metarl.invocation import as_started, called, rank_of_launch, refuse_several
from metarl.native import native_mode
from metarl.run import beginnings
from metarl.run.commands import brought_to_an_end, chosen, fail, option, parse
from metarl.run.recipe import Command, Recipe, RunT, by_option, train
from metarl.runs.config import today
from metarl.runs.place import holds_runs

SettingsT = TypeVar("SettingsT")


def main(recipe: Recipe[Any], arguments: Sequence[str] | None = None) -> None:
    """Run one command of a recipe; mistakes of the user end in one line and exit status 2.

    Args:
        recipe: Whose commands.
        arguments: Of the command line; None: those of this process.
    """
    commands = {"train": recipe.train, **{n: one.what for n, one in recipe.commands.items()}}
    given = sys.argv[1:] if arguments is None else arguments
    program = f"python -m {recipe.home}"
    with called(recipe.home.rpartition(".")[0], scripts=True), brought_to_an_end(given):
        name = chosen(program, commands, given)
        if name is not None:
            run_of(recipe, name, f"{program} {name}", given[1:])


def command(
    what: str,
    kind: type[SettingsT],
    run: Callable[[SettingsT], object],
    check: Callable[[SettingsT], object] = lambda _: None,
) -> Command:
    """Return a command with settings.

    Args:
        what: What it does, in a few words.
        kind: The dataclass of its settings.
        run: Does it.
        check: Checks them further, as `run` does before any work.
    """
    read = partial(parse, kind)
    return Command(
        what,
        lambda prog, arguments: run(read(prog, arguments)),
        lambda prog, arguments: check(read(prog, arguments)),
    )


def run_of(recipe: Recipe[Any], name: str, prog: str, arguments: Sequence[str]) -> None:
    """Run one command of a recipe.

    Args:
        recipe: Whose command.
        name: Of the command.
        prog: What the user has written before its options.
        arguments: Its options.
    """
    with small_networks():
        native_mode()  # an environment that asks for what is no mode is named before any work
        if name != "train":
            refuse_several(name)
            recipe.commands[name].run(prog, arguments)
            return
        run_training(recipe, prog, arguments)


def parse_training(recipe: Recipe[RunT], prog: str, arguments: Sequence[str]) -> RunT:
    """Return the settings of `train` from the command line.

    Some options, such as ``--method``, choose the defaults of all others and which there are.

    Raises:
        UserError: An option is a setting of another method, or a value is refused.
        SystemExit: An option is unknown, or no value of its kind; the parser has said so.
    """
    source = option(arguments, "--config")
    if sum(word.partition("=")[0] == "--config" for word in arguments) > 1:
        raise UserError("--config is given twice; name one run or file")
    if source is not None and beginnings.is_file(Path(source)):
        words = [*beginnings.options_of(Path(source)), *beginnings.without_file(arguments)]
        with _from_file(source):
            return _parse_training(recipe, prog, words, None)
    return _parse_training(recipe, prog, arguments, source)


@contextmanager
def _from_file(source: str) -> Iterator[None]:
    """Say of a wrong option that it may be one of a file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} (with the options of {source})") from error
    except SystemExit as end:
        if end.code:
            print(f"(with the options of {source})", file=sys.stderr)
        raise


def _parse_training(
    recipe: Recipe[RunT], prog: str, arguments: Sequence[str], source: str | None
) -> RunT:
    """Parse the options of `train`, given the run whose settings are begun from, if any."""
    picked = picked_by(recipe, arguments)
    default: RunT = (
        recipe.defaults(**picked)
        if source is None
        else beginnings.settings_of(recipe, Path(source), picked)
    )
    _refuse_former(recipe, arguments)
    _refuse_foreign(recipe, default, arguments)
    if {"-h", "--help"} & set(arguments):
        default = without(default, recipe.unread(default))
    return parse(type(default), prog, arguments, default)


def picked_by(recipe: Recipe[Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line that choose the defaults of a recipe.

    Raises:
        UserError: A value is none of its kind.
        SystemExit: One has no value; the parser has said so.
    """
    hints = get_type_hints(type(recipe.defaults()))
    picks: Any = make_dataclass("Picks", [(name, str | None, None) for name in recipe.picks])
    read, _ = tyro.cli(picks, args=list(arguments), return_unknown_args=True, add_help=False)
    given = {name: value for name, value in vars(read).items() if value is not None}
    return {n: _number(n, v) if hints.get(n) is int else v for n, v in given.items()}


def without(settings: Any, hidden: Collection[str]) -> Any:
    """Return the same settings, of which ``--help`` does not show some.

    Args:
        settings: A dataclass, whose settings may be dataclasses.
        hidden: Settings, those of settings with a dot, such as ``agent.loss.gamma``.
    """
    groups: dict[str, list[str]] = {}
    for path in hidden:
        name, _, rest = path.partition(".")
        groups.setdefault(name, []).append(rest)
    hints = get_type_hints(type(settings), include_extras=True)
    own: list[Any] = [
        (name, Annotated[hints[name], tyro.conf.Suppress], field(default=getattr(settings, name)))
        for name, rest in groups.items()
        if "" in rest
    ]
    base = type(settings)
    kind = make_dataclass(
        base.__name__, own, bases=(base,), frozen=True, namespace={"__doc__": base.__doc__}
    )
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    inner = {n: without(values[n], rest) for n, rest in groups.items() if "" not in rest}
    return kind(**values | inner)


def _number(name: str, word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"--{name} must be a whole number, got {word!r}") from None


def _refuse_former(recipe: Recipe[Any], arguments: Sequence[str]) -> None:
    """Name what an option of version 0.1 is called today, or which recipe has it.

    Raises:
        UserError: There is such an option.
    """
    for name, words in by_option(arguments):
        given = words[0].partition("=")[0]
        if name in recipe.elsewhere:
            raise UserError(f"{given}: {recipe.elsewhere[name]}")
        former = given.removeprefix("--").removeprefix("no-").replace("_", "-")
        if today(former) != former:
            raise UserError(f"{given} is --{today(former)} since version 0.2")


def _refuse_foreign(recipe: Recipe[Any], settings: Any, arguments: Sequence[str]) -> None:
    """Name the methods that read an option which this one does not.

    Raises:
        UserError: There is such an option.
    """
    nested = [getattr(settings, f.name) for f in fields(settings)]
    own = {f.name for part in (settings, *filter(is_dataclass, nested)) for f in fields(part)}
    for name, words in by_option(arguments):
        readers = [n for n, m in recipe.methods.items() if name in {f.name for f in fields(m)}]
        if name not in own and readers:
            raise UserError(
                f"{words[0].partition('=')[0]} is for {', '.join(readers)}; "
                f"{settings.method} reads no such setting"
            )


def run_training(recipe: Recipe[Any], prog: str, arguments: Sequence[str]) -> None:
    """Train; an interruption says how to go on, where there is something to go on with.

    Args:
        recipe: What is trained.
        prog: What the user has written before its options.
        arguments: Its options.
    """
    settings = parse_training(recipe, prog, arguments)
    place = settings.resume or settings.run_dir or recipe.place(settings)
    go_on = f"go on with: {as_started(prog)} --resume {place}"
    try:
        runs = train(recipe, settings, arguments)
    except KeyboardInterrupt as interrupt:
        if not holds_runs(place):
            raise
        # A second Ctrl-C does not wait for the checkpoint and says nothing.
        what = f"{interrupt}" if interrupt.args else _what_stands(place)
        fail(f"interrupted, {what}; {go_on}", status=130, once=True)
    except ProcessLostError as error:
        fail(f"{error}; {_what_stands(place)}: {go_on}", status=1)
    except OSError as error:  # a full disk, no permission
        if not holds_runs(place):
            raise
        fail(f"{error}; {_what_stands(place)}: mend this, then {go_on}", status=1)
    for run in runs if rank_of_launch() == 0 else ():
        if run.was_trained:
            print(f"trained: {run.path}")
            continue
        total = run.config["iterations"]
        reached = f"already at its last iteration ({total} of {total})"
        print(f"{run.path}: {reached}; --iterations M goes on to more")


def _what_stands(place: Path) -> str:
    """Words for what an interruption has left of a run, or of several."""
    saved = any(place.glob("checkpoint.pt")) or any(place.glob("seed-*/checkpoint.pt"))
    return "the last checkpoint stands" if saved else "nothing has been trained yet"
