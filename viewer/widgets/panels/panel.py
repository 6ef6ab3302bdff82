"""Base class of the parts of the window that show the session and change its view."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from PySide6.QtCore import QEvent, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QWidget

from viewer.controllers.reading.loading_note import MARK_MILLISECONDS, describe_awaited
from viewer.controllers.session import Session
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS, NotLoadedError
from viewer.rendering import drawing, theme
from viewer.rendering.loading_mark import paint_loading_mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

log = logging.getLogger("viewer")
DESCRIPTION_DELAY_MILLISECONDS: Final = 60


class Panel(QWidget):
    """Widget that reads its content when the view changes and paints that content.

    `load` reads from the session and the file and keeps what painting needs; `paint` draws it and reads nothing. An
    exception in `paint` is logged and replaces the panel's content by a sentence; the rest of the window goes on.
    """

    watched_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of the view whose change calls `load` and `refresh`."""
    OPAQUE: ClassVar[bool] = True
    """Whether `paint` covers the whole panel: Qt then paints nothing underneath."""
    READ_ORDER: ClassVar[int] = 5
    """Place among the panels in the order in which their parts of a slow file are read: the most important first."""
    HAS_LOADING_MARK: ClassVar[bool] = False
    """Whether a mark is painted on the content of an earlier view, while that of the shown one is being read."""
    HEADING = 26
    """Height of the heading in pixels."""

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName(name)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, self.OPAQUE)
        self._paint_error = ""
        self._ground: tuple[theme.Theme, QColor] | None = None
        self._notice_timer = QTimer(self)
        self._notice_timer.setSingleShot(True)
        self._notice_timer.setInterval(0)
        self._notice_timer.timeout.connect(self._notify_paint_error)
        self._description_timer = QTimer(self)
        self._description_timer.setSingleShot(True)
        self._description_timer.setInterval(DESCRIPTION_DELAY_MILLISECONDS)
        self._description_timer.timeout.connect(self._describe_if_read)
        self._held_view: ViewState | None = None
        self._loading_timer = QTimer(self)
        self._loading_timer.setSingleShot(True)
        self._loading_timer.setInterval(MARK_MILLISECONDS)
        self._loading_timer.timeout.connect(self._show_loading)
        session.changed.connect(self._on_changed)
        session.requested.connect(self.show_requested)
        session.opened.connect(self.reload)
        session.grew.connect(self.reload)
        session.effects_changed.connect(self.reload)

    # Content

    @property
    def shown(self) -> ViewState:
        """The view that the panel shows: the session's, or an earlier one while parts of that are being read."""
        return self._held_view or self.session.shown

    @property
    def marked(self) -> ViewState:
        """The view whose place the panel marks: the one that was asked for, also while its parts are being read."""
        return self.session.requested_view if not self.session.blinking else self.displayed[1]

    @property
    def is_waiting(self) -> bool:
        """Whether the panel still shows an earlier view, as parts of the session's are being read."""
        return self._held_view is not None

    @property
    def displayed(self) -> tuple[Results | None, ViewState]:
        """File and view that the panel shows: the shown ones, or those of a second file while it is blinked to."""
        if self._held_view is not None:
            return self.session.results, self._held_view
        return self.session.displayed or (None, self.session.shown)

    def load(self) -> None:
        """Read what `paint` needs from the session and the file. Called on changes while visible, and when shown."""

    @staticmethod
    def read_parts(results: Results, view: ViewState) -> object:  # noqa: ARG004 - for those that derive from it
        """Read what `load` needs of a view, in another thread. By default one part is read after another."""
        return None

    def show_requested(self) -> None:
        """Move the marks of the selection to the view that was asked for, whose parts are being read."""

    def reload_and_update(self) -> None:
        """Load the content again and repaint the whole panel."""
        if self._read_now(self._load_if_visible):
            self.update()

    def refresh(self) -> None:
        """Update controls and repaint after a change of a watched field."""
        self.update()

    def on_file_changed(self) -> None:
        """Drop what was kept of the last file: another file is open, or the file has new frames."""

    def reload(self) -> None:
        """Load everything again, after a change of the file or of the theme."""
        self._paint_error = ""
        self._held_view = None

        def load() -> None:
            self.on_file_changed()
            self._load_if_visible()
            self.refresh()

        self._read_now(load)
        self.update()

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if self.watched_fields.isdisjoint(differing(before, after)):
            return
        if self.session.is_slow:
            self._read_now(self._load_and_refresh, before)
        else:
            self._load_and_refresh()

    def _load_and_refresh(self) -> None:
        self._load_if_visible()
        self.refresh()

    def _read_now(self, act: Callable[[], None], before: ViewState | None = None) -> bool:
        """Call what reads from the file; of a slow one again, once that is read. Return whether it is done.

        Meanwhile the panel goes on to show the view `before` with a mark.
        """
        session = self.session
        if not session.is_slow:
            act()
            return True
        view_before = self._held_view or before or session.shown

        def attempt() -> None:
            was_waiting, self._held_view = self._held_view is not None, None
            try:
                act()
            except NotLoadedError:
                self._held_view = view_before
                raise
            if was_waiting:
                self._on_read()

        displayed = session.displayed
        plan = partial(self.read_parts, *displayed) if displayed is not None and displayed[0].done else None
        is_done = session.reader.attempt_part(self, attempt, plan, order=self.READ_ORDER)
        if not is_done:
            self._loading_timer.start()
        return is_done

    def _show_loading(self) -> None:
        """Paint the mark of a panel that has been waiting for a moment."""
        if self.is_waiting:
            self.update()

    def _on_read(self) -> None:
        """Paint what was read while the panel showed an earlier view."""
        self.refresh()
        self.update()

    def _load_if_visible(self) -> None:
        if self.isVisible():
            self._load()

    def _load(self) -> None:
        try:
            self.load()
        except READ_ERRORS as error:
            self.session.report_failure(error)

    def showEvent(self, event: QShowEvent) -> None:
        self._read_now(self._load)
        super().showEvent(event)

    def schedule_description(self) -> None:
        """Call `describe` once the view has not changed for a moment, so that it does not slow down a slider."""
        self._description_timer.start()

    def _describe_if_read(self) -> None:
        with contextlib.suppress(NotLoadedError):  # described once it is read
            self.describe()

    def describe(self) -> None:
        """Set the accessible description."""

    def build_plot(self) -> None:
        """Replace what the panel paints by a plot of `viewer.plots`; called once, after the first picture was painted.

        Not called if pyqtgraph cannot be imported. Import modules of `viewer.plots` here, not at the top of a module.
        """

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        """Paint the loaded content; `area` is the part that needs painting. Must not read from a file."""

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self.paint_guarded(painter, event.rect())

    def paint_guarded(self, painter: QPainter, area: QRect) -> None:
        """Call `paint`; after an exception, log it and paint a sentence instead. Restores the painter's state."""
        painter.save()
        try:
            self.paint(painter, area)
        except Exception as error:
            if self.is_new_paint_error(error):
                log.exception("%s cannot be drawn", self.accessibleName())
            painter.resetTransform()
            self.paint_failure(painter, QRectF(self.rect()))
        finally:
            painter.restore()
        if self.HAS_LOADING_MARK and self.is_waiting and not self._loading_timer.isActive():
            results = self.session.results
            text = describe_awaited(results, self.shown, self.session.shown) if results is not None else ""
            paint_loading_mark(painter, QRectF(self.rect()), text)

    def paint_failure(self, painter: QPainter, area: QRectF) -> None:
        """Paint a sentence over an area that cannot be painted."""
        painter.setClipping(False)
        painter.fillRect(area, self.ground())
        sentence = f"{self.accessibleName()} cannot be drawn; the log says why. Choose another view."
        drawing.write(painter, QRectF(4, 4, area.width() - 8, 20), sentence, theme.active().secondary, 12)

    def is_new_paint_error(self, error: Exception) -> bool:
        """Return whether an exception of `paint` differs from the last one, and tell the user of a new one."""
        text = f"{type(error).__name__}: {error}"
        if text == self._paint_error:
            return False
        self._paint_error = text
        self._notice_timer.start()  # not now: a notice changes the window, which may not happen while it is painted
        return True

    def _notify_paint_error(self) -> None:
        name, reason = self.accessibleName(), self._paint_error[:160]
        self.session.noticed.emit(f"{name} cannot be drawn ({reason}); the rest of the window goes on.")

    def ground(self) -> QColor:
        """Return the background colour, which the panel inherits from its parent through the palette.

        It is kept until the palette changes: a change of the view asks for it twenty times, at 2 µs each.
        """
        active = theme.active()
        if self._ground is None or self._ground[0] is not active:
            self._ground = active, drawing.ground(self)
        return self._ground[1]

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange:
            self._ground = None
        super().changeEvent(event)

    def fill_background(self, painter: QPainter, area: QRect) -> None:
        """Fill an area with the colour of the widget that the panel is in."""
        painter.fillRect(area, self.ground())

    def place_right(self, *controls: QWidget) -> None:
        """Place controls at the right end of the heading, the first one outermost."""
        right = self.width()
        for control in controls:
            size = control.sizeHint()
            right -= size.width()
            control.setGeometry(right, -1, size.width(), size.height())
            right -= 4

    def paint_heading(self, painter: QPainter, title: str, note: str = "") -> None:
        """Paint the title in bold, and a note in the secondary colour at the right."""
        colors = theme.active()
        box = QRectF(0, 0, self.width(), self.HEADING - 6)
        used = drawing.write(painter, box, title, colors.text, 12, bold=True)
        if note:
            drawing.write(painter, box.adjusted(used + 12, 0, 0, 0), note, colors.secondary, 12, align="right")
