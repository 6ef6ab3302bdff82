"""The lock of an effects file, against another process that holds it and one that was killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from capture.effects.effects_file import EffectsFile
from capture.effects.file_lock import FileLock
from capture.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from capture.effects.file_lock import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def test_lock_refuses_a_second_run_and_is_freed_by_a_killed_one(tmp_path):
    target = tmp_path / "duck.effects.h5"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is writing"), FileLock(target):
            pass
        process.kill()
        process.wait()
    with FileLock(target):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_lock_on_a_file_that_was_removed_meanwhile_is_taken_anew(tmp_path):
    target = tmp_path / "duck.effects.h5"
    first = FileLock(target)
    with first:
        (tmp_path / ".duck.effects.h5.lock").unlink()
        with FileLock(target):
            assert (tmp_path / ".duck.effects.h5.lock").exists()


def test_file_that_appears_meanwhile_is_left_as_it_is(tmp_path):
    target = tmp_path / "duck.effects.h5"
    file = EffectsFile(target, {}, {}, keep_existing=True)
    target.write_text("of another run")
    with pytest.raises(UserError, match="appeared while this run was measuring"):
        file.write(complete=True)
    assert target.read_text() == "of another run"
    assert file.partial.exists()
    EffectsFile(target, {}, {}).write(complete=True)
    assert target.read_bytes()[:4] == b"\x89HDF"
