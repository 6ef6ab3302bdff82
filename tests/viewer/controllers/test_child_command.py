"""Child processes of the window: lines, errors, a stop that cannot be ignored, and an end without a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QApplication
from window_driver import until

from viewer.controllers import python_process
from viewer.controllers.child_command import ChildCommand

if TYPE_CHECKING:
    import pytest


def start(command: ChildCommand, code: str) -> tuple[list[str], list[int]]:
    """Run some Python with a module of the standard library; return where its lines and its exit code will be."""
    lines: list[str] = []
    codes: list[int] = []
    command.line_read.connect(lines.append)
    command.ended.connect(codes.append)
    command.start("timeit", "-n", "1", "-r", "1", code)
    return lines, codes


def test_lines_and_the_last_errors_are_kept(app: QApplication) -> None:
    command = ChildCommand(most_lines=2)
    say = (
        "import os; os.write(1, b'one\\ntwo\\n'); os.write(2, b'first\\nsecond\\npi0-x: \\x1b[1mthird\\n'); os._exit(3)"
    )
    lines, codes = start(command, say)
    assert command.is_running
    until(lambda: bool(codes), 20)
    assert lines == ["one\n", "two\n"]
    assert codes == [3]
    assert not command.is_running
    assert [error.split("[")[0] for error in command.errors] == ["second", "pi0-x: \ufffd"]
    assert "\x1b" not in command.errors[1]
    assert command.find_reason("pi0-x", 3).endswith("third")


def test_process_that_ignores_the_stop_is_killed(app: QApplication) -> None:
    command = ChildCommand(kill_milliseconds=200)
    lines, codes = start(
        command, "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    until(lambda: bool(lines), 20)
    command.stop()
    until(lambda: bool(codes), 10)
    assert codes == [9]
    assert command.find_reason("pi0-x", 9) == "it ended with code 9"


def test_process_that_cannot_start_has_ended(app: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        python_process.child_process, "create_python_command", lambda *words: ["/no/such/python", *words]
    )
    command = ChildCommand()
    _, codes = start(command, "pass")
    until(lambda: bool(codes), 10)
    assert codes == [-1]
    assert not command.is_running


def test_ended_command_reports_no_exit_code(app: QApplication) -> None:
    command = ChildCommand()
    lines, codes = start(command, "import time; print('on', flush=True); time.sleep(60)")
    until(lambda: bool(lines), 20)
    command.end(5000)
    assert not command.is_running
    app.processEvents()
    assert codes == []
