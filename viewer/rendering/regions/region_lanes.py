"""Lanes under a timeline: where each named region is known, a thin bar for each camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF

from viewer.rendering import drawing, theme
from viewer.rendering.axes import FONT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.regions.region_lanes import CameraLane, Lane
    from viewer.rendering.axes import Axis

LANE: Final = 14.0
"""Height of a lane in pixels."""
INSET: Final = 2.0
"""Pixels above and below the bars of a lane."""
STRIP: Final = 3.0
"""Height of a lane where there is no room for lanes."""


def draw_lanes(
    painter: QPainter, box: QRectF, lanes: Sequence[Lane], x_axis: Axis, label_width: float, chosen: str
) -> None:
    """Draw lanes from the top of `box` down, with their names in the `label_width` pixels left of it.

    Moments lie at 0, 1, 2 … of `x_axis`, which `box` shows. `chosen` is the name of the region that the view has.
    """
    colors = theme.active()
    for number, lane in enumerate(lanes):
        inside = QRectF(box.left(), box.top() + number * LANE + INSET, box.width(), LANE - 2 * INSET)
        label = QRectF(box.left() - label_width, inside.top() - INSET, label_width - 8, LANE)
        is_chosen = lane.name == chosen
        drawing.write(painter, label, lane.name, colors.text if is_chosen else colors.secondary, FONT, bold=is_chosen)
        draw_lane(painter, inside, lane, x_axis, is_faint=bool(chosen) and not is_chosen)


def draw_lane(painter: QPainter, box: QRectF, lane: Lane, x_axis: Axis, *, is_faint: bool = False) -> None:
    """Draw one lane: a bar for each camera from the top of `box` down, marked where it was drawn, imported or lost."""
    painter.save()
    painter.setClipRect(box.adjusted(-1, -INSET, 1, INSET))
    painter.fillRect(box, theme.color(theme.active().raised))
    count = max(len(lane.cameras), 1)
    height = box.height() / count
    for number, camera in enumerate(lane.cameras):
        gap = 1.0 if number < count - 1 and height >= 3 else 0.0
        bar = QRectF(box.left(), box.top() + number * height, box.width(), height - gap)
        _draw_camera(painter, bar, camera, lane.color, x_axis, 0.45 if is_faint else 0.85)
    painter.restore()


def _draw_camera(painter: QPainter, bar: QRectF, camera: CameraLane, color: str, x_axis: Axis, strength: float) -> None:
    def x_of(moment: float) -> float:
        return bar.left() + x_axis.place_of(moment) * bar.width()

    for first, last in camera.known:
        left, right = x_of(first - 0.5), x_of(last + 0.5)
        if x_axis.low == x_axis.high:  # one moment fills the axis
            left, right = bar.left(), bar.right()
        painter.fillRect(QRectF(left, bar.top(), max(right - left, 2), bar.height()), theme.color(color, strength))
    colors = theme.active()
    for moment in camera.untracked:
        painter.fillRect(QRectF(x_of(moment) - 1.5, bar.top(), 3, bar.height()), theme.color(colors.text))
    for moment in camera.stops:
        painter.fillRect(QRectF(x_of(moment) - 1, bar.top() - 1, 2, bar.height() + 2), theme.color("#E5484D"))
