"""`import metarl` is cheap, and what it exports is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import metarl


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import sys, metarl; assert 'torch' not in sys.modules; metarl.MAML; sys.modules['torch']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", metarl.__all__)
def test_every_export_exists(name: str) -> None:
    assert getattr(metarl, name).__name__ == name
    assert name in dir(metarl)


def test_every_export_has_a_home_and_every_home_is_exported() -> None:
    assert sorted(n for names in metarl._HOMES.values() for n in names) == sorted(metarl.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Mammal'"):
        _ = metarl.Mammal
