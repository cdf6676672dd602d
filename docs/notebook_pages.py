"""Notebooks as pages: their text, code, and what they printed and drew when they were last run.

Notebooks stand in `docs/notebooks/`, and `python -m docs.run_notebooks` runs them again. A page is
made of each; it links to the notebook itself, which is on the site beside it.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

NOTEBOOKS = Path(__file__).parent / "notebooks"

TO_NOTEBOOK = re.compile(r"(?<!!)(\[[^\]]*\]\([^)]*notebooks/[\w-]+)\.ipynb\)")
"""A link from a page to a notebook, which on the site has a page."""

TO_BENCHMARKS = re.compile(r"\]\(\.\./\.\./benchmarks/")
"""A link from a notebook to a page of results, which on the site is a level nearer."""


def on_config(config: Any) -> Any:
    """Put a page for each notebook in the place of the notebooks in the menu."""
    for entry in config.nav:
        if isinstance(entry, dict) and "Notebooks" in entry:
            entry["Notebooks"] = [f"notebooks/{path.stem}.md" for path in notebooks()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and the pictures on them."""
    for path in notebooks():
        content, pictures = page_of(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=content))
        for name, data in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to the pages of notebooks."""
    if page.file.src_uri.startswith("notebooks/"):
        return TO_BENCHMARKS.sub("](../benchmarks/", markdown)
    return TO_NOTEBOOK.sub(r"\1.md)", markdown)


def notebooks() -> list[Path]:
    """All notebooks, in the order of the menu."""
    return sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: (path.stem != "mazes", path.stem))


def page_of(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook, and its pictures by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
            if "image/png" in output.get("data", {}):
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![What this cell draws]({name})")
    title, *rest = parts
    note = f"This page is a notebook: [`{path.name}`]({path.name}), to be run in Jupyter."
    return "\n\n".join([title, note, *rest]) + "\n", pictures
