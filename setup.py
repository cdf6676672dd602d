"""What `pyproject.toml` cannot say: the recipes are installed under a name that nobody else has.

The files of `experiments/` are the package `metarl_recipes` of a wheel, for the console command
``metarl``. A top-level package named `experiments` would collide with other people's.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["metarl", "metarl.*", "envs", "envs.*"]), "metarl_recipes"],
    package_dir={"metarl_recipes": "experiments"},
)
