"""The line over a camera's picture: name, share of the row's weight, size of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF

from viewer.analysis import caption
from viewer.analysis.picture_share import describe_share
from viewer.rendering import drawing, theme, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.scene import Scene
    from viewer.model.view_state import ViewState

WIDEST_SHARE = "88.8 %"


def paint_pane_title(
    painter: QPainter,
    line: QRectF,
    cameras: Sequence[str],
    camera: int,
    scene: Scene | None,
    view: ViewState,
    *,
    mark: str = "",
    size: str = "",
) -> None:
    """Paint the title of a camera's pane; what has no room is left out or elided.

    Args:
        painter: Painter of the pane.
        line: Rectangle of the title.
        cameras: Names of all cameras: a plain note stands in all panes or in none.
        camera: Number of the camera.
        scene: The scene that is shown; None if it cannot be read.
        view: The view that is shown.
        mark: What sets the pane apart from the others, such as the name of a pinned view; in the accent colour.
        size: The picture's size, at the right.
    """
    colors, name = theme.active(), cameras[camera]
    room = line.adjusted(0, 0, -drawing.width_of(size, 12) - 10, 0)
    shown_share = describe_share(scene, view, name) if scene is not None and scene.effect is None else None
    share = ticks.format_share(shown_share.share) if shown_share is not None else _largest_effect(scene, camera)
    name_box = room.adjusted(0, 0, -drawing.width_of(share, 13, bold=True) - 9, 0)  # names are elided first
    x = drawing.write(painter, name_box, caption.describe_heading(name), colors.text, 13, bold=True) + 9
    if mark:
        mark_box = room.adjusted(x, 0, -drawing.width_of(share, 13, bold=True) - 9, 0)
        x += drawing.write(painter, mark_box, mark, colors.accent_text, 13, bold=True) + 7
    if shown_share is not None:
        ink = colors.secondary if shown_share.is_little else colors.accent_text
        x += drawing.write(painter, room.adjusted(x, 0, 0, 0), share, ink, 13, bold=True) + 6
        spare = 0.0 if shown_share.is_little else _spare_width(cameras, name, share)
        for note in shown_share.notes:
            if x + spare + drawing.width_of(note, 12) <= room.width():
                drawing.write(painter, room.adjusted(x, 0, 0, 0), note, colors.secondary, 12)
                break
    elif share:
        drawing.write(painter, room.adjusted(x, 0, 0, 0), share, colors.accent_text, 13, bold=True)
    drawing.write(painter, line, size, colors.secondary, 12, align="right")


def _largest_effect(scene: Scene | None, camera: int) -> str:
    """Return the largest number of a camera's effect map; empty without one."""
    if scene is None or scene.effect is None or camera >= len(scene.maps):
        return ""
    if not np.isfinite(scene.effect.values[camera]).any():
        return "no gradients" if scene.effect.is_gradient else "no effects measured"
    return f"up to {scene.effect.format_value(float(np.abs(scene.maps[camera]).max(initial=0)))}"


def _spare_width(cameras: Sequence[str], name: str, share: str) -> float:
    """Return by how many px the widest title of all cameras may be wider than this one."""
    longest = max(drawing.width_of(caption.describe_heading(camera), 13, bold=True) for camera in cameras)
    spare = longest - drawing.width_of(caption.describe_heading(name), 13, bold=True)
    return spare + max(drawing.width_of(WIDEST_SHARE, 13, bold=True) - drawing.width_of(share, 13, bold=True), 0.0)
