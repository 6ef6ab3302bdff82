"""Short runs of the fuzzers; by hand they run for as long as wanted, see each script's docstring."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paths import TESTS

if sys.platform != "linux":
    pytest.skip("the fuzzers fork and read /proc", allow_module_level=True)


def run_script(name: str, *arguments: str) -> list[dict[str, Any]]:
    """Run a fuzzer; return the objects that it prints, a line each."""
    command = [sys.executable, str(TESTS / "fuzz" / name), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_random_kills_lose_no_finished_frame() -> None:
    [tally] = run_script("random_kills.py", "--count", "12", "--seed", "5")
    assert tally["kills"] >= 12, tally
    assert tally["with_frames"], "no kill met a file with finished frames"
    assert (tally["lost"], tally["different"]) == (0, 0), tally


def test_damaged_files_hang_and_crash_nothing(tmp_path: Path) -> None:
    tallies = run_script("damaged_files.py", "--count", "8", "--seed", "5", "--keep", str(tmp_path / "found"))
    assert [tally["target"] for tally in tallies] == ["probe", "info", "export", "window"]
    for tally in tallies:
        assert (tally["hangs"], tally["crashes"], tally["uncaught"]) == (0, 0, 0), tally
        assert tally["opened"] > 0, tally
    assert tallies[0]["refused"] > 0, tallies[0]


def test_damaged_data_sets_hang_and_crash_nothing() -> None:
    pytest.importorskip("av", reason="the files are written with the extra [datasets]")
    [tally] = run_script("damaged_data_sets.py", "--count", "20", "--seed", "5")
    assert (tally["hangs"], tally["crashes"], tally["uncaught"]) == (0, 0, 0), tally
    assert tally["opened"] > 0, tally
    assert tally["refused"] > 0, tally


def test_damaged_masks_of_other_programs_hang_and_crash_nothing() -> None:
    [tally] = run_script("damaged_companions.py", "--count", "2", "--seed", "5", "--kinds", "masks")
    assert (tally["files"], tally["hangs"], tally["crashes"], tally["uncaught"]) == (2, 0, 0, 0), tally


def test_growing_and_replaced_file_raises_nothing_in_the_window() -> None:
    [tally] = run_script("growing_file.py", "--count", "40", "--seed", "5")
    assert (tally["events"], tally["errors"]) == (40, 0), tally
    assert tally["frames"] > 0, tally
