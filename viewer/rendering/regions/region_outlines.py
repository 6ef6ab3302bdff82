"""Outlines of the regions over a camera's picture: the named ones in their colours, and the one that is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRectF

from viewer.rendering import drawing, picture_overlay, theme
from viewer.rendering.patches import create_region_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter, QPainterPath, QTransform

    from viewer.model.geometry import PatchGrid
    from viewer.model.view_state import Cell, ViewState
    from viewer.regions.known_patches import KnownPatches

MOST: Final = 40
"""Named regions of which outlines are drawn."""
NAME: Final = 11
"""Pixels of the font of a name."""


class RegionOutlines:
    """Paints the outlines over one camera's pictures; those of the named regions of a frame are made once."""

    def __init__(self, camera: int) -> None:
        self.camera = camera
        self._key: tuple[object, ...] = ()
        self._named: list[tuple[str, str, QPainterPath]] = []

    def named(self, regions: KnownPatches | None, frame: int, grid: PatchGrid) -> list[tuple[str, str, QPainterPath]]:
        """Return name, colour and outline, in pixels of the model's picture, of the regions that a frame shows."""
        key = (regions, frame, grid)
        if not self._key or self._key[0] is not regions or self._key != key:
            self._key, self._named = key, []
            for region in [] if regions is None else list(regions.regions.values())[:MOST]:
                path = create_region_path(region.find_cells(frame) or (), self.camera, grid)
                if path is not None:
                    self._named.append((region.name, region.color, path))
        return self._named

    def paint(
        self,
        painter: QPainter,
        place: QTransform,
        area: QRectF,
        view: ViewState,
        regions: KnownPatches | None,
        grid: PatchGrid,
        drawn: Sequence[Cell] | None = None,
    ) -> None:
        """Paint the outlines of the named regions, then that of the view's region.

        Args:
            painter: Painter of the picture.
            place: Transform from the model's picture to the painter.
            area: Rectangle of the picture, within which names are written.
            view: The view, whose frame is shown.
            regions: The named regions of its file; None if there are none.
            grid: The patches of the model's picture.
            drawn: Patches that are being marked in place of the view's region.
        """
        ratio, chosen = drawing.find_pixel_ratio(painter), view.region_name if drawn is None else ""
        named = self.named(regions, view.frame, grid)
        for name, color, path in named:
            if name != chosen:
                picture_overlay.paint_outline(painter, place, path, ratio, color)
        marked = create_region_path(view.region if drawn is None else drawn, self.camera, grid)
        chosen_color = next((color for name, color, _ in named if name == chosen), None)
        if marked is not None and chosen_color is not None:
            picture_overlay.paint_outline(painter, place, marked, ratio, chosen_color, is_chosen=True)
        elif marked is not None:
            picture_overlay.paint_region(painter, place, marked, ratio)
        for name, color, path in named:
            _write_name(painter, place.mapRect(path.boundingRect()), area, name, color, is_chosen=name == chosen)


def _write_name(painter: QPainter, box: QRectF, area: QRectF, name: str, color: str, *, is_chosen: bool) -> None:
    """Write a name at the top left of an outline, within the picture."""
    if not area.intersects(box):
        return
    width = min(drawing.width_of(name, NAME, bold=is_chosen) + 10, area.width())
    label = QRectF(0, 0, width, 15)
    label.moveBottomLeft(box.topLeft() + QPointF(-1, -2))
    if label.top() < area.top():
        label.moveTopLeft(QPointF(label.left(), min(box.bottom() + 2, area.bottom() - label.height())))
    label.moveLeft(min(max(label.left(), area.left()), area.right() - width))
    drawing.fill(painter, label, theme.color(drawing.DARK_INK, 0.8), 3)
    ink = color if _is_light(color) else "#FFFFFF"
    drawing.write(painter, label.adjusted(5, 0, -4, 0), name, ink, NAME, bold=is_chosen)


def _is_light(color: str) -> bool:
    """Return whether a colour can be read on the ground of names."""
    return drawing.contrast(int(color[1:], 16), int(drawing.DARK_INK[1:], 16)) >= 4.5
