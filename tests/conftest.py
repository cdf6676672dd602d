"""What every test relies on: one thread, no display, no deadlines, skipped GPU tests."""

import os
import signal
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pytest
import torch
from gymnasium.spaces import Space
from hypothesis import settings

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a script's background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("no-deadline", deadline=None)  # a busy machine is no fault
settings.load_profile("no-deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device, and torch sees none here")
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _spaces_draw_the_same_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a space that nobody has seeded a seed: in one run of many, chance finds a goal early."""
    plain: Any = Space.seed

    def seed(space: Space[Any], seed: Any = None) -> Any:
        return plain(space, 0 if seed is None else seed)

    monkeypatch.setattr(Space, "seed", seed)
