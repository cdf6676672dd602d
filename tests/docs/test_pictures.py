"""The pictures of the documentation are those that the script draws, small, and shown."""

from __future__ import annotations

import numpy as np
import pytest

from docs.pictures import IMAGES, PICTURES, save
from docs.tiles import tiled
from tests.docs.test_pages import PAGES


def test_every_picture_is_drawn_by_the_script_and_shown_on_a_page() -> None:
    there = {path.stem for path in IMAGES.glob("*.png")}
    assert there == set(PICTURES)
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert all(f"images/{name}.png" in text for name in there)


def test_pictures_are_small() -> None:
    assert all(path.stat().st_size < 40 * 1024 for path in IMAGES.glob("*.png"))


@pytest.mark.parametrize("name", ["grid_navi", "maze", "mdp", "point", "views"])
def test_a_picture_is_drawn_anew_as_it_stands(name: str, tmp_path) -> None:
    """Of the same size: the pixels may differ between versions of Matplotlib."""
    from PIL import Image

    picture = PICTURES[name]()
    assert picture is not None
    save(picture, tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as again, Image.open(IMAGES / f"{name}.png") as stored:
        assert again.size == stored.size


def test_tiles_stand_in_rows_under_one_another() -> None:
    black = np.zeros((20, 40, 3), dtype=np.uint8)
    whole = tiled({"one": black, "two": black, "three": black}, columns=2, width=80)
    assert whole.shape[1] == 170
    assert (whole[40, 40] == 0).all()  # stretched to the width, in the middle of its square
    assert (whole[5, 40] == 255).all()
