"""Import of pyqtgraph in short pieces, so that the window keeps answering meanwhile."""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Final

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_SECONDS: Final = 0.006
"""Shortest piece after which control returns to the event loop."""
OLDEST: Final = (0, 14)
"""pyqtgraph 0.13.7 crashes on PySide6 6.10."""
REQUIREMENT: Final = "pyqtgraph>=0.14,<0.16"
IMPORTED_EARLY: Final = (
    "PySide6.QtSvg", "PySide6.QtOpenGL", "PySide6.QtOpenGLWidgets", "PySide6.QtTest", "xml.etree.ElementTree",
    "cProfile", "multiprocessing.connection", "numpy.typing", "pydoc", "colorama",
)  # fmt: skip
"""What pyqtgraph imports; each is a piece of its own."""


def import_pyqtgraph() -> Iterator[None]:
    """Import pyqtgraph in pieces of a few milliseconds and one of about 70; configure it at the end.

    Raises:
        UserError: It is not installed, too old, or fails; the sentence says how to install it.
    """
    os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"  # a user's setting for other programs would load a second Qt
    yield from _initialise_qt_names()
    for name in IMPORTED_EARLY:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # pyqtgraph itself decides whether it needs it
        yield
    try:
        import pyqtgraph
    except Exception as error:  # of any kind: an unsuitable release fails with AttributeError or TypeError
        raise UserError(unavailable(f"{type(error).__name__}: {error}")) from error
    release = pyqtgraph.__version__
    if tuple(int(part) for part in release.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise UserError(unavailable(f"release {release} is too old"))
    pyqtgraph.setConfigOptions(imageAxisOrder="row-major")
    yield
    from viewer.plots import view  # noqa: F401 - every plot needs it


def unavailable(reason: str) -> str:
    """Return the sentence that says why there are no interactive plots and how to get them."""
    return (
        f"Plots are drawn without pyqtgraph, which cannot be imported ({reason}); "
        f'to install it: pip install "{REQUIREMENT}"'
    )


def _initialise_qt_names() -> Iterator[None]:
    """Access every name of PySide's modules, in pieces.

    PySide sets up a class at the first access to it, and `pyqtgraph.Qt` copies all 721 names: 110 of its 180 ms.
    """
    started = time.perf_counter()
    for name in ("QtCore", "QtGui", "QtWidgets"):
        module = importlib.import_module(f"PySide6.{name}")
        for attribute in dir(module):
            getattr(module, attribute)
            if time.perf_counter() - started > PIECE_SECONDS:
                yield
                started = time.perf_counter()
