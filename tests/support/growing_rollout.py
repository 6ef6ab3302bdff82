"""Runs of rollouts that another process records, call by call on request, as a policy server does."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from paths import ROOT, SUPPORT

if TYPE_CHECKING:
    from pathlib import Path

RECORDER: Final = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
from rollouts import record_toy_call, describe_toy_run
from capture.rollouts.writer import RolloutWriter
writer = None
for number, line in enumerate(sys.stdin):
    verb, _, rest = line.rstrip("\\n").partition(" ")
    if verb == "open":
        if writer is not None:
            writer.close()
        writer = RolloutWriter(Path(rest), describe_toy_run())
        stream = writer.open_stream("client 1")
    elif verb == "call":
        call = record_toy_call(number, prompt=rest)
        stream.start_call(rest).store(call)
    else:
        stream.end_episode(success=True)
    writer.settle()
    print(verb, flush=True)
"""


class GrowingRollout:
    """The process that records; loading PyTorch takes it seconds, so that tests share one."""

    folder: Path

    def __init__(self) -> None:
        command = [sys.executable, "-c", RECORDER, str(SUPPORT), str(ROOT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def open(self, folder: Path) -> None:
        """Record into this folder from now on; the episode of the one before is ended."""
        self.folder = folder
        self._ask("open", str(folder))

    def call(self, prompt: str = "stack the cups") -> None:
        """Record a call, which is in the file when this returns."""
        self._ask("call", prompt)

    def end(self) -> None:
        """End the episode; its file is complete when this returns."""
        self._ask("end", "")

    def _ask(self, verb: str, rest: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{verb} {rest}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == verb

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
