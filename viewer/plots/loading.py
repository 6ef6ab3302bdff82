"""Import of pyqtgraph in short pieces, so that the window keeps answering meanwhile."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

QT_MODULES: Final = ("QtCore", "QtGui", "QtWidgets")
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
        UserError: It is not installed, too old, or fails; the message tells how to install it.
    """
    os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"  # a user's setting for other programs would load a second Qt
    for name in IMPORTED_EARLY:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # pyqtgraph itself decides whether it needs it
        yield
    try:
        with _take_names_at_first_use():
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
    """Return why there are no interactive plots and how to get them, as a sentence."""
    return (
        f"Plots are drawn without pyqtgraph, which cannot be imported ({reason}); "
        f'to install it: pip install "{REQUIREMENT}"'
    )


class _NamesAtFirstUse(ModuleType):
    """Module of pyqtgraph that has the names of one of PySide's modules, each from its first use on."""

    def __init__(self, name: str, source: ModuleType) -> None:
        super().__init__(name)
        self._source = source

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._source, name)
        setattr(self, name, value)
        return value


@contextmanager
def _take_names_at_first_use() -> Iterator[None]:
    """Let pyqtgraph take PySide's names when it uses them.

    `pyqtgraph.Qt` copies all 721 names of three modules into empty ones of its own, and PySide sets up a class at the
    first access to it: 110 of 180 ms, and 8 MB. Here those modules are there already and PySide's list no names.
    """
    modules = {f"pyqtgraph.Qt.{name}": importlib.import_module(f"PySide6.{name}") for name in QT_MODULES}
    added = [] if "pyqtgraph" in sys.modules else list(modules)
    listings = {name: vars(modules[name]).get("__dir__") for name in added}
    for name in added:
        sys.modules[name] = _NamesAtFirstUse(name, modules[name])
        vars(modules[name])["__dir__"] = list
    try:
        yield
    except BaseException:
        for name in added:
            sys.modules.pop(name, None)
        raise
    finally:
        for name, listing in listings.items():
            del vars(modules[name])["__dir__"]
            if listing is not None:
                vars(modules[name])["__dir__"] = listing
