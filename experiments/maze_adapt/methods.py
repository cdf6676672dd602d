"""The methods by name, and what kind each is of (`kinds`)."""

from __future__ import annotations

from typing import Literal, get_args

GradientMethod = Literal[
    "maml",
    "fomaml",
    "anil",
    "metasgd",
    "reptile",
    "imaml",
    "emaml",
    "promp",
    "trpo-maml",
    "warp",
    "none",
]
RecurrentMethod = Literal["rl2", "warp-rnn"]
MixtureMethod = Literal["ppo"]
Method = Literal[GradientMethod, RecurrentMethod, MixtureMethod]
KindName = Literal["gradient", "recurrent", "mixture"]

METHODS_OF: dict[KindName, tuple[Method, ...]] = {
    "gradient": get_args(GradientMethod),
    "recurrent": get_args(RecurrentMethod),
    "mixture": get_args(MixtureMethod),
}
METHODS: tuple[Method, ...] = get_args(Method)


def kind_name(method: Method) -> KindName:
    """The kind of a method."""
    return next(kind for kind, methods in METHODS_OF.items() if method in methods)
