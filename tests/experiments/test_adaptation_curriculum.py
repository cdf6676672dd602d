"""`experiments.maze_adapt train --curriculum`: levels scored by what adaptation gained."""

import json
import os

import pytest
import torch

from metarl.errors import UserError
from metarl.runs.seeds import find_runs
from tests.experiments.scripts import maze_adapt as main
from tests.experiments.test_maze_curriculum import read

SMALL = (
    *("--env", "mazes", "--size", "7", "--horizon", "10", "--meta-batch", "4"),
    *("--iterations", "9", "--log-every", "1", "--device", "cpu"),
)
GRADIENT = ("--episodes", "2", "--hidden", "6", "--inner-steps", "1")
MEMORY = ("--hidden-size", "6", "--trial-episodes", "2")
FULL = ("--levels.capacity", "8", "--levels.min-fill", "0.5")
WAYS = {
    "maml": ("--method", "maml", *GRADIENT, "--curriculum", "robust-plr", *FULL),
    "in-parts": (
        *("--method", "maml", *GRADIENT, "--chunk-size", "2"),
        *("--curriculum", "robust-plr", *FULL),
    ),
    "warp": ("--method", "warp", *GRADIENT, "--curriculum", "accel", *FULL),
    "reptile": ("--method", "reptile", *GRADIENT, "--curriculum", "plr", *FULL),
    "sfl": (
        *("--method", "fomaml", *GRADIENT, "--curriculum", "sfl", "--levels.scouts", "2"),
        *("--levels.period", "2", "--levels.attempts", "2"),
    ),
    "rl2": ("--method", "rl2", *MEMORY, "--curriculum", "robust-plr", *FULL),
}


def train(path, *arguments):
    main(["train", *SMALL, *arguments, "--run-dir", str(path)])
    (run,) = find_runs(path)
    return run


pytestmark = pytest.mark.filterwarnings("ignore:.*different layouts.*few of them:UserWarning")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_trains_and_resumes_bit_for_bit(way, tmp_path):
    whole = train(tmp_path / "whole", *WAYS[way], "--checkpoint-every", "3")
    cut = train(tmp_path / "cut", *WAYS[way], "--checkpoint-every", "4")
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 8
    main(["train", "--resume", str(cut.path)])
    assert read(cut) == read(whole)
    params, others = (run.load_checkpoint()["learner"] for run in (cut, whole))
    assert json.dumps(str(params["levels"])) == json.dumps(str(others["levels"]))
    lines = read(whole)
    looked_at = [line for line in lines if "grad_norm" not in line]
    learned = [line for line in lines if "grad_norm" in line]
    assert learned
    assert bool(looked_at) == (way != "reptile")
    for line in lines:
        kind = next(k for k in line if k.startswith("return_") and k != "return_before")
        assert line[kind] == pytest.approx(line.get("trial_return", line["return"]), rel=1e-5)


def test_parts_of_a_meta_batch_learn_what_the_whole_does(tmp_path):
    whole, parts = (train(tmp_path / way, *WAYS[way]) for way in ("maml", "in-parts"))
    for one, other in zip(read(whole), read(parts), strict=True):
        assert one["buffer_score"] == pytest.approx(other["buffer_score"], rel=1e-4, abs=1e-6)
    params, others = (run.load_checkpoint()["learner"]["params"] for run in (whole, parts))
    for name, value in params.items():
        torch.testing.assert_close(value, others[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--method", "ppo", "--curriculum", "plr"], "--method ppo draws its tasks itself"),
        (["--method", "none", "--curriculum", "plr"], "--method none learns nothing in training"),
        (["--env", "point", "--curriculum", "plr"], "point has no levels to choose among"),
        (["--method", "maml", "--curriculum", "sfl", "--meta-batch", "6"], "4 attempts at each"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused_before_there_is_a_run(
    arguments, match, tmp_path, capsys
):
    env = () if "--env" in arguments else ("--env", "mazes", "--size", "7")
    with pytest.raises((UserError, SystemExit)) as error:
        main(["train", *env, *arguments, "--run-dir", str(tmp_path / "run")])
    assert match in " ".join((str(error.value) + "".join(capsys.readouterr())).split())
    assert not (tmp_path / "run").exists()
