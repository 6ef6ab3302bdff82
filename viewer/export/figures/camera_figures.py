"""Figures of camera pictures: the summary, one head alone, a difference, and the cameras side by side for video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QRectF

from viewer.analysis.caption import describe_heading, describe_heads
from viewer.analysis.scene import on_one_range
from viewer.export import scenes
from viewer.export.figures import color_bar, text_layout
from viewer.export.figures.color_bar import ColorScale
from viewer.export.figures.figure import Figure, build_figure, describe_view, name_side, set_scale_text
from viewer.model.view_state import FROM_EFFECTS, SHARED_RANGES
from viewer.rendering import theme, ticks
from viewer.rendering.patches import describe_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.query_series import QuerySeries
    from viewer.analysis.scene import Scene
    from viewer.export.figures.camera_painter import CameraPainter
    from viewer.export.request import ExportRequest
    from viewer.export.scenes import ExportSource
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

GAP: Final = 12.0
TITLE_HEIGHT: Final = 22.0
ROW_GAP: Final = 6.0


@dataclass(frozen=True)
class CameraCell:
    """One picture of a grid."""

    painter: CameraPainter
    camera: int
    view: ViewState
    scene: Scene | None = None
    """Of the heatmap; None for the picture alone."""
    values: Floats | None = None
    """A map (rows, cols) to be shown without the picture, on `scale`."""
    scale: ColorScale | None = None
    title: str = ""
    note: str = ""
    """After the title, in the accent colour; only its number where the cell is too narrow."""

    def paint(self, painter: QPainter, box: QRectF) -> None:
        """Draw the title above `box`, and the picture in it."""
        colors = theme.active()
        line = QRectF(box.left(), box.top() - TITLE_HEIGHT, box.width(), TITLE_HEIGHT - 4)
        width = text_layout.draw_line(painter, line, self.title, colors.text, 12, bold=True) if self.title else -8.0
        if self.note:
            note_line = line.adjusted(width + 8, 0, 0, 0)
            has_room = text_layout.measure_text_width(self.note, 12) <= note_line.width()
            note = self.note if has_room else self.note.partition(" of ")[0].partition(" on ")[0]
            text_layout.draw_line(painter, note_line, note, colors.accent_text, 12)
        if self.values is not None and self.scale is not None:
            self.painter.paint_map(painter, box, self.camera, self.view, self.values, self.scale)
        else:
            self.painter.paint(painter, box, self.camera, self.view, self.scene, grid=self.scene is not None)


@dataclass(frozen=True)
class CameraGrid:
    """Cells in columns of one width, each as tall as its picture."""

    columns: Sequence[Sequence[CameraCell]]
    column_width: int
    headings: Sequence[str] = ()

    @property
    def width(self) -> float:
        """In px."""
        return len(self.columns) * (self.column_width + GAP) - GAP

    @property
    def height(self) -> float:
        """In px."""
        rows = max(len(column) for column in self.columns)
        return (
            sum(self._row_height(row) + TITLE_HEIGHT for row in range(rows))
            + (rows - 1) * ROW_GAP
            + self._headings_height
        )

    @property
    def _headings_height(self) -> float:
        return 18.0 if self.headings else 0.0

    def _row_height(self, row: int) -> int:
        cells = [column[row] for column in self.columns if row < len(column)]
        return max(cell.painter.height_at(cell.camera, cell.view, self.column_width) for cell in cells)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw all cells, and headings over their columns."""
        for number, column in enumerate(self.columns):
            x, y = left + number * (self.column_width + GAP), top + self._headings_height
            if number < len(self.headings):
                line = QRectF(x, top - 2, self.column_width, 16)
                text_layout.draw_line(painter, line, self.headings[number], theme.active().secondary, 12)
            for row, cell in enumerate(column):
                y += TITLE_HEIGHT
                height = cell.painter.height_at(cell.camera, cell.view, self.column_width)
                cell.paint(painter, QRectF(x, y, self.column_width, height))
                y += self._row_height(row) + ROW_GAP


def _describe_number(scene: Scene, camera: int, name: str) -> str:
    """Return the number beside a picture and of what it is."""
    return " ".join(describe_weight(scene, camera, name))


def create_summary(source: ExportSource, painter: CameraPainter, view: ViewState, request: ExportRequest) -> Figure:
    """Return a line for each camera: the picture, and the picture with the heatmap of all chosen heads."""
    scene, cameras = source.compose_shown(view), source.results.cameras
    plain = [CameraCell(painter, number, view, title=describe_heading(name)) for number, name in enumerate(cameras)]
    heated = [
        CameraCell(painter, number, view, scene=scene, note=_describe_number(scene, number, name))
        for number, name in enumerate(cameras)
    ]
    content = CameraGrid((plain, heated), request.width)
    scales = color_bar.color_scales(scene, view, cameras)
    return build_figure(source, content, view, describe_view(source, view), scales, caption=request.caption)


def create_camera_row(
    source: ExportSource, painter: CameraPainter, view: ViewState, request: ExportRequest, scene: Scene | None = None,
    series: QuerySeries | None = None,
) -> Figure:  # fmt: skip
    """Return the cameras side by side, as the window shows them: a picture of a video.

    `scene`: the view's, on the colour range of the whole video; None for the view's own range. `series`: the frames of
    the video, if it runs along them.
    """
    text = describe_view(source, view)
    if scene is None:
        scene = source.compose_shown(view)
    else:
        text = set_scale_text(text, "one scale for all pictures")
    cameras = source.results.cameras
    columns = [
        (
            CameraCell(
                painter,
                number,
                view,
                scene=scene,
                title=describe_heading(name),
                note=_describe_number(scene, number, name),
            ),
        )
        for number, name in enumerate(cameras)
    ]
    scales = color_bar.color_scales(scene, view, cameras)
    content, left_out = CameraGrid(columns, request.width), series.describe_left_out() if series is not None else ""
    return build_figure(source, content, view, text, scales, caption=request.caption, left_out=left_out)


def create_head_figure(source: ExportSource, painter: CameraPainter, view: ViewState, request: ExportRequest) -> Figure:
    """Return one head: its map of each camera side by side, and the pictures at their right.

    All heads of a layer share one colour range, so that heads that put little weight on the pictures look dark.
    """
    results = source.results
    is_shared, is_from_uniform = view.range in SHARED_RANGES and view.scale != "rank", view.range == "uniform"
    if is_shared:
        heads = [replace(view, heads=(head,)) for head in range(results.heads)]
        view = scenes.lock_range(view, scenes.find_common_range((source.compose(head) for head in heads), view.range))
    scene = source.compose(view)
    scales = color_bar.color_scales(scene, view, results.cameras)
    columns = [
        [
            CameraCell(
                painter,
                number,
                view,
                values=scene.maps[number],
                scale=ColorScale(view.colours, *scene.ranges[number], view.scale, scales[0].label),
                title=describe_heading(name),
                note=_describe_number(scene, number, name),
            )
        ]
        for number, name in enumerate(results.cameras)
    ]
    pictures = [CameraCell(painter, number, view, title="Picture") for number in range(len(results.cameras))]
    text = describe_view(source, view)
    if is_shared and not request.shares_range:
        start = ", from 1 × uniform" if is_from_uniform else ""
        text = set_scale_text(text, f"one scale for all heads of this layer{start}")
    content = HeadGrid(columns, request.width, pictures=pictures)
    return build_figure(source, content, view, text, scales, caption=request.caption)


@dataclass(frozen=True)
class HeadGrid(CameraGrid):
    """Maps side by side, and at their right the pictures below each other, together as tall as the maps."""

    pictures: Sequence[CameraCell] = ()

    @property
    def _picture_size(self) -> tuple[float, float]:
        """Width and height of one picture in px."""
        count = len(self.pictures)
        each = (self._row_height(0) - (count - 1) * ROW_GAP) / count
        first = self.pictures[0]
        height, width = first.painter.picture_size(first.camera, first.view)
        return round(each * width / height), each

    @property
    def width(self) -> float:
        """In px."""
        return len(self.columns) * (self.column_width + GAP) + self._picture_size[0]

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw the maps and the pictures."""
        super().paint(painter, left, top)
        x, y = left + len(self.columns) * (self.column_width + GAP), top + TITLE_HEIGHT
        line = QRectF(x, top, self._picture_size[0], TITLE_HEIGHT - 4)
        text_layout.draw_line(painter, line, "Pictures", theme.active().text, 12, bold=True)
        width, height = self._picture_size
        for cell in self.pictures:
            own_height, own_width = cell.painter.picture_size(cell.camera, cell.view)
            fit = min(width / own_width, height / own_height)
            box = QRectF(x, round(y), round(own_width * fit), round(own_height * fit))
            cell.painter.paint(painter, box, cell.camera, cell.view, None, grid=False)
            y += height + ROW_GAP


def create_difference(
    source: ExportSource, painter: CameraPainter, other_painter: CameraPainter, view: ViewState, request: ExportRequest
) -> Figure:
    """Return a line for each camera: the view, what it is compared with, and the first less the second."""
    pair = source.subtracted(view)
    assert pair is not None
    scene_a, scene_b = source.compose_both(view)
    if view.range != "map":
        scene_a, scene_b = on_one_range(scene_a, scene_b)
    difference = source.compose_shown(view)
    # Both sides have the look of the view, whatever the look of the pinned view was when it was pinned.
    view_b = replace(
        pair[1], colours=view.colours, opacity=view.opacity, picture=view.picture, smooth=view.smooth, grid=view.grid,
        scale=view.scale, region=view.region,
    )  # fmt: skip
    view_a = replace(view, compare="off")
    cameras = source.results.cameras
    columns = [
        [
            CameraCell(
                painter, n, view_a, scene_a, title=describe_heading(name), note=describe_weight(scene_a, n, name)[0]
            )
            for n, name in enumerate(cameras)
        ],
        [
            CameraCell(
                other_painter,
                n,
                view_b,
                scene_b,
                title=describe_heading(name),
                note=describe_weight(scene_b, n, name)[0],
            )
            for n, name in enumerate(cameras)
        ],
        [
            CameraCell(
                painter,
                n,
                view,
                difference,
                title=describe_heading(name),
                note=_format_change(scene_a, scene_b, difference, n, name),
            )
            for n, name in enumerate(cameras)
        ],
    ]
    headings = [f"{letter} · {text}" for letter, text in zip("AB", describe_difference(source, view), strict=True)]
    content = CameraGrid(columns, request.width, (*headings, "A − B"))
    scales = (
        *color_bar.color_scales(scene_a, view_a, cameras, (scene_b,)),
        *color_bar.color_scales(difference, view, cameras),
    )
    return build_figure(source, content, view, describe_view(source, view), scales, caption=request.caption)


def describe_difference(source: ExportSource, view: ViewState) -> tuple[str, str]:
    """Return the two sides of a comparison as text: only that in which they differ."""
    pair = source.subtracted(view)
    assert pair is not None
    sides = []
    for results, side in ((source.results, view), pair):
        step = f"step {results.steps[side.step]}" if side.query.kind == "action" and results.steps else ""
        is_of_effects = view.measure in FROM_EFFECTS  # of no layer, step and head
        place = ("", "", "") if is_of_effects else (
            step, f"layer {results.layers[side.layer]}", describe_heads(side, results.heads)
        )  # fmt: skip
        sides.append((
            results.path.name if source.other is not None else "", name_side(results, side),
            f"frame {side.frame}", *place,
        ))  # fmt: skip
    different = [pair for pair in zip(*sides, strict=True) if pair[0] != pair[1]]
    if not different:
        return "the same", "the same"
    text_a, text_b = (", ".join(part for part in parts if part) for parts in zip(*different, strict=True))
    return text_a or "the same", text_b or "the same"


def _format_change(scene_a: Scene, scene_b: Scene, difference: Scene, camera: int, name: str) -> str:
    """Return by how much the number beside a camera's picture differs; of effects, the largest difference of a patch.

    Effects have no sum over a picture.
    """
    if difference.effect is not None:
        values = difference.maps[camera].ravel()
        largest = float(values[np.abs(values).argmax()]) if values.size else 0.0
        return f"{'+' if largest > 0 else ''}{difference.effect.format_value(largest)} at most"
    if scene_a.peaks and scene_b.peaks:
        change = scene_a.peaks[camera] - scene_b.peaks[camera]
        return f"{'+' if change > 0 else ''}{ticks.format_number(change)}"
    change = scene_a.share(name) - scene_b.share(name)
    return f"{'+' if change > 0 else ''}{ticks.format_share(change)}"
