"""Sentence that says in words what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QRect, QRectF
from PySide6.QtGui import QPainter

from viewer.analysis.caption import Caption, caption, heads_of, words_of
from viewer.analysis.scene import DATA_FIELDS
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


class Sentence(Panel):
    """Shows the query, pass, layer, heads and scale as one sentence."""

    watched_fields = frozenset(DATA_FIELDS) | {"compare", "pinned"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "What is shown", parent)
        self.setFixedHeight(28)
        self._caption: Caption | None = None
        session.bared.connect(self.refresh)

    def words(self) -> Caption | None:
        """Return the sentence; None while no file is open."""
        pin, seen = self.session.pin, self.session.seen
        if seen is None or not seen[0].done:
            return None
        results, state = seen
        try:
            minus = ""
            if state.compare == "difference" and pin is not None:
                minus = f"{words_of(pin[0], pin[1].frame, pin[1].query)[0]}, {describe_view(*pin)}"
            return caption(results, state, difference=minus)
        except READ_ERRORS:
            return None

    def refresh(self) -> None:
        made = self._caption = self.words()
        self.setAccessibleDescription(str(made) if made else "")
        self.setToolTip(plain_tooltip(str(made)) if made else "")
        self.update()

    def paint(self, painter: QPainter, area: QRect) -> None:
        made, t = self._caption, theme.active()
        self.fill_background(painter, area)
        if made is None:
            return
        x, box = 0.0, QRectF(0, 0, self.width(), self.height())
        for text, colour, pixels, bold in (
            (made.subject, t.accent_text, 14.5, True),
            (made.place, t.text, 14.5, False),
            (made.details, t.secondary, 13, False),
        ):
            x += drawing.write(painter, box.adjusted(x, 0, 0, 0), text, colour, pixels, bold=bold) + 7


def describe_view(results: Results, state: ViewState) -> str:
    """Return frame, step, layer and heads of a pinned view as text."""
    step = f", step {results.steps[state.step]}" if state.query.kind == "action" and results.steps else ""
    return f"frame {state.frame}{step}, layer {results.layers[state.layer]}, {heads_of(state, results.heads)}"
