"""What several tests begin with."""

import pytest


@pytest.fixture
def torchrun(monkeypatch):
    """Says, in the environment, that this is the second process of two."""

    def say(**words):
        usual = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_PORT": "1"}
        for name, value in {**usual, "MASTER_ADDR": "127.0.0.1", **words}.items():
            monkeypatch.setenv(name, value)

    return say
