"""The pages of the documentation: their code runs, their links lead somewhere, all are in the menu.

The whole is built by `make docs`; nothing here needs MkDocs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.markdown import anchors, code_blocks, links

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

FEWER: dict[str, dict[str, str]] = {
    "tutorials/comparing.md": {"=100": "=1", "=50": "=2", "=64": "=2", "(0, 1)": "(0,)"},
    "tutorials/own-data.md": {"range(200)": "range(10)", "num_tasks=100": "num_tasks=10"},
    "tutorials/own-environment.md": {"=100": "=1", "=64": "=2", "tasks=40": "tasks=2"},
    "tutorials/warpgrad.md": {"range(40)": "range(2)", "range(50)": "range(3)"},
    "extending.md": {"range(100)": "range(3)"},
}
"""By page: numbers that are smaller in the test, as they stand on the page and in the test."""

SLOW: set[str] = set()
"""Pages whose code takes more than a few seconds."""


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def with_code() -> list[object]:
    pages = [page for page in PAGES if code_blocks(page.read_text("utf-8"), "python")]
    slow = pytest.mark.slow
    return [pytest.param(p, id=name(p), marks=[slow] if name(p) in SLOW else []) for p in pages]


@pytest.mark.parametrize("page", with_code())
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    blocks = code_blocks(page.read_text("utf-8"), "python")
    for many, few in FEWER.get(name(page), {}).items():
        assert any(many in block for block in blocks), many
        blocks = [block.replace(many, few) for block in blocks]
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{name(page)}, block {number}", "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To files of the repository, and to headings of pages."""
    for link in links(page.read_text("utf-8")):
        if re.match(r"https?://", link):
            continue
        path, _, heading = link.partition("#")
        made = "api/" in path  # by docs/hooks.py
        target = (page.parent / path).resolve() if path else page
        assert made or target.is_file(), f"{name(page)}: {link}"
        if heading and not made:
            assert heading in anchors(target.read_text("utf-8")), f"{name(page)}: {link}"


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"[\w./-]+\.md", menu)
    assert len(listed) == len(set(listed))
    assert set(listed) == {name(page) for page in PAGES}


def test_every_public_package_is_in_the_reference() -> None:
    """But those that serve the command line and the kernels."""
    hooks = (DOCS / "hooks.py").read_text("utf-8")
    inner = {"native", "run"}
    for top in ("metarl", "envs"):
        for package in (ROOT / top).glob("*/__init__.py"):
            if package.parent.name not in inner:
                assert f'"{package.parent.name}"' in hooks, package.parent


def test_pages_load_nothing_from_the_network() -> None:
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in settings
    assert not re.findall(r"extra_(?:css|javascript)|https?://", settings)
