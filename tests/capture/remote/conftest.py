"""Servers on the loopback, and a client whose home folder and cache are the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_servers import RangeServer, closing

from capture.remote import connections


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk cache of the test's own, and connections too."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PI0_REMOTE_CACHE", str(folder))
    yield folder
    connections.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    """An HTTP server for the folder `served`."""
    folder = tmp_path / "served"
    folder.mkdir()
    with closing(RangeServer(folder)) as range_server:
        yield range_server
