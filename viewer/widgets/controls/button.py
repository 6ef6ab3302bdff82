"""Push button in the window's own look."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from viewer.rendering import drawing, theme


class Button(QAbstractButton):
    """A push button of one of six kinds.

    `raised` has a background; `primary` is the main action of a sheet; `quiet` has a background only under the
    pointer; `warning` is quiet, in the accent colour; `segment` is one of a row with a common background; `toggle`
    looks like a segment and stands alone.
    """

    def __init__(self, text: str, *, kind: str = "raised", hint: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self.hint = hint
        self.setText(text)
        self.setAccessibleName(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def relabel(self, text: str) -> None:
        """Replace the text and the accessible name."""
        if text != self.text():
            self.setText(text)
            self.setAccessibleName(text)
            self.updateGeometry()

    def sizeHint(self) -> QSize:
        pixels = self.pixels
        width = drawing.width_of(self.text(), pixels)
        if self.hint:
            width += drawing.width_of(self.hint, 12) + 6
        padding = {"raised": 22, "primary": 28, "quiet": 8, "warning": 16, "segment": 14, "toggle": 14}[self.kind]
        return QSize(
            round(width) + padding, {"raised": 28, "primary": 28, "warning": 28, "quiet": 22}.get(self.kind, 24)
        )

    @property
    def pixels(self) -> int:
        """Font size of the text in pixels."""
        return 13 if self.kind in {"raised", "primary", "warning"} else 12

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        colors = theme.active()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        hot = self.underMouse() and self.isEnabled()
        pixels = self.pixels
        color = colors.text if self.kind == "raised" or self.isChecked() or hot else colors.secondary
        primary = self.kind == "primary" and self.isEnabled()
        if self.kind == "warning":
            color = colors.accent_text
        if primary:
            color = "#15171C"
        if not self.isEnabled():
            color = colors.faint
        if primary:
            drawing.fill(painter, box, theme.color(colors.accent, 0.8 if self.isDown() or hot else 1.0))
        elif self.isChecked() or self.isDown():
            on_light = colors.panel if self.kind == "segment" else colors.hover
            drawing.fill(painter, box, theme.color(colors.faint if colors.dark else on_light))
        elif hot:
            drawing.fill(painter, box, theme.color(colors.hover))
        elif self.kind in {"raised", "primary"}:
            drawing.fill(painter, box, theme.color(colors.raised))
        inner = box.adjusted(4, 0, -4, 0)
        if self.hint:
            total = drawing.width_of(self.text(), pixels) + 6 + drawing.width_of(self.hint, 12)
            left = box.center().x() - total / 2
            used = drawing.write(painter, QRectF(left, 0, total, box.height()), self.text(), color, pixels)
            drawing.write(painter, QRectF(left + used + 6, 0, total, box.height()), self.hint, colors.secondary, 12)
        else:
            drawing.write(painter, inner, self.text(), color, pixels, align="centre")
        if self.hasFocus():
            drawing.ring(painter, box, theme.color(colors.text if self.kind == "primary" else colors.accent))
