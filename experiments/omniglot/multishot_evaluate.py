"""`evaluate` of a multi-shot run: held-out drawings of unseen alphabets, as they are learned."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from experiments.omniglot.data import load_images
from experiments.omniglot.evaluate_settings import EvaluateSettings
from experiments.omniglot.multishot_measure import area_under, measure
from experiments.omniglot.multishot_problem import STREAMS, make_network, new_learner, sides
from experiments.omniglot.multishot_settings import from_config
from experiments.omniglot.trained import (
    accuracies,
    draw_steps,
    draw_validation,
    drawn,
    load_trained,
    percent,
)
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.plots.lines import save_figure
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised import alphabet_tasks


def evaluate_run(run: RunDirectory, settings: EvaluateSettings) -> dict[str, Any]:
    """The summary of one run; draws its pictures."""
    if settings.split != "test":
        raise UserError(f"--split {settings.split} is for few-shot runs; {run.path} is none")
    for name in ("tasks", "query_shots", "inner_lr"):
        if getattr(settings, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for few-shot runs; {run.path} is none")
    started = time.perf_counter()
    trained = from_config(run.config)
    trained = replace(
        trained,
        test_steps=settings.steps or trained.test_steps,
        data=settings.data or trained.data,
    )
    device, seed = resolve_device(settings.device), run.seed
    learner = new_learner(trained, spawn_generators(seed, STREAMS)["init"], device, seed)
    checkpoint = load_trained(run, learner, settings.checkpoint)
    omniglot = load_images(trained.data, trained.resize, complete=trained.complete)
    test = alphabet_tasks(omniglot, sides(trained, omniglot, seed).test, trained.held_out, device)
    at = points(trained.test_steps, settings.every)
    curve = measure(trained, make_network(trained), learner, test, settings.seed, at)
    area = area_under(curve.support_loss)
    save_figure(
        draw_steps({trained.method: curve}, f"{trained.method}: unseen alphabets"),
        run.path / "steps.png",
    )
    validation = draw_validation(run, f"{trained.method}: validation")
    if validation is not None:
        save_figure(validation, run.path / "training.png")
    return {
        "protocol": "multishot",
        "preset": trained.preset,
        "method": trained.method,
        "pretrain": trained.pretrain,
        "classes": trained.classes,
        **accuracies(curve),
        "area_under_training_loss": float(area.mean()),
        "support_loss_curve": curve.support_loss.mean(0).tolist(),
        "alphabets": dict(zip(test.names, curve.non_transductive[:, -1].tolist(), strict=True)),
        **checkpoint,
        "num_tasks": len(test),
        "run_seed": seed,
        "seed": settings.seed,
        "device": str(device),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
        "wall_seconds": time.perf_counter() - started,
    }


def points(num_steps: int, every: int) -> list[int]:
    """The numbers of inner steps after which accuracy is measured, rising."""
    return [*range(0, num_steps, every), num_steps]


def describe(run: RunDirectory, summary: dict[str, Any]) -> str:
    """The summary in a few lines."""
    return "\n".join(
        (
            f"{run.path}: {summary['method']} ({summary['preset']}), {summary['pretrain']}"
            f" alphabets to meta-train on, {summary['num_tasks']} unseen ones,"
            f" {summary['steps'][-1]} steps",
            f"  non-transductive (normalised as training images) "
            f"{percent(summary, 'non_transductive')}",
            f"  transductive (held-out images together)          "
            f"{percent(summary, 'transductive')}",
            f"  mean training loss on the way {summary['area_under_training_loss']:.3f};"
            f" {summary['checkpoint']} checkpoint, of iteration {summary['iteration']}"
            f" of {summary['trained_iterations']}",
            f"  drawn: {drawn(run)}",
        )
    )
