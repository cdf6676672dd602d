"""Counts of what a task or a space holds in a table: too large ones are refused at once."""

import gymnasium
import pytest

import envs  # noqa: F401


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ("GridMaze", "size"),
        ("Bandit", "num_arms"),
        ("TabularMDP", "num_states"),
        ("TabularMDP", "num_actions"),
    ],
)
@pytest.mark.parametrize("number", [10**9, 2**63, 10**30])
def test_a_table_that_no_machine_holds_is_refused(env, name, number):
    with pytest.raises(ValueError, match=f"{name} must be at most"):
        gymnasium.make(f"metarl/{env}-v0", **{name: number})
