"""`experiments.maze` in another maze every trial, run as a user runs it: small, but whole."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from envs.maze.play import Play
from envs.maze.random_mazes import RandomMazes
from envs.problems import HiddenGoals
from experiments.maze import RECIPE, PlaySettings, defaults, play
from experiments.maze_settings import CORES
from metarl.runs.seeds import find_runs
from tests.experiments.scripts import maze as main
from tests.experiments.test_maze import ROOT, assert_same, metrics, wait_for_iteration

SMALL = (
    *("--mazes", "dfs", "--size", "9", "--horizon", "12", "--batch-size", "6"),
    *("--hidden-size", "6", "--minibatch-trials", "3", "--iterations", "12"),
    *("--log-every", "4", "--checkpoint-every", "5", "--device", "cpu"),
)
OTHERS = {
    "schedule": ("--size-schedule", "9:0.4", "--size", "11", "--exploration-bonus", "0.2"),
    "few": ("--num-layouts", "3"),
    "a2c": ("--loss.algorithm", "a2c", "--num-epochs", "1"),
    "warp-rnn": ("--method", "warp-rnn"),
    "episodes": ("--respawn", "end", "--trial-episodes", "2"),
    "turning": ("--view", "egocentric-5", "--position"),
    "range": ("--size", "9..13", "--respawn", "random", "--loops", "0.5"),
}
few_grids = pytest.mark.filterwarnings("ignore:.*too few to say much:UserWarning")
KEYS = {
    *("mean_return", "ci95", "random_return", "explorer_return", "ceiling_return"),
    *("oracle_return", "normalised_score", "success", "num_tasks", "num_layouts"),
    "layouts_trained_on",
}


def train(path, *arguments):
    main(["train", *SMALL, "--run-dir", str(path), *arguments])
    return find_runs(path)


def evaluated(capsys, run, *arguments):
    main(["evaluate", str(run.path), "--json", *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    (run,) = train(tmp_path_factory.mktemp("runs") / "mazes")
    return run


def test_without_mazes_the_room_is_trained_in():
    settings = defaults()
    assert settings.is_room
    assert isinstance(settings.environment, HiddenGoals)
    assert (settings.method, settings.core, settings.iterations) == ("warp-rnn", "warp", 20_000)
    old_demo = defaults("demo", mazes="room")
    assert isinstance(old_demo.environment, HiddenGoals)
    assert old_demo.environment.size == 9


def test_random_mazes_have_settings_of_their_own():
    settings = defaults(mazes="mst", size="9")
    assert (settings.method, settings.core, settings.hidden_size) == ("rl2", "lstm", 128)
    assert (settings.learner.minibatch_trials, settings.batch_size) == (16, 256)
    assert (settings.environment.size, settings.environment.horizon) == ("9", 100)
    assert defaults(mazes="mst").environment.horizon == 200
    demo = defaults("demo")
    assert (demo.mazes, demo.environment.size) == ("dfs", "9")
    assert demo.environment.exploration_bonus == 0.2
    assert defaults(mazes="dfs", method="warp-rnn").core == "warp"
    assert defaults(mazes="dfs", method="gru").core == "gru"


def test_a_run_is_restored_as_it_was(trained):
    settings = RECIPE.settings_of(trained.config)
    assert settings.mazes == "dfs"
    assert isinstance(settings.environment, RandomMazes)
    assert (settings.environment.size, settings.environment.horizon) == ("9", 12)
    assert set(trained.config["anchors"]) == {"random", "explorer", "ceiling", "oracle"}
    assert metrics(trained)["env_steps"] == [4 * 72, 8 * 72, 12 * 72]


@pytest.mark.parametrize(
    "arguments", [*(("--core", core) for core in CORES), *OTHERS.values()], ids=[*CORES, *OTHERS]
)
def test_every_way_resumes_bit_for_bit_and_is_measured(tmp_path, capsys, arguments):
    (whole,) = train(tmp_path / "whole", *arguments)
    (cut,) = train(tmp_path / "cut", *arguments)
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    assert cut.load_checkpoint()["iteration"] == 10
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    summary = evaluated(capsys, cut, "--tasks", "6")
    assert summary.keys() >= KEYS
    assert summary["layouts_trained_on"] == 0
    assert summary["env_steps"] == metrics(cut)["env_steps"][-1]


def test_seeds_together_equal_seeds_alone(tmp_path):
    size = ("--hidden-size", "32", "--batch-size", "16", "--minibatch-trials", "8")
    together = train(tmp_path / "together", "--seeds", "0", "4", *size)
    (alone,) = train(tmp_path / "alone", "--seeds", "4", *size)
    assert_same(together[1], alone)


@pytest.mark.slow
def test_a_killed_process_resumes_bit_for_bit(tmp_path):
    long = (*SMALL, "--iterations", "150")
    arguments = ["train", *long, "--run-dir", str(tmp_path / "killed")]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.maze", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    wait_for_iteration(tmp_path / "killed", 40, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    main(["train", "--resume", str(tmp_path / "killed")])
    (whole,) = train(tmp_path / "whole", "--iterations", "150")
    assert_same(*find_runs(tmp_path / "killed"), whole)


def test_a_summary_says_what_was_measured_and_every_layout_is_kept(trained, capsys):
    summary = evaluated(capsys, trained, "--tasks", "20")
    assert summary.keys() >= KEYS
    assert summary["num_tasks"] == 20
    assert summary["random_return"] < summary["explorer_return"] <= summary["oracle_return"]
    low, high = summary["random_return"], summary["explorer_return"]
    score = (summary["mean_return"] - low) / (high - low)
    assert summary["normalised_score"] == pytest.approx(score)
    with (trained.path / "layouts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary["num_layouts"]
    assert sum(int(row["trials"]) for row in rows) == 20
    mean = sum(float(row["return"]) * int(row["trials"]) for row in rows) / 20
    assert mean == pytest.approx(summary["mean_return"], abs=1e-4)
    assert {"finds.png", "within_trial.png"} <= {path.name for path in trained.path.iterdir()}


def test_other_mazes_are_measured_beside_the_runs_own(trained, capsys, tmp_path):
    named = evaluated(capsys, trained, "--mazes", "named", "--tasks", "30")
    assert named["layouts_trained_on"] == 0
    assert named["num_layouts"] == len(named["per_maze"]) == 10
    assert named.keys() >= {"normalised_score_over_families", "success_over_families"}
    assert (trained.path / "on-named" / "summary.json").is_file()
    larger = evaluated(capsys, trained, "--size", "13", "--tasks", "4")
    assert larger["horizon"] == 24
    assert (trained.path / "on-13" / "layouts.csv").is_file()
    other = evaluated(capsys, trained, "--mazes", "mst", "--size", "9..11", "--tasks", "4")
    assert (other["mazes"], other["layouts_trained_on"]) == ("mst", 0)
    assert (trained.path / "on-mst-9-11" / "summary.json").is_file()
    path = tmp_path / "own.txt"
    path.write_text("#####\n#S.G#\n#####\n\n#####\n#S..#\n#.#.#\n#..G#\n#####\n")
    own = evaluated(capsys, trained, "--mazes", str(path), "--horizon", "9", "--tasks", "4")
    assert (own["num_layouts"], own["horizon"]) == (2, 9)
    (place,) = trained.path.glob("on-own.txt-*-9-steps")
    path.write_text(path.read_text().replace("#S.G#", "#SG.#"))  # other mazes of the same name
    evaluated(capsys, trained, "--mazes", str(path), "--horizon", "9", "--tasks", "4")
    assert len(list(trained.path.glob("on-own.txt-*-9-steps/summary.json"))) == 2
    assert (place / "summary.json").is_file()


def test_an_agent_of_the_room_is_measured_in_other_mazes(tmp_path, capsys):
    small = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")
    main(["train", *small, "--iterations", "1", "--run-dir", str(tmp_path / "room")])
    (run,) = find_runs(tmp_path / "room")
    summary = evaluated(capsys, run, "--mazes", "dfs", "--size", "9", "--tasks", "4")
    assert summary.keys() >= KEYS
    assert evaluated(capsys, run, "--tasks", "4").keys() >= KEYS - {
        *("num_layouts", "layouts_trained_on", "success"),
    }
    with pytest.raises(SystemExit):
        main(["evaluate", str(run.path), "--size", "9"])
    assert "name other mazes with --mazes" in " ".join(capsys.readouterr().err.split())


@few_grids
@pytest.mark.parametrize("trial", [(), ("--trial-steps", "40")], ids=str)
def test_grids_of_minigrid_are_mazes_too(trial, tmp_path, capsys):
    tiny = (
        *trial,
        "--horizon",
        "30",
        "--batch-size",
        "4",
        "--minibatch-trials",
        "2",
        "--hidden-size",
        "4",
    )
    grids = ("--mazes", "minigrid:MiniGrid-FourRooms-v0", "--grids", "60", *tiny)
    often = ("--iterations", "4", "--checkpoint-every", "2", "--device", "cpu")
    runs = []
    for name in ("whole", "cut"):
        main(["train", *grids, *often, "--run-dir", str(tmp_path / name)])
        runs += find_runs(tmp_path / name)
    whole, cut = runs
    os.replace(cut.path / "checkpoint.previous.pt", cut.checkpoint_path)
    main(["train", "--resume", str(cut.path)])
    assert_same(cut, whole)
    assert metrics(cut)["env_steps"] == [4 * 4 * (40 if trial else 2 * 30)]
    summary = evaluated(capsys, cut, "--tasks", "6")
    assert summary.keys() >= KEYS
    assert summary["layouts_trained_on"] == 0
    assert summary["mean_return"] == pytest.approx(sum(summary["return_by_episode"]))
    assert len(summary["success_by_episode"]) == 2
    known = [summary[f"{name}_return"] for name in ("random", "explorer", "oracle")]
    assert known == sorted(known)
    scale = summary["explorer_return"] - summary["random_return"]
    share = (summary["mean_return"] - summary["random_return"]) / scale
    assert summary["normalised_score"] == pytest.approx(share)
    for mazes, message in (
        ("dfs", "name grids of the kind"),
        ("minigrid:Nope-v0", "there is no Minigrid environment 'Nope-v0'"),
        ("minigrid:BabyAI-GoToObj-v0", "the tensor environment does not play BabyAI-GoToObj-v0"),
        ("minigrid:MiniGrid-Empty-8x8-v0", "unseen walls (MiniGrid-Empty-8x8-v0)"),
        ("minigrid:MiniGrid-GoToDoor-5x5-v0", "an agent of MiniGrid-FourRooms-v0 sees"),
    ):
        with pytest.raises(SystemExit):
            main(["evaluate", str(cut.path), "--mazes", mazes])
        assert message in " ".join(capsys.readouterr().err.split())


def test_mazes_none_of_which_is_to_test_on_are_refused(trained, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(trained.path), "--mazes", "empty", "--size", "5"])
    assert "no tasks for fresh trials, unseen layouts (empty 5)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trial.gif", "trial.png"])
def test_an_unseen_maze_is_filmed(trained, tmp_path, name):
    output = tmp_path / name
    main(["render", str(trained.path), "--output", str(output), "--steps", "3", "--side-by-side"])
    assert output.stat().st_size > 1000


def test_the_ways_to_some_finds_are_one_picture(trained, tmp_path, capsys):
    output = str(tmp_path / "finds.png")
    asked = ["render", str(trained.path), "--finds", "1", "2", "--output", output]
    for seed in range(40):
        try:
            main([*asked, "--seed", str(seed), "--horizon", "60"])
            break
        except SystemExit:
            assert "was made in this trial" in capsys.readouterr().err
    assert (tmp_path / "finds.png").stat().st_size > 1000


def test_keys_move_through_a_maze_until_it_is_over():
    game = Play(RandomMazes(size="9", horizon=30))
    before = game.task
    row, column = game.task.start
    (beside, *_) = game.task.layout.neighbours(game.task.start)
    key = {(-1, 0): "up", (1, 0): "s", (0, -1): "left", (0, 1): "d"}
    game.press(key[beside[0] - row, beside[1] - column])
    assert game.picture().shape[2] == 3
    assert game.step == 1
    assert game._trail[-1] in (beside, game.task.start)
    for _ in range(29):
        game.press("a")
    assert game.over
    game.press("a")
    assert (game.step, game.over, len(game.returns)) == (0, False, 2)
    assert game.task != before
    game.press("x")
    assert game.step == 0


def test_an_agent_that_turns_is_played_by_three_keys():
    game = Play(RandomMazes(size="9", horizon=30, view="egocentric-5"))
    for key in ("left", "right", "up", "down"):
        game.press(key)
    assert game.step == 3


def test_settings_are_chosen_on_the_mazes_of_validation(trained, capsys, tmp_path):
    summary = evaluated(capsys, trained, "--tasks", "30", "--split", "validation")
    assert (summary["split"], summary["layouts_trained_on"]) == ("validation", 0)
    assert summary["protocol"].endswith("(dfs 9), validation")
    place = trained.path / "validation"
    names = set(json.loads((place / "adaptation.json").read_text())["task_ids"])
    evaluated(capsys, trained, "--tasks", "30", "--size", "9", "--side", "validation")
    assert (trained.path / "on-9-validation" / "summary.json").exists()
    assert evaluated(capsys, trained, "--tasks", "30")["split"] == "test"
    assert not names & set(json.loads((trained.path / "adaptation.json").read_text())["task_ids"])
    (tmp_path / "own.txt").write_text("#####\n#S..#\n#..G#\n#####")
    for mazes in ("named", str(tmp_path / "own.txt")):
        with pytest.raises(SystemExit):
            evaluated(capsys, trained, "--mazes", mazes, "--split", "validation")
        assert "--split validation: there are no tasks for it" in capsys.readouterr().err


def test_mazes_that_are_none_are_refused_with_all_that_an_agent_can_be_measured_in(trained, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(trained.path), "--mazes", "nosuch"])
    message = capsys.readouterr().err
    assert "empty, named (for tests alone), or a text file with pictures of mazes" in message


@few_grids
def test_options_mend_what_the_usual_ones_could_not_deal_out(tmp_path, capsys):
    """Grids of one layout of walls; mazes in a file, of which the usual salt gives a side none."""
    size = ("--batch-size=2", "--minibatch-trials=2", "--horizon=4", "--hidden-size=4")
    grids = ("--mazes", "minigrid:MiniGrid-KeyCorridorS3R1-v0", "--grids", "40")
    file = tmp_path / "three.txt"
    rows = ("S..", "S#.", "S.#")
    file.write_text("\n\n".join(f"#####\n#{row}#\n#..G#\n#####" for row in rows))
    for mazes, mend in ((grids, "--by=task"), (("--mazes", str(file)), "--salt=24")):
        words = ["train", *mazes, *size, "--iterations=1", "--device=cpu"]
        with pytest.raises(SystemExit):
            main([*words, "--run-dir", str(tmp_path / mend)])
        assert "for training, validation and test" in capsys.readouterr().err
        assert not (tmp_path / mend).exists()
        main([*words, mend, "--run-dir", str(tmp_path / mend)])
        assert find_runs(tmp_path / mend)


def test_a_window_is_played_in_and_closed(monkeypatch, capsys):
    import pygame

    pygame.display.init()
    for key in (pygame.K_UP, pygame.K_n, pygame.K_q):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    play(PlaySettings(RandomMazes(size="9")))
    assert "returns: 0, 0" in capsys.readouterr().out


def test_an_agent_is_watched_in_a_window(trained):
    watched = ["--mazes", "mst", "--trials", "1", "--fps", "1000", "--horizon", "3"]
    main(["watch", str(trained.path), *watched])


@few_grids
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--mazes", "dsf"], "mazes must be one of room, pillars, dfs"),
        (["train", "--mazes", "named"], "--mazes must be others than named"),
        (["train", "--mazes", "minigrid:Nope-v0"], "there is no Minigrid environment 'Nope-v0'"),
        (["train", "--mazes", "minigrid:MiniGrid-Empty-5x5-v0"], "grids would be for training"),
        (["train", "--mazes", "empty", "--size", "5"], "and test: take a larger size, or another"),
        (["train", "--mazes", "dfs", "--size", "12"], "must be odd"),
        (["train", "--mazes", "dfs", "--size", "5"], "too few to part"),
        (["train", "--mazes", "dfs", "--size", "9..14"], "both odd"),
        (["train", "--mazes", "dfs", "--size", "x"], "size must be a number"),
        (["train", "--mazes", "ued", "--size", "x"], "--size must be a whole number, such as 13"),
        (["train", "--mazes", "ued", "--size", "9..13"], "such as 13, got '9..13'"),
        (["train", "--mazes", ""], "mazes must be one of room, pillars, dfs"),
        (["train", "--mazes", "dfs", "--preset", "paper"], "--preset paper is for the published"),
        (
            ["train", "--mazes", "dfs", "--published-faults"],
            "--published-faults are those of --mazes room: drop them, or --mazes dfs",
        ),
        (["train", "--mazes", "dfs", "--minibatch-trials", "7"], "minibatch"),
        (["train", "--mazes", "dfs", "--size-schedule", "9"], "--size-schedule must be sizes"),
        (["train", "--mazes", "dfs", "--num-layouts", "-1"], "--num-layouts must be at least 0"),
        (["train", "--mazes", "dfs", "--reward", "0"], "--reward must be above 0, got 0.0"),
        (["train", "--trial-episodes", "2"], "--trial-episodes is for random mazes"),
        (["train", "--mazes", "dfs", "--trial-steps", "9"], "--trial-steps is for grids of"),
        (["train", "--trial-steps", "9"], "--trial-steps is for grids of Minigrid"),
        (["train", "--loops", "0.5"], "nrecognized"),
        (["evaluate", "no-such-run", "--horizon", "0"], "--horizon must be at least 1, got 0"),
        (["render", "x", "--finds", "1"], "--output must end in .png, got trial.gif"),
        (["watch", "no-such-run", "--trials", "0"], "--trials must be at least 1, got 0"),
        (["play", "--size", "12"], "must be odd"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_work_starts(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#####\n#S.X#\n#####", "line 2, column 4: unknown character 'X'"),
        ("#####\n#S..#\n####", "line 3"),
        ("#####\n#S.#G#\n#####", "line 2"),
        ("#####\n#S#G#\n#####", "cannot be reached"),
        ("#####\n#S.G.\n#####", "the border is open here"),
        ("#######\n#S...G#\n#######", "draw more mazes into the file"),
        (f"{'#' * 63}\n#S{'.' * 59}G#\n{'#' * 63}", "mazes.txt has a maze of 63 columns"),
    ],
)
def test_a_file_that_is_none_of_mazes_is_refused(text, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mazes.txt").write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--mazes", "mazes.txt"])
    assert exit_.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mazes.txt"]
