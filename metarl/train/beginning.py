"""A training that begins with the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from metarl import zoo
from metarl.core.processes import current
from metarl.errors import UserError
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory


def check_weights(name_or_path: Path | str | None, own: Mapping[str, Tensor]) -> None:
    """Check that a learner can begin with the weights of a run, before anything is made.

    Args:
        name_or_path: A run directory, or an agent of the package; None: nothing is checked.
        own: The learner's parameters by name, without an axis of agents.

    Raises:
        UserError: There is no such run, or it has other weights, or none.
    """
    if name_or_path is not None:
        current().first(lambda: bool(weights_for(name_or_path, own)))


def weights_for(name_or_path: Path | str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the meta-parameters of a run, for a learner to begin with.

    Args:
        name_or_path: A run directory, or an agent of the package.
        own: The learner's parameters by name, without an axis of agents.

    Returns:
        What the run has learned, by the same names and in the same shapes; the best of it, where
        validation chose.

    Raises:
        UserError: There is no such run, or it has other weights, or none.
    """
    source = RunDirectory.open(zoo.find(name_or_path))
    state = source.load_checkpoint()
    with source.fits_settings():
        learned = dict(checkpoint.learned(state)["params"])
    here, there = ({n: tuple(p.shape) for n, p in of.items()} for of in (own, learned))
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise UserError(
                f"init_from: {source.path} has other weights: {name} is "
                f"{there.get(name, 'missing')} there, {here.get(name, 'missing')} here; "
                "take its method and network, all at once with --config"
            )
    return learned
