"""A part of the window that draws from the session and asks it for changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QWidget

from viewer import drawing, theme
from viewer.errors import UserError
from viewer.session import Session, differing

if TYPE_CHECKING:
    from PySide6.QtGui import QPainter

    from viewer.state import ViewState

READS = (OSError, UserError, ValueError, IndexError, KeyError, RuntimeError)
"""What reading a damaged part of a file may raise; a panel then shows nothing rather than something wrong."""


class Panel(QWidget):
    """Repaints when one of the fields of the view that it draws has changed."""

    cares: ClassVar[frozenset[str]] = frozenset()
    """Fields of the view whose change calls `refresh`."""
    HEADING = 26

    def __init__(self, session: Session, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName(name)
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

    def heading(self, painter: QPainter, title: str, note: str = "", width: float | None = None) -> None:
        """The panel's title, and a quiet note at the right."""
        t = theme.active()
        box = QRectF(0, 0, self.width() if width is None else width, self.HEADING - 6)
        used = drawing.write(painter, box, title, t.text, 12, bold=True)
        if note:
            drawing.write(painter, box.adjusted(used + 12, 0, 0, 0), note, t.secondary, 12, align="right")
