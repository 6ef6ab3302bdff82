"""Test reads of a file in another process: HDF5 can hang or crash on a torn file, which must not end the window.

`python -m viewer.analysis.probe FILE` reads what the first picture needs and prints one line of JSON. Without FILE it
does so for each line of standard input, a path as JSON, so that a run's many files cost one start; for a list of one
path it describes the file instead. It prints an empty line after each step: the caller ends the process when there has
been no step, and no other progress, for two seconds (`ProgressClock`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capture.remote.address import RemotePath, parse_location
from capture.results.progress_clock import ProgressClock
from viewer import child_process
from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

MOST_FRAMES: Final = 40
CPU_SECONDS: Final = 1.5
"""CPU time that reading may take: ten times what an undamaged full-size file needs. It ends an endless loop in HDF5
independently of the machine's load."""
MEMORY_BYTES: Final = 1 << 30
"""Bytes by which the process may grow, so that a forged file cannot fill the machine."""
_LOOP_SIGNAL: Final = getattr(signal, "SIGPROF", None)
"""The signal with which the system ends a process whose CPU time is over; None where there is none (Windows)."""


def describe_timeout(path: Location) -> str:
    """Return the sentence for a file that could not be read in time."""
    if isinstance(path, RemotePath):
        return f"{path.name} is torn, or {path.authority} answers too slowly; try again, or copy the file."
    return (
        f"{path.name} is torn or on a disk that does not answer: reading it took too long. "
        "Copy it to this machine, or copy it again."
    )


def describe_crash(path: Location, code: int) -> str:
    """Return the sentence for a file on which HDF5 crashes or loops endlessly; `code` is the process's exit code."""
    if _LOOP_SIGNAL is not None and abs(code) == _LOOP_SIGNAL:
        return f"{path.name} is torn: reading it goes round in circles. Copy it again, or record it again."
    return f"{path.name} is damaged so badly that reading it fails (code {code}). Copy it again, or record it again."


class Probe:
    """A running test read of one file in another process."""

    def __init__(self, path: Location) -> None:
        self.path = path
        self._answer: str | None = None
        self._output = b""
        self._stream: int | None = None
        """Descriptor from which the other process's output is read; None once it is closed."""
        self._begin()

    def _begin(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, nothing from the file
            child_process.create_python_command(*self._words()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_process.create_python_environment(),
        )
        assert self._process.stdout is not None
        self._watch(self._process.stdout.fileno(), self._process.pid, is_started=False)

    def _words(self) -> tuple[str, ...]:
        """Return the module of the other process and its arguments."""
        return "viewer.analysis.probe", str(self.path)

    def _watch(self, stream: int, pid: int, *, is_started: bool) -> None:
        self._stream = stream
        if sys.platform != "win32":
            os.set_blocking(stream, False)
        self._clock = ProgressClock(pid, is_started=is_started)

    def _read(self) -> None:
        """Take what the other process has written so far."""
        if sys.platform == "win32" and self._exit_code() is None:  # reading would wait
            return
        with contextlib.suppress(BlockingIOError):
            while self._stream is not None and (part := os.read(self._stream, 1 << 16)):
                self._output += part
                self._clock.note_progress()

    def _exit_code(self) -> int | None:
        """Return the exit code of the other process; None while it runs."""
        return self._process.poll()

    def poll(self) -> str | None:
        """Return None while the file is being read, then the sentence about its fault; empty if there is none."""
        if self._answer is None:
            self._answer = self._ask()
        return self._answer

    def _ask(self) -> str | None:
        code = self._exit_code()
        self._read()  # after the exit code: what was written before the end is complete
        if code is None:
            if not self._clock.is_over:
                return None
            self.stop()
            return describe_timeout(self.path)
        self._close()
        try:
            return str(json.loads(self._output)["error"])
        except (ValueError, KeyError, TypeError):
            return describe_crash(self.path, code)

    def wait(self) -> str:
        """Return the sentence, however long it takes (at most `progress_clock.LONGEST_SECONDS`)."""
        while (answer := self.poll()) is None:
            time.sleep(0.005)
        return answer

    def check(self) -> None:
        """Wait for the other process, and raise UserError where it finds a fault."""
        try:
            reason = self.wait()
        finally:
            self.stop()
        if reason:
            raise UserError(reason)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._stream = None
        if self._process.stdout is not None:
            self._process.stdout.close()


class ForkedProbe(Probe):
    """A probe in a fork of this process, which needs no start and no imports.

    For the program's own start on Linux alone, before Qt and any thread: later a copy would hold half a window.
    """

    def _begin(self) -> None:
        from viewer.io import results  # noqa: F401 - before the copy is made, so that they are loaded once

        self._code: int | None = None
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                limit()
                limit_memory()
                answer = self._check(lambda: os.write(writing, b"\n"))
                os.write(writing, json.dumps({"error": answer}).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        self._watch(reading, self._pid, is_started=True)

    def _check(self, note_progress: Callable[[], object]) -> str:
        """Read the file, in the copy of this process; return what is wrong with it, empty if nothing is."""
        return check_file(self.path, note_progress, limit)

    def _exit_code(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def stop(self) -> None:
        """End the process."""
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._close()

    def _close(self) -> None:
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None


def create_early_probe(path: Location) -> Probe:
    """Return the fastest kind of probe at the program's start."""
    return ForkedProbe(path) if can_fork() else Probe(path)


def can_fork() -> bool:
    """Return whether a copy of this process can read a file."""
    return sys.platform == "linux" and threading.active_count() == 1 and "PySide6.QtCore" not in sys.modules


def limit() -> None:
    """End this process when it has been busy for CPU_SECONDS, where the system has such a timer."""
    if _LOOP_SIGNAL is not None:
        signal.signal(_LOOP_SIGNAL, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def limit_memory() -> None:
    """Let this process grow by at most MEMORY_BYTES, where the system can."""
    if sys.platform == "linux":
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def check_file(
    path: Location, note_progress: Callable[[], object] = lambda: None, limit_again: Callable[[], object] = lambda: None
) -> str:
    """Read what the first picture of a file needs, at its first and last frame; the sentence if it cannot be shown.

    Of a file on another machine the first frame alone is read, without what comes after the first heat map.
    `note_progress` is called after each step, and repeatedly while a server is waited for; `limit_again` once there is
    a connection, which takes processor time that is no property of the file.
    """
    from viewer.analysis.effects.effects_check import check_effects, is_effects_file

    try:
        results = _open(path, note_progress, limit_again)
    except UserError as error:
        if isinstance(path, Path) and is_effects_file(path):
            return check_effects(path, note_progress)
        return str(error)
    note_progress()
    try:
        if isinstance(path, RemotePath):
            _read_first_picture(results, note_progress)
        else:
            _read_parts(results, note_progress)
    except MemoryError:
        return f"{path.name} is damaged: a part of it needs more than 1 GB. Copy it again, or record it again."
    finally:
        results.close()
    return ""


def _open(path: Location, note_progress: Callable[[], object], limit_again: Callable[[], object]) -> Results:
    from viewer.io.results import Results

    if not isinstance(path, RemotePath):
        return Results(path)
    from viewer.io.remote_bytes import RemoteBytes, set_note_waiting

    set_note_waiting(note_progress)
    source = RemoteBytes(path)
    limit_again()
    return Results(source.path, source)


def _read_first_picture(results: Results, note_progress: Callable[[], object]) -> None:
    """Read what shows the first frame's heat maps; an error is shown at its place in the window."""
    from viewer.analysis import scene
    from viewer.analysis.initial_view import first_view
    from viewer.errors import READ_ERRORS

    if results.done:
        with contextlib.suppress(*READ_ERRORS):
            scene.compose(results, first_view(results))
        note_progress()
        for camera in range(len(results.cameras)):
            with contextlib.suppress(*READ_ERRORS):
                results.picture(0, camera, "model")
        note_progress()


def _read_parts(results: Results, note_progress: Callable[[], object]) -> None:
    from capture.results import schema
    from viewer.analysis.frame_timeline import build_frame_timeline
    from viewer.errors import READ_ERRORS
    from viewer.io.file_parts import list_parts
    from viewer.model.view_state import Query, ViewState

    for frame in sorted({0, max(results.done - 1, 0)}) if results.done else ():
        for query in (Query("text"), Query("action")):
            _read_view(results, ViewState(frame=frame, query=query))
            note_progress()
        for camera in range(len(results.cameras)):
            with contextlib.suppress(*READ_ERRORS):
                results.picture(frame, camera, "source")
        note_progress()
    # A dataset whose description is damaged can end the process that reads it, whichever it is: read some of all.
    for name, axes, index in list_parts(results.cameras, results.done - 1) if results.done else ():
        with contextlib.suppress(*READ_ERRORS):
            if not name.endswith("/source"):
                results.read_part(name, axes, index)
    note_progress()
    # Damaged strings can send HDF5 round in circles, at any frame: read some of every part of the file.
    count = min(results.done, MOST_FRAMES)
    for place in range(count):
        with contextlib.suppress(*READ_ERRORS):
            frame = place * results.done // count
            results.pieces(frame)
            for name in (schema.FRAMES_TEXT, schema.FRAMES_PROMPT, schema.FRAMES_EPISODE):
                results.string(name, frame)
        note_progress()
    with contextlib.suppress(*READ_ERRORS):
        build_frame_timeline(results)


def _read_view(results: Results, view: ViewState) -> None:
    """Read what shows a view. An error is shown at its place in the window; here it only matters that it returns."""
    from viewer.analysis import scene
    from viewer.errors import READ_ERRORS

    with contextlib.suppress(*READ_ERRORS):
        scene.compose(results, view.clamped(results.dims(view.frame)))
    for read in (results.mass, results.value_norms):
        with contextlib.suppress(*READ_ERRORS):
            read(view.frame, view.query.kind)


def read_prompts(
    path: Location, note_progress: Callable[[], object] = lambda: None, limit_again: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Return the prompts of a file, each once, and its number of frames; or a sentence why it cannot be read.

    `note_progress` and `limit_again` are called as by `look`.
    """
    from capture.results import schema
    from viewer.errors import READ_ERRORS

    try:
        results = _open(path, note_progress, limit_again)
    except UserError as error:
        return {"error": str(error)}
    try:
        prompts = tuple(dict.fromkeys(results.words_of(schema.FRAMES_PROMPT)))
    except READ_ERRORS as error:
        return {"error": str(error)}
    finally:
        results.close()
    return {"error": "", "prompts": prompts, "frames": results.planned}


def serve() -> None:
    """Answer each line of the input with one line, until it ends."""
    for line in sys.stdin:
        limit()  # anew for each file
        _note_progress()
        request = json.loads(line)
        if isinstance(request, list):
            answer = read_prompts(parse_location(request[0]), _note_progress, limit)
        else:
            answer = {"error": check_file(parse_location(request), _note_progress, limit)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _note_progress() -> None:
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_answer(read: Callable[[Callable[[], object]], dict[str, Any]]) -> None:
    """Print what `read` returns of a file as a line of JSON, in a process of its own, within the limits.

    `read` gets what it calls after each step.
    """
    limit_memory()
    limit()
    _note_progress()
    sys.stdout.write(json.dumps(read(_note_progress)))


if __name__ == "__main__":
    from viewer.analysis import scene as _loaded  # noqa: F401 - imports do not count

    if len(sys.argv) > 1:
        print_answer(lambda note_progress: {"error": check_file(parse_location(sys.argv[1]), note_progress, limit)})
    else:
        limit_memory()
        serve()
