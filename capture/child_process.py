"""Python processes that capture starts. Nothing else in this package starts a process.

The current folder is often a folder of data. Were it on a child's `sys.path`, a `json.py` or `numbers.py` in it would
run in place of the standard library's. Children therefore start isolated (`python -I`), and take over the `sys.path` of
this process without the current folder, unless that is where this package lies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACKAGE_ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder that holds the package `capture`: a checkout or site-packages."""

_TAKE_PATH: Final = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "


def start_python(
    code: str,
    *arguments: str,
    pass_fds: Sequence[int] = (),
    **streams: int,
) -> subprocess.Popen[bytes]:
    """Start a Python process that runs `code` with `sys.argv[1:]` set to `arguments`.

    `pass_fds`: file descriptors that stay open in it. `streams`: `stdin`, `stdout` and
    `stderr` as of subprocess.Popen; it reads nothing from stdin otherwise.
    """
    streams = {"stdin": subprocess.DEVNULL, **streams}
    return subprocess.Popen(_command(code, arguments), pass_fds=pass_fds, **streams)  # type: ignore[call-overload,no-any-return]  # noqa: S603


def ignore_stop_signals() -> None:
    """Ignore, in a child, the signals that stop a command: all processes get them, and the first one acts."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def child_path() -> list[str]:
    """Return the `sys.path` of children: this process's, without the current folder unless the package lies there."""
    current = os.path.realpath(os.curdir)
    path = [os.path.realpath(entry) for entry in sys.path]
    if str(PACKAGE_ROOT) not in path:
        path.append(str(PACKAGE_ROOT))
    return [entry for entry in path if entry != current or entry == str(PACKAGE_ROOT)]


def _command(code: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-c", _TAKE_PATH + code, json.dumps(child_path()), *arguments]
