"""Page in place of the panels: no file is open, a file is being opened, or it cannot be opened and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from viewer.controllers.commands import key_hint
from viewer.rendering import colormaps, theme
from viewer.widgets.controls.button import Button

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.remote.address import Location

ICON = ((0, 1, 2, 1), (1, 5, 8, 2), (2, 9, 13, 4), (1, 3, 4, 1))
"""Values of the program's icon, a small attention map."""


class Icon(QWidget):
    """The program's icon."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(72, 72)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        words = colormaps.opaque("inferno")
        for row, line in enumerate(ICON):
            for col, value in enumerate(line):
                painter.setBrush(theme.color(f"#{int(words[30 + value * 15]) & 0xFFFFFF:06X}"))
                painter.drawRoundedRect(QRectF(col * 18, row * 18, 16, 16), 4, 4)


class MessagePage(QWidget):
    """Heading, sentence, buttons, folded details and recent files."""

    open_requested = Signal()
    demo_requested = Signal()
    file_requested = Signal(str)
    stop_requested = Signal()
    retry_requested = Signal()
    close_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.icon = Icon()
        self.title, self.text, self.details, self.recent_title = QLabel(), QLabel(), QLabel(), QLabel("Recent")
        for label in (self.title, self.text, self.details):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setMaximumWidth(560)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.open, self.demo, self.stop, self.more = (
            Button("Open…", hint=key_hint("open")),
            Button("Open the demo"),
            Button("Stop opening"),
            Button("Details ▾", kind="quiet"),
        )
        self.retry, self.close_file = Button("Try again now"), Button("Close the file")
        self.retry.clicked.connect(self.retry_requested)
        self.close_file.clicked.connect(self.close_requested)
        self.stop.clicked.connect(self.stop_requested)
        self.open.clicked.connect(self.open_requested)
        self.demo.clicked.connect(self.demo_requested)
        self.more.clicked.connect(self._unfold)
        self.recent = QVBoxLayout()
        self.recent.setSpacing(2)
        column = QVBoxLayout()
        column.setSpacing(12)
        row = QHBoxLayout()
        row.setSpacing(8)
        for button in (self.open, self.demo, self.stop, self.retry, self.close_file):
            row.addWidget(button)
        row.addStretch()
        fold = QHBoxLayout()
        fold.addWidget(self.more)
        fold.addStretch()
        for widget in (self.icon, self.title, self.text):
            column.addWidget(widget)
        column.addSpacing(4)
        column.addLayout(row)
        column.addLayout(fold)
        column.addWidget(self.details)
        column.addSpacing(8)
        column.addWidget(self.recent_title)
        column.addLayout(self.recent)
        middle = QHBoxLayout()
        middle.addStretch()
        holder = QWidget()
        holder.setLayout(column)
        holder.setMinimumWidth(420)
        middle.addWidget(holder)
        middle.addStretch()
        whole = QVBoxLayout(self)
        whole.addStretch(2)
        whole.addLayout(middle)
        whole.addStretch(3)
        self._buttons: list[Button] = []
        self.restyle()

    def restyle(self) -> None:
        """Apply the theme's colours."""
        colors = theme.active()
        self.title.setFont(theme.font(20, bold=True))
        for label, color in (
            (self.title, colors.text),
            (self.text, colors.secondary),
            (self.details, colors.secondary),
            (self.recent_title, colors.text),
        ):
            label.setStyleSheet(f"color: {color}; background: transparent;")
        self.text.setFont(theme.font(14))
        self.details.setFont(theme.font(12))
        self.recent_title.setFont(theme.font(12, bold=True))

    def _show_message(self, title: str, text: str, details: str = "", recent: Sequence[Location] = ()) -> None:
        self.title.setText(title)
        self.text.setText(text)
        self.details.setText(details)
        self.details.hide()
        self.more.setVisible(bool(details))
        self.recent_title.setVisible(bool(recent))
        for button in self._buttons:
            self.recent.removeWidget(button)
            button.deleteLater()
        self._buttons = []
        for path in recent:
            button = Button(path.name, kind="quiet", hint=_shorten_folder(path.parent))
            button.setProperty("path", str(path))
            button.clicked.connect(self._recent_clicked)
            self.recent.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
            self._buttons.append(button)
        for button in (self.open, self.demo):
            button.show()
        for button in (self.stop, self.retry, self.close_file):
            button.hide()
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)

    def show_empty(self, recent: Sequence[Location]) -> None:
        """Show that no file is open."""
        self._show_message(
            "See what Pi0.5 looks at",
            "Open a results file or the folder of a run that pi0-capture wrote, or drop it here. "
            "No file yet? The demo needs no GPU and no model.",
            recent=recent,
        )

    def show_opening(self, path: Location, *, very_slow: bool = False) -> None:
        """Show that a file is being opened; `very_slow` offers to stop."""
        if very_slow:
            self._show_message(
                f"Still reading {path.name} …",
                "Its disk or network answers slowly. It opens as soon as it has been read; "
                "to go on without it, stop opening it or open another one.",
            )
        else:
            self._show_message(f"Opening {path.name} …", "Checking that it can be read.")
            self.open.hide()
        self.demo.hide()
        self.stop.setVisible(very_slow)

    def show_lost(self, sentence: str, seconds: int) -> None:
        """Show that an open file cannot be reached, why, and in how many seconds it is tried again; 0 for now."""
        when = f"Trying again in {seconds} s." if seconds else "Trying again …"
        self._show_message("Connection lost", f"{sentence}\n\n{when} What was shown comes back with the connection.")
        for button in (self.open, self.demo):
            button.hide()
        for button in (self.retry, self.close_file):
            button.show()
        self.retry.setEnabled(seconds > 0)

    def show_waiting(self, path: Location) -> None:
        """Show that a capture has not finished its first frame."""
        self._show_message(
            f"{path.name} has no finished frame yet",
            "The capture is still at its first frame. It appears here as soon as it is done.",
        )
        self.demo.hide()

    def show_nothing(self, title: str, text: str) -> None:
        """Show that a run has no episode that can be shown yet."""
        self._show_message(title, text)
        self.demo.hide()

    def show_failure(self, sentence: str, details: str, recent: Sequence[Location]) -> None:
        """Show why a file cannot be opened; the sentence after the last `; ` or the first `. ` says what to do."""
        reason, _, advice = sentence.rpartition("; ")
        if not reason:
            reason, _, advice = sentence.partition(". ")
        advice = advice.strip()
        self._show_message(
            "This cannot be opened",
            sentence if not advice else f"{reason.rstrip('.')}.\n\n{advice[:1].upper()}{advice[1:]}",
            details,
            recent,
        )

    def _recent_clicked(self) -> None:
        self.file_requested.emit(str(self.sender().property("path")))

    def _unfold(self) -> None:
        self.details.setVisible(self.details.isHidden())


def _shorten_folder(folder: Location) -> str:
    if not isinstance(folder, Path):
        return str(folder)
    home = Path.home()
    text = f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
    return text if len(text) < 50 else "…" + text[-48:]
