"""The space of a search: options of `train` and what they may be.

    lr=log:1e-4:1e-2          a number, evenly on a logarithmic scale
    entropy-coef=float:0:0.1  a number; float:0:1:0.25 in steps
    hidden-size=int:32:256    a whole number; int:32:256:32 in steps, log:32:256 logarithmically
    core=gru,lstm             one of some values, as on the command line

A name may have its group before it (``learner.lr``). What a search proposes goes onto the command
line of `train` after the options that are the same for all trials, and is read as such.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metarl.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import Trial

RANGES = ("int", "float", "log")
FORMS = "NAME=int:LOW:HIGH, float:LOW:HIGH, log:LOW:HIGH or A,B,C"


@dataclass(frozen=True)
class Range:
    """An option that is a number.

    Attributes:
        option: Its name, as after ``--``.
        low: Its smallest value.
        high: Its largest value.
        whole: Whether it is a whole number.
        log: Whether it is proposed on a logarithmic scale.
        step: Distance of its values; None: there is none, or 1 for whole numbers.
    """

    option: str
    low: float
    high: float
    whole: bool
    log: bool = False
    step: float | None = None

    @property
    def extremes(self) -> tuple[str, ...]:
        """The smallest and the largest value, in words."""
        return self._word(self.low), self._word(self.high)

    def suggest(self, trial: Trial) -> str:
        """Return what a trial proposes, in words."""
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return str(trial.suggest_int(self.option, low, high, step=step, log=self.log))
        value = trial.suggest_float(self.option, self.low, self.high, step=self.step, log=self.log)
        return self._word(value)

    def words(self, value: str) -> list[str]:
        """Return a value as it stands on the command line."""
        return [f"--{self.option}", value]

    def _word(self, value: float) -> str:
        return str(int(value)) if self.whole else repr(float(value))


@dataclass(frozen=True)
class Choice:
    """An option that is one of some values.

    Attributes:
        option: Its name, as after ``--``.
        values: The values in words; of an option that takes several, with spaces between them.
        flag: Whether it is said by ``--x`` and ``--no-x``.
    """

    option: str
    values: tuple[str, ...]
    flag: bool = False

    @property
    def extremes(self) -> tuple[str, ...]:
        """All values."""
        return self.values

    def suggest(self, trial: Trial) -> str:
        """Return what a trial proposes, in words."""
        return str(trial.suggest_categorical(self.option, self.values))

    def words(self, value: str) -> list[str]:
        """Return a value as it stands on the command line."""
        if not self.flag:
            return [f"--{self.option}", *shlex.split(value)]
        group, dot, name = self.option.rpartition(".")
        return [f"--{self.option}" if value == "true" else f"--{group}{dot}no-{name}"]


Dimension = Range | Choice


def dimension(text: str, settings: Any, closed: Mapping[str, str]) -> Dimension:
    """Return an option and what it may be, as ``--search`` says it.

    Args:
        text: ``NAME=SPACE``.
        settings: Of `train`, which say the kinds of their values.
        closed: Options that are not searched, and why, in words.

    Raises:
        UserError: It cannot be read, there is no such option, or it is of another kind.
    """
    name, equals, space = text.partition("=")
    if not (name and equals and space):
        raise UserError(f"--search {text} must be {FORMS}")
    path = name.strip().lstrip("-").replace("-", "_").split(".")
    option, group, kind = _found(settings, path, f"--search {text}")
    for owner in (group, option.partition(".")[0].replace("-", "_")):
        if owner in closed:
            raise UserError(f"--search {text}: {closed[owner]}")
    kinds = members(kind)
    if space.partition(":")[0] in RANGES and ":" in space:
        return _range(option, space, kinds, f"--search {text}")
    values = tuple(value.strip() for value in space.split(","))
    if len(values) < 2 or len(set(values)) < len(values) or "" in values:
        raise UserError(
            f"--search {text}: name different values, at least two, or a range: {FORMS}"
        )
    if bool not in kinds:
        return Choice(option, values)
    if not {value.lower() for value in values} <= {"true", "false"}:
        raise UserError(f"--search {text}: --{option} is true or false: {option}=true,false")
    return Choice(option, tuple(value.lower() for value in values), flag=True)


def _range(option: str, space: str, kinds: Sequence[Any], where: str) -> Range:
    form, *ends = space.split(":")
    try:
        low, high, *steps = map(float, ends)
        (step,) = steps or (None,)
    except ValueError:
        raise UserError(f"{where}: a range is {form}:LOW:HIGH or {form}:LOW:HIGH:STEP") from None
    whole = int in kinds and float not in kinds
    if not {int, float} & set(kinds):
        raise UserError(f"{where}: --{option} is no number: name its values, as {option}=A,B")
    if form == "float" and whole:
        raise UserError(f"{where}: --{option} is a whole number: {option}=int:LOW:HIGH")
    whole = whole or form == "int"
    numbers = [low, high] if step is None else [low, high, step]
    if not all(map(math.isfinite, numbers)) or not low < high:
        raise UserError(f"{where}: the ends must be finite, and the first below the second")
    if whole and any(number != int(number) for number in numbers):
        raise UserError(f"{where}: --{option} is a whole number, so are the ends and the step")
    if form == "log" and low <= 0:
        raise UserError(f"{where}: a logarithmic range begins above 0")
    if step is not None and (form == "log" or not 0 < step <= high - low):
        raise UserError(f"{where}: a step is above 0, at most as long as the range, and not of log")
    return Range(option, low, high, whole, form == "log", step)


def _found(settings: Any, path: Sequence[str], where: str) -> tuple[str, str, Any]:
    """Return an option's name on the command line, its group, and the type of its values.

    Raises:
        UserError: There is none of that name.
    """
    here, names = settings, list(path)
    nameless = {one.name for one, _, has_none in _fields(settings) if has_none}
    if len(names) > 1 and names[0] in nameless:
        here, names = getattr(settings, names[0]), names[1:]
    found = dict(_options(settings)).get(names[0])
    group = found.group if found else ""
    kind: Any = None
    for depth, name in enumerate(names):
        options = dict(_options(here))
        if name not in options:
            known = ", ".join(sorted(option.replace("_", "-") for option in options))
            wrong = name.replace("_", "-")
            raise UserError(f"{where}: there is no option {wrong}; there are {known or 'none'}")
        kind, here = options[name].kind, options[name].value
        if dataclasses.is_dataclass(here) != (depth < len(names) - 1):
            inside = ", ".join(dict(_options(here))) or "nothing"
            raise UserError(f"{where}: name an option; in {name} there is {inside}")
    return ".".join(names).replace("_", "-"), group, kind


class _Option(NamedTuple):
    """An option: the group that it is in, the type of its values, its value."""

    group: str
    kind: Any
    value: Any


def _options(settings: Any, group: str = "") -> Iterator[tuple[str, _Option]]:
    """Yield options by name, those of groups without a name among them."""
    for one, kind, nameless in _fields(settings):
        value = getattr(settings, one.name)
        if nameless:
            yield from _options(value, group or one.name)
        else:
            yield one.name, _Option(group, kind, value)


def _fields(settings: Any) -> Iterator[tuple[dataclasses.Field[Any], Any, bool]]:
    """Yield fields, each with its type, and whether it is a group whose options have no prefix."""
    if not dataclasses.is_dataclass(settings):
        return
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for one in dataclasses.fields(settings):
        marks = typing.get_args(hints[one.name])[1:]
        yield one, hints[one.name], any(getattr(mark, "name", None) == "" for mark in marks)


def members(kind: Any) -> list[Any]:
    """Return the plain types that a value may be of: those of a union, of words `str`."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return members(inside[0])
    if origin in (typing.Union, types.UnionType):
        return [one for each in inside for one in members(each)]
    if origin is Literal:
        return [type(value) for value in inside]
    return [origin or kind]


def proposed(space: Sequence[Dimension], trial: Trial) -> list[str]:
    """Return what a trial proposes, as words of a command line."""
    return [word for one in space for word in one.words(one.suggest(trial))]


def corners(space: Sequence[Dimension]) -> Iterator[list[str]]:
    """Yield words of command lines in which every value that a space names stands once."""
    first = [one.words(one.extremes[0]) for one in space]
    yield [word for words in first for word in words]
    for number, one in enumerate(space):
        for value in one.extremes[1:]:
            changed = [*first[:number], one.words(value), *first[number + 1 :]]
            yield [word for words in changed for word in words]
