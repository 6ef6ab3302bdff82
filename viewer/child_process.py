"""Command line and environment of the Python processes that the viewer and pi0-export start. No Qt.

The current folder is often a folder of data. `python -m` would put it first on `sys.path`, so that a file `json.py` in
it would be imported in place of the standard library's. Processes started here find this package wherever this process
found it, and nothing in the current folder.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE_ROOT: Final = Path(__file__).absolute().parents[1]
"""The folder on `sys.path` that holds the package `viewer`: a checkout or site-packages."""
SAFE_PATH: Final = "PYTHONSAFEPATH"
"""Python's variable with the effect of the option -P, for processes whose command line is not built here."""


def create_python_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package in another Python process."""
    return [sys.executable, "-P", "-m", module, *arguments]


def create_python_environment(*, is_single_threaded: bool = True) -> dict[str, str]:
    """Return the environment of a `create_python_command`: this process's, without PYTHONPATH, OpenMP on one thread.

    With `is_single_threaded` false, OpenMP has as many threads as in this process.
    """
    environment = {**os.environ, SAFE_PATH: "1", **({"OMP_NUM_THREADS": "1"} if is_single_threaded else {})}
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if not _is_current_folder(entry)]
    if not _is_installed():
        entries.insert(0, str(PACKAGE_ROOT))
    environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment


@contextlib.contextmanager
def safe_multiprocessing() -> Iterator[None]:
    """Keep the current folder off `sys.path` of processes that `multiprocessing` spawns within the block.

    `multiprocessing` builds their command line itself, with `python -c`, which puts the current folder on `sys.path`
    until the parent's own `sys.path` has arrived.
    """
    previous = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = previous


def _is_current_folder(entry: str) -> bool:
    """Return whether an entry of PYTHONPATH names the current folder, as an empty one does."""
    return Path(entry).absolute() == Path.cwd()


def _is_installed() -> bool:
    """Return whether every Python process finds the package by itself, because it lies in site-packages."""
    return str(PACKAGE_ROOT) in {*site.getsitepackages(), site.getusersitepackages()}
