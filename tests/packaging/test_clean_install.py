"""Wheel and source distribution in fresh environments: minutes, and the pinned packages."""

import sys

import pytest

from tests.packaging.clean_install import main
from tests.packaging.pythons import OLDEST, found


def test_pythons_are_found_this_one_among_them():
    every = found()
    assert tuple(sys.version_info[:2]) in {version[:2] for version in every}
    assert all(version[:2] >= OLDEST for version in every)
    assert len({version[:2] for version in every}) == len(every)


@pytest.mark.slow
def test_wheel_and_source_distribution_work_in_fresh_environments():
    assert main([f"{sys.version_info[0]}.{sys.version_info[1]}"]) == 0
