"""A process that is ended by the clock, by its own limits, or by the user."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from capture.results import progress_clock
from capture.watched_process import NoAnswerError, WatchedProcess

if sys.platform == "win32":
    pytest.skip("signals are POSIX's", allow_module_level=True)

ECHO = """
import os, signal, sys, time
from capture.watched_process import serve
def answer(request, note_progress):
    if request == "sleep":
        time.sleep(600)
    if request == "work":
        sum(iter(int, 1))
    if request == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if request == "grow":
        return len(bytes(2 << 30))
    if request == "stopped":
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.raise_signal(getattr(signal, name))
    if request == "slow":
        for _ in range(8):
            time.sleep(0.1)
            note_progress()
    return [request, os.getpid()]
serve(answer)
"""


@pytest.fixture
def process():
    watched = WatchedProcess(ECHO)
    yield watched
    watched.stop()


def test_one_process_answers_all_requests(process):
    first, second = process.ask("a"), process.ask({"b": [1, None]})
    assert (first[0], second[0]) == ("a", {"b": [1, None]})
    assert first[1] == second[1]
    assert process.ask("stopped")[1] == first[1]  # the first process of a command decides


@pytest.mark.parametrize(("request_", "is_overdue"), [("sleep", True), ("work", True), ("die", False), ("grow", False)])
def test_process_that_does_not_answer_is_ended_and_started_anew(process, monkeypatch, request_, is_overdue):
    before = process.ask("a")[1]
    if request_ == "sleep":
        monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.3)
    with pytest.raises(NoAnswerError) as error:
        process.ask(request_)
    assert error.value.is_overdue == is_overdue
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    monkeypatch.undo()
    assert process.ask("a")[1] != before


def test_process_that_makes_progress_is_awaited(process, monkeypatch):
    process.ask("a")
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.6)
    assert process.ask("slow")[0] == "slow"


def test_ctrl_c_ends_the_wait_and_the_process(process):
    child = process.ask("a")[1]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()  # within the block: on a busy machine the signal may come before the wait
        process.ask("sleep")
    timer.join()
    assert time.monotonic() - start < progress_clock.STALL_SECONDS
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
