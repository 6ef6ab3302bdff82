"""Painting of chips: a filled rectangle, and a cached image of label, edge and corners on it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPixmap

from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtWidgets import QWidget

    from viewer.model.attention import Floats
    from viewer.model.view_state import Kind

LEVELS: Final = 216
"""Number of chip colours; the brightest end of the colour map is left out."""
CHIP: Final = 26
CORNER: Final = 5.0
LOUD: Final = ("prompt", "action")
OPACITY: Final = 0.36
"""Opacity of the colour of a chip: the pictures are louder."""
READABLE: Final = 4.5
"""Least contrast of a text (WCAG 2.1)."""
INKS: Final = (drawing.LIGHT_INK, drawing.DARK_INK, "#FFFFFF", "#000000")


class ChipBox(NamedTuple):
    """Position, label and role of one chip.

    A tuple: every frame of an episode has another state in its prompt, and so 130 new ones.
    """

    kind: Kind
    item: int
    box: QRectF
    label: str
    role: str


class _SnappedChip(NamedTuple):
    """A chip as it is painted."""

    box: QRectF
    """On whole screen pixels."""
    corner: QPointF
    width: float
    label: str
    role: str
    edge: str
    """Colour of its group."""


def levels(values: Floats, low: float, top: float) -> list[int]:
    """Return the colour level of each value, 0 to LEVELS - 1; `low` and NaN have the first one, `top` the last."""
    at = (values - np.float32(low)) * np.float32((LEVELS - 1) / max(top - low, 1e-12))
    np.fmin(np.fmax(at, 0, out=at), LEVELS - 1, out=at)  # NaN becomes 0
    at += np.float32(0.5)
    steps: list[int] = at.astype(np.intp).tolist()
    return steps


@lru_cache(maxsize=16)
def colours(name: str, ground: str) -> tuple[int, ...]:
    """Return the LEVELS chip colours, 0xRRGGBB: the colour map blended over a background."""
    table = colormaps.blend_heat(name, round(100 * OPACITY), int(ground[1:], 16))
    return tuple((table[:LEVELS] & np.uint32(0xFFFFFF)).tolist())


@lru_cache(maxsize=16)
def _create_fills(name: str, ground: str) -> list[QColor]:
    return [QColor(word >> 16 & 255, word >> 8 & 255, word & 255) for word in colours(name, ground)]


@lru_cache(maxsize=64)
def _choose_inks(name: str, ground: str, role_ink: str) -> list[str]:
    """Return a readable text colour for each chip colour: `role_ink`, that of the role, while it is readable."""
    return [
        next((ink for ink in (role_ink, *INKS) if drawing.contrast(int(ink[1:], 16), word) >= READABLE), INKS[-1])
        for word in colours(name, ground)
    ]


def _own_ink(role: str, ground: str) -> str:
    colors = theme.active()
    if role in LOUD:
        return drawing.readable_on(int(ground[1:], 16))
    return colors.text if role == "state" else colors.secondary


@lru_cache(maxsize=1024)
def _paint_tile(label: str, width: float, ink: str, bold: bool, edge: str, outside: str, ratio: float) -> QPixmap:
    """Return what is drawn on a chip's colour: round corners, the edge in the group's colour, the label."""
    pixmap = QPixmap(round(width * ratio), math.ceil(CHIP * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    with QPainter(pixmap) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(0, 0, width, CHIP)
        drawing.round_off(painter, box, theme.color(outside), CORNER)
        painter.fillRect(QRectF(7, CHIP - 2.5, width - 14, 1.5), theme.color(edge, 0.9))
        drawing.write(painter, box, label, ink, 13, bold=bold, align="centre")
    return pixmap


class ChipPainter:
    """Paints the chips of one panel; keeps their boxes on whole screen pixels."""

    def __init__(self) -> None:
        self._places: Sequence[ChipBox] = ()
        self._cameras: tuple[str, ...] = ()
        self._chips: list[_SnappedChip] = []
        self._ratio = 0.0

    def set_chips(self, places: Sequence[ChipBox], cameras: tuple[str, ...]) -> None:
        """Set the chips to paint."""
        self._places, self._cameras, self._ratio = places, cameras, 0.0

    def _snap(self, ratio: float) -> None:
        """Round the boxes to whole screen pixels."""
        self._ratio, self._chips, height = ratio, [], math.ceil(CHIP * ratio) / ratio
        edges = {role: theme.group_color(role, self._cameras) for role in {place.role for place in self._places}}
        for _, _, box, label, role in self._places:
            left, right = round(box.left() * ratio) / ratio, round(box.right() * ratio) / ratio
            top = round(box.top() * ratio) / ratio
            snapped = QRectF(left, top, right - left, height)
            self._chips.append(_SnappedChip(snapped, QPointF(left, top), right - left, label, role, edges[role]))

    def paint(self, painter: QPainter, widget: QWidget, area: QRect, at: Sequence[int], name: str) -> None:
        """Paint the chips that touch `area`, each in the colour of its level."""
        ground, outside, ratio = theme.active().raised, drawing.ground(widget).name(), drawing.find_pixel_ratio(painter)
        fills = _create_fills(name, ground)
        fill, copy = painter.fillRect, painter.drawPixmap
        paints_all, touched = area.contains(widget.rect()), QRectF(area)
        if ratio != self._ratio:
            self._snap(ratio)
        inks = {
            role: _choose_inks(name, ground, _own_ink(role, ground)) for role in {place.role for place in self._places}
        }
        for (box, corner, width, label, role, edge), level in zip(self._chips, at, strict=True):
            if paints_all or touched.intersects(box):
                fill(box, fills[level])
                copy(corner, _paint_tile(label, width, inks[role][level], role == "prompt", edge, outside, ratio))
