"""Films of episodes that do not all last as long as they may."""

import numpy as np
from PIL import Image

from metarl.evaluate.film import Scene, frames_of, write


class Counted:
    """A problem whose picture shows the step in its colour."""

    def watch(self, env):
        raise NotImplementedError

    def pictures(self, scene, t, cell_size):
        return (self.whole(scene, t, cell_size),)

    def whole(self, scene, t, cell_size):
        return np.full((8, 8, 3), 10 * scene.seen[t], np.uint8)


def scene(steps):
    return Scene("agent", None, np.arange(steps + 1), np.zeros(steps), np.ones(steps))


def test_a_film_ends_with_its_longest_episode_and_shorter_ones_wait():
    frames = frames_of([scene(3), scene(5)], Counted(), 40, None)
    assert [frame[0, 0, 0] for frame in frames] == [0, 10, 20, 30, 30, 30]
    assert [frame[0, -1, 0] for frame in frames] == [0, 10, 20, 30, 40, 50]


def test_a_picture_of_an_episode_that_ended_early(tmp_path):
    write([scene(3)], Counted(), tmp_path / "own.png", num_steps=40, fps=1, cell_size=None)
    assert np.asarray(Image.open(tmp_path / "own.png"))[0, 0, 0] == 30
