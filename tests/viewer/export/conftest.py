"""Fixtures of the tests of exports."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import make_effects
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def measured(small: Path, tmp_path: Path) -> Path:
    """Return a results file with effects of frame 0 beside it."""
    path = tmp_path / "small.h5"
    shutil.copy(small, path)
    make_effects.write(tmp_path / "small.effects.h5", path)
    return path
