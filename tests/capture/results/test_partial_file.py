from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from capture.errors import UserError
from capture.results.partial_file import PartialFile, is_being_written

HOLDER = """
import sys
from pathlib import Path
from capture.results.partial_file import PartialFile
file = PartialFile(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def fill(file: PartialFile, text: str) -> None:
    file.path.write_text(text)


def test_publish_renames_to_the_final_name(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "a.h5")
    assert file.path == tmp_path / "a.h5.partial"
    assert not file.final.exists()
    fill(file, "new")
    file.publish()
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert file.final.read_text() == "new"
    assert file.final.stat().st_nlink == 1


def test_existing_file_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("old")
    with pytest.raises(UserError, match=r"exists and is left as it is; .* --overwrite"):
        PartialFile(tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_text() == "old"


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_path_without_a_file_name_is_reported_as_a_folder(name: str) -> None:
    with pytest.raises(UserError, match=r"is a folder; name the file to write, such as .*results\.h5"):
        PartialFile(Path(name))


@pytest.mark.parametrize("linked", [False, True])
def test_devices_and_pipes_are_never_replaced(tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="is a device or a pipe, not a file on a disk"):
        PartialFile(path, overwrite=True)
    assert sorted(tmp_path.iterdir()) == before
    assert pipe.is_fifo()


def test_overwrite_replaces_the_file_only_on_publish(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("old")
    file = PartialFile(tmp_path / "a.h5", overwrite=True)
    fill(file, "new")
    assert file.final.read_text() == "old"
    file.publish()
    file.close()
    assert file.final.read_text() == "new"
    assert not file.path.exists()


@pytest.mark.parametrize("links", [True, False])
def test_publish_does_not_replace_a_file_that_appeared_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", no_links)
    file = PartialFile(tmp_path / "a.h5")
    fill(file, "ours")
    file.final.write_text("theirs")
    with pytest.raises(UserError, match=r"appeared while .* the complete result is .*a\.h5\.partial"):
        file.publish()
    file.close()
    assert file.final.read_text() == "theirs"
    assert file.path.read_text() == "ours"


def test_publish_renames_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    file = PartialFile(tmp_path / "a.h5")
    fill(file, "new")
    file.publish()
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_file_of_an_interrupted_run_is_removed_only_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a.h5.partial").write_text("three frames")
    with pytest.raises(UserError, match=r"the file of an interrupted run.* --overwrite"):
        PartialFile(tmp_path / "a.h5")
    assert (tmp_path / "a.h5.partial").read_text() == "three frames"
    file = PartialFile(tmp_path / "a.h5", overwrite=True)
    assert file.path.read_text() == ""
    file.close()


@pytest.mark.parametrize("overwrite", [True, False])
def test_file_of_a_running_writer_is_never_removed(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_being_written(tmp_path / "a.h5.partial")
        with pytest.raises(UserError, match="is being written by another run"):
            PartialFile(path, overwrite=overwrite)
        assert (tmp_path / "a.h5.partial").exists()
        process.communicate()
    assert not is_being_written(tmp_path / "a.h5.partial")
    PartialFile(path, overwrite=True).close()


def test_lock_of_a_run_that_is_being_killed_is_asked_again(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "a.h5")
    assert is_being_written(file.path, patience=0.05)
    end = threading.Timer(0.1, file.close)
    end.start()
    assert not is_being_written(file.path, patience=30)
    end.join()


def test_lock_distinguishes_readers_from_writers(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "a.h5")
    with file.path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as HDF5 does when it opens for reading
        assert is_being_written(file.path)
        file.lock_again()
        assert is_being_written(file.path)
    with file.path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)  # a reader may come later, too
    assert is_being_written(file.path)  # and its leaving frees nothing
    file.close()
    assert not is_being_written(file.path)


def test_symbolic_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.h5").symlink_to(tmp_path / "elsewhere" / "b.h5")
    file = PartialFile(tmp_path / "a.h5")
    assert file.path == tmp_path / "elsewhere" / "b.h5.partial"
    fill(file, "new")
    file.publish()
    file.close()
    assert (tmp_path / "a.h5").is_symlink()
    assert (tmp_path / "elsewhere" / "b.h5").read_text() == "new"


def test_unusable_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing does not exist; create it first"):
        PartialFile(tmp_path / "missing" / "a.h5")
    with pytest.raises(UserError, match="is a folder; name the file to write"):
        PartialFile(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be created"):
        PartialFile(tmp_path / "file" / "a.h5")
    with pytest.raises(UserError, match=r"cannot be created.*choose"):
        PartialFile(tmp_path / ("x" * 300))


AS_NOBODY = """
import os, sys
from pathlib import Path
from capture.results.partial_file import PartialFile
if os.geteuid() == 0:  # no folder is locked for root
    os.setuid(65534)
try:
    PartialFile(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_unwritable_folder_is_reported() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", AS_NOBODY, f"{folder}/a.h5"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.startswith("UserError")
    assert "a.h5.partial cannot be created (permission denied); choose a folder in which you may write" in output


@pytest.mark.parametrize(("code", "raised"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EOPNOTSUPP, False)])
def test_reserve_raises_only_for_lack_of_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raised: bool
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    file = PartialFile(tmp_path / "a.h5")
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if raised:
        with pytest.raises(OSError, match=os.strerror(code)):
            file.reserve(1)
    else:
        file.reserve(1)
    file.close()


def test_truncate_frees_reserved_space(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "a.h5")
    file.reserve(1 << 20)
    assert file.path.stat().st_size == 1 << 20
    file.truncate(100)
    assert file.path.stat().st_size == 100
    file.truncate(200)  # never grows
    assert file.path.stat().st_size == 100
    file.close()


def test_reserve_allocates_only_new_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests, reserve = [], os.posix_fallocate

    def spied(descriptor: int, start: int, count: int) -> None:
        requests.append((start, count))
        reserve(descriptor, start, count)

    monkeypatch.setattr(os, "posix_fallocate", spied)
    file = PartialFile(tmp_path / "a.h5")
    file.reserve(1 << 20)
    file.reserve(3 << 20, 1 << 20)
    assert requests == [(0, 1 << 20), (1 << 20, 2 << 20)]
    assert file.size == 3 << 20
    file.close()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no such hints")
def test_writeback_does_not_block_while_the_disk_is_busy(tmp_path, monkeypatch) -> None:
    busy, requests = threading.Event(), []

    def slow(descriptor: int, start: int, *_: int) -> None:
        requests.append(start)
        busy.wait(60)

    monkeypatch.setattr(os, "posix_fadvise", slow)
    partial = PartialFile(tmp_path / "a.h5")
    for start in (10, 20, 30):
        partial.start_writeback(start)  # returns, though the first hint is still under way
    busy.set()
    while 20 not in requests:  # what was not sent meanwhile goes with the next
        partial.start_writeback(40)
    assert requests[:2] == [10, 20]
    partial.close()
    partial.remove()


def test_writeback_is_skipped_where_no_thread_can_start(tmp_path, monkeypatch) -> None:
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    partial = PartialFile(tmp_path / "a.h5")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", exhausted)
        partial.start_writeback(0)
    partial.start_writeback(10)
    partial.close()
    partial.remove()
