"""The environments under a name that nobody else's project has: an alias of the package `envs`.

    >>> from metarl.envs import GridMazeEnv

A project's own folder `envs` hides ours from ``import envs``. This module finds ours by where it
lies, beside `metarl`: where ``import envs`` gives it, both names stand for the same modules;
otherwise it is loaded under this name. The ids ``metarl/...``, which ``import metarl`` registers
with Gymnasium, lead here. Nothing in `metarl` itself uses the environments.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs import *  # noqa: F403

HOME = Path(__file__).resolve().parent.parent / "envs"


def _is_ours() -> bool:
    """Whether ``import envs`` gives our package. Imports nothing."""
    package = sys.modules.get("envs")
    if package is not None:
        places = list(getattr(package, "__path__", ()))
    else:
        spec = find_spec("envs")
        places = [] if spec is None else list(spec.submodule_search_locations or ())
    return any(Path(place).resolve() == HOME for place in places)


def _named_envs() -> ModuleType:
    """The package `envs`, with all its modules under this module's name as well."""
    package = import_module("envs")
    for module in walk_packages(package.__path__, "envs."):
        name = module.name.removeprefix("envs")
        sys.modules[__name__ + name] = import_module(module.name)
    return package


def _named_here() -> ModuleType:
    """The package from its files, under this module's name."""
    spec = spec_from_file_location(
        __name__, HOME / "__init__.py", submodule_search_locations=[str(HOME)]
    )
    if spec is None or spec.loader is None or not (HOME / "__init__.py").is_file():
        raise ImportError(f"the environments were not found in {HOME}: install metarl again")
    package = module_from_spec(spec)
    sys.modules[__name__] = package
    spec.loader.exec_module(package)
    return package


sys.modules[__name__] = _named_envs() if _is_ours() else _named_here()
