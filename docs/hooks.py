"""Pages of the documentation that are made: results, and the API reference.

Results are the pages of `benchmarks/`, with their pictures and tables as they stand there. The API
reference has a page for each package, made from its docstrings. Both are given to MkDocs as files;
nothing is written into `docs/`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BENCHMARKS = "benchmarks"

SHOWN = {".md", ".png", ".gif", ".csv"}
"""Endings of the files of `benchmarks/` that pages show or link to."""

FIRST = {
    "metarl": ("modules", "experiment", "methods", "meta", "rl", "supervised", "core", "nn"),
    "envs": (
        *("maze", "minigrid", "bandit", "mdp", "grid_navi", "dark_room", "point"),
        *("wrappers", "base"),
    ),
}
"""What the API reference begins with; the other packages follow by name."""

INNER = {"explore", "native", "run"}
"""Packages that serve the kernels and the command line, and are not described."""

UP_TO_BENCHMARKS = re.compile(r"\]\(\.\./((?:\.\./)*benchmarks/)")
"""A link from a page of `docs/` to `benchmarks/`, which on the site stands beside those pages."""

OFF_THE_SITE = re.compile(r"\[([^\]]*)\]\(\.\./\.\./(?:envs|experiments|metarl)/[^)]*\)")
"""A link from a page of results to code or to an agent, which are not on the site."""

DOWN_TO_DOCS = re.compile(r"\]\(\.\./\.\./docs/")
"""A link from a page of results to one of `docs/`, beside `benchmarks/` on the site."""

TO_FOLDER = re.compile(r"\]\(\.\./(\w+)/?\)")
"""A link from a page of results to the folder of another."""


def on_config(config: Any) -> Any:
    """Append results and API reference to the navigation."""
    results = [{_title(page): _uri(page)} for page in _result_pages()]
    reference = [{f"{top}.{name}": f"api/{top}.{name}.md"} for top, name in described()]
    config.nav = [*config.nav, {"Results": results}, {"API reference": reference}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the results, and the pages of the API reference."""
    for path in sorted((ROOT / BENCHMARKS).glob("*/*")):
        if path.suffix in SHOWN:
            files.append(File.generated(config, _uri(path), abs_src_path=str(path)))
    for top, name in described():
        content = "\n\n".join([f"# `{top}.{name}`", *_members(top, name)]) + "\n"
        files.append(File.generated(config, f"api/{top}.{name}.md", content=content))
    return files


def described() -> list[tuple[str, str]]:
    """What has a page of the API reference: top-level package, and package or module in it."""
    found = []
    for top, first in FIRST.items():
        there = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
        found += [(top, name) for name in (*first, *sorted(there - INNER - set(first)))]
    return found


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links that are written for the repository into ones of the site."""
    if not page.file.src_uri.startswith(f"{BENCHMARKS}/"):
        return UP_TO_BENCHMARKS.sub(r"](\1", markdown)
    markdown = DOWN_TO_DOCS.sub("](../../", OFF_THE_SITE.sub(r"\1", markdown))
    return TO_FOLDER.sub(r"](../\1/README.md)", markdown)


def _result_pages() -> list[Path]:
    return sorted((ROOT / BENCHMARKS).glob("*/*.md"))


def _uri(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _title(page: Path) -> str:
    """The page's first heading."""
    return page.read_text("utf-8").splitlines()[0].removeprefix("# ")


def _members(top: str, name: str) -> list[str]:
    """Directives for mkdocstrings: a package with public names, or each of its modules."""
    package = ROOT / top / name
    init = package / "__init__.py"
    if not init.exists() or "__all__" in init.read_text("utf-8"):
        return [f"::: {top}.{name}"]
    modules = [path.stem for path in sorted(package.glob("*.py")) if path != init]
    described = [
        f"## `{top}.{name}.{m}`\n\n::: {top}.{name}.{m}\n    options:\n      heading_level: 3"
        for m in modules
    ]
    return [f"::: {top}.{name}", *described]
