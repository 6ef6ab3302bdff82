"""Progress of pi0-capture: transient on a terminal, plain lines in a log file, nothing from the other processes."""

from __future__ import annotations

import io
import logging
import re
import sys
import time
from contextlib import redirect_stderr

import pytest

from capture.cli import progress
from capture.cli.progress import Console
from capture.provenance import Decision

GIB = 1 << 30


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The lines that a terminal shows after all that was written."""
        lines, column = [""], 0
        for character in self.getvalue():
            if character == "\r":
                column = 0
            elif character == "\n":
                lines.append("")
                column = 0
            else:
                line = lines[-1].ljust(column)
                lines[-1] = line[:column] + character + line[column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]


def print_line(text: str) -> None:
    print(text, file=sys.stderr)


def run_two_frames(console: Console) -> None:
    """Make the calls of a run of two frames."""
    console.stage("loading PyTorch")
    console.stage("opening checkpoint demo")
    console.log("exterior is ext1")
    for part in range(5):
        console.loading(part * GIB // 4, GIB)
    console.expect(2)
    for frames in (0, 0.5, 1):
        console.step(frames)
    console.log("warning: the prompt is long")
    console.step(2)


def test_log_has_one_line_per_stage() -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line) as console:
        run_two_frames(console)
    assert out.getvalue().splitlines() == [
        "loading PyTorch",
        "opening checkpoint demo",
        "exterior is ext1",
        "loading 1.07 GB of weights",
        "capturing 2 frames",
        "warning: the prompt is long",
    ]


def test_log_names_stage_before_frames_are_known() -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line) as console:
        console.work = "50 episodes"
        console.expect(7)
        console.step(0)
    assert out.getvalue() == "capturing 50 episodes\n"


def test_terminal_keeps_only_messages() -> None:
    with redirect_stderr(Terminal()) as out, Console(print_line) as console:
        console.stage("loading PyTorch")
        assert out.screen == ["loading PyTorch"]
        console.stage("opening it")
        assert out.screen == ["opening it"]
        console.log("exterior is ext1")
        assert out.screen == ["exterior is ext1", "opening it"]
        console.loading(0, GIB)
        assert re.fullmatch(r"loading weights: +0%\|.*\| 0.00/1.07G \[.*\]", out.screen[-1])
        console.loading(GIB, GIB)
        console.expect(4)
        console.step(0)
        assert re.fullmatch(r"capturing: +0%\|.*\| 0.0/4 frames \[.*\]", out.screen[-1])
        console.log("warning: the prompt is long")
    assert out.screen == ["exterior is ext1", "warning: the prompt is long", ""]


def test_an_interrupted_stage_is_cleared() -> None:
    with redirect_stderr(Terminal()) as out, pytest.raises(KeyboardInterrupt), Console(print_line) as console:
        console.stage("loading PyTorch")
        sys.stderr.write("^C")  # the terminal's echo
        raise KeyboardInterrupt
    assert out.screen == [""]


def test_an_interrupted_bar_is_cleared() -> None:
    with redirect_stderr(Terminal()) as out, pytest.raises(KeyboardInterrupt), Console(print_line) as console:
        console.expect(4)
        console.step(1)
        assert len(out.screen[-1] + "^C") < 80  # or it would wrap
        sys.stderr.write("^C")
        raise KeyboardInterrupt
    assert out.screen == [""]


def test_terminal_shows_the_seconds_of_a_long_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.01)
    with redirect_stderr(Terminal()) as out, Console(print_line) as console:
        console.stage("loading PyTorch")
        began = console._since
        console._since = began - 12
        deadline = time.monotonic() + 30
        while "loading PyTorch (12 s)" not in out.screen[-1] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert out.screen == ["loading PyTorch (12 s)"]
        console.stage("loading it")
        assert out.screen == ["loading it"]


def test_line_printed_by_other_code_is_kept() -> None:
    with redirect_stderr(Terminal()) as out, Console(print_line) as console:
        console.stage("loading PyTorch")
        console.stage("opening checkpoint owner/name", keep=True)
        sys.stderr.write("Fetching 3 files\r")
    assert out.screen[0] == "opening checkpoint owner/name"


def test_stage_fits_one_line_and_is_escaped() -> None:
    with redirect_stderr(Terminal()) as out, Console(print_line) as console:
        console.stage("opening checkpoint \x1b[31m" + "x" * 500)
        assert out.screen == [("opening checkpoint ·[31m" + "x" * 500)[:77]]


def test_logged_warnings_are_printed() -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line):
        logging.getLogger("some.library").warning("%s is old", "this file")
        logging.getLogger("some.library").info("nothing of interest")
    assert out.getvalue() == "warning: this file is old\n"


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_secondary_process_prints_messages_only(stream: type[io.StringIO]) -> None:
    with redirect_stderr(stream()) as out, Console(print_line, quiet=True) as console:
        run_two_frames(console)
    assert out.getvalue() == "exterior is ext1\nwarning: the prompt is long\n"


def decision(subject: str, choice: str, *, is_certain: bool = False) -> Decision:
    return Decision(subject, choice, "by its name", is_certain)


def test_decisions_that_are_not_certain_are_printed_once() -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line) as console:
        for _ in range(2):
            console.decided(decision("exterior camera", "left"))
            console.decided(decision("wrist camera", "wrist", is_certain=True))
    assert out.getvalue() == "assumed exterior camera: left (by its name)\n"


def test_verbose_console_prints_certain_decisions_and_all_that_differ() -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line, verbose=True) as console:
        console.decided(decision("wrist camera", "wrist", is_certain=True))
        for number in range(6):
            console.decided(decision("clock", f"within {number} ms"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "decided wrist camera: wrist (by its name)"
    assert len(lines) == 7


@pytest.mark.parametrize("of_episode", [False, True])
def test_only_the_first_of_many_decisions_about_a_subject_are_printed(of_episode: bool) -> None:
    with redirect_stderr(io.StringIO()) as out, Console(print_line) as console:
        for number in range(50):
            subject = f"exterior camera of episode_{number}" if of_episode else "exterior camera"
            console.decided(decision(subject, f"camera {number}"))
        console.decided(decision("clock", "control"))
    lines = out.getvalue().splitlines()
    assert [line.split(":")[1].split(" (")[0] for line in lines[:3]] == [" camera 0", " camera 1", " camera 2"]
    assert lines[3].startswith("assumed exterior camera: in other ways in more episodes")
    assert lines[4:] == ["assumed clock: control (by its name)"]


def test_decisions_that_another_process_prints_are_skipped() -> None:
    shared, own = decision("exterior camera", "left"), decision("clock", "control")
    with redirect_stderr(io.StringIO()) as out, Console(print_line, quiet=True) as console:
        console.skip([shared])
        console.decided(shared)
        console.decided(own)
    assert out.getvalue() == "assumed clock: control (by its name)\n"
