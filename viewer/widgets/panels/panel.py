"""A part of the window that draws from the session and asks it for changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from viewer.controllers.session import Session, differing
from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from viewer.model.view_state import ViewState

REST_MILLISECONDS: Final = 60


class Panel(QWidget):
    """Repaints when one of the fields of the view that it draws has changed."""

    cares: ClassVar[frozenset[str]] = frozenset()
    """Fields of the view whose change calls `refresh`."""
    OPAQUE: ClassVar[bool] = True
    """Whether it paints all of itself, ground included: Qt then paints nothing under it."""
    HEADING = 26

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName(name)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, self.OPAQUE)
        self._telling = QTimer(self)
        self._telling.setSingleShot(True)
        self._telling.setInterval(REST_MILLISECONDS)
        self._telling.timeout.connect(self.describe)
        session.changed.connect(self._on_changed)
        session.opened.connect(self.reload)
        session.grew.connect(self.reload)

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        if differing(before, after) & self.cares:
            self.refresh()

    def refresh(self) -> None:
        """The view changed in a field that matters here."""
        self.update()

    def reload(self) -> None:
        """Another file is open, or the file has grown."""
        self.refresh()

    def tell(self) -> None:
        """Have `describe` called once the view has rested: what a screen reader says need not hold up a slider."""
        self._telling.start()

    def describe(self) -> None:
        """Say for screen readers what is shown."""

    def canvas(self, event: QPaintEvent) -> QPainter:
        """A painter on this panel, whose ground is laid where it is to be painted."""
        painter = QPainter(self)
        painter.fillRect(event.rect(), drawing.ground(self))
        return painter

    def stand_right(self, *controls: QWidget) -> None:
        """Stand controls at the right end of the heading, the first one outermost."""
        right = self.width()
        for control in controls:
            size = control.sizeHint()
            right -= size.width()
            control.setGeometry(right, -1, size.width(), size.height())
            right -= 4

    def heading(self, painter: QPainter, title: str, note: str = "", width: float | None = None) -> None:
        """The panel's title, and a quiet note at the right."""
        t = theme.active()
        box = QRectF(0, 0, self.width() if width is None else width, self.HEADING - 6)
        used = drawing.write(painter, box, title, t.text, 12, bold=True)
        if note:
            drawing.write(painter, box.adjusted(used + 12, 0, 0, 0), note, t.secondary, 12, align="right")
