"""Files are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from viewer.errors import UserError
from viewer.export import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.png"
    with atomic_write.open_atomic_path(path, overwrite=False) as unfinished:
        unfinished.write_bytes(b"half")
        assert not path.exists()
        unfinished.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list_names(path.parent) == ["a.png"]


def test_failed_write_keeps_the_old_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    for kind in (KeyboardInterrupt, ValueError, MemoryError):
        with pytest.raises(kind), atomic_write.open_atomic_path(path, overwrite=True) as unfinished:
            unfinished.write_bytes(b"half")
            raise kind
        assert path.read_bytes() == b"old"
        assert list_names(tmp_path) == ["a.png"]


def test_file_that_appears_during_the_write_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    with (
        pytest.raises(UserError, match="exists; add --overwrite"),
        atomic_write.open_atomic_path(path, overwrite=False) as unfinished,
    ):
        unfinished.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list_names(tmp_path) == ["a.png"]

    def no_links(*_: object) -> None:
        raise OSError("this disk has no hard links")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(UserError, match="exists"):
        atomic_write.write_bytes(path, b"mine", overwrite=False)
    atomic_write.write_bytes(tmp_path / "b.png", b"new", overwrite=False)
    atomic_write.write_bytes(path, b"mine", overwrite=True)
    assert (path.read_bytes(), (tmp_path / "b.png").read_bytes()) == (b"mine", b"new")


def test_impossible_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        atomic_write.write_bytes(tmp_path / "file" / "a.png", b"", overwrite=False)


def test_only_leftovers_of_killed_exports_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    names = [
        f".a.png.{dead.pid}.partial",
        f".a.png.{alive.pid}.partial",
        f".b.png.{dead.pid}.partial",
        ".a.png.x.partial",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    atomic_write.remove_leftovers([tmp_path / "a.png", tmp_path / "nowhere" / "c.png"])
    assert list_names(tmp_path) == sorted(names[1:])
    alive.communicate(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says that a process has ended that nobody asked about")
def test_leftovers_of_a_zombie_process_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / f".a.png.{ended.pid}.partial").write_bytes(b"half")
    atomic_write.remove_leftovers([tmp_path / "a.png"])
    assert list_names(tmp_path) == []
    ended.wait()
