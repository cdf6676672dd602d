"""Omniglot from archives and folders: what is loaded, kept, and refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl.errors import UserError
from metarl.supervised.omniglot.images import Omniglot, load_omniglot, omniglot_tasks, pixels
from tests.metarl.supervised.omniglot.tiny_omniglot import (
    NUM_DRAWINGS,
    REAL,
    drawing,
    members,
    needs_real_images,
    write_archives,
    write_folders,
)

NAMES = (
    "Greek/character01",
    "Greek/character02",
    "Greek/character03",
    "Hebrew/character01",
    "Hebrew/character02",
    "Korean/character01",
    "Korean/character02",
)
"""Sorted, whichever part they are in: Hebrew is in the second."""
ORDER = [0, 1, 2, 5, 6, 3, 4]
"""Where they are among the characters as the test draws them, part by part."""


def load(folder: Path, **settings) -> Omniglot:
    return load_omniglot(folder, complete=False, **settings)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return write_archives(tmp_path / "archives")


def test_every_drawing_is_where_its_name_says(archives: Path) -> None:
    tiny = load(archives, size=105, resize="nearest")
    assert tiny.characters == NAMES
    assert tiny.images.shape == (7, NUM_DRAWINGS, 105, 105)
    assert tiny.images.dtype == torch.uint8
    drawings = np.stack([drawing(seed) for seed in range(1, 7 * NUM_DRAWINGS + 1)])
    expected = drawings.reshape(7, NUM_DRAWINGS, 105, 105)[ORDER]
    assert (tiny.images.numpy() == expected * np.uint8(255)).all()  # paper 255, ink 0
    first, second = ("images_background", "images_evaluation")
    assert tiny.parts == (first, first, first, second, second, first, first)


def test_folders_and_archives_are_alike(archives: Path, tmp_path: Path) -> None:
    folders = write_folders(tmp_path / "folders")
    a, b = load(archives), load(folders)
    assert torch.equal(a.images, b.images)
    assert (a.characters, a.parts) == (b.characters, b.parts)


def test_nothing_depends_on_the_order_of_the_members(archives: Path, tmp_path: Path) -> None:
    backwards = write_archives(tmp_path / "backwards", lambda found: found[::-1])
    a, b = load(archives), load(backwards)
    assert torch.equal(a.images, b.images)
    assert a.characters == b.characters


def test_lanczos_is_grey_and_nearest_is_not(archives: Path) -> None:
    assert len(load(archives).images.unique()) > 10
    assert load(archives, resize="nearest").images.unique().tolist() == [0, 255]


def test_other_members_are_left_alone(tmp_path: Path) -> None:
    extra = [("__MACOSX/._x.png", b""), ("images_background/.DS_Store", b"?")]
    folder = write_archives(tmp_path, lambda found: [*extra, *found])
    assert load(folder).characters == NAMES


def test_rotations_are_characters_of_their_own(archives: Path) -> None:
    tiny = load(archives)
    rotated = tiny.rotated()
    assert rotated.images.shape == (28, NUM_DRAWINGS, 28, 28)
    assert rotated.characters[:5] == (
        *(f"{NAMES[0]}@{a}" for a in (0, 90, 180, 270)),
        NAMES[1] + "@0",
    )
    assert torch.equal(rotated.images[0::4], tiny.images)
    assert torch.equal(rotated.images[1, 2], tiny.images[0, 2].rot90())
    assert torch.equal(rotated.images[6, 0], tiny.images[1, 0].flip(0, 1))
    assert rotated.parts[12:20] == ("images_evaluation",) * 8


def test_choosing_characters(archives: Path) -> None:
    tiny = load(archives)
    chosen = tiny.select([NAMES[3], NAMES[1]])
    assert torch.equal(chosen.images, tiny.images[[3, 1]])
    assert chosen.parts == ("images_evaluation", "images_background")
    assert tiny.part("images_evaluation").characters == NAMES[3:5]
    assert tiny.alphabets["Korean"] == NAMES[5:]
    with pytest.raises(ValueError, match=r"no character 'Greek/x'; they are Greek/character01"):
        tiny.select(["Greek/x"])


def test_examples_are_drawings_with_the_number_of_their_character(archives: Path) -> None:
    tiny = load(archives)
    images, numbers = tiny.examples()
    assert images.shape == (7 * NUM_DRAWINGS, 1, 28, 28)
    for number in range(7):
        assert torch.equal(images[numbers == number, 0], tiny.images[number])


def test_ink_and_paper() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert pixels(images).tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert pixels(images, ink=0).tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert pixels(images)[0] == 1
    assert pixels(images)[2] == 0


def test_few_shot_tasks_of_characters(archives: Path) -> None:
    tiny = load(archives)
    tasks = omniglot_tasks(tiny, 5, 1, 2)
    assert len(tasks.classes) == 28
    batch = tasks.sample(3, torch.Generator().manual_seed(0))
    assert batch.query.inputs.shape == (3, 10, 1, 28, 28)
    assert batch.query.inputs.dtype == torch.float32
    assert batch.query.inputs.mean() < 0.5  # little ink, and ink is 1
    plain = omniglot_tasks(tiny, 5, 1, 2, rotations=False, ink=0)
    assert len(plain.classes) == 7
    assert plain.sample(3, torch.Generator().manual_seed(0)).query.inputs.mean() > 0.5


# ------------------------------------------------------------------------------ what is refused


def test_missing_images_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "`metarl download omniglot --data" in message
    assert "--data DIR" in message


def test_a_missing_part_is_named(archives: Path) -> None:
    (archives / "images_evaluation.zip").unlink()
    with pytest.raises(UserError, match=r"neither images_evaluation\.zip"):
        load(archives)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_damaged_archive_is_refused(archives: Path, keep: int) -> None:
    path = archives / "images_background.zip"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"images_background\.zip is damaged.*Delete .*download"):
        load(archives)


def test_damage_within_a_member_is_noticed(archives: Path) -> None:
    path = archives / "images_background.zip"
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.infolist()[3].header_offset + 120
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"damaged .*Bad CRC-32"):
        load(archives)


@pytest.mark.parametrize(
    "name",
    [
        "../images_background/Greek/character01/0001_01.png",
        "/images_background/Greek/character01/0001_01.png",
        "images_background/../../evil.png",
        "C:/evil.png",
        "images_background\\evil.png",
    ],
)
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_archives(tmp_path, lambda found: [*found, (name, b"")])
    with pytest.raises(UserError, match="points outside"):
        load(folder)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\nbroken"])
def test_a_drawing_that_is_no_picture_is_named(tmp_path: Path, data: bytes) -> None:
    folder = write_archives(tmp_path, lambda found: [(found[0][0], data), *found[1:]])
    with pytest.raises(UserError, match=r"character01/0001_01\.png is not a readable image"):
        load(folder)


def test_a_cut_picture_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    path = tmp_path / next(members())[0]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"0001_01\.png is not a readable image"):
        load(tmp_path)


def test_a_missing_drawing_is_noticed(tmp_path: Path) -> None:
    folder = write_archives(tmp_path, lambda found: found[1:])
    with pytest.raises(UserError, match="Greek/character01 has 3 drawings and the others 4"):
        load(folder)


def test_archives_without_drawings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no drawings in"):
        load(write_archives(tmp_path, lambda found: []))


def test_missing_characters_are_noticed(archives: Path) -> None:
    with pytest.raises(UserError, match=r"has 5 characters, the authors' data have 964"):
        load_omniglot(archives)


def test_settings_that_mean_nothing_are_refused(archives: Path) -> None:
    with pytest.raises(ValueError, match="size must be at least 1"):
        load(archives, size=0)
    with pytest.raises(ValueError, match="resize must be lanczos or nearest, got 'bicubic'"):
        load(archives, resize="bicubic")


# ------------------------------------------------------------------------------- the real images


@needs_real_images
def test_the_real_images_are_all_there(real: Omniglot) -> None:
    assert real.images.shape == (1623, 20, 28, 28)
    assert len(real.alphabets) == 50
    assert real.images.shape[0] * real.images.shape[1] == 32_460
    assert real.part("images_background").images.shape[0] == 964
    assert len(real.part("images_background").alphabets) == 30
    assert len(real.part("images_evaluation").alphabets) == 20
    assert real.images.unique().tolist() == [0, 255]
    assert 0.02 < pixels(real.images).mean() < 0.2  # little ink


@needs_real_images
def test_a_real_character_is_the_same_from_a_folder(real: Omniglot, tmp_path: Path) -> None:
    name = "images_evaluation/Tengwar/character07/"
    for part in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(REAL / f"{part}.zip") as archive:
            archive.extractall(tmp_path, [n for n in archive.namelist() if n.startswith(name)])
    (tmp_path / "images_background").mkdir()  # no characters
    alone = load(tmp_path, resize="nearest", cache=tmp_path)
    expected = real.images[real.characters.index("Tengwar/character07")]
    assert torch.equal(alone.images[0], expected)
