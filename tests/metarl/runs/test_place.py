"""Places that results go to: what is in the way is said before there are results."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metarl import zoo
from metarl.compare.settings import stored_in
from metarl.errors import RunDirectoryError
from metarl.run.adaptation import RenderSettings as AdaptationFilm
from metarl.run.export import ExportSettings, export
from metarl.run.showing import RenderSettings
from metarl.run.trials import EvaluateSettings, evaluate
from metarl.runs.place import check_file, check_folder, refuse_occupied
from metarl.search.settings import kept_in


def test_a_place_that_is_free_is_taken_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, tmp_path / "a" / "b", Path("a/b"), Path()):
        check_folder(path)
        check_file(path / "film.gif")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunDirectoryError, match="file is a file, not a folder; name another --ru"):
        check_folder(file)
    with pytest.raises(RunDirectoryError, match=r"file/a/b cannot be made: .*/file is a file"):
        check_folder(file / "a" / "b")
    with pytest.raises(RunDirectoryError, match=r"file/a cannot be made.*; name another --output"):
        check_file(file / "a" / "film.gif")
    with pytest.raises(RunDirectoryError, match=r"^--output .* is a folder; name a file in it"):
        check_file(tmp_path)


def test_a_folder_that_is_not_ours_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody whom the system does not let write; root it always does."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(RunDirectoryError, match="cannot be written into; name another --run-dir"):
        check_folder(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"a/b cannot be made: .* cannot be written into"):
        refuse_occupied(tmp_path / "a" / "b")


def _evaluate(place: Path) -> None:
    settings = EvaluateSettings(zoo.find("mazes9"), output=place / "x")
    evaluate(settings, lambda _: pytest.fail("a run is read"))


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(lambda place: refuse_occupied(place / "x"), id="train"),
        pytest.param(_evaluate, id="evaluate"),
        pytest.param(lambda place: stored_in(place / "x", None), id="compare"),
        pytest.param(lambda place: kept_in(place / "x"), id="search"),
        pytest.param(lambda place: RenderSettings(Path("x"), output=place / "a.gif"), id="render"),
        pytest.param(lambda place: AdaptationFilm(Path("x"), output=place / "a.gif"), id="film"),
        pytest.param(
            lambda place: export(ExportSettings(Path("mazes9"), place / "x")), id="export"
        ),
    ],
)
def test_every_command_says_so_before_it_begins(
    asked: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunDirectoryError, match=r"/file is a file, not a folder; name another --"):
        asked(file)
