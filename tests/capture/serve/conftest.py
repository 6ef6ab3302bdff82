"""The small policy, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from policy_server import RunningServer, toy_server
from synthetic_episodes import small_setup

from capture.pipeline.planning.setup import Setup


@pytest.fixture(scope="session")
def served(checkpoint: Path) -> tuple[Setup, Any]:
    """Setup and loaded policy; one thread, since calls are small and machines are shared."""
    setup = small_setup(checkpoint)
    return setup, setup.policy.load(torch.device("cpu"), torch.float32)


@pytest.fixture
def plain_server() -> Iterator[RunningServer]:
    """A server of the toy policy that records nothing."""
    with toy_server(None) as server:
        yield server
