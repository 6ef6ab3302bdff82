"""Page in place of the answers over a run: what is missing and what to do, progress, or what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 560


class ProgressBar(QWidget):
    """A thin bar; without a total it shows nothing done."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Progress")
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.done, self.total = 0, 0

    def show_progress(self, done: int, total: int) -> None:
        """Show how much is done."""
        self.done, self.total = done, total
        self.setAccessibleDescription(f"{done} of {total}" if total else "")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(WIDTH, 6)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        drawing.fill(painter, QRectF(self.rect()), theme.color(colors.hover), 3)
        part = min(self.done / self.total, 1.0) if self.total else 0.0
        if part:
            drawing.fill(painter, QRectF(0, 0, self.width() * part, self.height()), theme.color(colors.accent), 3)


class RunMessage(QWidget):
    """Title, text, progress, buttons and folded details."""

    button_clicked = Signal(str)
    """The name of the button that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.text, self.details = QLabel(), QLabel(), QLabel()
        for label in (self.title, self.text, self.details):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setFixedWidth(WIDTH)
        for label in (self.text, self.details):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.progress = ProgressBar()
        self.more = Button("Details ▾", kind="quiet")
        self.more.clicked.connect(self._unfold)
        self.buttons: list[Button] = []
        column = QVBoxLayout()
        column.setSpacing(12)
        self._row = QHBoxLayout()
        self._row.setSpacing(8)
        self._row.addStretch()
        fold = QHBoxLayout()
        fold.addWidget(self.more)
        fold.addStretch()
        for widget in (self.title, self.text, self.progress):
            column.addWidget(widget)
        column.addLayout(self._row)
        column.addLayout(fold)
        column.addWidget(self.details)
        middle = QHBoxLayout()
        middle.addStretch()
        middle.addLayout(column)
        middle.addStretch()
        whole = QVBoxLayout(self)
        whole.addStretch(2)
        whole.addLayout(middle)
        whole.addStretch(3)
        self.restyle()

    def restyle(self) -> None:
        """Apply the theme's colours."""
        colors = theme.active()
        self.title.setFont(theme.font(20, bold=True))
        self.text.setFont(theme.font(14))
        self.details.setFont(theme.font(12))
        for label, color in (
            (self.title, colors.text),
            (self.text, colors.secondary),
            (self.details, colors.secondary),
        ):
            label.setStyleSheet(f"color: {color}; background: transparent;")

    def show_message(
        self,
        title: str,
        text: str,
        buttons: Sequence[tuple[str, str]] = (),
        *,
        progress: tuple[int, int] | None = None,
        details: str = "",
    ) -> None:
        """Show a message.

        Args:
            title: In large type.
            text: What is so and what to do; plain text.
            buttons: Name and text of each button, the main one first.
            progress: What is done and all of it, for a bar; None for no bar.
            details: Text that is folded.
        """
        self.title.setText(title)
        self.text.setText(text)
        self.progress.setVisible(progress is not None)
        if progress is not None:
            self.progress.show_progress(*progress)
        self.details.setText(details)
        self.details.hide()
        self.more.setVisible(bool(details))
        if [(button.objectName(), button.text()) for button in self.buttons] != list(buttons):
            self._make_buttons(buttons)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)

    def _make_buttons(self, buttons: Sequence[tuple[str, str]]) -> None:
        for old in self.buttons:
            self._row.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.buttons = []
        for place, (name, text) in enumerate(buttons):
            button = Button(text, kind="primary" if place == 0 else "raised")
            button.setObjectName(name)
            button.clicked.connect(self._on_clicked)
            self._row.insertWidget(place, button)
            button.show()
            self.buttons.append(button)

    def _on_clicked(self) -> None:
        self.button_clicked.emit(self.sender().objectName())

    def _unfold(self) -> None:
        self.details.setVisible(self.details.isHidden())
