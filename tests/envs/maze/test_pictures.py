"""Films of the maze: what the frames show survives the few colours of a GIF."""

import subprocess

import numpy as np
import torch
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageSequence

from envs import MazeTask, pillar_maze
from envs.maze.drawing import AGENT, GOAL, WALL
from envs.maze.play import Play
from envs.problems import Maze, RandomMazes
from metarl.evaluate.film import Scene, Watched, frames_of, write_film


def winding_walk(size, num_steps):
    """Row by row from the north: a long trail, whose fading takes many colours."""
    cells = [(1, 1)]
    while len(cells) <= num_steps:
        row, column = cells[-1]
        east = row % 4 == 1
        at_end = column == (size - 2 if east else 1)
        cells.append((row + 1, column) if at_end or row % 2 == 0 else (row, column + 2 * east - 1))
    task = MazeTask(pillar_maze(size), (size - 2, 1))
    actions, rewards = np.full(num_steps, 3), np.zeros(num_steps)
    return Scene("walker", task, np.array(cells), actions, rewards)


def film(scenes, num_steps, cell_size):
    return frames_of(scenes, Maze(), num_steps, cell_size)


def test_before_the_first_step_there_is_no_action_and_the_caption_shows_that(monkeypatch):
    captions = []
    picture = np.zeros((4, 4, 3), np.uint8)
    drawn = lambda *args, caption, **words: captions.append(caption) or picture  # noqa: E731
    monkeypatch.setattr("envs.maze.drawing.draw", drawn)
    film([winding_walk(5, 2)], 2, 16)
    assert captions[:2] == [
        "walker\nstep 0  action –  reward 0",
        "walker\nstep 1  action →  reward 0",
    ]


def test_a_gif_keeps_the_colours_of_goal_agent_and_walls_in_every_frame(tmp_path):
    trial = winding_walk(13, 60)
    frames = film([trial], 60, 16)[::3]
    write_film(frames, tmp_path / "walk.gif", fps=10)
    with Image.open(tmp_path / "walk.gif") as gif:
        read = [np.asarray(shown.convert("RGB")) for shown in ImageSequence.Iterator(gif)]
    assert len(read) == len(frames)
    for colour in (GOAL, AGENT, WALL):
        for drawn, shown in zip(frames, read, strict=True):
            flat = (drawn == colour).all(-1)
            assert flat.any()
            np.testing.assert_array_equal(shown[flat], np.broadcast_to(colour, (flat.sum(), 3)))
    errors = [np.abs(d.astype(int) - s).mean() for d, s in zip(frames, read, strict=True)]
    assert max(errors) < 1.5  # of 255


def test_an_mp4_of_odd_size_gets_a_white_margin(tmp_path):
    drawn = film([winding_walk(13, 3)], 3, 9)
    assert drawn[0].shape == (155, 117, 3)
    write_film(drawn, tmp_path / "walk.mp4", fps=10)
    command = [get_ffmpeg_exe(), "-i", tmp_path / "walk.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(len(drawn), 156, 118, 3)
    assert shown[0, :100, -1].mean() > 200  # beside the dark wall
    assert np.abs(shown[0, :155, :115].astype(int) - drawn[0][:, :115]).mean() < 8


def test_an_agent_that_turns_is_shown_turning(monkeypatch):
    drawn = []
    picture = np.zeros((4, 4, 3), np.uint8)
    note = lambda *args, **words: drawn.append(words) or picture  # noqa: E731
    monkeypatch.setattr("envs.maze.drawing.draw", note)
    problem = RandomMazes("dfs", "9", view="egocentric-5", horizon=20)
    task = MazeTask.from_ascii("""
    #####
    #^..#
    #.#.#
    #..G#
    #####
    """)
    env = Watched(problem.make_env(1, [torch.Generator()], torch.device("cpu")), problem)
    env.reset(options={"tasks": [task]})
    for action in (1, 2, 2, 1, 2, 2):  # turn right, ahead twice, turn right, ahead twice: the goal
        env.step(torch.tensor([action]))
    (scene,) = env.scenes(task, ["walker"])
    film([scene], 6, 16)
    facing = [words["facing"] for words in drawn]
    assert facing == [3, 0, 0, 0, 1, 1, 3, 1]  # arrives looking down, and starts looking up
    assert [words["agent"] for words in drawn[-2:]] == [task.start, task.goal]
    actions = [words["caption"].split("action ")[1].split("  ")[0] for words in drawn]
    right, ahead = "turn right", "ahead"
    assert actions == ["–", right, ahead, ahead, right, ahead, ahead, ahead]


def test_an_agent_that_does_not_turn_faces_nowhere(monkeypatch):
    facing = []
    picture = np.zeros((4, 4, 3), np.uint8)
    note = lambda *args, facing=None, **words: (ways.append(facing), picture)[1]  # noqa: E731
    ways = facing
    monkeypatch.setattr("envs.maze.drawing.draw", note)
    film([winding_walk(5, 2)], 2, 16)
    assert facing == [None] * 3


def test_the_game_shows_where_an_agent_looks_that_turns():
    game = Play(RandomMazes("dfs", "9", view="egocentric-5", horizon=20), show_goal=True)
    side = game.picture().shape[1]
    seen = [game.picture()[:side]]
    for _ in range(4):
        game.press("left")
        seen.append(game.picture()[:side])
    assert all((seen[0] != other).any() for other in seen[1:4])
    np.testing.assert_array_equal(seen[0], seen[4])
