"""Start Python processes without the five seconds of processor time that importing PyTorch and transformers takes.

The process is forked from one that has imported both and nothing else. Tests of the start itself, of what imports
what and of environment variables that libraries read while they load start a new interpreter in the usual way.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from preloaded_server import NUMBER

SERVER = Path(__file__).with_name("preloaded_server.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""In every such process, as the tests share the cores; it is read while PyTorch is loaded."""


@functools.cache
def start_server() -> socket.socket:
    """Start the process that imports and forks; it ends when this process does. Return the socket of its requests."""
    local, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with remote:
        server = subprocess.Popen(
            [sys.executable, str(SERVER), str(remote.fileno())],
            pass_fds=[remote.fileno()],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.DEVNULL,
        )
    atexit.register(server.wait)
    atexit.register(local.close)  # called first; the server ends then
    return local


class PreloadedProcess:
    """A Python that runs `arguments`, with the part of `subprocess.Popen` that tests use. Its output is text in UTF-8.

    `arguments` begin with `-m MODULE` or `-c CODE`. `stdout` and `stderr` are `subprocess.PIPE` or a descriptor; standard input is empty.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> None:
        self.args = [sys.executable, *arguments]
        self.returncode: int | None = None
        request = {"arguments": list(arguments), "folder": str(folder)}
        message = json.dumps({**request, "environment": {**environment, **ONE_THREAD}}).encode()
        self._answers, remote = socket.socketpair()
        with contextlib.ExitStack() as until_sent:
            until_sent.enter_context(remote)
            self.stdout, output = _open_stream(stdout, until_sent)
            self.stderr, errors = _open_stream(stderr, until_sent)
            nothing = until_sent.enter_context(Path(os.devnull).open())
            socket.send_fds(start_server(), [message], [nothing.fileno(), output, errors, remote.fileno()])
        self.pid = self._read_answer()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end and return its exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._read_answer())
            self._answers.close()
        return self.returncode

    def send_signal(self, kind: int) -> None:
        """Send a signal to the process unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, kind)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what is still unread of standard output and error, once the process has ended."""
        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        with ThreadPoolExecutor(2) as readers:
            texts = dict(zip(streams, readers.map(lambda stream: stream.read(), streams), strict=True))
        self.wait(timeout)
        for stream in streams:
            stream.close()
        return texts.get(self.stdout, ""), texts.get(self.stderr, "")

    def _read_answer(self) -> int:
        answer = self._answers.recv(NUMBER.size, socket.MSG_WAITALL)
        return int(NUMBER.unpack(answer)[0])


def _open_stream(target: int, until_sent: contextlib.ExitStack) -> tuple[IO[str] | None, int]:
    """Return the end of a new pipe to read from, if `target` asks for one, and the descriptor for the process."""
    if target != subprocess.PIPE:
        return None, target
    reading, writing = os.pipe()
    until_sent.callback(os.close, writing)
    return os.fdopen(reading, encoding="utf-8"), writing


def run_preloaded(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run Python to its end and return its exit code and output."""
    process = PreloadedProcess(arguments, folder, environment)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.wait(), output, errors)
