"""One version, wherever it is written."""

import re
from pathlib import Path

import metarl

ROOT = Path(__file__).parents[2]


def test_package_changelog_and_citation_say_the_same_version():
    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", log, re.MULTILINE)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert versions[0] == cited[1] == metarl.__version__


def test_no_python_version_is_claimed_that_the_workflow_does_not_try():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    flow = (ROOT / ".github/workflows/tests.yml").read_text("utf-8")
    claimed = set(re.findall(r"Python :: (3\.\d+)", project))
    matrices = re.findall(r"python: \[(.*)\]", flow)
    assert matrices
    assert all(claimed <= set(re.findall(r"3\.\d+", matrix)) for matrix in matrices)
