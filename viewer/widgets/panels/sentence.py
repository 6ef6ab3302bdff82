"""Sentence that describes what is shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QSizePolicy

from viewer.analysis.caption import Caption, caption
from viewer.analysis.carried_query import describe_missing
from viewer.analysis.comparison import MEASURES, create_side_caption, name_measure
from viewer.analysis.scene import DATA_FIELDS
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QWidget

    from viewer.controllers.session import Session

SIZES: Final = (14.5, 13.5, 12.5)
"""Font sizes of a single sentence in pixels: a smaller one where its end, such as the controls, would be cut off."""
LABEL: Final = 66.0
"""Width of the labels of both sides, in pixels."""


class Sentence(Panel):
    """Shows the query, pass, layer, heads and scale as one sentence; both sides of a comparison on a line each.

    Where it is higher than its lines it is beside two rows of pictures, with each side's words beside its row.
    """

    watched_fields = frozenset(DATA_FIELDS) | {"compare", "pinned", "sought", "region", "region_name"}
    LINE = 28
    SECOND_LINE = 22

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "What is shown", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._lines: list[tuple[str, Caption, bool]] = []
        self._note = ""
        session.bared.connect(self.refresh)

    def lines(self) -> list[tuple[str, Caption, bool]]:
        """Return label and sentence of each side, and whether it is the one that is seen; empty without a file."""
        session, pin, displayed = self.session, self.session.pin, self.session.displayed
        if session.results is None or displayed is None or not displayed[0].done:
            return []
        try:
            if pin is None:
                return [("", caption(*displayed), True)]
            label = "Minus" if session.current.compare == "difference" else "Pinned"
            labels = "Shown", label
            if (measure := name_measure(session.current, pin[1])) is not None and label != "Minus":
                labels = MEASURES[session.current.measure], measure
            sides = (labels[0], session.results, session.current), (labels[1], *pin)
            captions = [(name, create_side_caption(results, state)) for name, results, state in sides]
            return [(*side, place == session.blinking) for place, side in enumerate(captions)]
        except READ_ERRORS:
            return []

    def note(self) -> str:
        """Return what precedes the sentence: a word that the prompt lacks, why nothing is compared; else empty."""
        session, displayed = self.session, self.session.displayed
        if displayed is None or not displayed[0].done:
            return ""
        try:
            reason = session.not_compared if session.current.compare != "off" else ""
            return " ".join(part for part in (f"{reason}." if reason else "", describe_missing(*displayed)) if part)
        except READ_ERRORS:
            return ""

    def refresh(self) -> None:
        before_lines = len(self._lines)
        self._lines, self._note = self.lines(), self.note()
        spoken = [f"{label}: {sentence}" if label else str(sentence) for label, sentence, _ in self._lines]
        if self.session.blinking:
            spoken.reverse()
        before = f"{self._note} " if self._note else ""
        self.setAccessibleDescription(before + "; ".join(spoken))
        self.setToolTip(plain_tooltip(before + "\n".join(spoken)))
        if len(self._lines) != before_lines:
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(600, self.LINE + self.SECOND_LINE * (len(self._lines) > 1))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    @property
    def is_aside(self) -> bool:
        """Whether it is beside the pictures instead of under them."""
        return self.height() > self.sizeHint().height()

    @contextmanager
    def in_lines(self, width: int) -> Iterator[None]:
        """Take a width and the height of the lines, for a picture under that of the cameras."""
        before = self.size()
        self.resize(width, self.sizeHint().height())
        try:
            yield
        finally:
            self.resize(before)

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors = theme.active()
        self.fill_background(painter, area)
        if self.is_aside:
            self._paint_aside(painter)
            return
        size, top = (self.find_size(), 0.0) if len(self._lines) == 1 else (13.0, 3.0)
        for label, sentence, is_seen in self._lines:
            x, box = 0.0, QRectF(0, top, self.width(), self.LINE if not label else self.SECOND_LINE)
            if label:
                drawing.write(painter, box, label, colors.text if is_seen else colors.secondary, 12, bold=is_seen)
                x = LABEL
            if self._note and is_seen:
                x += drawing.write(painter, box.adjusted(x, 0, 0, 0), self._note, colors.text, size) + 7
            for text, color, pixels, bold in (
                (sentence.subject, colors.accent_text if is_seen else colors.secondary, size, True),
                (sentence.place, colors.text if is_seen else colors.secondary, size, False),
                (sentence.details, colors.secondary, min(size, 13), False),
            ):
                x += drawing.write(painter, box.adjusted(x, 0, 0, 0), text, color, pixels, bold=bold) + 7
            top += self.SECOND_LINE

    def find_size(self) -> float:
        """Return the largest font size in pixels at which a single sentence fits, without its details."""
        [(_, sentence, _)] = self._lines
        for size in SIZES[:-1]:
            note = drawing.width_of(self._note, size) + 7 if self._note else 0.0
            subject = drawing.width_of(sentence.subject, size, bold=True) + 7
            if note + subject + drawing.width_of(sentence.place, size) <= self.width():
                return size
        return SIZES[-1]

    def _paint_aside(self, painter: QPainter) -> None:
        """Paint the words of each side beside its row of pictures, broken into lines."""
        colors, pitch = theme.active(), (self.height() + theme.GAP) / max(len(self._lines), 1)
        for row, (label, line, is_seen) in enumerate(self._lines):
            box = QRectF(0, row * pitch, self.width(), pitch - theme.GAP)
            painter.setClipRect(box)
            bright = colors.text if is_seen else colors.secondary
            parts = [
                (label, bright, 13, is_seen),
                (self._note if is_seen else "", colors.text, 13, False),
                (line.subject, colors.accent_text if is_seen else colors.secondary, 14.5, True),
                (line.place, bright, 13, False),
                *((part, colors.secondary, 12, False) for part in line.details.split(" · ")),
            ]
            top = box.top() + 2
            for text, color, pixels, bold in parts:
                if text:
                    top += self._write_wrapped(painter, QRectF(0, top, box.width(), box.bottom() - top), text, color,
                                               pixels, bold=bold) + 3  # fmt: skip
        painter.setClipping(False)

    @staticmethod
    def _write_wrapped(painter: QPainter, box: QRectF, text: str, color: str, pixels: float, *, bold: bool) -> float:
        """Draw a text in as many lines as it needs; return their height in pixels."""
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        painter.setFont(theme.font(pixels, bold=bold))
        painter.setPen(theme.color(color))
        needed = painter.boundingRect(QRectF(0, 0, box.width(), 0), int(flags), text)
        painter.drawText(box, int(flags), text)
        return needed.height()
