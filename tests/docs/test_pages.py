"""Pages of the documentation: their code runs, their links lead somewhere, all are in the menu."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from docs.hooks import INNER, SHOWN, described, on_page_markdown
from docs.included import included
from docs.notebook_pages import notebooks
from envs.families import FAMILIES
from envs.maze.generators import GENERATORS
from metarl.methods import METHODS
from tests.markdown import anchors, code_blocks, links, run_blocks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RESULTS = sorted((ROOT / "benchmarks").glob("*/*.md"))

FEWER: dict[str, dict[str, str]] = {
    "tutorials/comparing.md": {"=100": "=1", "=50": "=2", "=64": "=2", "(0, 1)": "(0,)"},
    "tutorials/own-data.md": {"range(200)": "range(10)", "num_tasks=100": "num_tasks=10"},
    "tutorials/own-environment.md": {"=100": "=1", "=64": "=2", "tasks=40": "tasks=2"},
    "tutorials/warpgrad.md": {"range(40)": "range(2)", "range(50)": "range(3)"},
    "recipes/logging.md": {"iterations=50": "iterations=1"},
    "recipes/notebook.md": {"iterations=50": "iterations=1", "tasks=20": "tasks=2"},
    "recipes/search.md": {
        "iterations=40": "iterations=2",
        "(20, 40)": "(1, 2)",
        "== 20": "== 1",
        "tasks=30": "tasks=2",
        "n_trials=5": "n_trials=3",
    },
    "extending.md": {"range(100)": "range(3)"},
}
"""By page: numbers that are smaller in the test, as they stand on the page and in the test."""

OF_METHODS = {
    r"range\(\d{2,}\)": "range(2)",
    r"iterations=\d+": "iterations=1",
    r"meta_batch=\d+": "meta_batch=2",
    r"tasks=\d+": "tasks=2",
    r"horizon=\d+": "horizon=4",
    r"METHODS\[\"ppo\"\]\(": 'METHODS["ppo"](num_epochs=1, ',
}
"""The same for pages of methods, as regular expressions."""

SLOW: set[str] = set()
"""Pages whose code takes more than a few seconds."""


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


GUIDE = DOCS / "guide.md"
"""Its code is run by `tests.docs.test_guide`, which looks at what it learns."""


def with_code() -> list[object]:
    code = [page for page in PAGES if code_blocks(page.read_text("utf-8"), "python")]
    pages = [page for page in code if page != GUIDE]
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
    for many, few in OF_METHODS.items() if name(page).startswith("methods/") else ():
        blocks = [re.sub(many, few, block) for block in blocks]
    run_blocks(blocks, name(page))


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
            there = included(target.read_text("utf-8"))
            assert heading in anchors(there), f"{name(page)}: {link}"


def test_the_menu_has_the_notebooks() -> None:
    assert "- Notebooks: []" in (ROOT / "mkdocs.yml").read_text("utf-8")
    assert {path.stem for path in notebooks()} == {"adaptation", "few-shot-images", "mazes"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_front_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for link in links(text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"[\w./-]+\.md", menu)
    assert len(listed) == len(set(listed))
    assert set(listed) == {name(page) for page in PAGES}


def test_every_public_package_is_in_the_reference() -> None:
    """But those that serve the command line, the page and the kernels."""
    assert {"explore", "native", "run"} == INNER
    names = described()
    assert len(names) == len(set(names))
    for top in ("metarl", "envs"):
        for package in (ROOT / top).glob("*/__init__.py"):
            name = package.parent.name
            assert ((top, name) in names) == (name not in INNER)


def test_pages_load_nothing_from_the_network() -> None:
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in settings
    assert not re.findall(r"extra_javascript|https?://", settings)
    for path in re.findall(r"^extra_css:\n((?:  - .*\n)+)", settings, re.MULTILINE):
        assert all((DOCS / line.removeprefix("  - ")).is_file() for line in path.splitlines())


def test_every_family_has_a_page_with_its_picture() -> None:
    for folder, kind in FAMILIES.items():
        page = {"maze": "mazes"}.get(folder, folder.replace("_", "-"))
        text = (DOCS / "environments" / f"{page}.md").read_text("utf-8")
        assert f"../images/{folder}.png" in text
        assert f'"metarl/{kind}-v0"' in text
        assert f"<!-- docstring: envs.{folder}.env.{kind}Env -->" in text


def test_every_generator_is_in_the_table_of_mazes() -> None:
    text = (DOCS / "environments/mazes.md").read_text("utf-8")
    assert all(f"`{generator}`" in text for generator in GENERATORS)


def test_every_method_is_on_a_page_of_its_own_or_of_its_kind() -> None:
    """With its equations, what moves when, when to take it, a command and a block of Python."""
    listed = (DOCS / "methods/index.md").read_text("utf-8")
    pages = {link.partition("#")[0] for link in links(listed) if "/" not in link.partition("#")[0]}
    assert all(f"`{method}`" in listed for method in METHODS)
    for page in pages:
        text = (DOCS / "methods" / page).read_text("utf-8")
        for heading in ("## Equations", "## What moves when", "## When to take it"):
            assert heading in text, page
        assert "$$" in text
        assert code_blocks(text, "sh")
        assert code_blocks(text, "python")
    commands = "".join((DOCS / "methods" / page).read_text("utf-8") for page in pages)
    kinds = {"warp-reptile", "warp-maml"}  # take the command of warp-leap
    assert all(re.search(rf"--method {method}\b", commands) for method in set(METHODS) - kinds)


def test_what_is_included_is_there() -> None:
    """Docstrings and tables; a comment that nothing understands would vanish."""
    for page in PAGES:
        text = page.read_text("utf-8")
        assert "<!--" not in included(text), page
    mazes = included((DOCS / "environments/mazes.md").read_text("utf-8"))
    assert "### Action Space" in mazes
    assert "```\n\n* `maze`, `size`: name of a maze" in mazes


def test_tables_of_results_say_what_the_pages_of_results_say() -> None:
    """Both are made from the same files, the latter when they were written."""
    every = included((DOCS / "results.md").read_text("utf-8"))
    for row in re.findall(r"^\| (?:warp|lstm|rnn|paper)[\w-]* \| [13] .*$", every, re.MULTILINE):
        page = (ROOT / "benchmarks/maze/README.md").read_text("utf-8")
        assert row.split(" | ")[3] in page, row
    assert "after 0" in every
    page = (ROOT / "benchmarks/adaptation/README.md").read_text("utf-8")
    for row in re.findall(r"^\| adapt-point.*$", every, re.MULTILINE):
        assert all(cell in page for cell in row.strip("| ").split(" | ")[4:]), row


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.parent.name)
def test_links_of_results_stay_on_the_site(page: Path) -> None:
    own: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page.relative_to(ROOT).as_posix()))
    shown = on_page_markdown(page.read_text("utf-8"), own)
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", shown):
        on_site = (page.parent / link).resolve().relative_to(ROOT)
        files = (
            ROOT / on_site,
            ROOT / "docs" / on_site,
        )  # those stand beside
        assert on_site.suffix in SHOWN, link
        assert any(file.is_file() for file in files), link


@pytest.mark.slow
def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    formulas = (tmp_path / "methods/maml.html").read_text("utf-8")
    assert formulas.count("<math") > 5
    assert "arithmatex" not in formulas
