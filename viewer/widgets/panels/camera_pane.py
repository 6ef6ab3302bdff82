"""Pane of one camera: its picture, the heat map of the shown row, the region and the patch under the pointer."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QHideEvent,
    QImage,
    QPainter,
    QPen,
    QPolygonF,
    QResizeEvent,
    QShowEvent,
    QTransform,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis.scene import DATA_FIELDS, Scene
from viewer.errors import READ_ERRORS, NotLoadedError
from viewer.model import geometry
from viewer.rendering import drawing, picture_overlay, region_handles, theme
from viewer.rendering.camera_image import CameraImage, PaneContent
from viewer.rendering.heatmap import HeatMap
from viewer.rendering.loading_mark import paint_loading_mark
from viewer.rendering.pane_title import paint_pane_title
from viewer.rendering.patches import PatchLabel, find_patch_box
from viewer.rendering.regions.region_outlines import RegionOutlines
from viewer.widgets.panels.camera_input import CameraInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.controllers.session import Session
    from viewer.io.results import Pixels, Results
    from viewer.model.view_state import ViewState
    from viewer.model.zoom import Zoom
    from viewer.plots.camera_plot import CameraPlot

log = logging.getLogger("viewer")
IDENTITY: Final = np.array([[1.0, 0, 0], [0, 1.0, 0]])


class CameraPane(CameraInput):
    """Shows one camera of the current view, or of the pinned view if `pinned`.

    It paints all itself until `build_plot` hands the picture's area over to a plot, which paints the same pixels.
    """

    watched_fields = frozenset(DATA_FIELDS) | {
        "colours", "opacity", "picture", "smooth", "grid", "region", "region_name", "compare", "pinned",
    }  # fmt: skip
    TITLE = 24
    log_text = "Logarithmic colours"

    def __init__(self, session: Session, camera: int, *, pinned: bool = False, parent: QWidget | None = None) -> None:
        name = session.results.cameras[camera] if session.results else ""
        name = f"{name} camera{', pinned view' if pinned else ''}"
        super().__init__(session, camera, name, pinned=pinned, parent=parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.backdrop, self.heat = CameraImage(), HeatMap(camera)
        self._content: PaneContent | None = None
        self._from_model: tuple[geometry.Affine, QTransform] | None = None
        self._plot: CameraPlot | None = None
        self._plot_place: tuple[object, ...] = ()
        self._can_plot = False
        self.label, self.outlines = PatchLabel(), RegionOutlines(camera)
        session.pointed.connect(self.update_picture)
        session.bared.connect(self.reload_and_update)
        for signal in (session.loading.changed, session.regions_changed):
            signal.connect(self.update_picture)

    def sizeHint(self) -> QSize:
        return QSize(520, 320)

    # Content

    @property
    def view(self) -> tuple[Results, ViewState] | None:
        """File and view of this pane; None if nothing can be shown."""
        results = self.session.results
        if results is None or not results.done:
            return None
        return self.session.pin if self.pinned else self.session.displayed

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
        self._content = self._read_content()
        self._place_plot()

    def _read_content(self) -> PaneContent | None:
        view = self.view
        if view is None or self.camera >= len(view[0].cameras):
            return None
        results, state = view
        scene = pixels = None
        size, to_model = (results.grid.height, results.grid.width), IDENTITY
        try:
            size, to_model = results.picture_size(self.camera), results.to_model(state.frame, self.camera)
            scene = self.scene
            pixels, is_stand_in = self._read_picture(results, state.frame)
        except READ_ERRORS as error:
            self.session.report_failure(error)
            scene, pixels, is_stand_in = None, None, False
        return PaneContent(results, state, scene, pixels, size, to_model, is_stand_in)

    def _read_picture(self, results: Results, frame: int) -> tuple[Pixels | None, bool]:
        """Return the picture, or the model's in its place while the camera's own is being read, and whether it is."""
        which = self.session.shown.picture
        try:
            return results.picture(frame, self.camera, which), False
        except NotLoadedError:
            read = partial(results.picture, frame, self.camera, which)
            take, key = partial(self._take_picture, read, frame), (id(results), frame, which)
            self.session.reader.attempt_part(self, take, read, part="picture", key=key, order=0)
            return results.picture(frame, self.camera, "model"), True

    def _take_picture(self, read: Callable[[], Pixels | None], frame: int) -> None:
        """Show the camera's own picture in place of the model's. NotLoadedError until it has been read."""
        pixels, content = read(), self._content
        if content is not None and content.is_stand_in and content.view.frame == frame:
            self._content = replace(content, pixels=pixels, is_stand_in=False)
            self.update_picture()

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
        area = area or self.area()
        left, top, across, down = self.zoom.part()
        scale_x, scale_y = area.width() / width / across, area.height() / height / down
        return QTransform(
            scale_x, 0, 0, scale_y, area.left() - left * width * scale_x, area.top() - top * height * scale_y
        )

    def model_to_pane(self, area: QRectF | None = None) -> QTransform:
        """Return the map from pixels of the model's picture to the pane, zoom included."""
        return self._model_to_picture() * self.picture_to_pane(area)

    def _model_to_picture(self) -> QTransform:
        to_model, cached = self.to_model(), self._from_model
        if cached is None or (cached[0] is not to_model and not np.array_equal(cached[0], to_model)):
            cached = self._from_model = to_model, picture_overlay.from_model(to_model)
        return cached[1]

    def on_file_changed(self) -> None:
        self._content = None
        self.backdrop.drop()
        self.heat.drop()

    # Painting

    def build_plot(self) -> None:
        self._can_plot = True
        if self.isVisible():
            self._build_plot()

    @property
    def has_plot(self) -> bool:
        """Whether a plot paints the picture instead of the pane itself."""
        return self._plot is not None

    def _build_plot(self) -> None:
        from viewer.plots.camera_plot import CameraPlot

        self._plot = CameraPlot(self, self.paint_in_plot)
        self._place_plot()
        self._plot.show()

    def _place_plot(self) -> None:
        if self._plot is not None:
            place = (self.width(), self.height(), self.size_in_pixels(), self.zoom)
            if place != self._plot_place:
                self._plot_place = place
                self._plot.show_part(self.area(), place[2], self.zoom)
            self._plot.viewport().update()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._can_plot and self._plot is None:
            self._build_plot()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_plot()

    def show_zoom(self, zoom: Zoom) -> None:
        super().show_zoom(zoom)
        self._place_plot()

    def update_picture(self) -> None:
        if self._plot is not None:  # updating the pane would not repaint the opaque view on it
            self._plot.viewport().update()
        else:
            self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update_picture()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update_picture()

    def paint(self, painter: QPainter, painted: QRect) -> None:
        content, ground = self._content, self.ground()
        if content is None:
            painter.fillRect(self.rect(), ground)
            return
        area = self.area()
        self._paint_background(painter, area, ground)
        self._paint_title(painter, area, content.results, content.scene)
        if self._plot is None:
            self.paint_picture(painter, area, self.picture_to_pane(area))

    def paint_in_plot(self, painter: QPainter, area: QRectF, picture_to_view: QTransform) -> None:
        """Paint the picture as an item of the plot; an exception is logged and replaced by a sentence."""
        try:
            if drawing.find_pixel_ratio(painter) % 1:  # an area may end within a screen pixel
                painter.fillRect(area.adjusted(0, 0, 1, 1), self.ground())
            self.paint_picture(painter, area, picture_to_view)
        except Exception as error:
            if self.is_new_paint_error(error):
                log.exception("%s cannot be drawn", self.accessibleName())
            self.paint_failure(painter, area)

    def paint_picture(self, painter: QPainter, area: QRectF, picture_to_view: QTransform) -> None:
        """Paint the picture with heat map, marks and label, in the pane or in the plot, with the same pixels.

        Args:
            painter: Painter without a transform, of the pane or of the plot's view.
            area: Rectangle of the picture, in whole device-independent pixels.
            picture_to_view: Transform from pixels of the picture that is shown to the painter, zoom included.
        """
        session, content = self.session, self._content
        if content is None:
            painter.fillRect(area, self.ground())
            return
        ratio, scene = drawing.find_pixel_ratio(painter), content.scene
        place = self._model_to_picture() * picture_to_view
        picture = self._paint_content(content, area, ratio, place, picture_to_view)
        if picture is None:
            painter.fillRect(area, theme.color(theme.active().raised))
        else:
            painter.drawImage(area.topLeft(), picture)
        if scene is not None and not session.bare:
            self.heat.paint(painter, scene, session.shown, place, area, ratio)
        painter.setClipRect(area)
        self._paint_marks(painter, area, place, content)
        if picture is None:
            self._paint_failure_text(painter, area)
        self._round_corners(painter, area, ratio)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.is_zoomed():
            picture_overlay.paint_zoom(painter, area, self.zoom.factor)
        pointer = session.pointer
        if scene is not None and pointer is not None and pointer[0] == self.camera and not self.pinned:
            self.label.paint(
                painter, area, place.mapRect(find_patch_box(pointer, scene.grid)), scene, pointer, content.view.unit
            )
        if self.hasFocus():
            drawing.ring(painter, area, theme.color(theme.ACCENT))
        painter.setClipping(False)
        paint_loading_mark(painter, area, session.loading.text)

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
        mark = self.session.pin_name if self.pinned or self.session.blinking else ""
        paint_pane_title(painter, line, results.cameras, self.camera, scene, shown, mark=mark, size=label)

    def _paint_content(
        self, content: PaneContent, area: QRectF, ratio: float, place: QTransform, picture_to_view: QTransform
    ) -> QImage | None:
        shown, zoomed = self.session.shown, picture_to_view if self.is_zoomed() else None
        return self.backdrop.image(
            content.pixels,
            (id(content.results), content.view.frame, "stand-in" if content.is_stand_in else shown.picture),
            area,
            ratio,
            zoomed=place if content.is_stand_in else zoomed,
            smooth=content.is_stand_in,
            grid=(place, content.results.grid) if shown.grid and not self.session.bare else None,
        )

    def _paint_marks(self, painter: QPainter, area: QRectF, place: QTransform, content: PaneContent) -> None:
        shown, scene = self.session.shown, content.scene
        if shown.picture == "model":
            to_model, size = content.camera_to_model, content.camera_size
            picture_overlay.paint_hatch(painter, place, to_model, *size, content.results.grid)
        if not self.session.bare:
            regions = self.session.regions if content.results is self.session.results else None
            self.outlines.paint(painter, place, area, content.view, regions, content.results.grid, self._drag)
        pointer = self.session.pointer
        if pointer is not None and scene is not None:
            is_own = pointer[0] == self.camera
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("#FFFFFF", 1.0 if is_own else 0.45), 2 if is_own else 1))
            painter.drawPolygon(place.map(QPolygonF(find_patch_box(pointer, scene.grid))))
            box = self.region_box(place) if is_own and self._drag is None else None
            if box is not None:
                region_handles.paint_handles(painter, box, drawing.find_pixel_ratio(painter))

    def _paint_failure_text(self, painter: QPainter, area: QRectF) -> None:
        text = self.session.failure or "This file holds no picture of this camera."
        drawing.write(painter, area.adjusted(16, 0, -16, 0), text, theme.active().secondary, 12, align="centre")

    def _round_corners(self, painter: QPainter, area: QRectF, ratio: float) -> None:
        across, down = (area.left(), area.right() - theme.RADIUS), (area.top(), area.bottom() - theme.RADIUS)
        for (y, x), image in zip(product(down, across), drawing.corners(self.ground().name(), ratio), strict=True):
            painter.drawImage(QPointF(x, y), image)

    # The context menu

    def picture_area(self) -> QRect:
        return self.area().toRect()

    def data_table(self) -> tuple[Sequence[str], list[Sequence[object]]] | None:
        content = self._content
        if content is None or content.scene is None:
            return None
        scene = content.scene
        unit = "times_uniform" if content.view.unit == "uniform" else "weight"
        unit = "times_noise" if scene.effect is not None else unit
        values = scene.maps[self.camera].tolist()
        rows: list[Sequence[object]] = [
            (content.results.cameras[self.camera], row, col, value)
            for row, line in enumerate(values)
            for col, value in enumerate(line)
        ]
        return ("camera", "row", "col", f"{unit}_difference" if scene.difference else unit), rows

    def is_log(self) -> bool:
        return self.session.shown.scale == "log"

    def set_log(self, log: bool) -> None:
        self.session.update(scale="log" if log else "linear")
