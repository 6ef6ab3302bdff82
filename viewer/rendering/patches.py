"""The label of the patch under the pointer, and the outline of the region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPainterPath

from viewer.rendering import drawing, theme, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.scene import Scene
    from viewer.model.geometry import PatchGrid
    from viewer.model.view_state import Cell


def describe_patch(scene: Scene, cell: Cell, unit: str) -> tuple[str, str]:
    """Return the label of a patch in two parts: weight; and rank, share of the picture's mass, multiple of uniform."""
    if scene.missing:
        return "no map", "only the summaries of this frame were kept"
    value = float(scene.maps[cell])
    rank = scene.rank(*cell)
    if scene.effect is not None:
        return _effect_words(scene, cell, value, rank)
    if scene.difference:
        return f"{'+' if value > 0 else ''}{ticks.format_number(value)}", f"difference · rank {rank}"
    total = float(scene.maps[cell[0]].sum())
    share = value / total if total > 0 else 0.0
    times = value if unit == "uniform" else value * scene.keys
    first = f"{ticks.format_number(value)} ×" if unit == "uniform" else ticks.format_number(value)
    return first, f"rank {rank} · {ticks.format_share(share)} of picture · {times:.1f} × uniform"


def _effect_words(scene: Scene, cell: Cell, value: float, rank: int) -> tuple[str, str]:
    """Return the label of a patch of an effect map, or of a difference of two."""
    assert scene.effect is not None
    if not np.isfinite(scene.effect.values[cell]):
        noun = "gradient" if scene.effect.is_gradient else "effect"
        return "not measured", f"no {noun} of this patch is in the file"
    if scene.difference:
        return f"{'+' if value > 0 else ''}{scene.effect.format_value(value)}", f"difference · rank {rank}"
    block = scene.effect.block
    of_block = f" · of its block of {block} × {block} patches" if block > 1 else ""
    return scene.effect.format_value(value), f"rank {rank}{of_block}"


def describe_weight(scene: Scene, camera: int, name: str) -> tuple[str, str]:
    """Return the number beside a camera's picture, and of what it is.

    The picture's share of the row's weight for one head or a mean of heads; the largest value on the picture for a
    maximum of heads.
    """
    if scene.effect is not None:
        return f"up to {scene.effect.format_value(float(scene.maps[camera].max(initial=0)))}", "on a patch"
    if scene.peaks:
        return f"up to {ticks.format_number(scene.peaks[camera])}", "on a patch"
    return ticks.format_share(scene.share(name)), "of this row’s weight"


class PatchLabel:
    """Label with the values of the patch under the pointer."""

    def paint(self, painter: QPainter, area: QRectF, patch: QRectF, scene: Scene, cell: Cell, unit: str) -> None:
        """Paint the label next to the patch, within the picture's area."""
        if cell[0] >= len(scene.maps):
            return
        first, details = describe_patch(scene, cell, unit)
        width = drawing.width_of(first, 12, bold=True) + drawing.width_of(details, 12) + 26
        box = QRectF(0, 0, width, 26)
        box.moveLeft(patch.right() + 8 if patch.right() + 8 + width < area.right() else patch.left() - 8 - width)
        box.moveTop(min(max(patch.center().y() - 13, area.top() + 4), area.bottom() - 30))
        if box.left() < area.left():  # narrow pane: below or above the patch
            box.moveLeft(min(max(patch.center().x() - width / 2, area.left()), max(area.right() - width, area.left())))
            below = patch.bottom() + 6
            box.moveTop(below if below + 26 < area.bottom() else patch.top() - 32)
        drawing.fill(painter, box, theme.color("#15171C", 0.93), 5)
        x = drawing.write(painter, box.adjusted(10, 0, -4, 0), first, "#FFFFFF", 12, bold=True)
        drawing.write(painter, box.adjusted(16 + x, 0, -4, 0), details, "#C4C9D2", 12)


def create_region_path(cells: Sequence[Cell], camera: int, grid: PatchGrid) -> QPainterPath | None:
    """Return the outline of the region in pixels of the model's picture; None if this camera has no patch of it."""
    camera_cells = {(row, col) for number, row, col in cells if number == camera}
    if not camera_cells:
        return None
    path, across, down = QPainterPath(), grid.patch_width, grid.patch_height
    for row, col in camera_cells:
        x, y = col * across, row * down
        edges = (
            ((row - 1, col), (x, y, x + across, y)),
            ((row + 1, col), (x, y + down, x + across, y + down)),
            ((row, col - 1), (x, y, x, y + down)),
            ((row, col + 1), (x + across, y, x + across, y + down)),
        )
        for neighbour, (x0, y0, x1, y1) in edges:
            if neighbour not in camera_cells:
                path.moveTo(x0, y0)
                path.lineTo(x1, y1)
    return path


def find_patch_box(cell: Cell, grid: PatchGrid) -> QRectF:
    """Return the rectangle of a patch in the model's picture, in its pixels."""
    width, height = grid.patch_width, grid.patch_height
    return QRectF(cell[2] * width, cell[1] * height, width, height)
