"""The notebooks of the documentation run from top to bottom, and are kept with their outputs."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from docs.notebook_pages import notebooks, page_of

FEWER = {"range(1500)": "range(60)", "range(150)": "range(8)", "sample(40,": "sample(3,"}
"""Numbers that are smaller in the test."""

every_notebook = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, object]]:
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


@every_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code, in an empty folder and without data; fewer iterations, and no kernel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    matplotlib.use("Agg")
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": "notebook"}
    with matplotlib.rc_context():
        for number, cell in enumerate(cells(path, "code"), start=1):
            source = "".join(cell["source"])  # type: ignore[arg-type]
            for many, few in FEWER.items():
                source = source.replace(many, few)
            exec(compile(source, f"{path.name}, cell {number}", "exec", dont_inherit=True), names)
        figures = len(plt.get_fignums())
        plt.close("all")
    assert figures == page_of(path)[0].count("![What this cell draws]")


@every_notebook
def test_a_notebook_is_kept_as_it_was_run(path: Path) -> None:
    """In one go, from the first cell to the last, without a warning or an error."""
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert path.stat().st_size < 150 * 1024


@every_notebook
def test_a_page_shows_all_of_a_notebook(path: Path) -> None:
    text, pictures = page_of(path)
    assert text.startswith("# ")
    for cell in cells(path, "code"):
        assert "".join(cell["source"]) in text  # type: ignore[arg-type]
    assert len(pictures) >= 3
    assert all(data.startswith(b"\x89PNG") and name in text for name, data in pictures.items())


@pytest.mark.slow
@every_notebook
@pytest.mark.filterwarnings("default")  # of Jupyter
def test_a_kernel_runs_a_notebook(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Jupyter does, at full length."""
    from docs.run_notebooks import run

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    done = run(path, tmp_path)
    assert [cell.cell_type for cell in done.cells]
