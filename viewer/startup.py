"""What makes the program start fast and run without pauses. No Qt."""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES: Final = (
    "lib/libQt6Core.so.6",
    "lib/libQt6Gui.so.6",
    "lib/libQt6Widgets.so.6",
    "plugins/platforms/libqxcb.so",
)
"""Qt's, below the folder `Qt` of the package PySide6, in the order in which they need each other."""


def one_thread() -> None:
    """Keep numpy's linear algebra to one thread: nothing here multiplies matrices worth a second one, and threads that
    wait for work take processor time from the start. Before numpy is loaded.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextlib.contextmanager
def qt_beside() -> Iterator[None]:
    """Load Qt's libraries and the system's list of fonts in a thread, while Python loads something else.

    Python's own loading of libraries keeps its lock, a call through ctypes does not, so that a second core does it.
    What is not found where it is looked for, PySide loads itself as ever. At the end the process has one thread again,
    so that it can be copied, which is the fastest way to look at a file.
    """
    found = importlib.util.find_spec("PySide6") if sys.platform == "linux" else None
    if found is None or not found.submodule_search_locations:
        yield
        return
    folder = Path(found.submodule_search_locations[0]) / "Qt"
    thread = threading.Thread(target=_load, args=([str(folder / name) for name in LIBRARIES],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _load(paths: list[str]) -> None:
    import ctypes

    try:
        system = ctypes.CDLL(None)
        for path in paths:
            system.dlopen(path.encode(), os.RTLD_NOW)
        ctypes.CDLL("libfontconfig.so.1").FcInit()
    except (OSError, AttributeError):
        return


def plain_imports() -> None:
    """Let Python import modules as it does without PySide. Once PySide is loaded, before the program's own parts are.

    PySide puts a function of its own in the place of Python's `__import__`. It reads the source text of every module
    that is loaded from then on, in search of PySide's `__feature__` switch, which this program does not use: a tenth of
    the time until the first picture.
    """
    plain = getattr(builtins, "__orig_import__", None)  # where PySide keeps it
    if plain is not None:
        builtins.__import__ = plain


def calm() -> None:
    """Keep pauses short: what was built so far is never searched for garbage again, and a thread gives way soon."""
    gc.enable()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.001)
