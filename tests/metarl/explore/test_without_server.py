"""The command without the packages of its extra."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["starlette"] = sys.modules["uvicorn"] = None  # as if they were not installed
from experiments.__main__ import main
sys.argv = ["metarl", "explore", "--help"]
main()
"""


def test_help_needs_no_server():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-300:]
    assert "--port" in done.stdout
