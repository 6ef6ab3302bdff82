"""Measures for a fast start and for short pauses; imports no Qt."""

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
"""Qt's libraries, relative to the folder `Qt` of the package PySide6, in the order of their dependencies."""


def limit_threads() -> None:
    """Limit numpy's linear algebra to one thread; call before numpy is imported.

    No matrix product here is large enough for more, and idle threads of OpenBLAS slow down the start.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextlib.contextmanager
def preload_qt() -> Iterator[None]:
    """Load Qt's libraries and the system's font list in a thread within the block, on Linux only.

    Python's import holds the GIL while it loads a library; a call through ctypes does not, so both run in parallel.
    A library that is not found is loaded by PySide as usual. The thread is joined on exit, because the process is then
    forked, the fastest way to start checking a file, and only a process with one thread can be forked safely.
    """
    spec = importlib.util.find_spec("PySide6") if sys.platform == "linux" else None
    if spec is None or not spec.submodule_search_locations:
        yield
        return
    folder = Path(spec.submodule_search_locations[0]) / "Qt"
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


def bypass_import_hook() -> None:
    """Restore Python's own `__import__`; call after PySide and before the viewer's own modules are imported.

    PySide replaces `__import__` by a function that searches the source text of every imported module for its
    `__feature__` switch, which this program does not use. That takes a tenth of the time until the first picture.
    """
    plain = getattr(builtins, "__orig_import__", None)  # PySide stores the original here
    if plain is not None:
        builtins.__import__ = plain


def finish_startup() -> None:
    """Enable garbage collection and shorten pauses after the first picture.

    All present objects are excluded from later collections, and threads are switched every millisecond.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.001)
