"""The real images, decoded once a run."""

from __future__ import annotations

import pytest

from metarl.supervised.omniglot.images import Omniglot, load_omniglot
from tests.metarl.supervised.omniglot.tiny_omniglot import REAL


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Omniglot:
    """All characters; tests that use it are marked `needs_real_images`."""
    return load_omniglot(REAL, resize="nearest", cache=tmp_path_factory.mktemp("cache"))
