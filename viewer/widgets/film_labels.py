"""Labels of a film in the window, and its numbers as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QRectF

from viewer.analysis import caption
from viewer.analysis.film import read_shares
from viewer.rendering import drawing, mosaic, theme

if TYPE_CHECKING:
    from PySide6.QtGui import QPainter

    from viewer.analysis.film import Film
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState

LABEL: Final = 64
"""Room left of the thumbnails in pixels."""
GAP: Final = 2
"""Pixels between thumbnails."""
MIN_LABEL: Final = 10
"""Pixels of a row that are visible at least where its label is shown."""


class FilmNames(NamedTuple):
    """What the labels say."""

    cameras: tuple[str, ...]
    across: str
    """What the columns are: `frame` or `layer`."""
    has_rows: bool
    """Whether there are several rows, of steps or layers; the cameras are then side by side."""


def paint_labels(
    painter: QPainter, room: QRectF, blocks: list[mosaic.Block], film: Film, camera: int, names: FilmNames
) -> None:
    """Paint the name of a camera, and the labels of the visible rows and columns."""
    colors = theme.active()
    block, width, height = blocks[camera]
    rows, columns = film.maps.shape[:2]
    visible = mosaic.visible_range(block.left(), width, columns, room.left(), room.right())
    if names.has_rows:
        left, right = max(block.left(), room.left()), min(block.left() + columns * width, room.right())
        bottom = min(block.top() + rows * height, room.bottom())
        if visible:
            ends = f"{film.columns[visible.start]} to {film.columns[visible.stop - 1]}"
            text = f"{caption.format_camera(names.cameras[camera])}, {names.across}s {ends}"
            name = QRectF(left, bottom, max(right - left, min(mosaic.MIN_BLOCK, room.right() - left)), 17)
            drawing.write(painter, name, text, colors.secondary, 12)
        if camera == 0:
            skip = 1 if height > 11 else 2
            down = "step" if names.across == "layer" else "layer"
            shown = mosaic.visible_range(block.top(), height, rows, room.top() - 1, room.bottom() + 1, whole=True)
            for row in shown:
                if row % skip == 0 or len(shown) < 3:
                    box = QRectF(0, block.top() + row * height, LABEL - 8, height - GAP)
                    words = f"{down} {film.rows[row]}" if row == shown.start else str(film.rows[row])
                    drawing.write(painter, box, words, colors.secondary, 11, align="right")
        return
    box = QRectF(0, block.top(), LABEL - 8, height - GAP) & QRectF(0, room.top(), LABEL - 8, room.height())
    title = caption.describe_heading(names.cameras[camera])
    fits = drawing.width_of(title, 13) <= box.width()
    if box.height() >= MIN_LABEL:
        drawing.write(painter, box, title, colors.secondary, 13 if fits else 11)
    if camera == len(blocks) - 1:
        skip = 1 if width > 22 else 2
        top = min(block.top() + height, room.bottom())
        for column in visible:
            if column % skip == 0:
                box = QRectF(block.left() + column * width - 10, top, width - GAP + 20, 16)
                drawing.write(painter, box, str(film.columns[column]), colors.secondary, 11, align="centre")


def tabulate(results: Results, view: ViewState, film: Film, names: FilmNames) -> tuple[list[str], list[list[object]]]:
    """Return column names, and for each thumbnail its labels and its share on each camera."""
    down = ["step" if names.across == "layer" else "layer"] if film.rows else []
    rows: list[list[object]] = [
        [*film.rows[row : row + 1], label, *read_shares(results, view, film, row, column)]
        for row in range(len(film.maps))
        for column, label in enumerate(film.columns)
    ]
    return [*down, names.across, *names.cameras], rows
