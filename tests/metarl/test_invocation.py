"""What a user is told to type: what was typed, and by how many processes."""

import pytest

from metarl.errors import UserError
from metarl.invocation import (
    as_started,
    called,
    count_of_launch,
    rank_of_launch,
    refuse_several,
    typed,
)


def test_a_command_is_told_in_the_words_of_the_caller():
    assert typed("train", "experiments.maze") == "metarl train maze"
    assert typed("evaluate", "maze", of_run=True) == "metarl evaluate"
    with called("python -m experiments"):
        assert typed("download", "omniglot") == "python -m experiments download omniglot"
        with called("metarl_recipes", scripts=True):
            assert typed("train", "experiments.maze") == "python -m metarl_recipes.maze train"
            assert typed("watch", "maze", of_run=True) == "python -m metarl_recipes.maze watch"
        with called("", scripts=True):
            assert typed("train", "own") == "python -m own train"
    assert typed("train", "maze") == "metarl train maze"


def test_what_torchrun_says_is_understood(torchrun):
    assert count_of_launch() == 1
    assert as_started("metarl train maze") == "metarl train maze"
    torchrun(LOCAL_WORLD_SIZE="2")
    assert (count_of_launch(), rank_of_launch()) == (2, 1)
    started = "torchrun --nproc-per-node 2"
    assert as_started("python -m x train") == f"{started} -m x train"
    assert as_started("metarl train maze") == f"{started} --no-python metarl train maze"
    with pytest.raises(UserError, match="evaluate works in one process"):
        refuse_several("evaluate")
    torchrun(WORLD_SIZE="two")
    with pytest.raises(UserError, match="WORLD_SIZE"):
        count_of_launch()
