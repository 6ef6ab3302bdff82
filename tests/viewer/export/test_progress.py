"""Progress: nothing for a second, then a bar on a terminal, lines in a log, or JSON for a program."""

from __future__ import annotations

import builtins
import io
import json

import pytest

from viewer.export import progress
from viewer.export.progress import ProgressReporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr("tqdm.std.time", clock.monotonic)
    return clock


def report_progress(reporter: ProgressReporter, clock: Clock, total: int) -> None:
    """Report sixteen items a second."""
    for index in range(1, total + 1):
        clock.now += 0.0625
        reporter.report(index, total)


def test_export_shorter_than_the_delay_writes_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        reporter = ProgressReporter("figures")
        report_progress(reporter, clock, 10)
        reporter.close()
        assert stream.getvalue() == ""


def test_terminal_has_one_line_that_is_removed_at_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    reporter = ProgressReporter("figures")
    report_progress(reporter, clock, 100)
    lines = [line for line in stream.getvalue().split("\r") if line.strip()]
    assert "16/100" in lines[0]
    assert "16.00 figures/s" in lines[0]
    assert 30 < len(lines) < 60, "ten times a second, not a hundred"
    reporter.close()
    assert stream.getvalue().endswith("\r")
    assert stream.getvalue().split("\r")[-2].strip() == ""
    assert "\n" not in stream.getvalue()


def test_log_has_a_line_every_ten_seconds_and_at_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    reporter = ProgressReporter("pictures")
    report_progress(reporter, clock, 600)
    reporter.close()
    lines = stream.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        *(f"{count} of 600 pictures" for count in (160, 320, 480)),
        "600 of 600 pictures",
    ]
    assert lines[0] == "160 of 600 pictures, 16.00 pictures/s, 00:27 left"
    assert "\r" not in stream.getvalue()


def test_as_json_writes_lines_of_json(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    report_progress(ProgressReporter("figures", as_json=True), clock, 40)
    reports = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert reports[-1] == {"done": 40, "total": 40}
    assert 10 < len(reports) < 25


def test_without_tqdm_there_is_no_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse_tqdm(name: str, *rest: object) -> object:
        if name == "tqdm":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(builtins, "__import__", refuse_tqdm)
    reporter = ProgressReporter("rows")
    report_progress(reporter, clock, 600)
    reporter.close()
    assert stream.getvalue() == ""
