"""What the cards say of results is what their commands measure again."""

import shlex

import pytest

from experiments.__main__ import CONSOLE
from metarl import zoo
from metarl.runs.files import read_json
from metarl.supervised.omniglot.download import default_folder

QUICK = ("bandit-rl2", "sine-warpgrad")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.names()],
)
def test_the_command_of_a_card_measures_its_result(name, tmp_path, monkeypatch):
    """Up to a twentieth of the interval: the last bits depend on the processor."""
    card = zoo.card(name)
    if name.startswith("omniglot"):
        images = default_folder().resolve()
        if not images.is_dir():
            pytest.skip("the images of Omniglot are not here")
        monkeypatch.setenv("METARL_DATA", str(images.parent))
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(card.evaluate)
    assert program == "metarl"
    # A summary of the same trials would not be written over the one in the copy.
    elsewhere = ("--output", "again") if "experiments.maze " in card.train else ()
    CONSOLE.main([*words, *elsewhere])
    place = tmp_path / ("again" if elsewhere else f"runs/{name}")
    again = read_json(place / "summary.json")
    found, kept = (_value(card, summary) for summary in (again, card.summary))
    low, high = (float(end) for end in card.measured().split("[")[1].rstrip("]").split(","))
    assert abs(found - kept) * card.scale <= 0.05 * (high - low) + 1e-9


def _value(card, summary):
    value = summary[card.figure]
    return value if card.after is None else value[card.after]
