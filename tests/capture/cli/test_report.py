"""The report at the end of a run: counts, speed, and what limited it."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.cli.report import suggest_command, summarise_dataset_run
from capture.pipeline.types import FileOutcome, RunOutcome


def make_outcome(*files: FileOutcome, seconds: float = 2.0) -> RunOutcome:
    return RunOutcome(list(files), sum(file.frames for file in files), seconds, busy_seconds=seconds / 2)


def make_file_outcome(path: Path, frames: int = 0, resumed: int = 0, failure: str | None = None) -> FileOutcome:
    path.write_bytes(bytes(1000))
    return FileOutcome(path, frames=frames, kept=resumed, total=frames + resumed, failure=failure)


def test_report_of_one_process(tmp_path: Path) -> None:
    files = [make_file_outcome(tmp_path / "a.h5", 1), make_file_outcome(tmp_path / "b.h5", resumed=3)]
    lines = summarise_dataset_run([make_outcome(*files)], {"c.h5": "its video is missing"}, tmp_path).splitlines()
    assert lines[0] == f"{tmp_path}: 1 done, 1 finished before, 1 failed; 1 frame in 2 s, 2 kB"
    assert lines[1].startswith("0.5 frames a second; the device was busy 50% of the time")
    assert lines[-1] == "failed: c.h5: its video is missing"


def test_report_counts_waiting_only_when_device_is_idle() -> None:
    """Calls are queued ahead: while they wait for a writer, the device may still be busy."""
    assert RunOutcome(seconds=10, busy_seconds=4, reader_wait_seconds=2, writer_wait_seconds=4).waits == (2, 4)
    assert RunOutcome(seconds=10, busy_seconds=7, reader_wait_seconds=2, writer_wait_seconds=4).waits == (1, 2)
    assert RunOutcome(seconds=10, busy_seconds=10, writer_wait_seconds=8).waits == (0, 0)
    assert RunOutcome(seconds=10, busy_seconds=11, writer_wait_seconds=8).waits == (
        0,
        0,
    )  # events and clocks differ a little
    assert RunOutcome(seconds=10, busy_seconds=9).waits == (0, 0)


def test_report_with_nothing_left_or_done(tmp_path: Path) -> None:
    before = summarise_dataset_run([make_outcome(make_file_outcome(tmp_path / "a.h5", resumed=2))], {}, tmp_path)
    assert before == f"{tmp_path}: 0 done, 1 finished before, 0 failed; 1 kB"
    failed = summarise_dataset_run([make_outcome()], {"a.h5": "why"}, tmp_path).splitlines()
    assert failed == [f"{tmp_path}: 0 done, 0 finished before, 1 failed", "failed: a.h5: why"]


def test_each_process_reports_its_rate(tmp_path: Path) -> None:
    outcomes = [
        make_outcome(make_file_outcome(tmp_path / "a.h5", 4)),
        make_outcome(make_file_outcome(tmp_path / "b.h5", 6), seconds=4.0),
    ]
    lines = summarise_dataset_run(outcomes, {}, tmp_path).splitlines()
    assert lines[0].endswith("10 frames in 4 s, 2 kB")
    assert lines[1] == "2.5 frames a second on 2 processes"
    assert lines[2].startswith("part 1: 2 frames a second; ")
    assert lines[3].startswith("part 2: 1.5 frames a second; ")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("demo.h5", "next  pi0-viewer demo.h5"),
        ("runs/", "next  pi0-viewer runs"),
        ("my files/duck's.h5", "next  pi0-viewer 'my files/duck'\"'\"'s.h5'"),
        ("-a.h5", "next  pi0-viewer ./-a.h5"),
    ],
)
def test_next_command_is_quoted_for_the_shell(path: str, line: str) -> None:
    assert suggest_command(Path(path)) == line
