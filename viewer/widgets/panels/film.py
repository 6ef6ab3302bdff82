"""Film: thumbnails of the query's maps over layers, denoise steps, frames, or two of these, for each camera."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis import caption
from viewer.analysis.film import FILM_FIELDS, MAX_FRAMES, MAX_FRAMES_OF_LAYERS, find_film_view, read_shares
from viewer.controllers.film_reader import FilmReader, read_shown_film
from viewer.model import geometry
from viewer.rendering import drawing, mosaic, theme, ticks
from viewer.rendering.thumbnail_colors import COLOR_FIELDS, color_thumbnails, describe_film
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.label import SecondaryText
from viewer.widgets.film_labels import GAP, LABEL, FilmNames, paint_labels, tabulate
from viewer.widgets.hover_panel import HoverPanel, ReadOutContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from viewer.analysis.film import Film
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker

MODES: Final = (
    ("layers", "layers"),
    ("steps", "layers × denoise steps"),
    ("frames", "frames"),
    ("layers-frames", "layers × frames"),
)
_read_colors: Final = attrgetter(*COLOR_FIELDS)
FOOT: Final = 18
"""Pixels below the thumbnails for labels of columns, or the cameras' names."""


class FilmPanel(HoverPanel):
    """Shows the film; hovering a thumbnail names it, a click selects its layer, step or frame."""

    watched_fields = frozenset({*FILM_FIELDS, *COLOR_FIELDS, "layer", "step"})
    READ_ORDER = 3
    read_parts = staticmethod(read_shown_film)
    HEADING = 4
    log_text = "Log colours"

    def __init__(
        self, session: Session, worker: Worker, frame_series: FrameSeries, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, "Film", parent)
        self.reader = FilmReader(session, worker, frame_series, self)
        self.reader.ready.connect(self.reload_and_update)
        frame_series.followed.connect(self.reload_and_update)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.mode = DropDown("Film", MODES, parent=self)
        self.mode.chosen.connect(self._set_mode)
        self._content: Film | None = None
        self._cameras: list[tuple[geometry.Affine, tuple[int, int]]] = []
        """Map to the model's picture, and height and width, of each camera's picture."""
        self._hint = 0
        self._film_shown: tuple[Film | None, tuple[object, ...]] = (None, ())
        self.note = SecondaryText("Scale of the thumbnails")
        self._static_layer = drawing.Layer()
        self._painted_rings: list[QRectF] = []
        self._blocks: tuple[object, list[tuple[QRectF, float, float]]] | None = None
        self._words: tuple[tuple[object, ...], npt.NDArray[np.uint32]] | None = None
        self._mosaics: tuple[object, list[tuple[QPointF, QImage]], Film] | None = None

    def _set_mode(self, value: str) -> None:
        self.session.update(film=value)

    # What is shown

    def film(self) -> Film | None:
        """Return the thumbnails; None while the worker computes them or if they cannot be read."""
        return self._content if self.is_waiting else self.reader.film()

    def load(self) -> None:
        results, frame, cameras = self.session.results, self.shown.frame, []
        if results is not None and results.done:
            camera_numbers = range(len(results.cameras))
            cameras = [(results.to_model(frame, camera), results.picture_size(camera)) for camera in camera_numbers]
        self._content, self._cameras = self.film(), cameras
        self.update_extent()
        self.update_read_out()

    def refresh(self) -> None:
        shown = self.shown
        self.mode.show_value(shown.film)
        words = {"steps": "words have one pass"} if shown.query.kind == "text" else {}
        self.mode.disable(words)
        self.note.show_text(self.reader.describe_left_out(" · ") + describe_film(shown))
        hint = self.sizeHint().height()
        if self._hint != hint:
            self._hint = hint
            self.updateGeometry()
        if not self.isVisible():
            return
        film, before = self._content, self._film_shown
        self._film_shown = film, self._list_color_settings()
        if film is None or before != self._film_shown or not film.maps.size:
            self.update()
            return
        for box in (*self._painted_rings, *self._find_rings(film)):  # only the ring moves
            self.update(box.toAlignedRect().adjusted(-2, -2, 2, 2))

    def is_log(self) -> bool:
        return self.shown.scale == "log"

    def set_log(self, log: bool) -> None:
        self.session.update(scale="log" if log else "linear")

    def on_file_changed(self) -> None:
        self.hover(None)
        self._content = None
        self.reader.drop()
        self._static_layer.drop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.updateGeometry()

    @property
    def has_rows(self) -> bool:
        """Whether there is a row of thumbnails for each denoise step or layer."""
        shown = self.shown
        return shown.film == "layers-frames" or (shown.film == "steps" and shown.query.kind == "action")

    def _row_count(self) -> int:
        """Return the number of rows of a film with several rows."""
        results = self.session.results
        if results is None:
            return 0
        return len(results.layers if self.shown.film == "layers-frames" else results.steps)

    def sizeHint(self) -> QSize:
        results = self.session.results
        cameras = len(results.cameras) if results else 2
        if results is None:
            return QSize(600, 120)
        tall, across = results.picture_size(0)
        columns = {"frames": MAX_FRAMES, "layers-frames": MAX_FRAMES_OF_LAYERS}.get(
            self.shown.film, len(results.layers)
        )
        room = max(self.width(), 600) - LABEL
        if self.has_rows:
            lines = self._row_count() * min(max(room / cameras / columns * tall / across, 10), 40)
        else:
            lines = cameras * min(max(room / columns * tall / across, 16), 96)
        return QSize(600, round(self.HEADING + lines) + 22)

    def minimumSizeHint(self) -> QSize:
        results = self.session.results
        if results and self.has_rows:
            return QSize(300, self.HEADING + min(max(self._row_count() * 8, 40), 120) + 22)
        cameras = len(results.cameras) if results else 2
        return QSize(300, min(self.sizeHint().height(), self.HEADING + cameras * 36 + 22))

    # Layout

    def content_box(self) -> QRectF:
        """Return the rectangle of the thumbnails."""
        return QRectF(LABEL, self.HEADING, self.width() - LABEL, max(self.height() - self.HEADING - FOOT, 4))

    def content_extent(self) -> QRectF:
        return QRectF(0, 0, 1, 1)  # shares of the box, so that both axes have one scale

    def least_visible(self) -> tuple[float, float]:
        """Return the share of the box that one thumbnail takes, which then fills it."""
        film, box = self._content, self.content_box()
        if film is None or not film.maps.size:
            return 1.0, 1.0
        _, width, height = self._lay_out(film, QRectF(0, 0, 1, 1))[0]
        share = min(max(width / max(box.width(), 1), height / box.height()), 1.0)
        return share, share

    def blocks(self, film: Film) -> list[tuple[QRectF, float, float]]:
        """Return the block of each camera, with a thumbnail's width and height including its gap.

        Blocks are stacked, or side by side if each has several rows.
        """
        ratio = self.devicePixelRatioF()
        shapes = tuple(shape for _, shape in self._cameras)
        visible = self.visible_part()
        key = (film.maps.shape, self.has_rows, self.width(), self.height(), ratio, shapes, visible.getRect())
        if self._blocks is None or self._blocks[0] != key:
            self._blocks = key, self._lay_out(film, visible)
        return self._blocks[1]

    def _lay_out(self, film: Film, visible: QRectF) -> list[tuple[QRectF, float, float]]:
        """Return the blocks so that the `visible` share of their room fills it."""
        rows, columns, cameras = film.maps.shape[:3]
        shapes = [shape for _, shape in self._cameras] or [(1, 1)] * cameras
        return mosaic.lay_out_blocks(
            self.content_box(),
            rows,
            columns,
            shapes,
            self.devicePixelRatioF(),
            side_by_side=self.has_rows,
            visible=visible,
        )

    def _list_color_settings(self) -> tuple[object, ...]:
        """Return the settings that the thumbnails' colours depend on."""
        colours: tuple[object, ...] = _read_colors(self.shown)
        return colours

    def _words_of(self, film: Film) -> npt.NDArray[np.uint32]:
        """Return the thumbnails as 0xFFRRGGBB words, like the maps of the film."""
        key = (film, *self._list_color_settings())
        if self._words is None or self._words[0] != key:
            self._words = key, color_thumbnails(film.maps, find_film_view(self.shown), film.uniform, film.keys)
        return self._words[1]

    def _create_images(self, film: Film) -> list[tuple[QPointF, QImage]]:
        """Return one image of all visible thumbnails for each camera, and where its upper left corner lies."""
        shown, ratio, visible = self.shown, self.devicePixelRatioF(), self.visible_part().getRect()
        key = (
            id(film),
            self._list_color_settings(),
            shown.frame,
            ratio,
            self.width(),
            self.height(),
            theme.active(),
            visible,
        )
        if self._mosaics is None or self._mosaics[0] != key:
            words = self._words_of(film)
            background = self.ground().rgb()
            images = mosaic.make_images(
                self.blocks(film), words, self._cameras, film.grid, self.content_box(), ratio, GAP, background
            )
            self._mosaics = key, images, film
        return self._mosaics[1]

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, film, results = theme.active(), self._content, self.session.results
        if film is None or results is None or not film.maps.size:
            self.fill_background(painter, area)
            return

        names = FilmNames(results.cameras, self._name_columns(), has_rows=self.has_rows)

        def draw_static(inner: QPainter) -> None:
            for camera in range(film.maps.shape[2]):
                paint_labels(inner, self.content_box(), self.blocks(film), film, camera, names)

        visible = self.visible_part().getRect()
        key = (film.columns, film.rows, self.shown.film, self.has_rows, results.cameras, visible)
        self._static_layer.draw(painter, self, key, draw_static, self.ground())
        if self.is_zoomed():
            painter.setClipRect(self.content_box())
        for corner, image in self._create_images(film):
            painter.drawImage(corner, image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.hovered is not None:
            for box in self._find_tiles(film, self.hovered):
                drawing.ring(painter, box, theme.color(colors.secondary), 1.5, 3)
        self._painted_rings = self._find_rings(film)
        for box in self._painted_rings:
            if colors.dark:
                drawing.ring(painter, box, theme.color(colors.accent), 2, 3)
            else:  # wider, beside the white gaps
                drawing.ring(painter, box.adjusted(-1, -1, 1, 1), theme.color(colors.accent), 3, 4)
        painter.setClipping(False)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.color(colors.accent))

    def _find_rings(self, film: Film) -> list[QRectF]:
        """Return the rectangles of the current view's thumbnails."""
        at = self.current(film)
        return [] if at is None else self._find_tiles(film, at)

    def _find_tiles(self, film: Film, at: tuple[int, int]) -> list[QRectF]:
        """Return the rectangle of the thumbnail at a row and column of each camera's block."""
        return [
            QRectF(block.left() + at[1] * width - 1, block.top() + at[0] * height - 1, width, height)
            for block, width, height in self.blocks(film)
        ]

    def current(self, film: Film) -> tuple[int, int] | None:
        """Return row and column of the current view."""
        shown = self.marked
        if self._name_columns() == "frame":
            near = min(range(len(film.columns)), key=lambda place: abs(film.columns[place] - shown.frame))
            return (shown.layer if film.rows else 0, near)
        return (shown.step if self.has_rows else 0, shown.layer)

    def _name_columns(self) -> str:
        """Return what the columns are, `frame` or `layer`."""
        return "frame" if "frames" in self.shown.film else "layer"

    # Mouse and keyboard

    def cell_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return row and column under a point."""
        film = self._content
        if film is None or not self.content_box().contains(point):
            return None
        for block, width, height in self.blocks(film):
            row, column = int((point.y() - block.top()) // height), int((point.x() - block.left()) // width)
            if 0 <= row < film.maps.shape[0] and 0 <= column < film.maps.shape[1]:
                return row, column
        return None

    def name_tile(self, film: Film, row: int, column: int) -> str:
        """Return what a thumbnail is called: its layer or frame, and its step or layer."""
        kind = self._name_columns().capitalize()
        step = f", {'step' if kind == 'Layer' else 'layer'} {film.rows[row]}" if film.rows else ""
        return f"{kind} {film.columns[column]}{step}"

    def read_item(self, item: tuple[int, int]) -> ReadOutContent | None:
        """Return the name of a thumbnail and its mass on each camera."""
        film, results = self._content, self.session.results
        if film is None or results is None or item[0] >= film.maps.shape[0] or item[1] >= film.maps.shape[1]:
            return None
        shares = read_shares(results, self.session.shown, film, *item)
        rows = [
            (theme.group_color(camera, results.cameras), caption.format_camera(camera), ticks.format_share(share))
            for camera, share in zip(results.cameras, shares, strict=True)
        ]
        tile = self._find_tiles(film, item)[0]
        return ReadOutContent(QPointF(tile.center().x(), max(tile.top(), 0) - 4), self.name_tile(film, *item), rows)

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        """Return a row for each thumbnail: its labels, and its mass on each camera."""
        film, results = self._content, self.session.results
        if film is None or results is None or not film.maps.size:
            return None
        return tabulate(
            results, self.session.shown, film, FilmNames(results.cameras, self._name_columns(), has_rows=self.has_rows)
        )

    def go(self, row: int, column: int) -> None:
        """Select the view of a thumbnail."""
        film = self.film()
        if film is None or row >= film.maps.shape[0] or column >= film.maps.shape[1]:
            return  # a film that was not painted yet
        if self._name_columns() == "frame":
            self.session.update(frame=film.columns[column], **({"layer": row} if film.rows else {}))
        else:
            self.session.update(layer=column, **({"step": row} if self.has_rows else {}))

    def item_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return row and column of the thumbnail under a point."""
        return self.cell_at(point)

    def select_at(self, point: QPointF) -> None:
        cell = self.cell_at(point)
        if cell is not None:
            self.go(*cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
        film = self.film()
        at = self.current(film) if film is not None else None
        if film is None or at is None or Qt.Key(event.key()) not in moves:
            super().keyPressEvent(event)
            return
        down, right = moves[Qt.Key(event.key())]
        row, column = at[0] + down, at[1] + right
        if 0 <= row < film.maps.shape[0] and 0 <= column < film.maps.shape[1]:
            self.go(row, column)
