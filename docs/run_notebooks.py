"""Notebooks are run again, top to bottom: ``python -m docs.run_notebooks [NAME ...]``.

What they print and draw is kept in the file, so that pages can show it (`docs.notebook_pages`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"


def run(path: Path, folder: Path) -> Any:
    """Run a notebook with a kernel of its own.

    Args:
        path: The notebook.
        folder: Where it runs.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, timeout=300)
    client.execute()
    for cell in notebook.cells:
        cell.metadata = {}  # no times
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if shown(output)]
    return notebook


def shown(output: Any) -> bool:
    """Whether an output is for readers: no warning, and not the name of an object."""
    if output.output_type == "execute_result":
        return any(kind != "text/plain" for kind in output.data)
    return output.get("name") != "stderr"


def main(names: list[str]) -> None:
    """Run the notebooks of these names, or all, and keep their outputs."""
    root = str(NOTEBOOKS.parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
