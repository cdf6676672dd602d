"""Runs of several seeds: one folder, in which each has a run directory, `seed-0`, `seed-1`, …."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from metarl.errors import UserError, check_different
from metarl.runs.directory import RunDirectory
from metarl.runs.files import held
from metarl.runs.place import is_vacant, refuse_occupied


def create_runs(
    path: Path | str,
    seeds: Sequence[int],
    config: object,
    *,
    device: torch.device | str | None = None,
    **extra: object,
) -> list[RunDirectory]:
    """Make one run directory a seed: `path` itself for one seed, `path/seed-N` for several.

    Args:
        path: What the user wrote after `--run-dir`.
        seeds: Different, non-negative.
        config: The settings; each `config.json` also gets its own `seed`.
        device: As in `RunDirectory.create`.
        **extra: As in `RunDirectory.create`.

    Raises:
        RunDirectoryError: Something is there already; then nothing has been made.
        ValueError: The seeds are none, negative, or not all different.
    """
    path = Path(path)
    check_different(seeds, "seeds")
    refuse_occupied(path)
    places = [path] if len(seeds) == 1 else [path / f"seed-{seed}" for seed in seeds]
    path.mkdir(parents=True, exist_ok=True)
    with held(path):
        refuse_occupied(path)  # again, now that nobody else can be filling it
        return [
            RunDirectory.create(place, config, device=device, seed=seed, **extra)
            for place, seed in zip(places, seeds, strict=True)
        ]


def find_runs(path: Path | str) -> list[RunDirectory]:
    """Open a run, or every `seed-N` run in a folder of them, in the order of the seeds.

    Raises:
        RunDirectoryError: It is neither.
    """
    path = Path(path)
    # A folder in which a kill came before anything was written is as if it were not there.
    seeds = [
        p
        for p in path.glob("seed-*")
        if p.name.removeprefix("seed-").isdecimal() and not (p.is_dir() and is_vacant(p))
    ]
    if (path / "config.json").exists() or not seeds:
        return [RunDirectory.open(path)]
    return [RunDirectory.open(p) for p in sorted(seeds, key=lambda p: int(p.name[5:]))]


def complete_runs(
    folder: Path, runs: Sequence[RunDirectory], seeds: Sequence[int]
) -> list[RunDirectory]:
    """The runs of all seeds, where a kill came amid their making: the others are made now.

    Args:
        folder: Of the ``seed-N``.
        runs: Those that are there, at least one.
        seeds: All that there should be.

    Raises:
        UserError: A seed is missing though the others have been trained.
    """
    missing = sorted(set(seeds) - {run.seed for run in runs})
    if missing and any(run.checkpoint_path.exists() or run.read_metrics() for run in runs):
        raise UserError(
            f"{folder} lacks seed {', '.join(map(str, missing))} of {len(seeds)}; "
            f"resume its runs one at a time, such as {runs[0].path}, or train again"
        )
    origin = runs[0].config["provenance"]
    config = {n: v for n, v in runs[0].config.items() if n not in ("provenance", "seed")}
    if not missing:
        return list(runs)
    with held(folder):
        made = [
            RunDirectory.create(folder / f"seed-{n}", config, device=origin.get("device"), seed=n)
            for n in missing
        ]
    return sorted([*runs, *made], key=lambda run: run.seed)
