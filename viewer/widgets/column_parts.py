"""Parts that the columns of the window are made of: hairline, background of the right column, stack of tab panels."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from viewer.rendering import drawing, theme


class Hairline(QWidget):
    """Line of one pixel between two regions."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(self.rect(), theme.color(theme.active().line))


class SideColumn(QWidget):
    """The right column, with the layout of its panels, which stand closer to each other where it is low."""

    SPACING, LOW_SPACING, LOW = 14, 10, 820
    """Pixels between the panels; the same in a column lower than LOW pixels, which leaves more to the heads' cells."""

    def __init__(self) -> None:
        super().__init__()
        self.panels = QVBoxLayout(self)
        self.panels.setContentsMargins(theme.MARGIN, 12, theme.MARGIN, 12)
        self.panels.setSpacing(self.SPACING)
        self.panels.addStretch()  # takes what the panels above cannot use
        self.restyle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.panels.setSpacing(self.SPACING if self.height() >= self.LOW else self.LOW_SPACING)

    def restyle(self) -> None:
        """Set the theme's colour as the palette of the column and of the widgets in it."""
        palette = self.palette()
        palette.setColor(drawing.WINDOW, theme.color(theme.active().side))
        self.setPalette(palette)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.color(theme.active().side))
        painter.fillRect(0, 0, 1, self.height(), theme.color(theme.active().line))


class TabStack(QStackedWidget):
    """Panels of which one is shown at a time."""

    least = 0
    """Minimum height in pixels: that of the tab that opens automatically, so that the pictures keep their size."""

    def heights(self) -> tuple[int, int]:
        """Return minimum and preferred height in pixels: those of the first panel, or more if the current one needs it.

        The pictures then keep their size, where they can, when the user changes tabs.
        """
        first, front = self.widget(0), self.currentWidget()
        if first is None or front is None:
            return 0, 0
        front_heights = front.minimumSizeHint().height(), front.minimumHeight()
        least = max(first.minimumSizeHint().height(), *front_heights, self.least)
        return least, max(least, first.sizeHint().height(), front.sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(300, 40)
