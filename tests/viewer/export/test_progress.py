"""Progress: silent for a second, then one line that counts, or lines that a program can read."""

from __future__ import annotations

import io
import json

import pytest

from viewer.export import progress
from viewer.export.progress import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def work(made: Console, clock: Clock, total: int) -> None:
    """Sixteen things a second."""
    for done in range(1, total + 1):
        clock.now += 0.0625
        made.report(done, total)


def test_short_work_says_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    made = Console("figures")
    work(made, clock, 10)
    made.end()
    assert out.getvalue() == ""


def test_long_work_counts_on_one_line_and_takes_it_away(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    made = Console("figures")
    work(made, clock, 100)
    lines = out.getvalue().split("\r")[1:]
    assert lines[0].strip() == "16 of 100 figures, 16.0 a second, 5 s left"
    assert lines[-1].strip() == "100 of 100 figures, 16.0 a second"
    assert 30 < len(lines) < 60, "ten times a second, not a hundred"
    made.end()
    assert out.getvalue().endswith("\r")
    assert "\n" not in out.getvalue()


def test_in_a_log_it_is_a_line_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    work(Console("pictures"), clock, 600)
    assert len(out.getvalue().splitlines()) == 4
    assert out.getvalue().splitlines()[-1] == "600 of 600 pictures, 16.0 a second"


def test_for_a_program_each_line_is_json(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    work(Console("figures", lines=True), clock, 40)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert told[-1] == {"done": 40, "total": 40}
    assert 10 < len(told) < 25
