"""Mouse and keyboard over the picture of a camera pane: zoom, region, patch under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QTransform, QWheelEvent
from PySide6.QtWidgets import QMenu, QWidget

from viewer.model import geometry
from viewer.model.zoom import Zoom
from viewer.rendering import region_handles
from viewer.rendering.patches import find_patch_box
from viewer.widgets.plot_menu import PlotPanel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, ViewState
    from viewer.rendering.region_handles import Handle

DRAG_PIXELS: Final = 5
"""A press that moves further is a drag."""


class CameraInput(PlotPanel):
    """Panel over a camera's picture; what the user does becomes the region, the pointer's patch and the zoom.

    A left drag marks a region, and with Shift paints patches. The wheel zooms about the pointer. The middle button, or
    the left one while Space is held, drags the zoomed picture. A double click shows the whole picture again.
    """

    zoom_changed = Signal(object)
    """The user has zoomed or dragged the picture: the new Zoom."""

    def __init__(self, session: Session, camera: int, name: str, *, pinned: bool, parent: QWidget | None) -> None:
        super().__init__(session, name, parent)
        self.camera, self.pinned = camera, pinned
        self.zoom = Zoom()
        self._press: QPointF | None = None
        self._pan: tuple[QPointF, Zoom] | None = None
        self._drag: tuple[Cell, ...] | None = None
        self._grip: tuple[QRectF, Handle] | None = None
        self._clicked_region: tuple[Cell, ...] | None = None
        """Region before the last click, which a double click brings back."""
        self._is_space_held = self._has_panned = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    # Geometry, which the pane knows

    @property
    def view(self) -> tuple[Results, ViewState] | None:
        """File and view of this pane; None if nothing can be shown."""
        raise NotImplementedError

    def area(self) -> QRectF:
        """Return the rectangle of the picture in the pane."""
        raise NotImplementedError

    def to_model(self) -> geometry.Affine:
        """Return the map from pixels of the picture that is shown to the model's."""
        raise NotImplementedError

    def picture_to_pane(self) -> QTransform:
        """Return the map from pixels of the picture that is shown to the pane, zoom included."""
        raise NotImplementedError

    def model_to_pane(self) -> QTransform:
        """Return the map from pixels of the model's picture to the pane, zoom included."""
        raise NotImplementedError

    def update_picture(self) -> None:
        """Repaint the picture and what lies on it."""
        raise NotImplementedError

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

    # Zoom

    def show_zoom(self, zoom: Zoom) -> None:
        """Show another part of the picture, without announcing it."""
        self.zoom = zoom
        self.update_picture()

    def _set_zoom(self, zoom: Zoom) -> None:
        if zoom != self.zoom:
            self.show_zoom(zoom)
            self.zoom_changed.emit(zoom)

    def is_zoomed(self) -> bool:
        return not self.zoom.is_whole

    def reset_plot(self) -> None:
        self._set_zoom(Zoom())

    def wheelEvent(self, event: QWheelEvent) -> None:
        area, point = self.area(), event.position()
        turn = event.angleDelta().y()
        if not area.contains(point) or not turn:
            return
        x, y = (point.x() - area.left()) / area.width(), (point.y() - area.top()) / area.height()
        self._set_zoom(self.zoom.zoomed(turn / 120, x, y))
        event.accept()

    def hold_space(self) -> bool:
        """Let the left button drag the picture until `release_space`; return False if it is not zoomed."""
        if self.is_zoomed():
            self._is_space_held, self._has_panned = True, False
            self.setCursor(Qt.CursorShape.OpenHandCursor)
        return self._is_space_held

    def release_space(self) -> bool:
        """End what `hold_space` began; return whether the picture was dragged meanwhile."""
        self._is_space_held = False
        self._pan = None
        self.unsetCursor()
        return self._has_panned

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        point, button = event.position(), event.button()
        if not self.area().contains(point):
            return
        is_left = button == Qt.MouseButton.LeftButton
        if self.is_zoomed() and (button == Qt.MouseButton.MiddleButton or (is_left and self._is_space_held)):
            self._pan, self._has_panned = (point, self.zoom), True
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        elif is_left:
            self._press = point
            box = self.region_box()
            handle = region_handles.find_handle(box, point) if box is not None else None
            self._grip = (box, handle) if box is not None and handle is not None else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        if self._pan is not None:
            area, (start, zoom) = self.area(), self._pan
            moved = point - start
            self._set_zoom(zoom.panned(moved.x() / area.width(), moved.y() / area.height()))
            return
        cell = self.cell_at(point)
        self.session.point(cell)
        if self._press is None:
            self._show_cursor(point)
        elif not self.pinned and (self._drag is not None or (point - self._press).manhattanLength() > DRAG_PIXELS):
            self._drag_to(point, cell, paints=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            self.update_picture()

    def _drag_to(self, point: QPointF, cell: Cell | None, *, paints: bool) -> None:
        assert self._press is not None
        if self._grip is not None:
            box, handle = self._grip
            limits = self.area().united(box)
            self._drag = self._cells_in(region_handles.resized(box, handle, point), limits) or self._drag
        elif paints:
            start = self._drag if self._drag is not None else self.session.state.region
            self._drag = tuple(sorted({*start, *([cell] if cell else [])}))
        else:
            box = QRectF(self._press, point).normalized()
            under = self.cell_at(box.center())
            self._drag = self._cells_in(box, self.area()) or ((under,) if under else ())

    def _cells_in(self, box: QRectF, limits: QRectF) -> tuple[Cell, ...]:
        """Return the patches whose centre lies in a box and in `limits`, both in the pane's coordinates."""
        if self.view is None:
            return ()
        place, grid = self.model_to_pane(), self.view[0].grid
        return tuple(
            (self.camera, row, col)
            for row in range(grid.rows)
            for col in range(grid.cols)
            if box.contains(middle := place.map(find_patch_box((0, row, col), grid).center()))
            and limits.contains(middle)
        )

    def region_box(self, place: QTransform | None = None) -> QRectF | None:
        """Return the rectangle of a region that is a box of this camera's patches; None if it is not.

        `place` is the transform from the model's picture to where the rectangle is wanted; to the pane without one.
        """
        view, cells = self.view, self.session.shown.region
        if view is None or self.pinned or self.session.bare:
            return None
        span = region_handles.find_box(cells, self.camera)
        if span is None:
            return None
        place, grid = place or self.model_to_pane(), view[0].grid
        first, last = (place.mapRect(find_patch_box((self.camera, *corner), grid)) for corner in span)
        return first.united(last)

    def _show_cursor(self, point: QPointF) -> None:
        """Show over a handle of the region in which direction it can be dragged."""
        if self._is_space_held:
            return
        box = self.region_box()
        handle = region_handles.find_handle(box, point) if box is not None else None
        if handle is None:
            self.unsetCursor()
        else:
            self.setCursor(region_handles.choose_cursor(handle))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        press, drag, has_panned = self._press, self._drag, self._pan is not None
        self._pan = self._press = self._drag = self._grip = None
        if has_panned:
            self.setCursor(Qt.CursorShape.OpenHandCursor if self._is_space_held else Qt.CursorShape.ArrowCursor)
        if press is None or self.pinned or event.button() != Qt.MouseButton.LeftButton:
            return
        if drag is not None:
            self._clicked_region = None
            self.session.update(region=drag)
        else:
            self._clicked_region = self.session.state.region
            self.toggle(
                self.cell_at(event.position()), keep=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            )
        self.update_picture()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show the whole picture, and take back what the first of the two clicks did to the region."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if self._clicked_region is not None:
            self.session.update(region=self._clicked_region)
            self._clicked_region = None
        self.reset_plot()

    def leaveEvent(self, event: object) -> None:
        self.session.point(None)

    def toggle(self, cell: Cell | None, *, keep: bool) -> None:
        """Make one patch the region, or clear it; `keep` adds the patch to the region or removes it."""
        region = self.session.state.region
        if cell is None:
            self.session.update(region=())
        elif cell in region:
            self.session.update(
                region=tuple(other for other in region if other != cell) if keep or len(region) == 1 else (cell,)
            )
        else:
            self.session.update(region=tuple(sorted({*region, cell})) if keep else (cell,))

    # Keyboard and menu

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
                down, right = (
                    round(value) for value in np.sign(np.round(turn[::-1, 1::-1] @ np.array([down, right]), 9))
                )
            row, col = min(max(row + down, 0), grid.rows - 1), min(max(col + right, 0), grid.cols - 1)
            self.session.point((self.camera, row, col))
        elif key == Qt.Key.Key_Space and self.is_zoomed() and self.underMouse():
            super().keyPressEvent(event)  # the window waits for a drag
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space} and at is not None:
            self.toggle(at, keep=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        else:
            super().keyPressEvent(event)

    def add_actions(self, menu: QMenu) -> None:
        link = menu.addAction("Zoom all pictures together")
        link.setCheckable(True)
        link.setChecked(self.is_zoom_linked)
        link.triggered.connect(self._ask_link)

    is_zoom_linked = False
    """Whether the zoom of all pictures is the same."""

    def _ask_link(self) -> None:
        self.session.command_requested.emit("link_zoom")
