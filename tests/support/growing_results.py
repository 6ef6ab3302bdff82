"""A results file that another process writes, frame by frame on request, as a capture does."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from paths import ROOT, SUPPORT

if TYPE_CHECKING:
    from pathlib import Path

WRITER: Final = """
import dataclasses, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import synthetic
from capture.results.writer import ResultsWriter
sizes = dataclasses.replace(synthetic.SMALL, frames=int(sys.argv[2]))
with ResultsWriter(Path(sys.argv[1]), sizes, model=synthetic.MODEL, generator="test") as writer:
    for number in range(sizes.frames):
        sys.stdin.readline()
        writer.write(synthetic.make_frame(sizes, number))
        while writer.frames_done <= number:
            time.sleep(0.002)
        print(number, flush=True)
    sys.stdin.readline()
    writer.finish({})
print("finished", flush=True)
"""


class GrowingResults:
    """The process that writes `path`, of `frames` frames."""

    def __init__(self, path: Path, frames: int) -> None:
        self.path = path
        self.is_finished = False
        command = [sys.executable, "-c", WRITER, str(path), str(frames), str(SUPPORT), str(ROOT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write_next(self) -> str:
        """Write the next frame, or finish after the last one; return the frame's number or "finished"."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        self.is_finished = answer == "finished"
        return answer

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
