"""Small files are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from capture.results.atomic_write import remove_leftovers, write_atomically


def test_write_atomically_replaces_the_content_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert write_atomically(path, "old")
    assert write_atomically(path, "neu ü")
    assert path.read_text(encoding="utf-8") == "neu ü"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_can_keep_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert write_atomically(path, "first", keep_existing=True)
    assert not write_atomically(path, "second", keep_existing=True)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert write_atomically(tmp_path / "a.json", "first", keep_existing=True)
    assert (tmp_path / "a.json").read_text() == "first"


def test_write_atomically_gives_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.json", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device", str(descriptor))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_remove_leftovers_takes_those_of_one_file(tmp_path: Path) -> None:
    names = [".a.h5.ab12cd_9", ".a.h5.lock", ".b.h5.ab12cd_9", "a.h5", "a.h5.partial"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path / "a.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == names[1:]
