"""Provenance of a result: versions, commit, device, command line, time."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import metarl
from metarl.core.processes import current

PACKAGES = ("torch", "numpy", "gymnasium", "minigrid", "stable-baselines3")


def provenance(device: torch.device | str | None = None) -> dict[str, Any]:
    """Describe this process, for `config.json`.

    Args:
        device: What the run computes on.

    Returns:
        JSON values: `metarl`, `python`, `packages` (name → version), `platform`, `device`,
        `device_name`, `tf32` (whether convolutions on a GPU may lose bits), `processes` (of the
        job, this one included), `git_commit` and `git_dirty` (None outside a git checkout),
        `command_line`, `created_at` (UTC, ISO 8601).
    """
    commit, dirty = _git_state(Path(metarl.__file__).parent)
    return {
        "metarl": metarl.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": None if device is None else str(device),
        "device_name": _device_name(device),
        "tf32": torch.backends.cudnn.allow_tf32,
        "processes": current().count,
        "git_commit": commit,
        "git_dirty": dirty,
        "command_line": shlex.join(sys.orig_argv),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    if package == "torch":  # which knows its build, such as +cpu, where an index may not
        return torch.__version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name(device: torch.device | str | None) -> str | None:
    if device is None:
        return None
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the checkout that holds `folder`, and whether tracked files have changed."""
    # A package installed into somebody's environment may lie inside a checkout of something else.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command, or None where there is no git or it fails."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
