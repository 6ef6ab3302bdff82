"""Pane of one camera: its picture, the heat map of the shown row, the region and the patch under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QHideEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QPolygonF,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis.scene import DATA_FIELDS, Scene
from viewer.errors import READ_ERRORS
from viewer.model import geometry
from viewer.rendering import drawing, picture_overlay, theme
from viewer.rendering.camera_image import CameraImage, PaneContent
from viewer.rendering.heatmap import HeatMap
from viewer.rendering.pane_title import paint_pane_title
from viewer.rendering.patches import PatchLabel, patch_rect, region_path
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, ViewState

MAX_ZOOM: Final = 12.0
DRAG_PIXELS: Final = 5
"""A press that moves further is a drag."""
IDENTITY: Final = np.array([[1.0, 0, 0], [0, 1.0, 0]])


class CameraPane(Panel):
    """Shows one camera of the current view, or of the pinned view if `pinned`."""

    watched_fields = frozenset(DATA_FIELDS) | {
        "colours", "opacity", "picture", "smooth", "grid", "region", "compare", "pinned",
    }  # fmt: skip
    TITLE = 24

    def __init__(self, session: Session, camera: int, *, pinned: bool = False, parent: QWidget | None = None) -> None:
        name = session.results.cameras[camera] if session.results else ""
        super().__init__(session, f"{name} camera{', pinned view' if pinned else ''}", parent)
        self.camera, self.pinned = camera, pinned
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.zoom, self.centre = 1.0, QPointF(0.5, 0.5)
        self.backdrop, self.heat = CameraImage(), HeatMap(camera)
        self._content: PaneContent | None = None
        self._from_model: tuple[geometry.Affine, QTransform] | None = None
        self._press: QPointF | None = None
        self._pan: tuple[QPointF, QPointF] | None = None
        self._drag: tuple[Cell, ...] | None = None
        self.label = PatchLabel()
        session.pointed.connect(self.update)
        session.bared.connect(self.reload_and_update)

    def sizeHint(self) -> QSize:
        return QSize(520, 320)

    # Content

    @property
    def view(self) -> tuple[Results, ViewState] | None:
        """File and view of this pane; None if nothing can be shown."""
        results = self.session.results
        if results is None or not results.done:
            return None
        return self.session.pin if self.pinned else self.session.seen

    @property
    def scene(self) -> Scene | None:
        """Scene of this pane; None if it cannot be read."""
        view = self.view
        if view is None:
            return None
        if not self.pinned:
            return self.session.scene()
        pair = self.session.side_by_side()
        return pair[1] if pair is not None else None

    def load(self) -> None:
        view = self.view
        self._content = None
        if view is None or self.camera >= len(view[0].cameras):
            return
        results, state = view
        scene = pixels = None
        size, to_model = (results.grid.height, results.grid.width), IDENTITY
        try:
            size, to_model = results.picture_size(self.camera), results.to_model(state.frame, self.camera)
            scene = self.scene
            pixels = results.picture(state.frame, self.camera, self.session.shown.picture)
        except READ_ERRORS as error:
            self.session.report_failure(error)
            scene = pixels = None
        self._content = PaneContent(results, state, scene, pixels, size, to_model)

    def hideEvent(self, event: QHideEvent) -> None:
        self._content = None
        super().hideEvent(event)

    def size_in_pixels(self) -> tuple[int, int]:
        """Return height and width of the picture that is shown, the camera's own or the model's."""
        if self._content is not None and self.session.shown.picture != "model":
            return self._content.camera_size
        view = self.view
        if view is None or self.camera >= len(view[0].cameras) or self.session.shown.picture == "model":
            return (1, 1) if view is None else (view[0].grid.height, view[0].grid.width)
        return view[0].picture_size(self.camera)

    def area(self) -> QRectF:
        """Return the rectangle of the picture in the pane."""
        height, width = self.size_in_pixels()
        available = QRectF(0, self.TITLE, self.width(), max(self.height() - self.TITLE, 1))
        scale = min(available.width() / width, available.height() / height)
        return QRectF(0, available.top(), round(width * scale), round(height * scale))  # aligned with the text below

    def to_model(self) -> geometry.Affine:
        """Return the map from pixels of the picture that is shown to the model's."""
        if self.session.shown.picture == "model":
            return IDENTITY
        if self._content is not None:
            return self._content.camera_to_model
        view = self.view
        if view is None:
            return IDENTITY
        return view[0].to_model(view[1].frame, self.camera)

    def picture_to_pane(self, area: QRectF | None = None) -> QTransform:
        """Return the map from pixels of the picture that is shown to the pane, zoom included."""
        height, width = self.size_in_pixels()
        area, zoom = area or self.area(), self.zoom
        scale_x, scale_y = area.width() / width * zoom, area.height() / height * zoom
        left = area.left() + area.width() * (0.5 - self.centre.x() * zoom)
        top = area.top() + area.height() * (0.5 - self.centre.y() * zoom)
        return QTransform(scale_x, 0, 0, scale_y, left, top)

    def model_to_pane(self, area: QRectF | None = None) -> QTransform:
        """Return the map from pixels of the model's picture to the pane."""
        to_model = self.to_model()
        if self._from_model is None or self._from_model[0] is not to_model:
            self._from_model = to_model, picture_overlay.from_model(to_model)
        return self._from_model[1] * self.picture_to_pane(area)

    def cell_at(self, point: QPointF) -> Cell | None:
        """Return the patch under a point of the pane; None outside the picture."""
        if self.view is None or not self.area().contains(point):
            return None
        inverse, is_invertible = self.picture_to_pane().inverted()
        if not is_invertible:
            return None
        source = inverse.map(point)
        patch = geometry.find_patch(self.to_model(), source.x(), source.y(), self.view[0].grid)
        return None if patch is None else (self.camera, *patch)

    def on_file_changed(self) -> None:
        self._content = None
        self.backdrop.drop()
        self.heat.drop()

    def paint(self, painter: QPainter, painted: QRect) -> None:
        session, content = self.session, self._content
        ground = drawing.ground(self)
        if content is None:
            painter.fillRect(self.rect(), ground)
            return
        area, ratio = self.area(), drawing.ratio_of(painter)
        place, scene = self.model_to_pane(area), content.scene
        picture = self._picture(content, area, ratio, place)
        self._paint_background(painter, area, ground)
        self._paint_title(painter, area, content.results, scene)
        if picture is None:
            painter.fillRect(area, theme.colour(theme.active().raised))
        else:
            painter.drawImage(area.topLeft(), picture)
        if scene is not None and not session.bare:
            self.heat.paint(painter, scene, session.shown, place, area, ratio)
        self._paint_marks(painter, area, place, content)
        if picture is None:
            self._paint_failure_text(painter, area)
        self._round_corners(painter, area, ratio)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pointer = session.pointer
        if scene is not None and pointer is not None and pointer[0] == self.camera and not self.pinned:
            self.label.paint(
                painter, area, place.mapRect(patch_rect(pointer, scene.grid)), scene, pointer, content.view.unit
            )
        if self.hasFocus():
            drawing.ring(painter, area, theme.colour(theme.ACCENT))

    def _paint_background(self, painter: QPainter, area: QRectF, ground: QColor) -> None:
        """Fill what the picture does not cover."""
        width, height = self.width(), self.height()
        painter.fillRect(QRectF(0, 0, width, area.top()), ground)
        painter.fillRect(QRectF(0, area.bottom(), width, height - area.bottom()), ground)
        if area.width() < width:
            painter.fillRect(QRectF(0, area.top(), area.left(), area.height()), ground)
            painter.fillRect(QRectF(area.right(), area.top(), width - area.right(), area.height()), ground)

    def _paint_title(self, painter: QPainter, area: QRectF, results: Results, scene: Scene | None) -> None:
        shown = self.session.shown
        line = QRectF(area.left() + 1, 0, area.width() - 2, self.TITLE - 4)
        height, width = self.size_in_pixels()
        size = f"{width} × {height}"
        label = f"what the model saw · {size}" if shown.picture == "model" and area.width() > 380 else size
        mark = "pinned" if self.pinned or self.session.blinking else ""
        paint_pane_title(painter, line, results.cameras, self.camera, scene, shown, mark=mark, size=label)

    def _picture(self, content: PaneContent, area: QRectF, ratio: float, place: QTransform) -> QImage | None:
        shown = self.session.shown
        return self.backdrop.image(
            content.pixels,
            (id(content.results), content.view.frame, shown.picture),
            area,
            ratio,
            zoomed=None if self.zoom == 1.0 else self.picture_to_pane(),
            grid=(place, content.results.grid) if shown.grid and not self.session.bare else None,
        )

    def _paint_marks(self, painter: QPainter, area: QRectF, place: QTransform, content: PaneContent) -> None:
        shown, scene = self.session.shown, content.scene
        painter.setClipRect(area)
        if shown.picture == "model":
            picture_overlay.paint_hatch(
                painter, place, content.camera_to_model, *content.camera_size, content.results.grid
            )
        cells = self._drag if self._drag is not None else shown.region
        path = region_path(cells, self.camera, content.results.grid) if not self.session.bare else None
        if path is not None:
            picture_overlay.paint_region(painter, place, path)
        pointer = self.session.pointer
        if pointer is not None and scene is not None:
            own = pointer[0] == self.camera
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("#FFFFFF", 1.0 if own else 0.45), 2 if own else 1))
            painter.drawPolygon(place.map(QPolygonF(patch_rect(pointer, scene.grid))))
        painter.setClipping(False)

    def _paint_failure_text(self, painter: QPainter, area: QRectF) -> None:
        text = self.session.failure or "This file holds no picture of this camera."
        drawing.write(painter, area.adjusted(16, 0, -16, 0), text, theme.active().secondary, 12, align="centre")

    def _round_corners(self, painter: QPainter, area: QRectF, ratio: float) -> None:
        side = theme.RADIUS
        for corner, image in zip(
            (
                area.topLeft(),
                area.topRight() - QPointF(side, 0),
                area.bottomLeft() - QPointF(0, side),
                area.bottomRight() - QPointF(side, side),
            ),
            drawing.corners(drawing.ground(self).name(), ratio),
            strict=True,
        ):
            painter.drawImage(corner, image)

    # Mouse and keyboard

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        if self._pan is not None:
            area = self.area()
            moved = point - self._pan[0]
            self._set_centre(
                QPointF(
                    self._pan[1].x() - moved.x() / area.width() / self.zoom,
                    self._pan[1].y() - moved.y() / area.height() / self.zoom,
                )
            )
            return
        cell = self.cell_at(point)
        self.session.point(cell)
        if self._press is None or self.pinned:
            return
        if self._drag is not None or (point - self._press).manhattanLength() > DRAG_PIXELS:
            painting = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            if painting:
                start = self._drag if self._drag is not None else self.session.state.region
                self._drag = tuple(sorted({*start, *([cell] if cell else [])}))
            else:
                self._drag = self._box(self._press, point)
            self.update()

    def _box(self, start: QPointF, stop: QPointF) -> tuple[Cell, ...]:
        """Return the patches whose centre lies in a dragged box, or the patch under a box that is smaller than one."""
        if self.view is None:
            return ()
        box, place, area = QRectF(start, stop).normalized(), self.model_to_pane(), self.area()
        grid = self.view[0].grid
        cells = [
            (self.camera, row, col)
            for row in range(grid.rows)
            for col in range(grid.cols)
            if box.contains(middle := place.map(patch_rect((0, row, col), grid).center())) and area.contains(middle)
        ]
        under = self.cell_at(box.center())
        return tuple(cells) or ((under,) if under else ())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.MiddleButton and self.zoom > 1:
            self._pan = event.position(), self.centre
        elif event.button() == Qt.MouseButton.LeftButton and self.area().contains(event.position()):
            self._press = event.position()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        press, drag = self._press, self._drag
        self._pan = self._press = self._drag = None
        if press is None or self.pinned:
            return
        if drag is not None:
            self.session.update(region=drag)
        else:
            self.toggle(
                self.cell_at(event.position()), keep=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            )
        self.update()

    def toggle(self, cell: Cell | None, *, keep: bool) -> None:
        """Make one patch the region, or clear it; `keep` adds the patch to the region or removes it."""
        region = self.session.state.region
        if cell is None:
            self.session.update(region=())
        elif cell in region:
            self.session.update(region=tuple(c for c in region if c != cell) if keep or len(region) == 1 else (cell,))
        else:
            self.session.update(region=tuple(sorted({*region, cell})) if keep else (cell,))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.zoom = 1.0
        self._set_centre(QPointF(0.5, 0.5))

    def wheelEvent(self, event: QWheelEvent) -> None:
        area, point = self.area(), event.position()
        turn = event.angleDelta().y()
        if not area.contains(point) or not turn:
            return
        zoom = min(max(self.zoom * 1.2 ** (turn / 120), 1.0), MAX_ZOOM)
        offset = QPointF(
            (point.x() - area.center().x()) / area.width(), (point.y() - area.center().y()) / area.height()
        )
        fixed = self.centre + offset / self.zoom
        self.zoom = zoom
        self._set_centre(fixed - offset / zoom)
        event.accept()

    def _set_centre(self, centre: QPointF) -> None:
        half = 0.5 / self.zoom
        self.centre = QPointF(min(max(centre.x(), half), 1 - half), min(max(centre.y(), half), 1 - half))
        self.update()

    def leaveEvent(self, event: object) -> None:
        self.session.point(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
        key = Qt.Key(event.key())
        at = self.session.pointer
        view = self.view
        if key in moves and not event.modifiers() and view is not None:
            grid = view[0].grid
            row, col = at[1:] if at is not None and at[0] == self.camera else (grid.rows // 2, grid.cols // 2)
            down, right = moves[key]
            if self.session.shown.picture == "source":
                turn = view[0].to_model(view[1].frame, self.camera)
                down, right = (round(v) for v in np.sign(np.round(turn[::-1, 1::-1] @ np.array([down, right]), 9)))
            row, col = min(max(row + down, 0), grid.rows - 1), min(max(col + right, 0), grid.cols - 1)
            self.session.point((self.camera, row, col))
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space} and at is not None:
            self.toggle(at, keep=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        else:
            super().keyPressEvent(event)
