"""Servers on the loopback, and a client whose home folder and cache are the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_servers import RangeServer, SSHDaemon, closing

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
    with closing(RangeServer(folder)) as made:
        yield made


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHDaemon]:
    """One sshd for all tests."""
    with closing(SSHDaemon(tmp_path_factory.mktemp("sshd"))) as made:
        yield made


@pytest.fixture
def sshd(daemon: SSHDaemon, monkeypatch: pytest.MonkeyPatch) -> SSHDaemon:
    """The sshd, whose client's keys and known hosts lie in the home folder."""
    monkeypatch.setenv("HOME", str(daemon.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return daemon
