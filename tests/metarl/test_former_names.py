"""Modules under the names of version 0.1."""

import importlib
import subprocess
import sys

import pytest
import torch

import metarl.rl
from envs import BanditVectorEnv
from metarl.core import stack
from metarl.former_names import FORMER_NAMES
from metarl.rl import Categorical, mlp_policy


def test_a_former_name_gives_the_module_of_today_with_a_warning() -> None:
    """In a process of its own: a module warns when it is first imported."""
    code = """
import importlib, sys, warnings
for former in sys.argv[1:]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = importlib.import_module(former)
    today = module.__name__
    assert today != former
    assert importlib.import_module(today) is module
    assert module.__spec__.name == today, today
    assert today in str([str(w.message) for w in caught if w.category is DeprecationWarning])
"""
    names = [*sorted(FORMER_NAMES), "metarl.fewshot.examples"]
    subprocess.run([sys.executable, "-c", code, *names], check=True)


def test_the_collector_of_episodes_is_found_under_its_former_name() -> None:
    env, policy = BanditVectorEnv(4, horizon=3), mlp_policy(1, Categorical(5))
    generator = torch.Generator().manual_seed(0)
    with pytest.warns(DeprecationWarning, match=r"metarl\.rl\.Collector"):
        former = metarl.rl.EpisodeCollector
    played = former(env, policy, [generator], 2, num_steps=3).collect(
        stack([policy.init(generator) for _ in range(2)])
    )
    assert played.rewards.shape == (2, 3, 2)


def test_other_names_are_as_unknown_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"metarl\.nothing"):
        importlib.import_module("metarl.nothing")
