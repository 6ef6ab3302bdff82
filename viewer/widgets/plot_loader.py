"""Makes what the first picture does not show once the window has been painted: hidden panels, pyqtgraph, the plots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import shiboken6
from PySide6.QtCore import QEvent, QObject, QTimer, Signal

from viewer.errors import UserError
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from PySide6.QtWidgets import QWidget

log = logging.getLogger("viewer")


class PlotLoader(QObject):
    """Makes late panels after the first paint of a widget, imports pyqtgraph and calls `build_plot` of every panel.

    All of it in pieces: each runs from a timer of 0 ms, after the input that has arrived meanwhile. Panels paint
    themselves until their plot is built, and go on to do so if pyqtgraph cannot be imported.
    """

    failed = Signal(str)
    """pyqtgraph cannot be used: a sentence with the reason and how to install it."""

    def __init__(self, layout: QWidget, make_late_panels: Callable[[], Iterable[None]] = tuple) -> None:
        """`make_late_panels` makes panels that the first picture does not show, one in each step of the iteration."""
        super().__init__(layout)
        self._layout, self._make_late_panels = layout, make_late_panels
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

        yield from self._make_late_panels()
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
