"""Loads pyqtgraph once the window has been painted, and lets the panels build their plots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtWidgets import QWidget

from viewer.errors import UserError
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("viewer")


class PlotLoader(QObject):
    """Imports pyqtgraph in pieces after the first paint of a widget, then calls `build_plot` of every panel in it.

    Each piece runs from a timer of 0 ms, after the input that has arrived meanwhile. Panels paint themselves until
    their plot is built, and go on to do so if pyqtgraph cannot be imported.
    """

    failed = Signal(str)
    """pyqtgraph cannot be used: a sentence that says why and how to install it."""

    def __init__(self, layout: QWidget) -> None:
        super().__init__(layout)
        self._layout = layout
        self._pieces: Iterator[None] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._run_piece)
        layout.installEventFilter(self)

    @property
    def is_done(self) -> bool:
        """Whether the plots are built, or cannot be."""
        return self._pieces is not None and not self._timer.isActive()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Start after the first paint event; the timer fires when the whole window is painted and flushed."""
        if event.type() == QEvent.Type.Paint:
            self.start()
        return False

    def start(self) -> None:
        """Begin to import pyqtgraph and to build the plots, whatever has been painted."""
        self._layout.removeEventFilter(self)
        self._pieces = self._load()
        self._timer.start()

    def _load(self) -> Iterator[None]:
        from viewer.plots.loading import import_pyqtgraph

        yield from import_pyqtgraph()
        for panel in self._layout.findChildren(Panel):
            yield
            if shiboken6.isValid(panel):  # another file meanwhile replaces the panes of cameras
                panel.build_plot()

    def _run_piece(self) -> None:
        assert self._pieces is not None
        try:
            next(self._pieces)
        except StopIteration:
            self._timer.stop()
        except UserError as error:
            self._timer.stop()
            log.warning("%s", error, exc_info=error.__cause__)
            self.failed.emit(str(error))
        except Exception:
            self._timer.stop()
            raise
