"""The agents of the package: cards that say what was run, and weights that load by name."""

import json

import numpy as np
import pytest
import torch

import metarl
from metarl import zoo
from metarl.errors import UserError
from metarl.methods.few_shot import LoadedNetwork
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory

LARGEST = 410_000
"""Bytes of an agent's weights; the first one that there was is larger."""


@pytest.mark.parametrize("name", zoo.names())
def test_every_agent_loads_by_name_and_acts(name):
    agent = metarl.load(name)
    if isinstance(agent, LoadedNetwork):
        x = torch.rand((5, 1, 28, 28) if "omniglot" in name else (5, 1))
        y = torch.arange(5) if "omniglot" in name else torch.rand(5, 1)
        assert agent.adapt(x, y)(x).isfinite().all()
    else:
        assert np.isfinite(agent.act(np.zeros(agent.num_inputs, np.float32))).all()


@pytest.mark.parametrize("name", zoo.names())
def test_a_card_is_whole(name):
    card = zoo.card(name)
    for text in (card.title, card.tasks, card.learner, card.budget, card.seeds, card.result):
        assert text.strip()
    assert card.train.startswith(("python -m experiments.", "metarl train "))
    assert card.evaluate.startswith(f"metarl evaluate {name}")
    assert name in str(card)
    assert card.measured() in str(card)
    low, high = (float(end) for end in card.measured().split("[")[1].rstrip("]").split(","))
    assert low <= high


@pytest.mark.parametrize("name", zoo.names())
def test_an_agent_is_small_and_names_no_folder_of_its_machine(name):
    folder = zoo.card(name).folder
    weights = folder / "checkpoint.pt"
    assert weights.stat().st_size < (600_000 if name == "maze13-warp" else LARGEST)
    assert checkpoint.load(weights)["iteration"] == zoo.card(name).summary["iteration"]
    run = RunDirectory.open(folder)
    assert run.config["run_dir"] is None
    assert run.config["provenance"]["git_commit"]
    texts = [
        path.read_text("utf-8")
        for path in folder.iterdir()
        if path.suffix != ".png" and path.suffix != ".pt"
    ]
    assert not any("/work" in text or "/tmp" in text for text in texts)


def test_the_old_place_is_still_one():
    """Commands and pages name `experiments/pretrained/NAME`."""
    for name in ("mazes13", "maze13-warp"):
        there = zoo.find(f"experiments/pretrained/{name}")
        assert (
            json.loads((there / "config.json").read_text())
            == RunDirectory.open(zoo.find(name)).config
        )


def test_a_folder_that_there_is_comes_before_an_agent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo.find("mazes13") == zoo.AGENTS / "mazes13"
    (tmp_path / "mazes13").mkdir()
    assert zoo.find("mazes13").resolve() == tmp_path / "mazes13"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mazes31", "did you mean mazes13"),
        ("zzz", "the agents are .*mazes13"),
        ("runs/zzz", "there is no run directory runs/zzz"),
        ("../agents/mazes13", "there is no run directory"),
    ],
)
def test_a_name_that_there_is_not(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        metarl.load(name)


def test_a_card_with_an_unknown_line_is_refused(tmp_path, monkeypatch):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "card.toml").write_text("titel = 'x'")
    monkeypatch.setattr(zoo, "AGENTS", tmp_path)
    with pytest.raises(UserError, match=r"card.toml is not a card \(ValueError: it says titel\)"):
        zoo.card("odd")
    with pytest.raises(UserError, match="there is no agent 'none'"):
        zoo.card("none")
