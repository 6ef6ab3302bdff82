"""Test reads of a file in another process: HDF5 can hang or crash on a torn file, which must not end the window.

`python -m viewer.analysis.probe FILE` reads what the first picture needs and prints one line of JSON; without FILE it
does so for each path, a line of JSON, that it is given, so that a run's many files cost one start. For a path in a list
it says instead what the file is about.
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
from typing import Any, Final

from viewer import child_process

MOST_FRAMES: Final = 40
CPU_SECONDS: Final = 1.5
"""CPU time that reading may take: ten times what an undamaged full-size file needs. It ends an endless loop in HDF5
independently of the machine's load."""
SECONDS: Final = 60.0
"""Time that a disk or network may take to answer; the window stays usable and offers to stop."""
_CIRCLES: Final = getattr(signal, "SIGPROF", None)
"""How the system ends a process whose time is over; None where it cannot (Windows)."""


def too_long(path: Path) -> str:
    """Return the sentence for a file that could not be read in time."""
    return (
        f"{path.name} is torn or on a disk that does not answer: reading it took too long. "
        "Copy it to this machine, or copy it again."
    )


def fatal(path: Path, code: int) -> str:
    """Return the sentence for a file on which HDF5 crashes or loops endlessly; `code` is the process's exit code."""
    if _CIRCLES is not None and abs(code) == _CIRCLES:
        return f"{path.name} is torn: reading it goes round in circles. Copy it again, or record it again."
    return f"{path.name} is damaged so badly that reading it fails (code {code}). Copy it again, or record it again."


class Probe:
    """A running test read of one file in another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answer: str | None = None
        self._since = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, nothing from the file
            child_process.python_command("viewer.analysis.probe", str(self.path)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_process.python_environment(),
        )

    def _ended(self) -> tuple[int, bytes] | None:
        """Exit code and what it wrote; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        out = self._process.stdout.read() if self._process.stdout and not self._process.stdout.closed else b""
        self._close()
        return code, out

    def poll(self) -> str | None:
        """None while it looks; then the sentence that says what is wrong with the file, empty if nothing is."""
        if self._answer is None:
            self._answer = self._ask()
        return self._answer

    def _ask(self) -> str | None:
        ended = self._ended()
        if ended is None:
            if time.monotonic() - self._since < (SECONDS if _CIRCLES is not None else 8.0):
                return None
            self.stop()
            return too_long(self.path)
        try:
            return str(json.loads(ended[1])["error"])
        except (ValueError, KeyError, TypeError):
            return fatal(self.path, ended[0])

    def wait(self) -> str:
        """The sentence, however long it takes (at most SECONDS)."""
        while (answer := self.poll()) is None:
            time.sleep(0.005)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


class ForkedProbe(Probe):
    """A probe in a fork of this process, which needs no start and no imports.

    For the program's own start on Linux alone, before Qt and any thread: later a copy would hold half a window.
    """

    def _begin(self) -> None:
        from viewer.io import results  # noqa: F401 - before the copy is made, so that they are loaded once

        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                limit()
                os.write(writing, json.dumps({"error": look(self.path)}).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        self._reading: int | None = reading

    def _ended(self) -> tuple[int, bytes] | None:
        if self._reading is None:
            return -1, b""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        out = os.read(self._reading, 1 << 16)
        self._close()
        return os.waitstatus_to_exitcode(status), out

    def stop(self) -> None:
        if self._reading is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._close()

    def _close(self) -> None:
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None


def early(path: Path) -> Probe:
    """Return the fastest kind of probe at the program's start."""
    alone = sys.platform == "linux" and threading.active_count() == 1 and "PySide6.QtCore" not in sys.modules
    return ForkedProbe(path) if alone else Probe(path)


def limit() -> None:
    """End this process when it has been busy for CPU_SECONDS, where the system has such a timer."""
    if _CIRCLES is not None:
        signal.signal(_CIRCLES, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)


def look(path: Path) -> str:
    """Read what the first picture of a file needs, at its first and last frame; the sentence if it cannot be shown."""
    from capture.results import schema
    from viewer.analysis import scene
    from viewer.analysis.frame_timeline import build_frame_timeline
    from viewer.errors import READ_ERRORS, UserError
    from viewer.io.results import Results
    from viewer.model.view_state import Query, ViewState

    try:
        results = Results(path)
    except UserError as error:
        return str(error)
    for frame in sorted({0, max(results.done - 1, 0)}) if results.done else ():
        for query in (Query("text"), Query("action")):
            try:
                scene.compose(results, ViewState(frame=frame, query=query).clamped(results.dims(frame)))
                results.mass(frame, query.kind)
                results.value_norms(frame, query.kind)
                for camera in range(len(results.cameras)):
                    results.picture(frame, camera, "source")
                results.flow(schema.ACTION_X, frame)
            except READ_ERRORS:
                continue  # the window says so at the place that cannot be read; here it only matters that it returns
    # Damaged strings can send HDF5 round in circles, at any frame: read some of every part of the file.
    count = min(results.done, MOST_FRAMES)
    for place in range(count):
        with contextlib.suppress(*READ_ERRORS):
            frame = place * results.done // count
            results.pieces(frame)
            for name in (schema.FRAMES_TEXT, schema.FRAMES_PROMPT, schema.FRAMES_EPISODE):
                results.string(name, frame)
    with contextlib.suppress(*READ_ERRORS):
        build_frame_timeline(results)
    results.close()
    return ""


def about(path: Path) -> dict[str, Any]:
    """The prompts of a file, each once, and its number of frames; the sentence if it cannot be read."""
    from capture.results import schema
    from viewer.errors import READ_ERRORS, UserError
    from viewer.io.results import Results

    try:
        results = Results(path)
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
        asked = json.loads(line)
        answer = about(Path(asked[0])) if isinstance(asked, list) else {"error": look(Path(asked))}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    from viewer.analysis import scene as _loaded  # noqa: F401 - imports do not count

    if len(sys.argv) > 1:
        limit()
        sys.stdout.write(json.dumps({"error": look(Path(sys.argv[1]))}))
    else:
        serve()
