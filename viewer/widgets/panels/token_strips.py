"""Strips of the words of the prompt and of the actions, coloured by how much each looks at the pictures."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QScrollBar, QSizePolicy, QToolTip, QWidget

from viewer.analysis.effects.word_effects import describe_word
from viewer.analysis.token_values import Strips, strips
from viewer.controllers.view_changes import differing
from viewer.errors import READ_ERRORS
from viewer.model.number_ranges import format_place
from viewer.model.plain_text import plain_tooltip
from viewer.model.view_state import FROM_EFFECTS, Kind, Query
from viewer.rendering import drawing, theme, ticks
from viewer.widgets.panels.chip_legend import NOT_MEASURED, SUBJECTS, describe_chip, describe_colors
from viewer.widgets.panels.chip_lines import LINE, SPACE, ChipLines
from viewer.widgets.panels.chip_painting import CHIP, CORNER, ChipBox, ChipPainter, colours, levels
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viewer.controllers.session import Session
    from viewer.model.view_state import ViewState
    from viewer.model.words import Chip

LABEL: Final = 64
VALUE_FIELDS: Final = frozenset({"frame", "step", "layer", "heads", "reduce", "region", "measure", "dim"})
"""Fields of the view that the chips' values depend on; of effects the query is one of them too."""
SCROLL_WIDTH: Final = 12
"""Pixels at the right that the scroll bar takes where there is one."""
NOTCH: Final = 120
"""Degrees, in eighths, of a notch of the wheel: one line."""
LEGEND_RAMP: Final = 48
"""Width of the legend's colours in pixels."""


class TokenStrips(Panel):
    """Shows one chip for each word and action; a click selects it as the query, hovering previews it.

    Where the panel is lower than all lines, the lines of the prompt are scrolled; the actions below them stay in sight.
    """

    watched_fields = VALUE_FIELDS | {"query", "colours"}
    READ_ORDER = 1
    read_parts = staticmethod(partial(strips, pointer=None))

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Words and actions", parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.lines = ChipLines()
        self.scroll_bar = QScrollBar(Qt.Orientation.Vertical, self)
        self.scroll_bar.setAccessibleName("Lines of the prompt")
        self.scroll_bar.valueChanged.connect(self.scroll_to)
        self.scroll_bar.hide()
        self.restyle()
        self._wheel = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._layout_key: tuple[object, ...] = ()
        self._hovered: ChipBox | None = None
        self._anchor: Query | None = None
        self._selected = Query()
        self._chips = ChipPainter()
        self._color_levels: list[int] = []
        self.legend = ""
        """What the chips' colour means; empty until there are values."""
        self._rings: list[QRect] = []
        session.pointed.connect(self._on_pointed)

    # Layout

    def chips(self) -> tuple[Chip, ...]:
        """Return the chips of the shown frame; empty if they cannot be read."""
        results = self.session.results
        if results is None or not results.done:
            return ()
        try:
            return results.chips(self.session.shown.frame)
        except READ_ERRORS:
            return ()

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        names = differing(before, after)
        if "frame" in names:
            self._lay_out()
        if "colours" in names:
            self.update()
        depends = VALUE_FIELDS | ({"query"} if after.measure in FROM_EFFECTS else set())
        if names & depends and not self._read_now(self._update_values) and "frame" in names:
            self._clear_values()  # those of the last frame are not of these words
        if "query" in names:
            if self._selected != self.session.state.query:  # a preview scrolls nothing
                self._selected = self.session.state.query
                self.scroll_to_selection()
            self._update_selection()

    def _update_selection(self) -> None:
        """Repaint the chips that were or are selected."""
        for box in (*self._rings, *self._selected_boxes()):
            self.update(box)

    def show_requested(self) -> None:
        self._update_selection()

    def refresh(self) -> None:
        self._lay_out()
        self._update_selection()
        self.update()
        self._update_values()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._lay_out()
        self._place_chips()
        self._read_now(self._update_values)
        if event.size() != event.oldSize():
            self.scroll_to_selection()

    @property
    def places(self) -> list[ChipBox]:
        """All chips; the boxes of those that are scrolled out of sight are empty."""
        return self.lines.places

    def _lay_out(self) -> None:
        """Divide the chips into lines."""
        results, chips = self.session.results, self.chips()
        actions = results.horizon if results is not None and results.done else 0
        key = (self.width(), chips, actions)
        if key == self._layout_key:
            return
        self._layout_key = key
        self._color_levels, before = [], dict(self.lines.count)
        self.lines.flow([(chip.label, chip.role) for chip in chips], actions, LABEL, self.width() - SCROLL_WIDTH)
        self._place_chips()
        if self.lines.count != before:  # each frame has other words: only another height moves the panels around
            self.updateGeometry()

    # Scrolling

    def _place_chips(self) -> None:
        """Move the chips to the lines in which they are shown."""
        lines = self.lines
        lines.place(self.height())
        results = self.session.results
        self._chips.set_chips(lines.shown(), results.cameras if results is not None else ())
        visible, count = lines.visible(self.height()), lines.count["text"]
        self.scroll_bar.setVisible(count > visible)
        if count > visible:
            self.scroll_bar.setGeometry(self.width() - SCROLL_WIDTH + 1, 0, SCROLL_WIDTH - 1, visible * LINE - SPACE)
            self.scroll_bar.blockSignals(True)
            self.scroll_bar.setRange(0, count - visible)
            self.scroll_bar.setPageStep(visible)
            self.scroll_bar.setValue(lines.first)
            self.scroll_bar.blockSignals(False)
        self.update()

    def scroll_to(self, line: int) -> None:
        """Scroll so that a line of the prompt is the first visible one."""
        before, self.lines.first = self.lines.first, line
        if before != line:
            self._place_chips()

    def scroll_to_selection(self) -> None:
        """Scroll as little as possible so that the last selected word is visible."""
        query, visible = self.session.state.query, self.lines.visible(self.height())
        line = self.lines.line_of_word(query.items[-1]) if query.kind == "text" else None
        if line is not None:
            self.scroll_to(min(max(self.lines.first, line - visible + 1), line))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not self.scroll_bar.isVisible():
            super().wheelEvent(event)
            return
        self._wheel += event.angleDelta().y()
        turns = int(self._wheel / NOTCH)
        self._wheel -= turns * NOTCH
        self.scroll_to(self.lines.first - turns)
        event.accept()

    @contextmanager
    def unscrolled(self) -> Iterator[None]:
        """Make the panel as high as all its lines, for a picture of it."""
        before = self.size()
        self.resize(before.width(), self.lines.height())
        try:
            yield
        finally:
            self.resize(before)

    def restyle(self) -> None:
        """Apply the theme's colours to the scroll bar."""
        self.scroll_bar.setStyleSheet(theme.sheet())

    def sizeHint(self) -> QSize:
        return QSize(600, self.lines.preferred_height())

    # Painting

    def values(self) -> Strips | None:
        """Return the values of all chips; None if they cannot be read, or are being read."""
        results = self.session.results
        if results is None or not results.done or self.is_waiting:
            return None
        try:
            return strips(results, self.session.shown, self.session.pointer)
        except READ_ERRORS:
            return None

    def _on_pointed(self) -> None:
        self._read_now(self._update_values)

    def _clear_values(self) -> None:
        """Show the chips without values, which are still being read."""
        self._color_levels, self.legend = [0] * len(self.places), ""
        self.update()

    def _update_values(self) -> None:
        """Read the values, and repaint if a chip's colour changes."""
        if len(self._color_levels) != len(self.places):
            self._clear_values()  # until those of these words are there
        values = self.values()
        at = [0] * len(self.places)
        if values is not None and len(values.words) + len(values.actions) == len(at):
            at = levels(np.concatenate([values.words, values.actions]), values.low, values.top)
        description = describe_colors(values) if values is not None else ""
        if (at, description) != (self._color_levels, self.legend):
            self._color_levels, self.legend = at, description
            self.update()

    def _selected_boxes(self) -> list[QRect]:
        """Return the boxes of the selected chips."""
        query = self.session.requested_view.query
        return [
            place.box.toRect()
            for place in self.places
            if place.kind == query.kind and place.item in query.items and not place.box.isEmpty()
        ]

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, shown, results = theme.active(), self.session.shown, self.session.results
        self.fill_background(painter, area)
        if area.left() < LABEL:
            for name, kind in (("Prompt", "text"), ("Actions", "action")):
                first = next((place for place in self.lines.shown() if place.kind == kind), None)
                if first is not None:
                    drawing.write(painter, QRectF(0, first.box.top(), LABEL - 8, CHIP), name, colors.secondary, 13)
        if results is None or len(self._color_levels) != len(self.places):
            return
        self._chips.paint(
            painter, self, area, [self._color_levels[number] for number in self.lines.in_sight], shown.colours
        )
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_legend(painter)
        previewed = self.session.requested_view.query != self.session.state.query
        outline = theme.color(colors.secondary if previewed else colors.accent)
        self._rings = self._selected_boxes()
        for box in self._rings:
            ring = QRectF(box)
            drawing.ring(painter, ring, theme.color(colors.accent) if self.hasFocus() else outline, 2, CORNER)
            if self.hasFocus() or not colors.dark:
                drawing.ring(painter, ring.adjusted(2, 2, -2, -2), theme.color(colors.window), 1, CORNER - 1)

    def _paint_legend(self, painter: QPainter) -> None:
        """Paint the legend at the right of the last line, where it has room."""
        if not self.lines.in_sight:
            return
        text = self.legend or ("loading…" if self.is_waiting else "")
        colors, last, width = theme.active(), self.lines.shown()[-1].box, drawing.width_of(text, 12)
        room = QRectF(last.right() + 16, last.top(), self.width() - last.right() - 16, CHIP)
        if width + LEGEND_RAMP + 8 > room.width():
            return
        drawing.write(painter, room, text, colors.secondary, 12, align="right")
        if not self.legend or self.legend in NOT_MEASURED.values():
            return
        ramp = QRectF(room.right() - width - 8 - LEGEND_RAMP, last.top() + 8, LEGEND_RAMP, 10)
        painter.drawImage(ramp, _make_ramp(self.session.shown.colours, colors.raised))

    # Mouse and keyboard

    def place_at(self, point: QPointF) -> ChipBox | None:
        """Return the chip under a point; None if there is none."""
        return next((place for place in self.lines.shown() if place.box.adjusted(-2, -2, 2, 2).contains(point)), None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position())
        if place != self._hovered:
            self._hovered = place
            self.session.preview(Query(place.kind, (place.item,)) if place else None)

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.session.preview(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position())
        if place is None or event.button() != Qt.MouseButton.LeftButton:
            return
        modifiers = event.modifiers()
        add = bool(modifiers & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.MetaModifier))
        self.select(place.kind, place.item, add=add, span=bool(modifiers & Qt.KeyboardModifier.ShiftModifier))
        self.session.preview(None)
        self.update()  # the ring of the previewed chip changes its colour

    def select(self, kind: Kind, item: int, *, add: bool = False, span: bool = False) -> None:
        """Select one chip; `add` adds it to the selection or removes it, `span` selects all from the last one to it."""
        query = self.session.state.query
        items = {item}
        if kind == query.kind and add:
            items = set(query.items) ^ {item} or {item}
        elif kind == query.kind and span:
            start = self._anchor.first if self._anchor is not None and self._anchor.kind == kind else query.first
            items = set(range(min(start, item), max(start, item) + 1))
        if not span:
            self._anchor = Query(kind, (item,))
        self.session.update(query=Query(kind, tuple(sorted(items))))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        query = self.session.state.query
        index = next((n for n, p in enumerate(self.places) if (p.kind, p.item) == (query.kind, query.items[-1])), None)
        span = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if index is None or event.key() not in {Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down}:
            super().keyPressEvent(event)
            return
        if event.key() in {Qt.Key.Key_Left, Qt.Key.Key_Right}:
            target = index + (1 if event.key() == Qt.Key.Key_Right else -1)
        else:
            target = self.lines.neighbour(index, down=event.key() == Qt.Key.Key_Down)
        if 0 <= target < len(self.places):
            place = self.places[target]
            self.select(place.kind, place.item, span=span and place.kind == query.kind)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            place = self.place_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), plain_tooltip(self.explain(place)) if place else "", self)
            return True
        return super().event(event)

    def explain(self, place: ChipBox) -> str:
        """Return the tooltip of a chip: what it is, and its value."""
        values, chips = self.values(), self.chips()
        if values is not None and values.subject in FROM_EFFECTS:
            return self._explain_effect(values, place)
        row = (values.words if place.kind == "text" else values.actions) if values else ()
        number = ticks.format_share(float(row[place.item])) if values and place.item < len(row) else "–"
        subject = SUBJECTS[values.subject] if values else ""
        if place.kind == "action":
            return f"Action {format_place(place.item, range(len(row)))}: {number} {subject}"
        return f"{describe_chip(chips[place.item])}: {number} {subject}"

    def _explain_effect(self, values: Strips, place: ChipBox) -> str:
        """Return the tooltip of a chip where effects are shown."""
        session = self.session
        if place.kind == "action" or session.results is None:
            return f"Action {format_place(place.item, range(len(values.actions)))}; a click shows the effects on it"
        chip, frame = self.chips()[place.item], session.shown.frame
        if values.subject == "gradient":
            value = ticks.format_number(float(values.words[place.item]))
            is_measured = bool(np.isfinite(values.words).any())
            meaning = f"relevance {value} by the gradient" if is_measured else NOT_MEASURED["gradient"]
            return f"{describe_chip(chip)}: {meaning}"
        if values.effects is None:
            instruction = f"“pi0-capture effects {session.results.path.name} --frames {frame} --map 2” measures all"
            return f"{describe_chip(chip)}: {NOT_MEASURED['effect']}; {instruction}"
        return f"{describe_chip(chip)}: {describe_word(values.effects, place.item, session.shown.query)}"


@lru_cache(maxsize=4)
def _make_ramp(name: str, ground: str) -> QImage:
    """Return the colours of chips on the colour `ground`, from the lowest to the highest, as an image of one line."""
    words = np.array(colours(name, ground), np.uint32)[None]
    return drawing.create_word_image(words | np.uint32(0xFF000000), blended=False)
