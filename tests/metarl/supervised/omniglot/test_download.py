"""Downloads, from a server of the test's own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metarl.errors import UserError
from metarl.supervised.omniglot.download import ARCHIVES, Remote, default_folder, download

CONTENT = bytes(range(256)) * 200 + b"the last piece is short"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """A file on a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "images.zip").write_bytes(CONTENT)
    handler = partial(Handler, directory=str(tmp_path / "server"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/images.zip"
        yield Remote("images.zip", url, hashlib.md5(CONTENT).hexdigest())
        server.shutdown()


def test_a_file_arrives_and_its_progress_is_told(remote: Remote, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = tmp_path / "new" / "folder"
    download(folder, lambda *step: told.append(step), [remote])
    assert (folder / "images.zip").read_bytes() == CONTENT
    assert told[-1] == ("images.zip", len(CONTENT), len(CONTENT))
    done = [step[1] for step in told]
    assert done == sorted(done)
    assert len(told) > 10


def test_what_is_there_is_not_fetched_again(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(CONTENT)
    told: list[object] = []
    download(tmp_path, lambda *step: told.append(step), [remote])
    assert told == []


def test_lines_go_to_standard_error(
    remote: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(tmp_path, files=[remote])
    out, err = capsys.readouterr()
    assert out == ""
    assert "images.zip: 100 % of 0.0 MiB" in err


def test_another_file_than_the_authors_is_refused(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not download .*put it into .*MD5 is 0000"):
        download(tmp_path, files=[replace(remote, md5="0" * 32)])
    assert not (tmp_path / "images.zip").exists()


def test_a_server_without_the_file_is_an_error_that_helps(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"404.*Try again"):
        download(tmp_path, files=[replace(remote, url=remote.url + "x")])


def test_a_folder_that_cannot_be_made_is_said_to_be_it(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"the folder .*/file/new cannot be made .*--data"):
        download(tmp_path / "file" / "new", files=[remote])


def test_the_archives_are_the_authors() -> None:
    assert [a.md5[:6] for a in ARCHIVES] == ["68d2ef", "6b91ae"]
    assert all(a.url.startswith("https://github.com/brendenlake/omniglot/") for a in ARCHIVES)
    assert all(a.url.endswith(a.name) for a in ARCHIVES)


def test_where_the_images_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METARL_DATA", raising=False)
    assert default_folder() == Path("data/omniglot")
    monkeypatch.setenv("METARL_DATA", "/elsewhere")
    assert default_folder() == Path("/elsewhere/omniglot")
