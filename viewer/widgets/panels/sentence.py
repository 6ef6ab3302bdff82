"""Sentence that says in words what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF
from PySide6.QtGui import QPainter

from viewer.analysis.caption import Caption, caption
from viewer.analysis.carried_query import describe_missing
from viewer.analysis.comparison import MEASURES, caption_of_side, name_measure
from viewer.analysis.scene import DATA_FIELDS
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.controllers.session import Session

LABEL: Final = 66.0
"""Width of the labels of both sides, in pixels."""


class Sentence(Panel):
    """Shows the query, pass, layer, heads and scale as one sentence; both sides of a comparison on a line each."""

    watched_fields = frozenset(DATA_FIELDS) | {"compare", "pinned", "sought", "region", "region_name"}
    LINE = 28
    SECOND_LINE = 22

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "What is shown", parent)
        self.setFixedHeight(self.LINE)
        self._lines: list[tuple[str, Caption, bool]] = []
        self._note = ""
        session.bared.connect(self.refresh)

    def lines(self) -> list[tuple[str, Caption, bool]]:
        """Return label and sentence of each side, and whether it is the one that is seen; empty without a file."""
        session, pin, seen = self.session, self.session.pin, self.session.seen
        if session.results is None or seen is None or not seen[0].done:
            return []
        try:
            if pin is None:
                return [("", caption(*seen), True)]
            label = "Minus" if session.current.compare == "difference" else "Pinned"
            labels = "Shown", label
            if (measure := name_measure(session.current, pin[1])) is not None and label != "Minus":
                labels = MEASURES[session.current.measure], measure
            sides = (labels[0], session.results, session.current), (labels[1], *pin)
            captions = [(name, caption_of_side(results, state)) for name, results, state in sides]
            return [(*side, place == session.blinking) for place, side in enumerate(captions)]
        except READ_ERRORS:
            return []

    def note(self) -> str:
        """Return what stands before the sentence: a word that the prompt lacks, why nothing is compared; else empty."""
        session, seen = self.session, self.session.seen
        if seen is None or not seen[0].done:
            return ""
        try:
            reason = session.not_compared if session.current.compare != "off" else ""
            return " ".join(part for part in (f"{reason}." if reason else "", describe_missing(*seen)) if part)
        except READ_ERRORS:
            return ""

    def refresh(self) -> None:
        self._lines, self._note = self.lines(), self.note()
        spoken = [f"{label}: {sentence}" if label else str(sentence) for label, sentence, _ in self._lines]
        if self.session.blinking:
            spoken.reverse()
        before = f"{self._note} " if self._note else ""
        self.setAccessibleDescription(before + "; ".join(spoken))
        self.setToolTip(plain_tooltip(before + "\n".join(spoken)))
        height = self.LINE + self.SECOND_LINE * (len(self._lines) > 1)
        if height != self.height():
            self.setFixedHeight(height)
        self.update()

    def paint(self, painter: QPainter, area: QRect) -> None:
        t = theme.active()
        self.fill_background(painter, area)
        size, top = (14.5, 0.0) if len(self._lines) == 1 else (13.0, 3.0)
        for label, sentence, is_seen in self._lines:
            x, box = 0.0, QRectF(0, top, self.width(), self.LINE if not label else self.SECOND_LINE)
            if label:
                drawing.write(painter, box, label, t.text if is_seen else t.secondary, 12, bold=is_seen)
                x = LABEL
            if self._note and is_seen:
                x += drawing.write(painter, box.adjusted(x, 0, 0, 0), self._note, t.text, size) + 7
            for text, colour, pixels, bold in (
                (sentence.subject, t.accent_text if is_seen else t.secondary, size, True),
                (sentence.place, t.text if is_seen else t.secondary, size, False),
                (sentence.details, t.secondary, min(size, 13), False),
            ):
                x += drawing.write(painter, box.adjusted(x, 0, 0, 0), text, colour, pixels, bold=bold) + 7
            top += self.SECOND_LINE
