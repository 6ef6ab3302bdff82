"""Colour bar: the ramp of the heat map's colours, its axis, and the range of values that the colours span."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QMouseEvent, QPainter
from PySide6.QtWidgets import QWidget

from viewer.analysis.color_range import find_bar_range
from viewer.analysis.scene import DATA_FIELDS
from viewer.model import attention
from viewer.rendering import colormaps, drawing, theme
from viewer.rendering.axes import BAR_GAP, BAR_TICKS, RANK_AXIS, Axis, draw_place_axis, measure_label
from viewer.rendering.range_text import describe_below, describe_range
from viewer.widgets.zoom_panel import ZoomPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from viewer.analysis.scene import Scene
    from viewer.controllers.session import Session
    from viewer.rendering.ticks import Tick

GRIP: Final = 6.0
"""Pixels from an end of the range within which a drag moves that end and not the whole range."""


class ColorBar(ZoomPanel):
    """Ramp of the colours with the range that they span; dragging an end of it, or the whole, locks the range."""

    watched_fields = frozenset(DATA_FIELDS) | {"colours", "compare", "pinned"}
    log_text = "Log colours"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Colour range", parent)
        self.setFixedHeight(56)
        self.setMouseTracking(True)
        self._drag = ""
        self._grabbed = 0.0
        """Value under the pointer when the drag of the whole range began, above its lower end."""
        self._right: float | None = None
        """Right end of the bar while a handle is dragged: it must not move under the pointer."""
        self._ramp: tuple[tuple[object, ...], QImage] | None = None
        self._scene: Scene | None = None
        self._texts: tuple[str, ...] = ()
        self._both = 0.0
        """Largest weight of both views that are compared: the bar stays while one takes the other's place."""
        session.bared.connect(self.reload_and_update)

    def load(self) -> None:
        self._scene = self.session.scene()
        pair = self.session.side_by_side()
        can_join = pair is not None and pair[0].ranges == pair[1].ranges
        self._both = max(find_bar_range(value).right for value in pair) if pair is not None and can_join else 0.0
        self._load_texts()
        self.update_extent()

    def ends(self) -> tuple[float, float, float, float]:
        """Return the left and right end of the bar, and the range that the colours span."""
        return self._ends_of(self.session.scene())

    def _ends_of(self, scene: Scene | None) -> tuple[float, float, float, float]:
        if scene is None:
            return 0.0, 1.0, 0.0, 1.0
        bar = find_bar_range(scene)
        if self._right is not None:
            return bar.left, max(self._right, bar.high), bar.low, bar.high
        return bar.left, bar.right if scene.difference else max(bar.right, self._both), bar.low, bar.high

    def content_box(self) -> QRectF:
        """Return the rectangle of the ramp."""
        return QRectF(0, 3, max(self.width(), 1), 12)

    def content_extent(self) -> QRectF:
        left, right, _, _ = self._ends_of(self._scene)
        return QRectF(left, 0, right - left, 1)

    def least_visible(self) -> tuple[float, float]:
        return self.content_extent().width() / 50, 1.0

    def to_content_box(self, point: QPointF) -> QPointF | None:
        return QPointF(point.x(), self.content_box().center().y())  # the wheel works over the numbers, too

    def is_log(self) -> bool:
        return self.session.shown.scale == "log"

    def set_log(self, log: bool) -> None:
        self.session.update(scale="log" if log else "linear")

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return the value and the colour of each of 256 equally spaced places of the ramp."""
        if self._scene is None:
            return None
        left, right, low, high = self._ends_of(self._scene)
        name, scale = self._name_and_scale(self._scene)
        words = _color_words(name, scale, left, right, low, high, 256).tolist()
        values = (np.linspace(0, 1, 256) if scale == "rank" else np.linspace(left, right, 256)).tolist()
        title = "rank" if scale == "rank" else "value"
        return [title, "colour"], [
            [value, f"#{word & 0xFFFFFF:06X}"] for value, word in zip(values, words, strict=True)
        ]

    def _name_and_scale(self, scene: Scene) -> tuple[str, str]:
        shown = self.session.shown
        return (colormaps.DIFFERENCE, "linear") if scene.difference else (shown.colours, shown.scale)

    def _can_drag(self) -> bool:
        """Return whether the range has ends on the bar that can be dragged."""
        scene, shown = self._scene, self.session.shown
        return scene is not None and not scene.difference and shown.scale != "rank"

    def _load_texts(self) -> None:
        """Load what lies beyond the colour range, as text, description and tooltip."""
        scene, shown = self._scene, self.session.shown
        descriptions = (describe_range(scene, shown), describe_below(scene, shown)) if scene is not None else ()
        texts = tuple(text for text in descriptions if text)
        if texts == self._texts:
            return
        self._texts = texts
        self.setAccessibleDescription(" · ".join(self._texts))
        self.setToolTip("\n".join((*self._texts, "Drag an end of the range to lock it")) if self._texts else "")

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, scene, shown = theme.active(), self._scene, self.session.shown
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if scene is None:
            return
        _, _, low, high = self._ends_of(scene)
        visible, box, (name, scale) = self.visible_part(), self.content_box(), self._name_and_scale(scene)
        left, right = visible.left(), visible.right()
        span = right - left or 1.0
        # On a linear scale the bar depends only on the relative positions of the ends.
        ends = (round((low - left) / span, 6), round((high - left) / span, 6))
        key = (name, scale, *(ends if scale == "linear" else (left, right, low, high)), self.width())
        if self._ramp is None or self._ramp[0] != key:
            words = _color_words(name, scale, left, right, low, high, 512)
            self._ramp = key, drawing.create_word_image(words[None], blended=False)
        painter.drawImage(box, self._ramp[1])
        axis = RANK_AXIS if scale == "rank" else Axis(left, right)
        draw_place_axis(painter, box, axis, _find_ticks(axis, box.width()))
        if self._can_drag() and shown.range != "map":
            for value in (low, high):
                x = (value - left) / span * self.width()
                if -1 <= x <= self.width() + 1:
                    x = min(max(x, 2.0), self.width() - 2.0)
                    painter.fillRect(QRectF(x - 2.5, 0, 5, 18), theme.color("#15171C"))
                    painter.fillRect(QRectF(x - 1.5, 0, 3, 18), theme.color("#FFFFFF"))
        line = QRectF(0, 37, self.width(), 18)
        used = drawing.write(painter, line, self._texts[0], colors.secondary, 12)
        last_text = self._texts[-1] if len(self._texts) > 1 else ""
        if used + 16 + drawing.width_of(last_text, 12) <= line.width():
            drawing.write(painter, line, last_text, colors.secondary, 12, align="right")

    def value_at(self, x: float) -> float:
        """Return the value at an x in pixels, within the visible part of the bar."""
        visible = self.visible_part()
        return visible.left() + min(max(x / max(self.width(), 1), 0.0), 1.0) * visible.width()

    def part_at(self, x: float) -> str:
        """Return what a drag from an x in pixels moves: the `low` or `high` end of the range, or `both`."""
        _, _, low, high = self.ends()
        visible = self.visible_part()
        at_low, at_high = ((value - visible.left()) / (visible.width() or 1.0) * self.width() for value in (low, high))
        if at_low + GRIP < x < at_high - GRIP:
            return "both"
        return "high" if abs(x - at_high) <= abs(x - at_low) else "low"

    def mousePressEvent(self, event: QMouseEvent) -> None:
        super().mousePressEvent(event)
        if not self._can_drag() or event.button() != Qt.MouseButton.LeftButton:
            return
        _, right, low, _ = self.ends()
        self._drag, self._right = self.part_at(event.position().x()), right
        self._grabbed = self.value_at(event.position().x()) - low
        self.session.begin()
        if self._drag != "both":
            self._move_end(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if self._drag:
            self._move_end(event.position())
        elif self._can_drag():
            is_between = self.part_at(event.position().x()) == "both"
            self.setCursor(Qt.CursorShape.OpenHandCursor if is_between else Qt.CursorShape.SizeHorCursor)
        else:
            self.unsetCursor()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if self._drag:
            self._drag, self._right = "", None
            self.session.end()
            self.update_extent()
            self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self.is_zoomed():
            super().mouseDoubleClickEvent(event)

    def _move_end(self, point: QPointF) -> None:
        left, right, low, high = self.ends()
        value, least = self.value_at(point.x()), (right - left) / 500
        if self._drag == "both":
            by = min(max(value - self._grabbed - low, left - low), right - high)
            low, high = low + by, high + by
        elif self._drag == "high":
            high = max(value, low + least)
        else:
            low = min(value, high - least)
        self.session.update(range="locked", low=low, high=high)

    def sizeHint(self) -> QSize:
        return QSize(240, 56)


@lru_cache(maxsize=256)
def _find_ticks(axis: Axis, width: float) -> tuple[Tick, ...]:
    """Return the ticks of a bar of a width in pixels."""
    return axis.ticks(width, measure_label, most=BAR_TICKS, gap=BAR_GAP)


def _color_words(
    name: str, scale: str, left: float, right: float, low: float, high: float, count: int
) -> npt.NDArray[np.uint32]:
    """Return the colours of `count` values from `left` to `right`, where the colours span `low` to `high`."""
    if scale == "rank":
        at = np.linspace(0, 1, count, dtype=np.float32)
    else:
        values = _count_up(count) * ((right - left) / (count - 1)) + left  # as np.linspace, in a third of its time
        values[-1] = right
        at = attention.places(values.astype(np.float32), low, high, scale)
    return colormaps.opaque(name).take(np.rint(at * 255).astype(np.intp))


@lru_cache(maxsize=4)
def _count_up(count: int) -> npt.NDArray[np.float64]:
    """Return the numbers from 0 to count - 1."""
    return np.arange(count, dtype=np.float64)
