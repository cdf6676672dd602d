"""Experiments from Python on tasks with data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import metarl
from metarl.errors import UserError
from metarl.experiment import Experiment, compare
from metarl.meta.maml import MAMLSettings
from metarl.meta.warpgrad.method import WarpLeapSettings, WarpMAMLSettings
from metarl.methods.agents import AdaptingPolicy
from metarl.methods.rl2 import RL2Settings
from metarl.nn.conv_settings import ConvNetSettings, ReducedConvNetSettings, WarpReducedSettings
from metarl.run import main
from metarl.runs.checkpoint import load as load_checkpoint
from metarl.supervised import AlphabetSettings, Curves, FewShotOmniglot, MultiShotOmniglot
from tests.experiments.omniglot_runs import assert_equal, tiny_archives
from tests.experiments.scripts import REGRESSION

CURVES = Curves(points=4, query_points=4, hidden=(6,))


def small(**changes: object) -> Experiment:
    one = Experiment(CURVES, MAMLSettings(), iterations=4, meta_batch=3, device="cpu")
    return replace(one, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tiny_archives(tmp_path_factory.mktemp("data"))
    return folder


def characters(data: Path, **changes: object) -> FewShotOmniglot:
    few = FewShotOmniglot(
        ways=3,
        test_steps=1,
        train_characters=6,
        validation_characters=4,
        validate_every=2,
        validation_tasks=3,
        network=ReducedConvNetSettings(4),
        data=data,
        complete=False,
    )
    return replace(few, **changes)  # type: ignore[arg-type]


def learned(path: Path) -> object:
    return load_checkpoint(path / "checkpoint.pt")["learner"]


def test_curves_are_trained_measured_loaded_and_fitted(tmp_path: Path) -> None:
    small().train(tmp_path)
    found = small().evaluate(tmp_path, tasks=5, steps=2).summary
    assert (found["family"], found["steps"], found["num_tasks"]) == ("sine", [0, 1, 2], 5)
    network = metarl.load(tmp_path)
    x = np.linspace(-1, 1, 4)[:, None]
    assert network.adapt(x, np.sin(x))(x).shape == (4, 1)
    assert network.usual_steps == MAMLSettings().inner_steps


def test_an_experiment_is_its_script_number_for_number(tmp_path: Path) -> None:
    small().train(tmp_path / "python", seeds=(3,))
    own = ("--points", "4", "--query-points", "4", "--hidden", "6", "--meta-batch", "3")
    options = (*own, "--iterations", "4", "--device", "cpu", "--seeds", "3")
    method = MAMLSettings()
    rates = ("--lr", str(method.lr), "--inner-lr", str(method.inner_lr))
    steps = ("--beta1", str(method.beta1), "--decay", method.decay)
    words = ("train", "--run-dir", str(tmp_path / "script"), *options, *rates, *steps)
    main(REGRESSION, words)
    one, two = (learned(tmp_path / place)["params"] for place in ("python", "script"))  # type: ignore[index]
    assert_equal(one, two, "params")


@pytest.mark.parametrize("what", ["curves", "characters"])
def test_a_run_that_goes_on_is_one_that_was_made_for_it(
    tmp_path: Path, images: Path, what: str
) -> None:
    one = small() if what == "curves" else small(problem=characters(images))
    one.train(tmp_path / "parts")
    longer = replace(one, iterations=7)
    longer.resume(tmp_path / "parts")
    longer.train(tmp_path / "whole")
    assert_equal(learned(tmp_path / "parts"), learned(tmp_path / "whole"), "learner")


def test_characters_are_told_apart_with_warp_layers_too(tmp_path: Path, images: Path) -> None:
    problem = characters(images, network=WarpReducedSettings(4))
    one = small(problem=problem, learner=WarpMAMLSettings(inner_steps=2))
    one.train(tmp_path)
    assert len(one.evaluate(tmp_path, tasks=3).summary["transductive_curve"]) == 2
    network = metarl.load(tmp_path)
    drawings = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert network.adapt(drawings, torch.arange(3))(drawings).shape == (3, 3)


def test_alphabets_are_learned(tmp_path: Path, images: Path) -> None:
    problem = MultiShotOmniglot(
        pretrain=2,
        test_alphabets=1,
        classes=3,
        held_out=1,
        test_steps=2,
        network=ConvNetSettings(3),
        images=AlphabetSettings(batch_size=4),
        validation_alphabets=1,
        data=images,
        complete=False,
    )
    one = small(problem=problem, learner=MAMLSettings(inner_steps=1), meta_batch=2)
    one.train(tmp_path)
    assert (tmp_path / "split.json").is_file()
    found = one.evaluate(tmp_path, every=1).summary
    assert found["steps"] == [0, 1, 2]
    with pytest.raises(UserError, match="no agent to load"):
        metarl.load(tmp_path)


def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path, images: Path) -> None:
    with pytest.raises(UserError, match="rl2 does not learn from data"):
        small(learner=RL2Settings())
    with pytest.raises(UserError, match="daml"):
        small(problem=replace(CURVES, family="sine-domain"))
    with pytest.raises(UserError, match="network must be one with warp layers"):
        small(problem=characters(images), learner=WarpLeapSettings())
    with pytest.raises(UserError, match="leave out agent"):
        small(agent=AdaptingPolicy())
    with pytest.raises(UserError, match="train tasks cannot be made"):
        small(problem=characters(images, ways=50)).train(tmp_path / "run")
    for problem, words in (({"points": 0}, "points"), ({"inner_batch": 5}, "inner_batch")):
        with pytest.raises(ValueError, match=words):
            replace(CURVES, **problem)
    with pytest.raises(UserError, match="no agent that plays"):
        compare({"maml": small()}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_problem_is_refused_by_name(tmp_path: Path) -> None:
    small().train(tmp_path)
    with pytest.raises(UserError, match="another problem"):
        small(problem=replace(CURVES, points=5)).evaluate(tmp_path)
    with pytest.raises(UserError, match="no agent that plays"):
        small().film(tmp_path, tmp_path / "film.gif")
