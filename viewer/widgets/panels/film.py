"""Film: thumbnails of the query's maps over layers, denoise steps, frames, or two of these, for each camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer.analysis import caption
from viewer.analysis.film import (
    FILM_FIELDS,
    MAX_FRAMES,
    MAX_FRAMES_OF_LAYERS,
    read_film,
    read_film_over_frames,
    select_frames,
    tile_thumbnails,
)
from viewer.errors import READ_ERRORS
from viewer.model import geometry
from viewer.rendering import drawing, theme, ticks
from viewer.rendering.thumbnail_colors import COLOUR_FIELDS, describe_thumbnail_scale, thumbnail_words
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.label import SecondaryText
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
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
LABEL: Final = 64
GAP: Final = 2
BLOCK_GAP: Final = 12
"""Pixels between two cameras' blocks of a film with several rows."""
MIN_BLOCK: Final = 168
"""Minimum width in pixels of a block, for the camera's name below it."""


class FilmPanel(Panel):
    """Shows the film; a click on a thumbnail selects its layer, step or frame."""

    watched_fields = frozenset({*FILM_FIELDS, *COLOUR_FIELDS, "layer", "step"})
    HEADING = 4

    def __init__(
        self, session: Session, worker: Worker, frame_series: FrameSeries, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, "Film", parent)
        self.frame_series = frame_series
        frame_series.followed.connect(self.reload_and_update)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.worker = worker
        self.mode = DropDown("Film", MODES, parent=self)
        self.mode.chosen.connect(self._set_mode)
        self._film: tuple[tuple[object, ...], Film] | None = None
        self._content: Film | None = None
        self._cameras: list[tuple[geometry.Affine, tuple[int, int]]] = []
        """Map to the model's picture, and height and width, of each camera's picture."""
        self._hint = 0
        self._film_shown: tuple[Film | None, tuple[object, ...]] = (None, ())
        self.note = SecondaryText("Scale of the thumbnails")
        self._still = drawing.Layer()
        self._painted_rings: list[QRectF] = []
        self._blocks: tuple[object, list[tuple[QRectF, float, float]]] | None = None
        self._mosaics: tuple[object, list[QImage], Film] | None = None

    def _set_mode(self, value: str) -> None:
        self.session.update(film=value)

    # What is shown

    def film(self) -> Film | None:
        """Return the thumbnails; None while the worker computes them or if they cannot be read."""
        results, shown = self.session.results, self.session.shown
        if results is None or not results.done:
            return None
        step: tuple[object, ...] = () if shown.film == "steps" else (shown.step,)
        extra: tuple[object, ...] = (shown.layer,) if shown.film == "frames" else ()
        frames = self.frames()
        fields = [name for name in FILM_FIELDS if name != "frame" or not frames]
        key = (id(results), shown.film, results.done, *(getattr(shown, name) for name in fields), *step, *extra, frames)
        if self._film is None or self._film[0] != key:
            if frames:
                self.worker.ask(
                    "film", key, lambda stale: read_film_over_frames(results, shown, frames, stale), self._take(key)
                )
                # Keep the last film of this mode until the next is ready, so that the row does not flash.
                before = self._film
                return before[1] if before is not None and before[0][:2] == key[:2] else None
            try:
                self._film = key, read_film(results, shown)
            except READ_ERRORS:
                return None
        return self._film[1]

    def frames(self) -> tuple[int, ...]:
        """Return the frames of a film over frames; empty in another mode."""
        shown, course = self.session.shown, self.frame_series.course
        if "frames" not in shown.film or shown.frame >= len(course.moment_of):
            return ()
        most = MAX_FRAMES if shown.film == "frames" else MAX_FRAMES_OF_LAYERS
        return select_frames(course.along(shown.frame), most)

    def _take(self, key: tuple[object, ...]) -> Any:
        def take(answer: Film | None) -> None:
            if answer is not None:
                self._film = key, answer
                self.reload_and_update()

        return take

    def load(self) -> None:
        self._content, self._cameras = None, []
        results, frame = self.session.results, self.session.shown.frame
        if results is not None and results.done:
            cameras = range(len(results.cameras))
            self._cameras = [(results.to_model(frame, camera), results.picture_size(camera)) for camera in cameras]
        self._content = self.film()

    def refresh(self) -> None:
        shown = self.session.shown
        self.mode.show_value(shown.film)
        words = {"steps": "words have one pass"} if shown.query.kind == "text" else {}
        self.mode.disable(words)
        self.note.show_text(describe_thumbnail_scale(shown))
        hint = self.sizeHint().height()
        if self._hint != hint:
            self._hint = hint
            self.updateGeometry()
        if not self.isVisible():
            return
        film, before = self._content, self._film_shown
        self._film_shown = film, self._colours()
        if film is None or before != self._film_shown or not film.maps.size:
            self.update()
            return
        for box in (*self._painted_rings, *self._rings(film)):  # only the ring moves
            self.update(box.toAlignedRect().adjusted(-2, -2, 2, 2))

    def on_file_changed(self) -> None:
        self._film = self._content = None
        self._still.drop()
        self.worker.drop("film")

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.updateGeometry()

    @property
    def has_rows(self) -> bool:
        """Whether there is a row of thumbnails for each denoise step or layer."""
        shown = self.session.shown
        return shown.film == "layers-frames" or (shown.film == "steps" and shown.query.kind == "action")

    def _row_count(self) -> int:
        """Return the number of rows of a film with several rows."""
        results = self.session.results
        if results is None:
            return 0
        return len(results.layers if self.session.shown.film == "layers-frames" else results.steps)

    def sizeHint(self) -> QSize:
        results = self.session.results
        cameras = len(results.cameras) if results else 2
        if results is None:
            return QSize(600, 120)
        tall, across = results.picture_size(0)
        columns = {"frames": MAX_FRAMES, "layers-frames": MAX_FRAMES_OF_LAYERS}.get(
            self.session.shown.film, len(results.layers)
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

    def blocks(self, film: Film) -> list[tuple[QRectF, float, float]]:
        """Return the block of each camera, with a thumbnail's width and height including its gap.

        Blocks are stacked, or side by side if each has several rows.
        """
        ratio = self.devicePixelRatioF()
        shape = self._cameras[0][1] if self._cameras else ()
        key = (film.maps.shape, self.has_rows, self.width(), self.height(), ratio, shape)
        if self._blocks is None or self._blocks[0] != key:
            self._blocks = key, self._lay_out(film, ratio)
        return self._blocks[1]

    def _lay_out(self, film: Film, ratio: float) -> list[tuple[QRectF, float, float]]:
        rows, columns, cameras = film.maps.shape[:3]
        room = QRectF(LABEL, self.HEADING, self.width() - LABEL, self.height() - self.HEADING - 18)
        if self.has_rows:
            each = (room.width() - BLOCK_GAP * (cameras - 1)) / max(cameras, 1)
            used = max(self._cell(room.height(), each, rows, columns, ratio)[0] * columns, MIN_BLOCK)
            apart = min(each, used) + BLOCK_GAP
            boxes = [QRectF(round(room.left() + c * apart), room.top(), each, room.height()) for c in range(cameras)]
        else:
            each = room.height() / max(cameras, 1)
            each = min(each, self._cell(each, room.width(), rows, columns, ratio)[1])
            boxes = [QRectF(room.left(), room.top() + c * each, room.width(), each) for c in range(cameras)]
        return [(box, *self._cell(box.height(), box.width(), rows, columns, ratio)) for box in boxes]

    def _cell(self, height: float, width: float, rows: int, columns: int, ratio: float) -> tuple[float, float]:
        """Return width and height of a thumbnail with its gap, in whole screen pixels and with the picture's aspect."""
        tall = max(int(height * ratio / rows), 3)
        across = max(int(width * ratio / columns), 3)
        if self._cameras:  # keep the aspect of the picture
            lines, dots = self._cameras[0][1]
            tall = min(tall, max(round(across * lines / dots), 3))
            across = min(across, max(round(tall * dots / lines), 3))
        return across / ratio, tall / ratio

    def _colours(self) -> tuple[object, ...]:
        """Return the settings that the thumbnails' colours depend on."""
        return tuple(getattr(self.session.shown, name) for name in COLOUR_FIELDS)

    def _images(self, film: Film) -> list[QImage]:
        """Return one image of all thumbnails for each camera."""
        shown, ratio = self.session.shown, self.devicePixelRatioF()
        key = (id(film), self._colours(), shown.frame, ratio, self.width(), self.height(), theme.active())
        if self._mosaics is None or self._mosaics[0] != key:
            words, images = thumbnail_words(film.maps, shown, film.uniform, film.keys), []
            gap, background = max(round(GAP * ratio), 1), drawing.ground(self).rgb()
            for camera, (_, width, height) in enumerate(self.blocks(film)):
                size = max(round(height * ratio) - gap, 1), max(round(width * ratio) - gap, 1)
                index = geometry.map_pixels_to_patches(
                    self._cameras[camera][0], *self._cameras[camera][1], *size, film.grid
                )
                made = tile_thumbnails(words[:, :, camera], index, gap, background)
                images.append(drawing.word_image(made, blended=False))
                images[-1].setDevicePixelRatio(ratio)
            self._mosaics = key, images, film
        return self._mosaics[1]

    def paint(self, painter: QPainter, area: QRect) -> None:
        t, film, results = theme.active(), self._content, self.session.results
        if film is None or results is None or not film.maps.size:
            self.fill_background(painter, area)
            return

        def paint_labels(inner: QPainter) -> None:
            for camera in range(film.maps.shape[2]):
                self._paint_labels(inner, film, camera)

        key = (film.columns, film.rows, self.session.shown.film, self.has_rows, results.cameras)
        self._still.draw(painter, self, key, paint_labels, drawing.ground(self))
        for (block, _, _), image in zip(self.blocks(film), self._images(film), strict=True):
            painter.drawImage(block.topLeft(), image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._painted_rings = self._rings(film)
        for box in self._painted_rings:
            if t.dark:
                drawing.ring(painter, box, theme.colour("#FFFFFF"), 1.5, 3)
            else:  # wider, in a colour that differs from the white gaps and the dark thumbnails
                drawing.ring(painter, box.adjusted(-1, -1, 1, 1), theme.colour(t.accent), 3, 4)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def _rings(self, film: Film) -> list[QRectF]:
        """Return the rectangles of the current view's thumbnails."""
        at = self.current(film)
        if at is None:
            return []
        return [
            QRectF(block.left() + at[1] * width - 1, block.top() + at[0] * height - 1, width, height)
            for block, width, height in self.blocks(film)
        ]

    def _paint_labels(self, painter: QPainter, film: Film, camera: int) -> None:
        t, results, blocks = theme.active(), self.session.results, self.blocks(film)
        assert results is not None
        block, width, height = blocks[camera]
        if self.has_rows:
            name = QRectF(block.left(), block.top() + film.maps.shape[0] * height, block.width(), 17)
            text = (
                f"{caption.spoken(results.cameras[camera])}, {self._across()}s {film.columns[0]} to {film.columns[-1]}"
            )
            drawing.write(painter, name, text, t.secondary, 12)
            if camera == 0:
                skip = 1 if height > 11 else 2
                down = "step" if self._across() == "layer" else "layer"
                for row, label in enumerate(film.rows):
                    if row % skip == 0:
                        box = QRectF(0, block.top() + row * height, LABEL - 8, height - GAP)
                        words = f"{down} {label}" if row == 0 else str(label)
                        drawing.write(painter, box, words, t.secondary, 11, align="right")
            return
        box = QRectF(0, block.top(), LABEL - 8, height - GAP)
        title = caption.heading_of(results.cameras[camera])
        fits = drawing.width_of(title, 13) <= box.width()
        drawing.write(painter, box, title, t.secondary, 13 if fits else 11)
        if camera == len(blocks) - 1:
            skip = 1 if width > 22 else 2
            for column, label in enumerate(film.columns):
                if column % skip == 0:
                    box = QRectF(block.left() + column * width - 10, block.top() + height, width - GAP + 20, 16)
                    drawing.write(painter, box, str(label), t.secondary, 11, align="centre")

    def current(self, film: Film) -> tuple[int, int] | None:
        """Return row and column of the current view."""
        shown = self.session.shown
        if self._across() == "frame":
            near = min(range(len(film.columns)), key=lambda place: abs(film.columns[place] - 1 - shown.frame))
            return (shown.layer if film.rows else 0, near)
        return (shown.step if self.has_rows else 0, shown.layer)

    def _across(self) -> str:
        """Return what the columns are, `frame` or `layer`."""
        return "frame" if "frames" in self.session.shown.film else "layer"

    # Mouse and keyboard

    def cell_at(self, point: QPointF) -> tuple[int, int] | None:
        """Return row and column under a point."""
        film = self.film()
        if film is None:
            return None
        for block, width, height in self.blocks(film):
            row, column = int((point.y() - block.top()) // height), int((point.x() - block.left()) // width)
            if 0 <= row < film.maps.shape[0] and 0 <= column < film.maps.shape[1]:
                return row, column
        return None

    def go(self, row: int, column: int) -> None:
        """Select the view of a thumbnail."""
        film = self.film()
        if film is None:
            return
        if self._across() == "frame":
            self.session.update(frame=film.columns[column], **({"layer": row} if film.rows else {}))
        elif self.has_rows:
            self.session.update(layer=column, step=row)
        else:
            self.session.update(layer=column)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_at(event.position())
        if cell is not None and event.button() == Qt.MouseButton.LeftButton:
            self.session.begin()
            self.go(*cell)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_at(event.position())
        if cell is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self.go(*cell)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.session.end()

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

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            film, cell = self.film(), self.cell_at(QPointF(event.pos()))
            text = ""
            if film is not None and cell is not None:
                kind = self._across().capitalize()
                step = f", {'step' if kind == 'Layer' else 'layer'} {film.rows[cell[0]]}" if film.rows else ""
                mass = ticks.format_share(float(film.maps[cell].sum()))
                text = f"{kind} {film.columns[cell[1]]}{step}: {mass} of the weight on the cameras"
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)
