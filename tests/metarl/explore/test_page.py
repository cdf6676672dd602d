"""The answers of the page: mazes, trials, what they are judged by. No network is needed."""

import base64
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import envs
from envs.maze.generators import GENERATORS
from experiments import maze_adapt
from experiments.maze import RECIPE
from experiments.maze_evaluation import measured_on
from metarl import zoo
from metarl.errors import UserError
from metarl.explore.page import KEYS, Page
from metarl.explore.players import Players
from metarl.run.showing import played
from metarl.run.trials import adapter
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json

ABLE = {"mazes9", "mazes13", "maze13-warp", "room13-lstm"}
ROW = {"rows": ["#######", "#.....#", "#######"], "start": [1, 1], "goal": [1, 4]}
TRIAL = {"maze": ROW, "agent": "mazes9"}


def able(page):
    return [one["name"] for one in page.setup()["agents"] if one["reason"] is None]


def test_setup_lists_everything_and_says_why_not(page):
    setup = page.setup()
    assert set(able(page)) >= ABLE
    assert {one["name"] for one in setup["agents"]} >= set(zoo.names())
    reasons = {one["name"]: one["reason"] for one in setup["agents"]}
    assert "plays bandit, not mazes" in reasons["bandit-rl2"]
    assert "learned no mazes" in reasons["omniglot-maml"]
    assert {one["name"] for one in setup["sources"]} >= {*GENERATORS, "named:Labyrinth"}


@pytest.mark.parametrize("source", [*GENERATORS, "named:Labyrinth", "named:SmallCorridor"])
def test_every_source_gives_a_maze_that_can_be_played(page, source):
    first, again, other = (
        page.maze({"source": source, "size": 11, "seed": seed}) for seed in (3, 3, 5)
    )
    assert first == again
    assert first["problem"] is None
    assert first["walled"] == 0
    assert first["maze"] != other["maze"] or source == "named:Labyrinth"
    assert page.maze({"maze": first["maze"]["code"]})["maze"] == first["maze"]


def test_a_drawn_maze_may_be_unfinished(page):
    cut = {**ROW, "rows": ["#######", "#.#...#", "#######"]}
    answer = page.maze({"maze": cut})
    assert "cannot be reached" in answer["problem"]
    assert answer["maze"]["code"] == "3x7.QA.8.11"
    beyond = {**ROW, "rows": ["#######", "#...###", "#######"], "goal": [1, 3]}
    assert page.maze({"maze": beyond})["walled"] == 0
    pocket = {**ROW, "rows": ["#######", "#..#..#", "#######"], "goal": [1, 2]}
    assert page.maze({"maze": pocket})["walled"] == 2
    assert page.trial({"maze": pocket, "agent": "mazes9"})["maze"]["rows"][1] == "#..####"


@pytest.mark.parametrize("agent", sorted(ABLE))
@pytest.mark.parametrize("size", [7, 13, 17])
def test_every_agent_plays_mazes_of_every_size(page, agent, size):
    code = page.maze({"source": "rooms", "size": size, "seed": 1})["maze"]["code"]
    asked = {"maze": code, "agent": agent, "seed": 2, "steps": 30}
    trial = page.trial(asked)
    assert trial == page.trial(asked)  # the same question has the same answer
    assert len(trial["cells"]) == 31
    assert len(trial["actions"]) == len(trial["values"]) == len(trial["change"]) == 30
    probabilities = np.array(trial["probabilities"])
    assert probabilities.shape == (30, 4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-3)
    hidden = trial["hidden"]
    assert len(base64.b64decode(hidden["pixels"])) == 30 * hidden["units"]
    assert trial["finds"] == [t + 1 for t, reward in enumerate(trial["rewards"]) if reward > 0]
    rows = trial["maze"]["rows"]
    assert all(rows[r][c] == "." for r, c in trial["cells"])
    for (r, c), view in zip(trial["cells"], trial["views"], strict=True):
        assert view == "".join(rows[y][c - 1 : c + 2] for y in (r - 1, r, r + 1))


def test_greedy_takes_the_likeliest_action(page):
    code = page.maze({"source": "dfs", "size": 9, "seed": 1})["maze"]["code"]
    trial = page.trial({"maze": code, "agent": "mazes9", "greedy": True})
    assert trial["actions"] == np.argmax(trial["probabilities"], 1).tolist()


@pytest.mark.parametrize("agent", ["mazes9", "maze13-warp"])
def test_a_film_is_that_of_render(page, agent):
    """The agent's own maze with a seed, and the trial with it: as `metarl render` plays them."""
    run = RunDirectory.open(zoo.find(agent))
    trained = measured_on(RECIPE.settings_of(run.config))
    player = adapter(trained.learning.load(run, torch.device("cpu")).trained)
    (scene,) = played(trained, player, "", 4, greedy=False)
    code = page.maze({"agent": agent, "seed": 4})["maze"]["code"]
    trial = page.trial({"maze": code, "agent": agent, "seed": 4})
    assert trial["actions"] == scene.actions.tolist()
    assert trial["cells"] == scene.seen.tolist()
    assert trial["rewards"] == scene.rewards.tolist()


def test_an_agent_finds_the_goal_again_and_again(page):
    code = page.maze({"source": "dfs", "size": 9, "seed": 5})["maze"]["code"]
    trial = page.trial({"maze": code, "agent": "mazes9"})
    anchors = page.anchors({"maze": code, "agent": "mazes9"})
    assert len(trial["finds"]) > 3
    assert anchors["returns"]["floor"] < len(trial["finds"]) <= anchors["returns"]["oracle"]


def test_anchors_are_those_of_the_package(page, arena):
    code = page.maze({"source": "mst", "size": 9, "seed": 5})["maze"]["code"]
    told = page.anchors({"maze": code, "agent": "mazes9", "rule": "random", "steps": 60})
    task = arena.task(page._arena.draw("mst", 9, 5).board)
    known = envs.layout_anchors([task], horizon=60, reward=1.0, respawn="random").means()
    assert told["returns"]["explorer"] == pytest.approx(known["explorer"], abs=1e-3)
    assert told["curves"]["oracle"][-1] == pytest.approx(known["oracle"], abs=1e-3)
    assert len(told["curves"]["floor"]) == 60


def test_keys_play_step_by_step(page):
    asked = {"maze": ROW, "agent": KEYS, "seed": 0, "rule": "start"}
    assert page.trial({**asked, "moves": []})["cells"] == [[1, 1]]
    trial = page.trial({**asked, "moves": [3, 0, 3, 3, 3]})
    assert trial["cells"] == [[1, 1], [1, 2], [1, 2], [1, 3], [1, 1], [1, 2]]
    assert trial["finds"] == [4]
    assert "probabilities" not in trial
    longer = page.trial({**asked, "moves": [3, 0, 3, 3, 3, 2]})
    assert longer["cells"][:6] == trial["cells"]
    with pytest.raises(UserError, match="over after 3 steps"):
        page.trial({**asked, "steps": 3, "moves": [0, 0, 0, 0]})


def test_what_a_find_does_can_be_chosen(page):
    asked = {"maze": ROW, "agent": KEYS, "moves": [3, 3, 3]}
    ends = {
        rule: {
            tuple(page.trial({**asked, "rule": rule, "seed": seed})["cells"][-1])
            for seed in range(12)
        }
        for rule in ("start", "random")
    }
    assert ends == {"start": {(1, 1)}, "random": {(1, 1), (1, 2), (1, 3), (1, 5)}}


# Runs ----------------------------------------------------------------------------------------


def test_runs_are_found_and_read(page_of_runs, runs):
    setup = {one["name"]: one for one in page_of_runs.setup()["agents"]}
    names = ("ahead", "wide/seed-0", "wide/seed-1", "episodes")
    assert {str(runs / name) for name in names} <= set(able(page_of_runs))
    assert "adapts by gradient steps" in setup[str(runs / "gradient")]["reason"]


@pytest.mark.parametrize("mazes", ["ued", "minigrid:MiniGrid-SimpleCrossingS9N1-v0"])
def test_grids_whose_goal_is_seen_are_none_of_these_mazes(arena, mazes):
    config = to_json(RECIPE.defaults(mazes=mazes), "config")
    with pytest.raises(UserError, match=f"plays {mazes}, where an agent sees and does other"):
        arena.trained({**config, "recipe": RECIPE.name})


def test_other_agents_are_refused_with_what_they_are(arena):
    def told(config):
        with pytest.raises(UserError) as refusal:
            arena.trained(config)
        return str(refusal.value)

    def adapting(**picks):
        settings = maze_adapt.RECIPE.defaults(**picks)
        return told({**to_json(settings, "config"), "recipe": maze_adapt.RECIPE.name})

    assert "adapts by gradient steps" in adapting(env="maze", method="maml")
    assert "Stable-Baselines3" in adapting(env="maze", method="ppo")
    assert "Stable-Baselines3" in adapting(env="mazes", method="recurrent-ppo")
    assert "plays point, not mazes" in adapting(env="point", method="rl2")
    assert "from Python" in told({"recipe": "metarl.experiment"})
    assert "something unknown" in told({})


def test_the_clock_of_an_agent_is_that_of_its_training(arena):
    settings = maze_adapt.RECIPE.defaults(env="maze", method="rl2")
    settings = replace(settings, agent=replace(settings.agent, trial_steps=500))
    trained = arena.trained({**to_json(settings, "config"), "recipe": maze_adapt.RECIPE.name})
    assert trained.learning.num_steps == 500


def test_an_agent_that_turns_plays(page_of_runs, runs):
    code = page_of_runs.maze({"source": "named:Labyrinth"})["maze"]["code"]
    asked = {"maze": code, "agent": str(runs / "ahead"), "steps": 20}
    trial = page_of_runs.trial(asked)
    assert trial["view"] == 5
    assert trial["facing"][0] == 0
    assert len(trial["facing"]) == 21
    assert trial["action_names"] == ("turn left", "turn right", "ahead")
    assert {len(view) for view in trial["views"]} == {25}
    assert "?" in trial["views"][0]
    assert page_of_runs.anchors(asked)["returns"]["oracle"] >= 0


def test_an_agent_that_sees_more_plays(page_of_runs, runs):
    code = page_of_runs.maze({"source": "dfs", "size": 13})["maze"]["code"]
    trial = page_of_runs.trial({"maze": code, "agent": str(runs / "wide/seed-1")})
    assert {len(view) for view in trial["views"]} == {25}
    assert trial["num_steps"] == 18  # in proportion to the size


def test_a_trial_of_several_episodes(page_of_runs, runs):
    code = page_of_runs.maze({"source": "pillars", "size": 7})["maze"]["code"]
    for rule in (None, "start"):
        asked = {"maze": code, "agent": str(runs / "episodes"), "rule": rule}
        trial = page_of_runs.trial(asked)
        assert trial["begins"] == (0, 8, 16, 24)
        assert len(trial["actions"]) == 32
        assert page_of_runs.anchors(asked)["num_steps"] == 32
    with pytest.raises(UserError, match="more than 4000 steps: take fewer"):
        page_of_runs.trial({"maze": code, "agent": str(runs / "episodes"), "steps": 1500})


def test_a_run_that_goes_on_is_read_again(arena, runs):
    players = Players(arena, runs)
    name = str(runs / "ahead")
    first = players.load(name)
    assert players.load(name) is first
    file = Path(name) / "checkpoint.pt"
    file.write_bytes(file.read_bytes())
    assert players.load(name) is not first


def test_an_agent_in_double_precision_plays(page_of_runs, runs):
    (name,) = [one["name"] for one in page_of_runs.setup()["agents"] if "precise" in one["name"]]
    found = page_of_runs.trial({**TRIAL, "agent": name})
    assert len(found["values"]) == len(found["actions"]) > 0


def test_damaged_runs_are_listed_and_refused(arena, runs, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(runs / "ahead", broken)
    run = RunDirectory.open(broken)
    state = run.load_checkpoint()
    state["learner"]["params"]["actor.bias"].fill_(float("nan"))
    run.save_checkpoint(state)
    run.close()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "config.json").write_text("{")
    (tmp_path / "cut" / "checkpoint.pt").write_bytes(b"")
    page = Page(arena, Players(arena, tmp_path))
    reasons = {one["name"]: one["reason"] for one in page.setup()["agents"]}
    assert "not valid JSON" in reasons[str(tmp_path / "cut")]
    with pytest.raises(UserError, match="holds what is not finite"):
        page.trial({**TRIAL, "agent": str(broken)})
    (broken / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="checkpoint"):
        page.trial({**TRIAL, "agent": str(broken)})
    with pytest.raises(UserError, match="checkpoint"):
        Players(arena, tmp_path, [str(broken)])


def test_what_is_named_at_the_start_comes_first(arena, runs, tmp_path):
    page = Page(arena, Players(arena, tmp_path, [str(runs / "wide"), "mazes9"]))
    names = [one["name"] for one in page.setup()["agents"]][:3]
    assert names == [str(runs / "wide/seed-0"), str(runs / "wide/seed-1"), "mazes9"]
    for name, told in (
        ("bandit-rl2", "plays bandit, not mazes"),
        ("mazes10", "did you mean"),
        (str(runs / "gradient"), "adapts by gradient steps"),
        (str(tmp_path / "none"), "there is no run directory"),
    ):
        with pytest.raises(UserError, match=told):
            Players(arena, tmp_path, [name])


# Nonsense ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "asked", "told"),
    [
        ("trial", None, "send a JSON object with maze, agent"),
        ("trial", [], "send a JSON object"),
        ("trial", {}, "a maze is an object"),
        ("trial", {"maze": ROW}, "agent must be a text, got nothing"),
        ("trial", {"maze": ROW, "agent": 3}, "agent must be a text, got 3"),
        ("trial", {"maze": ROW, "agent": "mäzes ☃"}, "there is no agent 'mäzes ☃' on this page"),
        ("trial", {"maze": ROW, "agent": "../../etc"}, "there is no agent"),
        ("trial", {"maze": ROW, "agent": "/etc"}, "there is no agent"),
        ("trial", {"maze": ROW, "agent": "bandit-rl2"}, "plays bandit, not mazes"),
        ("trial", {**TRIAL, "seed": -1}, "seed must be a whole number from 0"),
        ("trial", {**TRIAL, "seed": 1.5}, "seed must be a whole number"),
        ("trial", {**TRIAL, "seed": True}, "seed must be a whole number"),
        ("trial", {**TRIAL, "seed": 10**40}, "seed must be a whole number"),
        ("trial", {**TRIAL, "seed": float("nan")}, "got nan"),
        ("trial", {**TRIAL, "steps": 0}, "steps must be a whole number from 1 to 2000"),
        ("trial", {**TRIAL, "steps": 10**7}, "steps must be a whole number from 1 to 2000"),
        ("trial", {**TRIAL, "rule": "fly"}, "rule must be one of start, random, or left out"),
        ("trial", {**TRIAL, "rule": ["start"]}, "rule must be one of"),
        ("trial", {**TRIAL, "greedy": "yes"}, "greedy must be true or false"),
        ("trial", {**TRIAL, "speed": 3}, "'speed' is no field here"),
        ("trial", {"maze": ROW, "agent": KEYS}, "moves must be a list"),
        ("trial", {"maze": ROW, "agent": KEYS, "moves": [4]}, "moves must be a list of at most"),
        ("trial", {"maze": ROW, "agent": KEYS, "moves": [0] * 5000}, "moves must be a list"),
        ("trial", {"maze": ROW, "agent": KEYS, "moves": [True]}, "moves must be a list"),
        ("maze", {"source": "sand"}, "there are no mazes 'sand'"),
        ("maze", {"source": "named:"}, "there are no mazes"),
        ("maze", {"source": "Labyrinth"}, "there are no mazes"),
        ("maze", {"source": "dfs", "size": 12}, "^size must be odd"),
        ("maze", {"source": "dfs", "size": 99}, "size must be a whole number from 3 to 41"),
        ("maze", {"source": "dfs", "size": 10}, "odd"),
        ("maze", {"source": "pillars", "size": 3}, "size"),
        ("maze", {"agent": "sine-maml"}, "learned no mazes"),
        ("maze", {"maze": "13x13.A.1.2"}, "link"),
        ("maze", {}, "source must be a text"),
        ("anchors", {**TRIAL, "moves": []}, "'moves' is no field here"),
        ("anchors", {"maze": ROW, "agent": "x" * 10**5}, "there is no agent"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(page, question, asked, told):
    with pytest.raises((UserError, ValueError), match=told) as refusal:
        getattr(page, question)(asked)
    assert len(str(refusal.value)) < 500


def test_small_mazes_come_with_a_note_where_they_are_few(page):
    answer = page.maze({"source": "dfs", "size": 5, "seed": 0})
    assert answer["problem"] is None
    assert "so few mazes of this size" in answer["note"]
    assert page.maze({"source": "dfs", "size": 13, "seed": 0})["note"] == ""
