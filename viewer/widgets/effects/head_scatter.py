"""Scatter of all heads: a score of their attention against what was measured of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHideEvent, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from viewer.analysis.effects.head_scatter import HeadScatter as Scatter
from viewer.analysis.effects.head_scatter import effect_score_names, read_scatter
from viewer.analysis.scores import SCORES, find_unavailable_scores
from viewer.errors import READ_ERRORS
from viewer.rendering import colormaps, drawing, theme
from viewer.rendering.axes import FONT, Axis, draw_place_axis, draw_value_axis, make_value_axis
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.overlays.read_out import ReadOut
from viewer.widgets.plot_menu import PlotPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.scores import Score
    from viewer.controllers.session import Session

LABELS: Final = 52.0
"""Room for the labels of the vertical axis, in pixels."""
FOOT: Final = 34.0
"""Room for the labels and the title of the horizontal axis, in pixels."""
RADIUS: Final = 4.0
NEAR: Final = 14.0
"""Pixels from the pointer within which a head is hovered."""
COLORS_ON_DARK: Final = (0.3, 0.95)
COLORS_ON_LIGHT: Final = (0.05, 0.75)
"""Where on the colour map the first and the last layer lie, so that they stand out from the background."""


class HeadScatter(PlotPanel):
    """One dot a head, coloured by its layer; a click shows the head, the shown heads have a ring."""

    watched_fields = frozenset({"frame", "query", "step", "layer", "heads", "score", "region", "colours"})

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Heads, attention against effect", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setMinimumHeight(120)
        names = effect_score_names()
        self.measured = DropDown("Measured", [(name, SCORES[name].title) for name in names], parent=self)
        self.measured.set_tool_tips({name: SCORES[name].description for name in names})
        self.measured.chosen.connect(self._set_measured)
        self.name = "knockout"
        """Score on the vertical axis."""
        self._is_chosen = False
        self.hovered: tuple[int, int] | None = None
        """Layer and head, as places on the file's axes, of the dot under the pointer."""
        self.content: Scatter | None = None
        self.reason = ""
        self._read_out: ReadOut | None = None

    def sizeHint(self) -> QSize:
        return QSize(420, 200)

    def _set_measured(self, name: str) -> None:
        self.name, self._is_chosen = name, True
        self.reload_and_update()
        self.measured.show_value(name)

    # Content

    def load(self) -> None:
        results, view = self.displayed
        self.content, self.reason = None, ""
        if results is None or not results.done:
            return
        try:
            lacks = find_unavailable_scores(results, view)
            if not self._is_chosen:
                self.name = next((name for name in ("knockout", "agreement") if name not in lacks), self.name)
            self.measured.show_value(self.name)
            self.measured.disable(lacks)
            self._place()
            self.content, self.reason = read_scatter(results, view, self.name)
        except READ_ERRORS as error:
            self.session.report_failure(error)

    def refresh(self) -> None:
        if not self.isVisible():
            return
        self.schedule_description()
        self.update()

    def on_file_changed(self) -> None:
        self.hover(None)
        self.content = None

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place()

    def _place(self) -> None:
        self.place_right(self.measured)

    def describe(self) -> None:
        self.setAccessibleDescription(self.reason or self._describe_missing())

    def _describe_missing(self) -> str:
        if self.content is None:
            return ""
        return f"{len(self.content.points())} heads: {self.content.up.title} against {self.content.across.title}"

    # Layout

    def content_box(self) -> QRectF:
        """Return the rectangle of the dots."""
        top = self.HEADING + 16
        return QRectF(LABELS, top, max(self.width() - LABELS - 10, 4), max(self.height() - top - FOOT, 4))

    def axes(self) -> tuple[Axis, Axis]:
        """Return the horizontal and the vertical axis; both have 0 on them."""
        content = self.content
        assert content is not None
        axes = []
        for score, values in ((content.across, content.xs), (content.up, content.ys)):
            ends = make_value_axis(np.append(values[np.isfinite(values)], 0.0))
            unit = "%" if score.unit == "%" else ""
            axes.append(Axis(ends.low, ends.high, factor=score.factor, unit=unit))
        return axes[0], axes[1]

    def places(self) -> dict[tuple[int, int], QPointF]:
        """Return where the dot of each head lies, in pixels."""
        if self.content is None:
            return {}
        (across, up), box = self.axes(), self.content_box()
        return {
            (layer, head): QPointF(
                box.left() + across.place_of(x) * box.width(), box.bottom() - up.place_of(y) * box.height()
            )
            for layer, head, x, y in self.content.points()
        }

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, content, box = theme.active(), self.content, self.content_box()
        self.fill_background(painter, area)
        self.paint_heading(painter, "Heads")
        if content is None:
            text = f"{self.reason[:1].upper()}{self.reason[1:]}" if self.reason else ""
            drawing.write(painter, QRectF(0, self.HEADING, self.width(), 20), text, colors.secondary, 12)
            self._paint_focus(painter)
            return
        across, up = self.axes()
        draw_value_axis(painter, box, up, LABELS)
        ticks = across.ticks(box.width(), lambda text: drawing.width_of(text, FONT))
        draw_place_axis(painter, box, across, ticks)
        title = QRectF(box.left(), self.height() - 15, box.width(), 14)
        drawing.write(painter, title, f"{_name_axis(content.across)} →", colors.secondary, FONT, align="right")
        above = QRectF(0, self.HEADING - 8, self.width(), 14)
        drawing.write(painter, above, f"↑ {_name_axis(content.up)}", colors.secondary, FONT)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shown, colours = self.displayed[1], self.choose_layer_colors()
        for (layer, head), place in self.places().items():
            dot = QRectF(place.x() - RADIUS, place.y() - RADIUS, 2 * RADIUS, 2 * RADIUS)
            drawing.fill(painter, dot, theme.color(colours[layer]), RADIUS)
            if layer == shown.layer and (not shown.heads or head in shown.heads):
                drawing.ring(painter, dot.adjusted(-2, -2, 2, 2), theme.color(colors.accent), 2, RADIUS + 2)
            if (layer, head) == self.hovered:
                drawing.ring(painter, dot.adjusted(-2, -2, 2, 2), theme.color(colors.text), 2, RADIUS + 2)
        self._paint_legend(painter, colours)
        self._paint_focus(painter)

    def choose_layer_colors(self) -> list[str]:
        """Return the colour of each layer's dots, from the shown colour map."""
        content = self.content
        count = len(content.xs) if content is not None else 1
        table = colormaps.table(self.session.shown.colours)
        first, last = COLORS_ON_DARK if theme.active().dark else COLORS_ON_LIGHT
        at = first + (last - first) * np.arange(count) / max(count - 1, 1)
        return ["#{:02X}{:02X}{:02X}".format(*table[round(place * 255)].tolist()) for place in at.tolist()]

    def _paint_legend(self, painter: QPainter, colours: Sequence[str]) -> None:
        """Name the colours of the first and the last layer and the ring, left of the title of the horizontal axis."""
        results = self.displayed[0]
        if results is None:
            return
        x, y = self.content_box().left(), self.height() - 15.0
        for place in sorted({0, len(colours) - 1}):
            drawing.fill(painter, QRectF(x, y + 4, 7, 7), theme.color(colours[place]), 3.5)
            text = f"layer {results.layers[place]}" if place == 0 else f"{results.layers[place]}"
            box = QRectF(x + 10, y, 60, 14)
            x += 18 + drawing.write(painter, box, text, theme.active().secondary, FONT)
        ring = QRectF(x + 1, y + 4, 7, 7)
        drawing.ring(painter, ring, theme.color(theme.active().accent), 2, 3.5)
        drawing.write(painter, QRectF(x + 12, y, 60, 14), "shown", theme.active().secondary, FONT)

    def _paint_focus(self, painter: QPainter) -> None:
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            drawing.ring(painter, QRectF(self.rect()), theme.color(theme.active().accent))

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return both scores of each head."""
        results, content = self.displayed[0], self.content
        if results is None or content is None:
            return None
        rows: list[list[object]] = [[results.layers[layer], head, x, y] for layer, head, x, y in content.points()]
        return ["layer", "head", content.across.name, content.up.name], rows

    # Mouse and keyboard

    def head_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return the head whose dot is nearest to a point; None where none is near."""
        places = self.places()
        if not places:
            return None

        def distance(head: tuple[int, int]) -> float:
            apart = places[head] - point
            return float(np.hypot(apart.x(), apart.y()))

        nearest = min(places, key=distance)
        return nearest if distance(nearest) <= NEAR else None

    def hover(self, head: tuple[int, int] | None) -> None:
        """Name a head beside its dot; None names none."""
        if head == self.hovered:
            return
        self.hovered = head
        self.update()
        results, content = self.displayed[0], self.content
        if head is None or results is None or content is None or head not in self.places():
            if self._read_out is not None:
                self._read_out.hide()
            return
        if self._read_out is None:
            self._read_out = ReadOut(self.window())
        foot = self.mapTo(self.window(), (self.places()[head] - QPointF(0, 10)).toPoint())
        self._read_out.show_values(foot, f"Layer {results.layers[head[0]]}, head {head[1]}", self.rows_of(head))

    def rows_of(self, head: tuple[int, int]) -> list[tuple[str, str, str]]:
        """Return colour, name and value of both scores of a head."""
        content = self.content
        assert content is not None
        color = self.choose_layer_colors()[head[0]]
        score_values = (content.across, content.xs), (content.up, content.ys)
        return [(color, score.title, score.format_value(float(values[head]))) for score, values in score_values]

    def go(self, head: tuple[int, int]) -> None:
        """Show a head."""
        self.session.update(layer=head[0], heads=(head[1],), reduce="mean")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        head = self.head_at(event.position())
        if head is not None and event.button() == Qt.MouseButton.LeftButton:
            self.go(head)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        head = self.head_at(event.position())
        self.setCursor(Qt.CursorShape.PointingHandCursor if head is not None else Qt.CursorShape.ArrowCursor)
        self.hover(head)

    def leaveEvent(self, event: QEvent) -> None:
        self.hover(None)

    def hideEvent(self, event: QHideEvent) -> None:
        self.hover(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        places = self.places()
        if Qt.Key(event.key()) not in moves or not places:
            super().keyPressEvent(event)
            return
        order = sorted(places, key=lambda head: (places[head].x(), places[head].y()))
        shown = self.session.state
        current = (shown.layer, shown.heads[0]) if len(shown.heads) == 1 else None
        if current not in order:
            self.go(order[0])
            return
        self.go(order[min(max(order.index(current) + moves[Qt.Key(event.key())], 0), len(order) - 1)])


def _name_axis(score: Score) -> str:
    """Return a score's title with its unit, unless the ticks have it."""
    return score.title if score.unit in {"", "%"} else f"{score.title}, {score.unit}"
