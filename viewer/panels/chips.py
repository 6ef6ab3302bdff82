"""How chips are painted: filled rectangles under a sheet of labels, edges and corners that is painted once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from PySide6.QtCore import QRect, QRectF
from PySide6.QtGui import QColor, QPainter, QRegion

from viewer import colourmaps, drawing, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtWidgets import QWidget

    from viewer.attention import Floats
    from viewer.state import Kind

LEVELS: Final = 216
"""Colours of a chip from cold to hot; the brightest end of the map is cut."""
CORNER: Final = 5.0
LOUD: Final = ("prompt", "action")
Ink = Literal["cool", "light", "dark"]


@dataclass(frozen=True)
class Place:
    """One chip on the panel."""

    kind: Kind
    item: int
    box: QRectF
    label: str
    role: str


def levels(values: Floats, top: float) -> list[int]:
    """Each value's place among the chip colours, `top` the hottest."""
    at = values * np.float32((LEVELS - 1) / top)
    np.fmin(np.fmax(at, 0, out=at), LEVELS - 1, out=at)  # NaN becomes 0
    at += np.float32(0.5)
    found: list[int] = at.astype(np.intp).tolist()
    return found


@lru_cache(maxsize=16)
def colours(name: str, ground: str) -> tuple[int, ...]:
    """The colours of chips from cold to hot, 0xRRGGBB: the map over a ground."""
    made: list[int] = []
    tint = theme.colour(ground)
    base = tint.red(), tint.green(), tint.blue()
    for word in colourmaps.heat(name, 100)[:LEVELS].tolist():
        rest = 1 - (word >> 24 & 255) / 255
        red, green, blue = (min(round((word >> s & 255) + base[n] * rest), 255) for n, s in enumerate((16, 8, 0)))
        made.append(red << 16 | green << 8 | blue)
    return tuple(made)


@lru_cache(maxsize=16)
def _fills(name: str, ground: str) -> list[QColor]:
    return [QColor(word >> 16 & 255, word >> 8 & 255, word & 255) for word in colours(name, ground)]


@lru_cache(maxsize=16)
def _inks(name: str, ground: str, loud: bool) -> list[Ink]:
    """Which ink can be read on each of the colours; `cool` is the role's own, kept as long as it can be read."""
    dark = theme.colour(ground).lightness() < 128
    made: list[Ink] = []
    for word in colours(name, ground):
        readable: Ink = "dark" if drawing.readable_on(word) == drawing.DARK_INK else "light"
        own = (readable == "light") == dark
        near = abs(drawing.lightness(word) - drawing.lightness(int(ground[1:], 16))) < 25
        made.append("cool" if own and (loud or near) else readable)
    return made


def _own_ink(role: str, ground: str) -> str:
    t = theme.active()
    if role in LOUD:
        return drawing.readable_on(int(ground[1:], 16))
    return t.text if role == "state" else t.secondary


class Chips:
    """The sheets of one panel of chips."""

    def __init__(self) -> None:
        self._sheets: dict[Ink, drawing.Layer] = {ink: drawing.Layer() for ink in ("cool", "light", "dark")}
        self._rects: list[QRect] = []
        self._loud: list[bool] = []
        self.places: Sequence[Place] = ()
        self.cameras: tuple[str, ...] = ()

    def lay(self, places: Sequence[Place], cameras: tuple[str, ...]) -> None:
        """Chips lie elsewhere now; their boxes are whole pixels."""
        self.places, self.cameras = places, cameras
        self._rects = [place.box.toRect() for place in places]
        self._loud = [place.role in LOUD for place in places]
        for sheet in self._sheets.values():
            sheet.drop()

    def paint(self, painter: QPainter, widget: QWidget, area: QRect, at: Sequence[int], name: str) -> None:
        """The chips that touch `area`, each in the colour of its level."""
        ground = theme.active().raised
        fills, loud, quiet = _fills(name, ground), _inks(name, ground, True), _inks(name, ground, False)
        chips = list(zip(self._rects, at, self._loud, strict=True))
        if not area.contains(widget.rect()):
            chips = [chip for chip in chips if area.intersects(chip[0])]
        fill, inks = painter.fillRect, [(loud if is_loud else quiet)[level] for _, level, is_loud in chips]
        # The ink of most chips first, with its whole sheet; the others are painted over it.
        for number, ink in enumerate(sorted(set(inks), key=lambda one: -inks.count(one))):
            clip = QRegion()
            for (box, level, _), own in zip(chips, inks, strict=True):
                if own == ink:
                    fill(box, fills[level])
                    if number:
                        clip += box
            if number:
                painter.setClipRegion(clip)
            self._lay_sheet(painter, widget, ink)
            painter.setClipping(False)

    def _lay_sheet(self, painter: QPainter, widget: QWidget, ink: Ink) -> None:
        def paint(inner: QPainter) -> None:
            inner.setRenderHint(QPainter.RenderHint.Antialiasing)
            t, outside = theme.active(), drawing.ground(widget)
            for place in self.places:
                drawing.round_off(inner, place.box, outside, CORNER)
                edge = QRectF(place.box.left() + 7, place.box.bottom() - 2.5, place.box.width() - 14, 1.5)
                inner.fillRect(edge, theme.colour(theme.group_colour(place.role, self.cameras), 0.9))
                colour = (
                    _own_ink(place.role, t.raised)
                    if ink == "cool"
                    else drawing.DARK_INK
                    if ink == "dark"
                    else drawing.LIGHT_INK
                )
                bold = place.role == "prompt"
                drawing.write(inner, place.box, place.label, colour, 13, bold=bold, align="centre")

        self._sheets[ink].draw(painter, widget, (), paint)
