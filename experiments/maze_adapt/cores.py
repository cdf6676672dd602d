"""The memory of policies that adapt by gradient: which recurrent cores there are, and for whom.

A core sees what a perceptron sees. Its hidden state begins empty with every episode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from experiments.maze_adapt.methods import Method
from metarl.errors import UserError

CoreName = Literal["none", "rnn", "gru", "lstm", "warp"]


def check_core(core: CoreName, method: Method) -> None:
    """Refuse a core that the learner has nothing to learn of.

    Raises:
        UserError: It is WarpGrad's, and all weights of the core are fast.
    """
    if method == "warp" and core not in ("none", "warp"):
        raise UserError(
            f"--method warp learns weights that stand still in adaptation; --core {core} has none: "
            "take --core warp, or none, a perceptron with warp layers"
        )


def check_shape(core: CoreName, changed: Callable[[str], bool]) -> None:
    """Refuse the shape of a perceptron beside a core, and that of a core without one.

    Args:
        core: Which.
        changed: Whether a setting of that name was changed.

    Raises:
        UserError: A setting would not be read.
    """
    if core == "none":
        if changed("core_size"):
            cores = "|".join(get_args(CoreName)[1:])
            raise UserError(f"--core-size is for --core {cores}; a perceptron has --hidden")
        return
    for name in ("hidden", "activation"):
        if changed(name):
            raise UserError(
                f"--{name} is for --core none, a perceptron; --core {core} has --core-size"
            )
