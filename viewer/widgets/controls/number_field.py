"""Field that shows a number and lets the user type another one."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFocusEvent, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QLineEdit, QWidget

from viewer.rendering import drawing, theme


class NumberField(QLineEdit):
    """A line edit that paints itself while it has no focus, which is several times faster than the style."""

    def __init__(self, name: str, *, boxed: bool = True, pixels: float = 12, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxed, self.pixels = boxed, pixels
        self.setAccessibleName(name)
        self.setFont(theme.font(pixels))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._styled_for: theme.Theme | None = None
        self._text_before = ""

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Apply the theme's style sheet on the first focus: setting it is slow, and it is needed only for typing."""
        colors = theme.active()
        if self._styled_for is not colors:
            self._apply_style(colors)
        self._text_before = self.text()
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:  # undo the typing; the parent gets the key and moves the focus
            self.setText(self._text_before)
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _apply_style(self, colors: theme.Theme) -> None:
        self._styled_for = colors
        self.setStyleSheet(
            f"QLineEdit {{ background: {colors.panel}; color: {colors.text}; border: 2px solid {colors.accent};"
            f" border-radius: 5px; padding: 1px {5 if self.boxed else 0}px;"
            f" selection-background-color: {colors.accent}; selection-color: #15171C; }}"
        )

    def show_text(self, text: str) -> None:
        """Show `text`, unless the user is typing."""
        if text != self.text() and not self.hasFocus():
            self.setText(text)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter, parent = theme.active(), QPainter(self), self.parentWidget()
        # The parent's background: the style sheet changes this widget's own palette.
        painter.fillRect(self.rect(), drawing.ground(parent if parent is not None else self))
        if self.hasFocus():
            painter.end()
            super().paintEvent(event)
            return
        box = QRectF(self.rect())
        if self.boxed:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(theme.color(colors.line))
            painter.setBrush(theme.color(colors.panel))
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
        align = "right" if self.alignment() & Qt.AlignmentFlag.AlignRight else "left"
        color = colors.text if self.isEnabled() else colors.secondary
        side = 6 if self.boxed else 4
        drawing.write(painter, box.adjusted(side, 0, -side, 0), self.text(), color, self.pixels, align=align)
